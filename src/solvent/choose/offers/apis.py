"""The token prices of an API, from the rate cards of the day. Enter at `api_prices`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from solvent.choose.offers.tables import Choice
from solvent.errors import ChoiceError

if TYPE_CHECKING:
    from solvent.money.prices.catalogue import Catalogue

# Our key → the rate card's.
_KEYS = {
    "input": "input_usd_per_mtok",
    "cache_read": "cache_read_usd_per_mtok",
    "cache_write": "cache_write_5m_usd_per_mtok",
    "output": "output_usd_per_mtok",
    "reasoning": "reasoning_usd_per_mtok",
}
NOON_MIN = 720


def api_prices(
    choice: Choice, catalogue: Catalogue, day: date, prompt_tok: int, where: str
) -> tuple[Mapping[str, float], str]:
    """(USD per million tokens by our keys, where they are from), of the standard service at noon UTC of the day.

    A card with prices by the hour counts with those of noon, and its note says so.
    Raises: ChoiceError where no catalogue prices the model.
    """
    from solvent.money.prices.card import Unpriced

    provider = choice.provider or (choice.vendor if choice.vendor != "own" else None)
    rate = catalogue.rate(provider, choice.model, day, NOON_MIN, "standard", prompt_tok)
    if isinstance(rate, Unpriced):
        raise ChoiceError(where, f"no price: {rate.detail}", "a priced model, or price_usd_per_mtok", rate.fix)
    prices = {ours: float(rate.prices[theirs]) for ours, theirs in _KEYS.items() if theirs in rate.prices}
    if not {"input", "output"} <= set(prices):
        raise ChoiceError(where, f"{rate.card.id} has no price for input and output tokens", "price_usd_per_mtok")
    dated = rate.card.validity() if rate.dated else f"no dates, taken as of {day}"
    note = f"; {rate.note}" if rate.note else ""
    return prices, f"{rate.card.source}: {rate.card.id} ({dated}{note})"

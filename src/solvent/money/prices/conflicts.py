"""Where catalogues disagree: models that at least two of them list under one name at one provider.

Compared are the standard service's prices of uncached input, output and cache reads for a short prompt, on one
day at one minute, so that dated and off-peak prices count as they stand then. The user's own prices don't
take part: they are there to disagree.
What it doesn't do: weigh by usage; a statement does (its table `conflicts`). Enter at `compare`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from solvent.money.prices.card import STANDARD, Listing, PriceList, Rate
from solvent.money.prices.own import NAME as OWN

COMPARED = ("input_usd_per_mtok", "output_usd_per_mtok", "cache_read_usd_per_mtok")
TOLERANCE = Fraction(1, 100)
NOON = 720


@dataclass(frozen=True, slots=True)
class Conflict:
    """One model that sources price differently: their rates, the keys they differ in, and by how much at most.

    spread: (highest − lowest) ÷ highest of the price that differs most: how far the lower lies below the higher.
    """

    provider: str
    model: str
    rates: tuple[Rate, ...]
    differing: tuple[str, ...]
    spread: Fraction


@dataclass(frozen=True, slots=True)
class Comparison:
    """n_shared: models that at least two sources price.   conflicts: those they price differently."""

    day: date
    n_shared: int
    conflicts: tuple[Conflict, ...]

    @property
    def share(self) -> Fraction | None:
        return Fraction(len(self.conflicts), self.n_shared) if self.n_shared else None


def compare(price_lists: Sequence[PriceList], day: date, minute: int = NOON) -> Comparison:
    """Models that ≥ 2 sources price under the same name (whatever its case) at the same provider, and who disagrees.

    Sources disagree where a compared price that both state differs by more than 1% of the higher one; two sources
    with no compared price in common aren't shared.
    """
    by_name: dict[tuple[str, str], list[tuple[PriceList, Listing]]] = {}
    for prices in price_lists:
        if prices.name != OWN:
            for listing in prices.listings:
                by_name.setdefault((listing.provider, listing.name.lower()), []).append((prices, listing))
    n_shared = 0
    conflicts = []
    for (provider, model), entries in by_name.items():
        if len(entries) < 2:
            continue
        rates = [rate for prices, listing in entries if (rate := _standard(prices, listing, day, minute))]
        found = spreads(rates)
        if not found:
            continue
        n_shared += 1
        if keys := differing(found):
            conflicts.append(Conflict(provider, model, tuple(rates), keys, max(found.values())))
    return Comparison(day, n_shared, tuple(sorted(conflicts, key=lambda c: (-c.spread, c.provider, c.model))))


def _standard(prices: PriceList, listing: Listing, day: date, minute: int) -> Rate | None:
    for card in prices.cards(listing):
        if card.service == STANDARD and card.valid_on(day):
            return card.rate(minute, day.isoweekday(), 0)
    return None


def spreads(rates: Sequence[Rate]) -> dict[str, Fraction]:
    """Compared key → (highest − lowest) ÷ highest, of the keys that at least two rates state. Exact."""
    found: dict[str, Fraction] = {}
    for key in COMPARED:
        stated: list[Decimal] = [rate.prices[key] for rate in rates if key in rate.prices]
        if len(stated) >= 2:
            lowest, highest = Fraction(min(stated)), Fraction(max(stated))
            found[key] = (highest - lowest) / highest if highest else Fraction(0)
    return found


def differing(found: Mapping[str, Fraction]) -> tuple[str, ...]:
    """The keys of `spreads` that are a conflict."""
    return tuple(key for key, spread in found.items() if spread > TOLERANCE)

"""Where catalogues disagree about this log: the same cells priced by every other source that knows the model.

A row says what was used, what the other source would give, and the difference; sources within 1% agree.
Enter at `conflict_table`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import add
from typing import TYPE_CHECKING, Any

from solvent.figure import exact_text
from solvent.money.audit.pricing import Pricing, unit_prices
from solvent.money.prices.card import Rate
from solvent.money.prices.catalogue import Catalogue
from solvent.money.usage.cells import Grid
from solvent.records import REQUEST_PRICE

if TYPE_CHECKING:
    import duckdb

TOLERANCE = Fraction(1, 100)
MAX_KEYS = 50_000

_COLUMNS = (
    ("model", "Model", "text"),
    ("provider", "Provider", "text"),
    ("used_source", "Used", "text"),
    ("other_source", "The other", "text"),
    ("used_cost_usd", "Cost as used", "usd"),
    ("other_cost_usd", "Cost by the other", "usd"),
    ("difference", "Difference", "share"),
)


def conflict_table(
    con: duckdb.DuckDBPyConnection, pricing: Pricing, catalogue: Catalogue, grid: Grid
) -> dict[str, Any]:
    """One row per model and other source whose cost for this log differs from the one used by more than 1%."""
    found: dict[tuple[Any, ...], _Compared] = {}
    sums = ", ".join(f"sum(c.{b})::VARCHAR" for b in pricing.used_buckets)
    rows = con.execute(
        f"SELECT provider, model, service, day, slot, tier, rate_no, sum(n)::VARCHAR,"
        f" sum(cost)::VARCHAR{', ' + sums if sums else ''}"
        f" FROM {pricing.table} c WHERE rate_no >= 0 GROUP BY ALL ORDER BY ALL LIMIT {MAX_KEYS}"
    ).fetchall()
    for provider, model, service, day, slot, tier, rate_no, *numbers in rows:
        n, cost, *counts = map(int, numbers)
        used = pricing.rates[rate_no].rate
        if used is None or model is None:
            continue
        for rate in catalogue.alternatives(provider, model, day, grid.minute(slot), service, grid.prompt(tier)):
            if rate.card.source == used.card.source:
                continue
            # A rate is made anew at every look-up; its card and the prices of its tier stay.
            key = (model, rate_no, id(rate.card), id(rate.prices))
            compared = found.get(key)
            if compared is None:
                compared = found[key] = _Compared.start(used, rate, pricing.used_buckets)
            if any(counts[i] for i in compared.unknown):
                continue
            compared.n += n
            compared.cost += cost
            compared.counts = list(map(add, compared.counts, counts))
    used_cost: dict[tuple[Any, ...], Fraction] = defaultdict(Fraction)
    other_cost: dict[tuple[Any, ...], Fraction] = defaultdict(Fraction)
    for (model, *_), compared in found.items():
        if compared.n:
            row = (model, compared.used.card.provider, compared.used.card.source, compared.rate.card.source)
            used_cost[row] += Fraction(compared.cost, pricing.scale)
            other_cost[row] += compared.other_usd(pricing.used_buckets)
    return _table(used_cost, other_cost)


@dataclass
class _Compared:
    """What requests under one rate used, to be priced once by another source's: integers until then."""

    used: Rate
    rate: Rate
    prices: Mapping[str, Fraction]
    unknown: Sequence[int]
    counts: list[int]
    n: int = 0
    cost: int = 0

    @classmethod
    def start(cls, used: Rate, rate: Rate, buckets: Sequence[str]) -> _Compared:
        prices, _ = unit_prices(rate)
        unknown = [i for i, bucket in enumerate(buckets) if bucket not in prices]
        return cls(used, rate, prices, unknown, [0] * len(buckets))

    def other_usd(self, buckets: Sequence[str]) -> Fraction:
        calls = self.n * Fraction(self.rate.prices.get(REQUEST_PRICE, 0)) / 1000
        return sum((n * self.prices[b] for b, n in zip(buckets, self.counts, strict=True) if n), calls)


def _table(
    used_cost: Mapping[tuple[Any, ...], Fraction], other_cost: Mapping[tuple[Any, ...], Fraction]
) -> dict[str, Any]:
    found = []
    for key, usd in used_cost.items():
        difference = (other_cost[key] - usd) / usd if usd else None
        if difference is None or abs(difference) > TOLERANCE:
            found.append(
                (
                    abs(difference or 0),
                    {
                        **dict(zip(("model", "provider", "used_source", "other_source"), key, strict=True)),
                        "used_cost_usd": exact_text(usd),
                        "other_cost_usd": exact_text(other_cost[key]),
                        "difference": exact_text(difference),
                    },
                )
            )
    found.sort(key=lambda item: (-item[0], str(item[1])))
    columns = [
        {"key": key, "label": label, "unit": unit, "method": "priced", "formula": "", "source": "rate cards"}
        for key, label, unit in _COLUMNS
    ]
    return {
        "label": "Where catalogues disagree",
        "columns": columns,
        "rows": [row for _, row in found],
        "n_rows": len(found),
        "shown": len(found),
    }

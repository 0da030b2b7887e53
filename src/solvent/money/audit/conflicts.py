"""Where catalogues disagree about this log: the same cells priced by every other source that knows the model.

A row says what was used, what the other source would give, and the difference; sources within 1% agree.
Enter at `conflict_table`.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from solvent.figure import exact_text
from solvent.money.audit.pricing import Pricing, unit_prices
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
    used_cost: dict[tuple[Any, ...], Fraction] = defaultdict(Fraction)
    other_cost: dict[tuple[Any, ...], Fraction] = defaultdict(Fraction)
    sums = ", ".join(f"sum(c.{b})" for b in pricing.used_buckets)
    rows = con.execute(
        f"SELECT provider, model, service, day, slot, tier, rate_no, sum(n), sum(cost){', ' + sums if sums else ''}"
        f" FROM {pricing.table} c WHERE rate_no >= 0 GROUP BY ALL ORDER BY ALL LIMIT {MAX_KEYS}"
    ).fetchall()
    for provider, model, service, day, slot, tier, rate_no, n, cost, *counts in rows:
        used = pricing.rates[rate_no].rate
        if used is None or model is None:
            continue
        for rate in catalogue.alternatives(provider, model, day, grid.minute(slot), service, grid.prompt(tier)):
            if rate.card.source == used.card.source:
                continue
            prices, _ = unit_prices(rate)
            if any(count and bucket not in prices for bucket, count in zip(pricing.used_buckets, counts, strict=True)):
                continue
            key = (model, used.card.provider, used.card.source, rate.card.source)
            used_cost[key] += Fraction(int(cost), pricing.scale)
            other_cost[key] += sum(
                (int(count) * prices[b] for b, count in zip(pricing.used_buckets, counts, strict=True) if count),
                Fraction(0),
            )
            other_cost[key] += int(n) * Fraction(rate.prices.get(REQUEST_PRICE, 0)) / 1000
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

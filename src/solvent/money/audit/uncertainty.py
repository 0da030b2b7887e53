"""Which units are resampled for the intervals of a statement, and how each ratio is made of their sums.

Customers where there are at least ten of them, those who pay without a request included; else five-minute blocks.
The resampling itself is in `bootstrap`. Enter at `customer_intervals`, `block_intervals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from solvent.money.audit.bootstrap import Array, intervals
from solvent.money.audit.figures import Money
from solvent.money.audit.pricing import PRICE_KEYS, Pricing
from solvent.money.audit.tables import MoneyOf
from solvent.money.audit.totals import Total
from solvent.money.usage.cells import Partial

if TYPE_CHECKING:
    import duckdb

Intervals = dict[str, tuple[float, float]]
Ratios = dict[str, Callable[[Mapping[str, Array]], Array]]


def customer_intervals(
    customers: Mapping[str, Total], money_of: Mapping[str, MoneyOf], money: Money, whole: Total
) -> Intervals:
    """95% intervals over resampled customers. Costs that belong to no customer stay as they are."""
    names = sorted({*customers, *money_of})
    rows = [customers.get(name, Total()) for name in names]
    moneys = [money_of.get(name, MoneyOf()) for name in names]
    columns = {
        "cost": _column(t.cost_usd for t in rows),
        "outputs": _column(t.n_outputs for t in rows),
        "priced_outputs": _column(t.n_priced_outputs for t in rows),
        "priced": _column(t.n_priced for t in rows),
    }
    ratios: Ratios = {
        "cost_per_output_usd": lambda s: s["cost"] / s["priced_outputs"],
        "cost_per_request_usd": lambda s: s["cost"] / s["priced"],
    }
    if money.revenue_usd is not None:
        _add_revenue(columns, ratios, rows, moneys, money)
    if money.value_source != "revenue" and money.value_usd and whole.n_outputs:
        per_output = float(money.value_usd / whole.n_outputs)
        ratios["cost_per_value"] = lambda s: s["cost"] / (s["outputs"] * per_output)
    return intervals(columns, ratios, revenue_spread(money, "revenue"))


def revenue_spread(money: Money, column: str) -> dict[str, tuple[float, float]]:
    """How far revenue itself may lie off, as factors at the ends of its own interval: a conversion rate, say."""
    if not money.revenue_usd or money.low_usd is None or money.high_usd is None:
        return {}
    return {column: (float(money.low_usd / money.revenue_usd), float(money.high_usd / money.revenue_usd))}


def _add_revenue(
    columns: dict[str, Array], ratios: Ratios, rows: list[Total], moneys: list[MoneyOf], money: Money
) -> None:
    """Revenue, what is taken off it, and who loses; the ratios that need them."""
    margins = [m.margin_usd(t.whole_cost_usd) for m, t in zip(moneys, rows, strict=True)]
    columns["revenue"] = _column(m.revenue_usd or 0 for m in moneys)
    columns["deductions"] = _column(m.deductions_usd for m in moneys)
    columns["losing"] = _column(margin is not None and margin < 0 for margin in margins)
    columns["known"] = _column(margin is not None for margin in margins)
    taken = money.refunds_usd + money.fees_usd + money.other_cost_usd
    shared = float(taken - sum((m.deductions_usd for m in moneys), Fraction(0)))
    kept = 1 - float(money.refunds_usd / money.revenue_usd) if money.revenue_usd else 1.0

    def margin(s: Mapping[str, Array]) -> Array:
        return s["revenue"] - s["deductions"] - s["cost"] - shared

    ratios["gross_margin"] = lambda s: margin(s) / (s["revenue"] * kept)
    ratios["losing_customers_share"] = lambda s: s["losing"] / s["known"]
    ratios["revenue_per_output_usd"] = lambda s: s["revenue"] / s["outputs"]
    ratios["margin_per_output_usd"] = lambda s: margin(s) / s["outputs"]
    if money.value_source == "revenue":
        ratios["cost_per_value"] = lambda s: s["cost"] / s["revenue"]


def block_intervals(
    con: duckdb.DuckDBPyConnection, partial: Partial, pricing: Pricing, whole: Total, money: Money
) -> Intervals:
    """95% intervals over resampled time blocks: of compute, at the revenue and the other costs as they are.

    Machines have no price per request, so a log that ran on one has no such interval.
    """
    if any(used.offer is not None for used in pricing.rates):
        return {}
    same = " AND ".join(f"b.{k} IS NOT DISTINCT FROM q.{k}" for k in PRICE_KEYS)
    units = "".join(f" + b.{name} * u.{name}" for name in pricing.used_buckets)
    rows = con.execute(
        f"SELECT b.block, sum(b.n), sum(b.n * u.per_request{units}) FROM {partial.name}_blocks b"
        f" JOIN {pricing.table}_keys q ON {same} JOIN {pricing.table}_rates r ON r.k = q.k"
        f" JOIN {pricing.table}_units u ON u.rate_no = r.rate_no GROUP BY 1 ORDER BY 1"
    ).fetchall()
    if not rows or not whole.n_priced:
        return {}
    per_request = float(whole.n_outputs / whole.n_requests)
    columns = {
        "requests": _column(n for _, n, _ in rows),
        "cost": _column(Fraction(int(cost), pricing.scale) for _, _, cost in rows),
    }
    ratios: Ratios = {"cost_per_request_usd": lambda s: s["cost"] / s["requests"]}
    if per_request:
        ratios["cost_per_output_usd"] = lambda s: s["cost"] / (s["requests"] * per_request)
    # Revenue doesn't come block by block: every resample has all of it.
    n_blocks = float(len(rows))
    if money.value_usd:
        columns["value"] = np.full(len(rows), float(money.value_usd) / n_blocks)
        ratios["cost_per_value"] = lambda s: s["cost"] / s["value"]
    if money.revenue_usd is not None and money.revenue_usd > money.refunds_usd:
        columns["net"] = np.full(len(rows), float(money.revenue_usd - money.refunds_usd) / n_blocks)
        taken = float(money.fees_usd + money.other_cost_usd)
        ratios["gross_margin"] = lambda s: (s["net"] - taken - s["cost"]) / s["net"]
    spreads = revenue_spread(money, "net")
    if money.value_source == "revenue":
        spreads |= revenue_spread(money, "value")
    return intervals(columns, ratios, spreads)


def _column(values: Iterable[Fraction | int]) -> Array:
    return np.array([float(value) for value in values], dtype=np.float64)

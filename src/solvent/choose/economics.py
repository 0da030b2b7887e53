"""The economics of a product: a month at today's pace, and the verdict on it. One place for these formulas.

Read from an audit's statement; path and stress change copies of it. Amounts are floats here: they are estimates of a
month, not a bill. The verdict agrees with `money.audit.verdict` (a test compares them over many cases).
What it doesn't do: audit, or say what could change. Enter at `from_statement`, `margin_usd`, `verdict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from solvent.choose.offers.record import Range
from solvent.errors import ReportError
from solvent.figure import Method

State = Literal["solvent", "thin", "insolvent", "unknown"]
Array = npt.NDArray[np.float64]
STATEMENT = "solvent.statement/1"
DAYS_PER_MONTH = 365.25 / 12
# Intervals of a Range are at 90%.
LOW, HIGH = 0.05, 0.95
N_RESAMPLES, MANY, CHUNK = 2_000, 20_000, 2_000_000
SEED = 20_240_229


@dataclass(frozen=True, slots=True)
class Economics:
    """A month of the product at today's pace; what isn't known is None, never zero.

    Where the statement has no span, `per` says "log" and the amounts are those of the log; ratios are the same.
    revenue_usd: gross.   other_cost_usd: refunds, payment fees and other cost of goods; `follows_revenue` of it (a
    share) moves with revenue.   by_customer: (revenue_usd, compute_usd, n_outputs), each customer's month; None
    where it isn't known.   ratio_spread: the statement's 95% interval of compute per value, as factors of its value.
    covered_share: rows of the log that were priced.   left_out: what the verdict doesn't cover, in words.
    """

    revenue_usd: Range | None
    compute_usd: Range | None
    other_cost_usd: Range | None
    customer_value_usd: Range | None
    n_outputs: Range | None
    n_customers: Range | None
    by_customer: tuple[tuple[float | None, float | None, float], ...]
    policy_max_compute_per_value: float
    policy_min_gross_margin: float | None = None
    refunds_usd: float | None = None
    follows_revenue: float = 0.0
    value_is_revenue: bool = True
    ratio_spread: tuple[float, float] | None = None
    covered_share: float = 1.0
    revenue_is_whole: bool = True
    left_out: str = ""
    per: Literal["month", "log"] = "month"


def margin_usd(economics: Economics) -> float | None:
    """revenue − refunds, fees and other cost − compute; None where one of them isn't known."""
    parts = (economics.revenue_usd, economics.other_cost_usd, economics.compute_usd)
    if any(part is None for part in parts):
        return None
    revenue, other, compute = (part.value for part in parts if part is not None)
    return revenue - other - compute


def gross_margin(economics: Economics) -> float | None:
    """margin ÷ (revenue − refunds); None where either isn't known or nothing is left of revenue."""
    margin, revenue = margin_usd(economics), economics.revenue_usd
    if margin is None or revenue is None:
        return None
    net_usd = revenue.value - (economics.refunds_usd or 0.0)
    return margin / net_usd if net_usd else None


def compute_per_value(economics: Economics) -> float | None:
    """compute ÷ customer value: the policy's figure; None where either isn't known or the value is zero."""
    compute, value = economics.compute_usd, economics.customer_value_usd
    return None if compute is None or value is None or not value.value else compute.value / value.value


def verdict(economics: Economics) -> State:
    """The policy applied, as `money.audit.verdict` applies it to a statement's figures.

    insolvent: compute above the policy's share of customer value.   thin: the policy holds, but the interval crosses
    its line, the margin is below zero or below the policy's floor, or something was left out.   unknown: no customer
    value, or what was left out could turn the verdict.
    """
    limit, ratio = economics.policy_max_compute_per_value, compute_per_value(economics)
    value, compute = economics.customer_value_usd, economics.compute_usd
    if value is not None and compute is not None and value.value == 0 and compute.value > 0:
        return "insolvent"
    if ratio is None:
        return "unknown"
    if ratio > limit:
        return "insolvent" if economics.revenue_is_whole else "unknown"
    if economics.covered_share <= 0 or ratio / economics.covered_share > limit:
        return "unknown"
    margin, floor = gross_margin(economics), economics.policy_min_gross_margin
    if floor is not None and (margin is None or margin < floor):
        return "thin"
    crosses = economics.ratio_spread is not None and ratio * economics.ratio_spread[1] > limit
    return "thin" if crosses or economics.left_out or (margin is not None and margin < 0) else "solvent"


def from_statement(document: Mapping[str, Any]) -> Economics:
    """The economics that a statement shows, as a month of 365.25 ÷ 12 days.

    Intervals (90%) come from resampling customers, where the statement names at least two; else value = low = high.
    Raises: ReportError (no statement).
    """
    if document.get("schema") != STATEMENT:
        raise ReportError("statement", f"schema is {str(document.get('schema'))[:80]!r}", repr(STATEMENT),
                          "name a report that `solvent audit` wrote")  # fmt: skip
    figures, per_month = document["figures"], _per_month(document)
    scale = per_month or 1.0
    customers = _customers(document, scale)
    revenue, refunds, fees = (_value(figures, name) for name in ("revenue_usd", "refunds_usd", "fees_usd"))
    other = _value(figures, "other_cost_usd")
    taken = None if revenue is None else (refunds or 0.0) + (fees or 0.0)
    all_other = None if taken is None or other is None else taken + other
    spreads = _spreads(customers)
    low, high = (_value(figures, "cost_per_value", end) for end in ("low", "high"))
    ratio = _value(figures, "cost_per_value")
    accounting, verdict_ = document.get("accounting", {}), document["verdict"]
    n_rows = int(accounting.get("rows_in", 0))
    n_out = int(accounting.get("unpriced", 0)) + int(accounting.get("rejected", 0))
    limit = verdict_["policy"].get("limit")
    value_figure = figures.get("customer_value_usd", {})
    return Economics(
        _range(figures, "revenue_usd", scale, spreads.get("revenue")),
        _range(figures, "cost_usd", scale, spreads.get("compute")),
        None if all_other is None else _scaled(all_other, scale, None, "assumed", "statement: refunds, fees, other"),
        _range(figures, "customer_value_usd", scale, spreads.get("revenue")),
        _range(figures, "n_outputs", scale, spreads.get("outputs")),
        _range(figures, "n_customers", 1.0, None),
        customers,
        float(limit) if limit is not None else 0.10,
        _optional(verdict_["policy"].get("min_gross_margin")),
        None if refunds is None else refunds * scale,
        taken / all_other if taken and all_other else 0.0,
        "revenue_usd" in value_figure.get("inputs", []),
        (low / ratio, high / ratio) if ratio and low is not None and high is not None else None,
        (n_rows - n_out) / n_rows if n_rows else 1.0,
        all(revenue is not None for revenue, _, _ in customers) or revenue is None,
        str(verdict_.get("left_out", "")),
        "month" if per_month else "log",
    )  # fmt: skip


def resampled(customers: Array, n_draws: int = N_RESAMPLES, seed: int = SEED) -> Array:
    """Sums over customers had others like them come: a bootstrap over customers, scaled to their number.

    customers: (C, K) amounts, C ≥ 2.   → (n_draws, K) sums.   Above 20,000 customers weights are Poisson.
    Exactness: an estimate; the same seed gives the same draws. Source: Efron & Tibshirani 1993 §8.
    """
    n_customers = len(customers)
    random, sums = np.random.default_rng(seed), np.empty((n_draws, customers.shape[1]))
    step = max(1, CHUNK // n_customers)
    for start in range(0, n_draws, step):
        n = min(step, n_draws - start)
        if n_customers <= MANY:
            weights = random.multinomial(n_customers, np.full(n_customers, 1 / n_customers), size=n).astype(np.float64)
        else:
            weights = random.poisson(1.0, size=(n, n_customers)).astype(np.float64)
        sums[start : start + n] = weights @ customers
    return sums


def _per_month(document: Mapping[str, Any]) -> float | None:
    """What turns amounts of the log into a month's; None where the span isn't known."""
    days = document.get("span", {}).get("days")
    return DAYS_PER_MONTH / float(days) if days and float(days) > 0 else None


def _customers(document: Mapping[str, Any], scale: float) -> tuple[tuple[float | None, float | None, float], ...]:
    """Every customer's month; nothing where the report holds only some of them."""
    table = document.get("tables", {}).get("customers")
    if table is None or table["n_rows"] != len(table["rows"]):
        return ()

    def month(row: Mapping[str, Any], key: str) -> float | None:
        return None if row.get(key) is None else float(row[key]) * scale

    return tuple(
        (month(row, "revenue_usd"), month(row, "cost_usd"), month(row, "n_outputs") or 0.0) for row in table["rows"]
    )


def _spreads(customers: tuple[tuple[float | None, float | None, float], ...]) -> dict[str, tuple[float, float]]:
    """How far each sum would move with other customers, as factors at 5% and 95%."""
    if len(customers) < 2 or any(compute is None for _, compute, _ in customers):
        return {}
    table = np.array([[revenue or 0.0, compute or 0.0, n] for revenue, compute, n in customers])
    ends, sums = np.quantile(resampled(table), [LOW, HIGH], axis=0), table.sum(axis=0)
    names = ("revenue", "compute", "outputs")
    return {
        name: (float(ends[0, i] / sums[i]), float(ends[1, i] / sums[i])) for i, name in enumerate(names) if sums[i] > 0
    }


def _range(figures: Mapping[str, Any], name: str, scale: float, spread: tuple[float, float] | None) -> Range | None:
    value = _value(figures, name)
    if value is None:
        return None
    figure = figures[name]
    source = f"statement: {name}" + (f" ({figure['source']})" if figure.get("source") else "")
    return _scaled(value, scale, spread, figure["method"], source)


def _scaled(value: float, scale: float, spread: tuple[float, float] | None, method: Method, source: str) -> Range:
    # Resampling can't say that the value itself is impossible, so the interval always holds it.
    low, high = spread or (1.0, 1.0)
    value *= scale
    return Range(value, min(low, 1.0) * value, max(high, 1.0) * value, method, source)


def _value(figures: Mapping[str, Any], name: str, end: str = "value") -> float | None:
    return _optional(figures.get(name, {}).get(end))


def _optional(text: Any) -> float | None:
    return None if text is None else float(text)

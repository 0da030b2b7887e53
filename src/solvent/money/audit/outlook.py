"""What would have to change: break-even prices, allowance and cost per output, and what caching does, as figures.

Adds to a statement's `figures` and `break_even`; the arithmetic is in `breakeven` and `caching`.
Enter at `add_break_even`, `add_caching`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from solvent.figure import Figure, Figures, Number, exact_text, weakest
from solvent.money.audit.breakeven import output_cap, target_cost_per_output
from solvent.money.audit.caching import cache_could_save_usd, cache_saved_usd, repeated_blocks_share
from solvent.money.audit.statement import Audit
from solvent.money.audit.totals import totals
from solvent.money.revenue.scale import price_response


def add_break_even(audit: Audit, document: dict[str, Any]) -> None:
    """Break-even against a margin of zero and against the policy; only what is known is said."""
    figures: Figures = document["figures"]
    money, a = audit.money, audit.parts.attribution
    if figures["cost_usd"].value is None or money.value_usd is None:
        return
    cost = audit.whole.cost_usd
    allowed = Fraction(audit.project.policy.max_compute_per_value) * money.value_usd
    entries = _Entries(document)
    if money.revenue_usd is not None:
        response = price_response(a.all_lines())
        entries.add(
            _Entry(
                "price_factor_for_zero_margin",
                "Every price, for a margin of zero",
                "ratio",
                Fraction(1),
                response.factor_for_net(cost + money.other_cost_usd),
                "(cost_usd + other_cost_usd − what doesn't follow prices) ÷ what does; nobody leaves",
                ("cost_usd", "other_cost_usd", "revenue_usd"),
            )
        )
        if money.value_source == "revenue":
            limit = Fraction(audit.project.policy.max_compute_per_value)
            entries.add(
                _Entry(
                    "price_factor_for_policy",
                    "Every price, for the policy",
                    "ratio",
                    Fraction(1),
                    response.factor_for_revenue(cost / limit),
                    "(cost_usd ÷ policy limit − what doesn't follow prices) ÷ what does; nobody leaves",
                    ("cost_usd", "revenue_usd"),
                )
            )
        earned = money.revenue_usd - money.refunds_usd - money.fees_usd - money.other_cost_usd
        entries.add(
            _Entry(
                "cost_per_output_for_zero_margin",
                "Cost per output, for a margin of zero",
                "usd/output",
                figures["cost_per_output_usd"].value,
                target_cost_per_output(earned, audit.whole.n_outputs),
                "(revenue_usd − refunds_usd − fees_usd − other_cost_usd) ÷ n_outputs",
                ("revenue_usd", "refunds_usd", "fees_usd", "other_cost_usd", "n_outputs"),
            )
        )
    entries.add(
        _Entry(
            "cost_per_output_for_policy",
            "Cost per output, for the policy",
            "usd/output",
            figures["cost_per_output_usd"].value,
            target_cost_per_output(allowed, audit.whole.n_outputs),
            "policy limit × customer_value_usd ÷ n_outputs",
            ("customer_value_usd", "n_outputs"),
        )
    )
    _add_allowance(audit, entries, allowed)


def _add_allowance(audit: Audit, entries: _Entries, allowed_usd: Fraction) -> None:
    """The monthly outputs per customer at which the policy holds, where revenue doesn't depend on use."""
    span = audit.parts.span
    if span is None or not span.days or audit.money.revenue_usd is None or not recurring_only(audit):
        return
    use = [(t.n_outputs, t.cost_usd) for t in audit.customers.values()]
    cap = output_cap(use, allowed_usd)
    most = max((n for n, _ in use), default=Fraction(0))
    entries.add(
        _Entry(
            "allowance_for_policy",
            f"Allowance per customer{_not_seat(audit)} and month, in {audit.project.product.plural()}, for the policy",
            "outputs/month",
            most / span.months,
            None if cap is None else cap / span.months,
            "the cap on every customer's outputs at which cost_usd meets the policy; outputs beyond it cost nothing",
            ("cost_usd", "customer_value_usd", "n_outputs"),
        )
    )


def _not_seat(audit: Audit) -> str:
    """Where a customer has many seats, its allowance is easily read as a seat's."""
    many = any((line.seats or 1) > 1 for line in audit.parts.attribution.all_lines())
    return " (not per seat)" if many else ""


def recurring_only(audit: Audit) -> bool:
    """Whether revenue stays the same however little is used: only then may an allowance be cut without losing it."""
    plans = audit.project.revenue.plans.values()
    return all(not plan.is_use_based() and all(a.beyond != "charge" for a in plan.allowances) for plan in plans)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One thing that could change: its value now, and the value at which it breaks even (None: unknown)."""

    figure_id: str
    what: str
    unit: str
    now: Number | None
    at: Fraction | None
    formula: str
    inputs: tuple[str, ...]


class _Entries:
    """Collects break-even entries; one that isn't known isn't shown."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.figures: Figures = document["figures"]
        self.entries: list[dict[str, Any]] = document["break_even"]

    def add(self, entry: _Entry) -> None:
        if entry.at is None:
            return
        method = weakest(self.figures[i].method for i in entry.inputs)
        self.figures.add(
            Figure(entry.figure_id, entry.what, entry.at, entry.unit, method, "derived", entry.formula, entry.inputs)
        )
        self.entries.append(
            {"what": entry.what, "now": exact_text(entry.now), "at": exact_text(entry.at), "figure": entry.figure_id}
        )


def add_caching(audit: Audit, document: dict[str, Any]) -> None:
    """What the cache saved, and what an unbounded prefix cache could still save."""
    figures: Figures = document["figures"]
    p = audit.parts
    saved = cache_saved_usd(p.pricing, totals(p.con, p.pricing, ("rate_no",)))
    figures.add(
        Figure(
            "cache_saved_usd",
            "Saved by caching",
            saved,
            "usd",
            audit.cost_method,
            "request log × rate cards",
            "Σ cache reads × (input price − cache price) − Σ cache writes × (write price − input price)",
            note="" if saved is not None else "the log shows no cache reads or writes",
        )
    )
    share = repeated_blocks_share(p.con, p.intake.partial)
    if share is None:
        return
    figures.add(
        Figure(
            "prefix_hit_share",
            "Prompt blocks that had been read before",
            share,
            "share",
            "measured",
            "prefix hashes of the log",
            "1 − distinct blocks ÷ blocks read, with an unbounded cache",
        )
    )
    could = cache_could_save_usd(p.con, p.intake.partial, p.pricing, totals(p.con, p.pricing, ("model", "rate_no")))
    figures.add(
        Figure(
            "cache_could_save_usd",
            "An unbounded prefix cache could save",
            could,
            "usd",
            weakest([audit.cost_method, "predicted"]),
            "prefix hashes × rate cards",
            "repeated blocks × 512 tok × (input price − cache-read price): an upper bound",
            ("prefix_hit_share",),
            note="" if could is not None else "a rate has no price for cache reads",
        )
    )

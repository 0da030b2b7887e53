"""Revenue by customer: plans applied to usage over the span of the log, and what comes off beside compute.

revenue = Σ parts;  refunds = refund share × charged;  fees = payment fees on what is charged + cut of the net.
It doesn't read the log and knows no cost of compute. Unknown is never zero: a customer without a plan is
listed as unknown. Enter at `attribute`. Formulas: docs/reference/revenue.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from solvent.errors import RevenueError
from solvent.money.revenue.assumptions import assumptions
from solvent.money.revenue.components import Payer, past_stop, plan_parts
from solvent.money.revenue.customers import read_customers
from solvent.money.revenue.lines import Attribution, CustomerUsage, Part, RevenueLine, Span, exact
from solvent.money.revenue.model import Costs, Plan, RevenueModel
from solvent.money.revenue.net import Net, net_of
from solvent.money.revenue.terms import Terms, TermsBook

__all__ = ["Attribution", "CustomerUsage", "Part", "RevenueLine", "Span", "attribute"]

ZERO = Fraction(0)
NO_PLAN = "no rule gives a plan: add a line to customers.csv, a [[revenue.segments]] or a default_plan"
NO_NAME = "the log names no customer for these requests: name one with [revenue] unnamed_customer"


def attribute(
    model: RevenueModel, costs: Costs, usage: Mapping[str, CustomerUsage], span: Span, folder: Path
) -> Attribution:
    """Revenue, refunds, fees and other cost of every customer in `usage`, and of those who pay without a request.

    usage: by the caller's key for a customer; the lines have the same keys.   folder: of the project file.
    Exactness: all Fractions; totals are sums of lines.
    Raises: RevenueError for a faulty customers.csv, and for customers whose plan needs seats or outcomes that
    nothing states; all of them at once.
    """
    assert span.days >= 0 and span.end >= span.start
    rows = read_customers(folder / model.customers, model.plans) if model.customers else {}
    work = _Work(model, costs, span, TermsBook(model, rows))
    seen: dict[str, str] = {}
    for key, used in usage.items():
        _one_key_per_customer(model, used, key, seen)
        work.add(key, used, idle=False)
    for customer in work.book.named():
        if customer not in seen:
            work.add(customer, CustomerUsage(customer, 0, 0, {}), idle=True)
    work.refuse_missing()
    return Attribution(
        lines=work.lines,
        idle=work.idle,
        unknown=list(work.unknown),
        unknown_why=work.unknown,
        unknown_other_cost_usd=work.unknown_other_cost_usd,
        unallocated_other_cost_usd=exact(costs.other_usd_per_month) * span.months,
        assumptions=assumptions(model, costs, span, work.lines, work.idle),
    )


def _one_key_per_customer(model: RevenueModel, used: CustomerUsage, key: str, seen: dict[str, str]) -> None:
    """A customer under two keys would pay twice."""
    name = model.unnamed_customer if used.customer is None else used.customer
    if name is None:
        return
    if name in seen:
        found = f"unnamed_customer {name!r} is also the name of a customer in the log"
        raise RevenueError("[revenue]", found, "a name that the log doesn't hold", "choose another name")
    seen[name] = key


@dataclass(slots=True)
class _Work:
    """What has been attributed so far."""

    model: RevenueModel
    costs: Costs
    span: Span
    book: TermsBook
    lines: dict[str, RevenueLine] = field(default_factory=dict)
    idle: dict[str, RevenueLine] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    unknown_other_cost_usd: Fraction = ZERO
    missing: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, key: str, used: CustomerUsage, idle: bool) -> None:
        name = self.model.unnamed_customer if used.customer is None else used.customer
        terms = self.book.of_unnamed() if name is None else self.book.of(name)
        if terms is None:
            self.unknown[key] = NO_NAME if name is None else NO_PLAN
            self.unknown_other_cost_usd += self._other_cost(used, ZERO if name is None else self.span.months)
            return
        months = self.span.months_between(terms.started, terms.ended)
        if idle and months == 0:
            return
        other_cost = self._other_cost(used, ZERO if name is None else months)
        line = self._line(key, used, terms, months, other_cost, idle)
        if line is not None:
            (self.idle if idle else self.lines)[key] = line

    def _other_cost(self, used: CustomerUsage, months: Fraction) -> Fraction:
        """Per output, per request, and per customer and month."""
        costs = self.costs
        by_output = exact(costs.other_usd_per_output) * used.n_outputs
        by_request = exact(costs.other_usd_per_request) * used.n_requests
        return by_output + by_request + exact(costs.other_usd_per_customer_month) * months

    def _line(
        self, key: str, used: CustomerUsage, terms: Terms, months: Fraction, other_cost_usd: Fraction, idle: bool
    ) -> RevenueLine | None:
        nets: list[Net] = []
        stopped: list[str] = []
        seats: int | None = None
        for name, share in terms.plans.items():
            plan = self.model.plans[name]
            seats = terms.seats if terms.seats is not None else self.model.usual_seats(plan)
            if self._lacks(key, name, plan, terms, seats):
                return None
            payer = Payer(used, months, seats, terms.outcomes, terms.usd_per_month)
            nets.append(self._net(plan, payer, exact(share)))
            stopped += past_stop(plan, payer)
        parts = tuple(part for net in nets for part in net.parts)
        low, high = _bounds(parts)
        return RevenueLine(
            customer=used.customer,
            plan=terms.plan_text(),
            revenue_usd=_sum(part.usd for part in parts),
            low_usd=low,
            high_usd=high,
            refunds_usd=_sum(net.refunds_usd for net in nets),
            fees_usd=_sum(net.fees_usd for net in nets),
            other_cost_usd=other_cost_usd,
            parts=parts,
            method="assumed",
            source=terms.source,
            months=months,
            seats=seats,
            charged_usd=_sum(part.usd for part in parts if part.charged),
            net_scaling_usd=_sum(net.scaling_usd for net in nets),
            net_fixed_usd=_sum(net.fixed_usd for net in nets),
            plan_names=tuple(terms.plans),
            past_stop=tuple(dict.fromkeys(stopped)),
            idle=idle,
        )

    def _net(self, plan: Plan, payer: Payer, share: Fraction) -> Net:
        parts = plan_parts(self.model, plan, payer)
        if share != 1:
            parts = tuple(part.times(share) for part in parts)
        billed = (
            self.model.plans[plan.free_tier.paid_plan] if plan.free_tier and not plan.has_recurring_price() else plan
        )
        return net_of(plan, parts, self.costs, payer.months, billed.billed_yearly())

    def _lacks(self, key: str, name: str, plan: Plan, terms: Terms, seats: int | None) -> bool:
        """Notes what the plan needs and nothing states; True if there is such a thing."""
        lacks = []
        if seats is None and self.model.needs_seats(plan):
            lacks.append((f"plan {name!r} is by the seat, and nothing says how many seats these have", "seats"))
        if plan.outcome is not None and not plan.outcome.given() and terms.outcomes is None:
            lacks.append((f"plan {name!r} is paid by outcome, and nothing counts the outcomes of these", "outcomes"))
        for what in lacks:
            self.missing.setdefault(what, []).append(key)
        return bool(lacks)

    def refuse_missing(self) -> None:
        """Raises RevenueError if any customer's plan needed what nothing states."""
        if not self.missing:
            return
        faults = []
        for (what, _), keys in self.missing.items():
            shown = ", ".join(key if len(key) <= 40 else key[:39] + "…" for key in keys[:5])
            faults.append(f"{what}: {shown}" + (f" and {len(keys) - 5} more" if len(keys) > 5 else ""))
        columns = " and ".join(dict.fromkeys(column for _, column in self.missing))
        fix = f"add the column {columns} to customers.csv, or a value to the plan (seats, outcome.share)"
        raise RevenueError("[revenue]", " | ".join(faults), fix=fix)


def _bounds(parts: tuple[Part, ...]) -> tuple[Fraction | None, Fraction | None]:
    """Sum of the parts at the ends of their intervals; (None, None) where no part has one."""
    if all(part.low_usd is None for part in parts):
        return None, None
    low = _sum(part.usd if part.low_usd is None else part.low_usd for part in parts)
    high = _sum(part.usd if part.high_usd is None else part.high_usd for part in parts)
    return low, high


def _sum(amounts: Iterable[Fraction]) -> Fraction:
    """Exact sum; adding a zero Fraction costs as much as any, and most parts of most customers are zero."""
    rest = [amount for amount in amounts if amount]
    return rest[0] if len(rest) == 1 else sum(rest, ZERO)

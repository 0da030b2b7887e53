"""What the attribution takes for granted, each in a sentence with its source, for the report to print.

It states and counts; it changes no amount. Enter at `assumptions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from solvent.money.revenue.lines import DAYS_PER_MONTH, RevenueLine, Span, text
from solvent.money.revenue.model import Costs, Plan, RevenueModel, Sample

Assumption = tuple[str, str]
Lines = Mapping[str, RevenueLine]


def assumptions(model: RevenueModel, costs: Costs, span: Span, lines: Lines, idle: Lines) -> list[Assumption]:
    """(text, source) of everything that the lines rest on; empty where no customer has a plan."""
    everyone = [*lines.values(), *idle.values()]
    if not everyone:
        return []
    return [
        *_plans(model, everyone),
        _proration(span),
        *_who(model, everyone, idle),
        *_intervals(model, everyone),
        *_contracts(lines),
        *_costs(costs),
    ]


def _used_plans(everyone: list[RevenueLine]) -> Counter[str]:
    """How many customers are on each plan; the customers of a mix count for each of its plans."""
    counts: Counter[str] = Counter()
    for line in everyone:
        counts.update(line.plan_names)
    return counts


def _plans(model: RevenueModel, everyone: list[RevenueLine]) -> Iterator[Assumption]:
    for name, n in _used_plans(everyone).items():
        plan = model.plans[name]
        yield f"Plan {name}, {_customers(n)}: {_terms_text(plan)}.", plan.source or model.source_text()


def _terms_text(plan: Plan) -> str:
    """The plan as the project file states it: `usd_per_month 20, tokens (usd_per_mtok_input 3, …)`."""
    stated = plan.model_dump(exclude_defaults=True, exclude={"source"})
    return ", ".join(f"{key} {_value_text(value)}" for key, value in stated.items())


def _value_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{k} {_value_text(v)}" for k, v in value.items() if v is not None) + ")"
    if isinstance(value, tuple | list):
        return " and ".join(_value_text(v) for v in value)
    return str(value)


def _proration(span: Span) -> Assumption:
    words = (
        f"Recurring prices and allowances are prorated to the span of the log: {text(span.days)} days"
        f" ÷ {text(DAYS_PER_MONTH)} = {text(span.months)} months, a month being 365.25 ÷ 12 days."
        " Whoever has no start or end date is taken to be on the plan for all of it."
    )
    return words, "span of the log"


def _who(model: RevenueModel, everyone: list[RevenueLine], idle: Lines) -> Iterator[Assumption]:
    if n := sum(line.source == "default_plan" for line in everyone):
        yield f"On the default plan {model.default_plan}, as no rule names them: {_customers(n)}.", model.source_text()
    if model.unnamed_customer is not None:
        yield f"Requests without a customer belong to {model.unnamed_customer}.", model.source_text()
    if idle:
        yield f"Without a request in the log, and paying all the same: {_customers(len(idle))}.", model.source_text()


def _intervals(model: RevenueModel, everyone: list[RevenueLine]) -> Iterator[Assumption]:
    for name in _used_plans(everyone):
        plan = model.plans[name]
        samples = {"outcomes": plan.outcome, "conversions": plan.conversion, "free tier": plan.free_tier}
        for what, sample in samples.items():
            if sample is not None and sample.given():
                yield _sample_text(model, name, what, sample), plan.source or model.source_text()
        if plan.free_tier is not None:
            words = f"Plan {name}: revenue of its customers is what they are expected to pay, not what they paid."
            yield words, plan.source or model.source_text()
    if any("overage" in part.label and part.low_usd is not None for line in everyone for part in line.parts):
        words = (
            "Overage over more than one month: the value takes use as spread evenly over the months, the upper end"
            " as fallen in one month, since what one month leaves can't help the next."
        )
        yield words, "span of the log"


def _sample_text(model: RevenueModel, name: str, what: str, sample: Sample) -> str:
    if sample.trials is None:
        return f"Plan {name}, {what}: a share of {text(sample.value())}, taken as stated."
    level = f"{(model.level * 100).normalize():f}%"
    seen = f"{sample.successes} of {sample.trials} trials"
    return f"Plan {name}, {what}: {seen}, with Jeffreys' {level} interval of the rate."


def _contracts(lines: Lines) -> Iterator[Assumption]:
    if n := sum(line.months == 0 for line in lines.values()):
        yield f"Requests outside the dates of the contract, so no recurring revenue: {_customers(n)}.", "customers"
    if n := sum(bool(line.past_stop) for line in lines.values()):
        yield f"More use than an allowance that should stop it, so served without pay: {_customers(n)}.", "the log"


def _costs(costs: Costs) -> Iterator[Assumption]:
    stated = costs.model_dump(exclude_defaults=True, exclude={"source"})
    amounts = {key: value for key, value in stated.items() if Fraction(value) != 0}
    if not amounts:
        yield "No payment fee, refund or other cost is declared: the margin leaves them out.", costs.source_text()
    else:
        words = ", ".join(f"{key} {value}" for key, value in amounts.items())
        yield f"Costs beside compute: {words}.", costs.source_text()


def _customers(n: int) -> str:
    return f"{n} customer" if n == 1 else f"{n} customers"

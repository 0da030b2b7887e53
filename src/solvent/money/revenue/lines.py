"""The records of attributed revenue: the span, what a customer used, what it pays, and the totals.

Every amount is an exact Fraction; the sum of the lines is the total by construction.
It computes sums and overlaps only; prices are applied in `money.revenue.components`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from solvent.figure import Method, exact_text

# A month is a twelfth of the mean Julian year, 365.25 / 12 days: every month and every year costs the same.
DAYS_PER_MONTH = Fraction(36525, 1200)
MICROSECOND = timedelta(microseconds=1)


@lru_cache(maxsize=4096)
def exact(amount: Decimal) -> Fraction:
    """The amount as a Fraction; kept, since every customer meets the same few prices."""
    return Fraction(amount)


@lru_cache(maxsize=4096)
def text(value: Fraction | Decimal | int) -> str:
    """A number inside a formula: exact up to nine decimal places, else rounded to them."""
    return exact_text(value, 9) or ""


@dataclass(frozen=True, slots=True)
class Span:
    """The time that the log covers: from `start` to `end`, `days` long. Both ends in the same zone, or without one."""

    start: datetime
    end: datetime
    days: Fraction

    @property
    def months(self) -> Fraction:
        """days ÷ 30.4375, exact."""
        return self.days / DAYS_PER_MONTH

    def months_between(self, started: date | None, ended: date | None) -> Fraction:
        """The months of the span on which a contract runs: from the morning of `started` through all of `ended`."""
        if (started and started > self.end.date()) or (ended and ended < self.start.date()):
            return Fraction(0)
        first, last = self.start, self.end
        if started and started > self.start.date():
            first = datetime.combine(started, time.min, self.start.tzinfo)
        if ended and ended < self.end.date():
            last = datetime.combine(ended + timedelta(days=1), time.min, self.end.tzinfo)
        length_us = _elapsed_us(self.start, self.end)
        if length_us == 0:
            return self.months
        return self.months * Fraction(max(0, _elapsed_us(first, last)), length_us)


def _elapsed_us(start: datetime, end: datetime) -> int:
    """Microseconds that pass between two times, over changes of the clock too."""
    if start.tzinfo is not None and end.tzinfo is not None:
        start, end = start.astimezone(UTC), end.astimezone(UTC)
    return (end - start) // MICROSECOND


@dataclass(frozen=True, slots=True)
class CustomerUsage:
    """What one customer used in the span. customer: None where the log names none."""

    customer: str | None
    n_requests: int
    n_outputs: int | Fraction
    buckets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a customer's revenue. low_usd, high_usd: its value at the ends of the interval, or None.

    charged: the customer is billed for it, so payment fees, refunds and price changes apply to it.
    paying_share: the share of such customers who are billed (below 1 in a mix and on a free tier).
    """

    label: str
    formula: str
    usd: Fraction
    low_usd: Fraction | None = None
    high_usd: Fraction | None = None
    charged: bool = True
    paying_share: Fraction = Fraction(1)

    def times(self, share: Fraction) -> Part:
        """The part for the share of a segment's customers who are on this plan."""
        low = None if self.low_usd is None else self.low_usd * share
        high = None if self.high_usd is None else self.high_usd * share
        formula = f"{text(share)} × ({self.formula})"
        return Part(self.label, formula, self.usd * share, low, high, self.charged, self.paying_share * share)


@dataclass(frozen=True, slots=True)
class RevenueLine:
    """One customer's revenue in the span and what is taken off it beside compute.

    net_usd = revenue_usd − refunds_usd − fees_usd = net_scaling_usd + net_fixed_usd, where net_scaling_usd is
    the part that follows the product's own prices and net_fixed_usd (advertising, fees per charge) doesn't.
    low_usd, high_usd: revenue at the ends of the interval; None where no component has one.
    customer: as the log names it; None for requests without a customer.
    past_stop: measures of which the customer used more than an allowance with beyond = "stop" includes.
    """

    customer: str | None
    plan: str
    revenue_usd: Fraction
    low_usd: Fraction | None
    high_usd: Fraction | None
    refunds_usd: Fraction
    fees_usd: Fraction
    other_cost_usd: Fraction
    parts: tuple[Part, ...]
    method: Method
    source: str
    months: Fraction
    seats: int | None
    charged_usd: Fraction
    net_scaling_usd: Fraction
    net_fixed_usd: Fraction
    plan_names: tuple[str, ...] = ()
    past_stop: tuple[str, ...] = ()
    idle: bool = False

    @property
    def net_usd(self) -> Fraction:
        return self.revenue_usd - self.refunds_usd - self.fees_usd


@dataclass(frozen=True, slots=True)
class Attribution:
    """Revenue by customer.

    lines: customers with requests and a plan.   idle: customers who pay and made no request.
    unknown: customers with requests for whom no rule gives a plan (why in `unknown_why`): not zero revenue.
    unknown_other_cost_usd: other cost that they cause.   unallocated_other_cost_usd: of the product as a whole.
    """

    lines: dict[str, RevenueLine]
    idle: dict[str, RevenueLine]
    unknown: list[str]
    unknown_why: dict[str, str]
    unknown_other_cost_usd: Fraction
    unallocated_other_cost_usd: Fraction
    assumptions: list[tuple[str, str]] = field(default_factory=list)

    def all_lines(self) -> Iterable[RevenueLine]:
        yield from self.lines.values()
        yield from self.idle.values()

    @property
    def complete(self) -> bool:
        """Whether every customer's revenue is known; if not, the totals leave out the unknown ones."""
        return not self.unknown

    @property
    def revenue_usd(self) -> Fraction | None:
        """Of all lines; None where there is none: unknown, not zero."""
        return _total(line.revenue_usd for line in self.all_lines()) if self.lines or self.idle else None

    @property
    def low_usd(self) -> Fraction | None:
        return self._bound([line.low_usd for line in self.all_lines()])

    @property
    def high_usd(self) -> Fraction | None:
        return self._bound([line.high_usd for line in self.all_lines()])

    @property
    def refunds_usd(self) -> Fraction:
        return _total(line.refunds_usd for line in self.all_lines())

    @property
    def fees_usd(self) -> Fraction:
        return _total(line.fees_usd for line in self.all_lines())

    @property
    def other_cost_usd(self) -> Fraction:
        """All of it: of the lines, of the customers without a plan, and what belongs to no customer."""
        by_line = _total(line.other_cost_usd for line in self.all_lines())
        return by_line + self.unknown_other_cost_usd + self.unallocated_other_cost_usd

    def _bound(self, bounds: list[Fraction | None]) -> Fraction | None:
        """Sum of the lines' bounds, a line without one at its value: exact where one sampled rate serves all
        lines, wider than need be where several do."""
        if all(bound is None for bound in bounds):
            return None
        lines = self.all_lines()
        return _total(line.revenue_usd if b is None else b for line, b in zip(lines, bounds, strict=True))


def _total(amounts: Iterable[Fraction]) -> Fraction:
    return sum(amounts, Fraction(0))

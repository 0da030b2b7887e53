"""Who is on which plan: customers.csv first, then the segments in their order, then the default plan.

It decides terms and computes no money. A customer for whom nothing applies is unknown, never free.
Enter at `TermsBook`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fnmatch import translate

from solvent.money.revenue.customers import CustomerRow
from solvent.money.revenue.model import RevenueModel, Segment

_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a customer has agreed to. plans: the plan with share 1, or the mix among a segment's customers."""

    plans: dict[str, Decimal]
    source: str
    seats: int | None = None
    started: date | None = None
    ended: date | None = None
    outcomes: int | None = None
    usd_per_month: Decimal | None = None

    def plan_text(self) -> str:
        if len(self.plans) == 1:
            return next(iter(self.plans))
        return " + ".join(f"{(share * 100).normalize():f}% {name}" for name, share in self.plans.items())


class TermsBook:
    """The terms of every customer, by name."""

    def __init__(self, model: RevenueModel, rows: dict[str, CustomerRow]) -> None:
        self._model = model
        self._rows = rows
        self._exact: dict[str, int] = {}
        self._globs: list[tuple[re.Pattern[str], int]] = []
        for i, segment in enumerate(model.segments):
            for name in segment.customers:
                if _GLOB.search(name):
                    self._globs.append((re.compile(translate(name)), i))
                else:
                    self._exact.setdefault(name, i)

    def of(self, customer: str) -> Terms | None:
        """The customer's terms, or None where no rule gives any."""
        row = self._rows.get(customer)
        if row is not None:
            source = f"{self._model.customers}:{row.line}"
            outcomes, agreed = row.outcomes, row.usd_per_month
            return Terms({row.plan: Decimal(1)}, source, row.seats, row.started, row.ended, outcomes, agreed)
        i = self._segment(customer)
        if i is not None:
            return _segment_terms(self._model.segments[i], i)
        if self._model.default_plan is not None:
            return Terms({self._model.default_plan: Decimal(1)}, "default_plan")
        return None

    def of_unnamed(self) -> Terms | None:
        """Terms of requests that name no customer: the default plan where it charges by use alone, since a
        recurring price needs a number of customers that nobody knows."""
        name = self._model.default_plan
        if name is None or self._model.plans[name].recurs() or self._model.plans[name].allowances:
            return None
        return Terms({name: Decimal(1)}, "default_plan")

    def named(self) -> list[str]:
        """Customers that the project names in full: they pay whether the log holds requests of theirs or not."""
        return list(dict.fromkeys([*self._rows, *self._exact]))

    def _segment(self, customer: str) -> int | None:
        """The first segment that matches, by name or by glob."""
        found = self._exact.get(customer)
        for pattern, i in self._globs:
            if found is not None and i >= found:
                break
            if pattern.match(customer):
                return i
        return found


def _segment_terms(segment: Segment, i: int) -> Terms:
    source = segment.source or f"segments[{i}]"
    return Terms(segment.plans(), source, segment.seats, segment.started, segment.ended)

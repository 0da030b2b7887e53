"""A report may come from anywhere: the numbers that stress computes with are checked before it does.

Amounts and counts are finite, not negative, and no larger than a planet spends; methods are known words. What the
numbers mean is the audit's. Enter at `check_numbers`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from solvent.errors import ReportError
from solvent.figure import METHODS

MAX_AMOUNT = 1e18
# A tenth of a second: a month at the pace of less is no month.
MIN_DAYS = 1e-6
MAX_DIGITS = 1_000
_FRACTION = re.compile(r"([0-9]+)/([0-9]+)")
SCHEMA = "solvent.statement/1"
_FIGURES = (
    "cost_usd", "revenue_usd", "refunds_usd", "fees_usd", "other_cost_usd", "customer_value_usd", "n_outputs",
    "n_customers", "cost_per_value",
)  # fmt: skip
_CELLS = ("cost_usd", "revenue_usd", "n_outputs")


def check_numbers(document: Mapping[str, Any]) -> None:
    """Raises: ReportError that names the first number that can't be computed with; passes what isn't a statement."""
    if document.get("schema") != SCHEMA:
        return
    try:
        for where, value in _numbers(document):
            _check(where, value)
        for name in ("rows_in", "unpriced", "rejected"):
            count = document.get("accounting", {}).get(name, 0)
            if not isinstance(count, int) or count < 0:
                raise _fault(f"accounting.{name}", count, "a whole number")
        days = document.get("span", {}).get("days")
        if days is not None and 0 < float(days) < MIN_DAYS:
            raise _fault("span.days", days, f"at least {MIN_DAYS:g} days, or none")
        for name in _FIGURES:
            method = document["figures"].get(name, {}).get("method", "measured")
            if method not in METHODS:
                raise _fault(f"figures.{name}.method", method, "one of " + ", ".join(METHODS))
    except (KeyError, TypeError, AttributeError) as fault:
        raise _fault("statement", str(fault)[:80], "the shape of a statement") from None


def _numbers(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    figures, tables = document["figures"], document["tables"]
    for name in _FIGURES:
        for end in ("value", "low", "high"):
            yield f"figures.{name}.{end}", figures.get(name, {}).get(end)
    for i, row in enumerate(tables.get("customers", {}).get("rows", [])):
        for key in _CELLS:
            yield f"tables.customers.rows.{i}.{key}", row.get(key)
    for i, row in enumerate(tables.get("prices", {}).get("rows", [])):
        yield f"tables.prices.rows.{i}.cost_usd", row.get("cost_usd")
    for name, model in document.get("basis", {}).get("models", {}).items():
        for bucket, usd in model.get("usd", {}).items():
            yield f"basis.models.{str(name)[:60]}.usd.{str(bucket)[:60]}", _whole(usd)
    yield "span.days", document.get("span", {}).get("days")
    yield "verdict.policy.limit", document["verdict"]["policy"].get("limit")


def _whole(text: Any) -> Any:
    """The number of an exact fraction in text, such as 32771647/800000; else the text, for `_check` to name."""
    if isinstance(text, str) and len(text) <= MAX_DIGITS and (match := _FRACTION.fullmatch(text)) and int(match[2]):
        return float(Fraction(int(match[1]), int(match[2])))
    return text


def _check(where: str, value: Any) -> None:
    if value is None:
        return
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number <= MAX_AMOUNT:
        raise _fault(where, value, f"a number from 0 to {MAX_AMOUNT:g}")


def _fault(where: str, found: object, expected: str) -> ReportError:
    return ReportError(f"report: {where}", repr(found)[:60], expected, "name a report that `solvent audit` wrote")

"""A figure: a number with its unit, interval, method, source and date, and the figures it came from.

A figure never loses its lineage, and unknown is never zero: an unknown value is `None`.
Money stays an exact `Fraction` (or `Decimal`, `int`) until it is printed: `exact_text` is
the one place where a value becomes text.
Enter at `Figure` and `Figures`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

Method = Literal["measured", "priced", "predicted", "assumed", "claimed"]
Number = int | float | Decimal | Fraction

# How little one may rely on a figure: a derived figure takes the weakest method among its inputs.
METHODS: tuple[Method, ...] = ("measured", "priced", "predicted", "assumed", "claimed")

MONEY_PLACES = 18


def weakest(methods: Iterable[Method]) -> Method:
    """The method that a figure derived from figures with these methods carries."""
    return max(methods, key=METHODS.index, default="measured")


def exact_text(value: Number | None, places: int = MONEY_PLACES) -> str | None:
    """The value as plain decimal text: exact where it terminates within `places`, else rounded half-even."""
    if value is None:
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Decimal):
        value = Fraction(value)
    whole, rest = divmod(abs(value.numerator) * 10**places, value.denominator)
    twice = 2 * rest
    if twice > value.denominator or (twice == value.denominator and whole % 2):
        whole += 1
    sign = "-" if value < 0 and whole else ""
    digits = str(whole).rjust(places + 1, "0")
    head, tail = digits[: len(digits) - places], digits[len(digits) - places :].rstrip("0")
    return f"{sign}{head}.{tail}" if tail else f"{sign}{head}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its lineage.

    value: exact, or None where it is unknown.   low, high: the interval at `level`, or None.
    inputs: ids of the figures that `formula` combines.
    """

    id: str
    label: str
    value: Number | None
    unit: str
    method: Method
    source: str
    formula: str = ""
    inputs: tuple[str, ...] = ()
    low: Number | None = None
    high: Number | None = None
    level: float | None = None
    date: str | None = None
    note: str = ""

    def document(self) -> dict[str, Any]:
        """The figure as JSON-ready fields; empty fields are left out, `value` never is."""
        fields: dict[str, Any] = {
            "label": self.label,
            "value": exact_text(self.value),
            "unit": self.unit,
            "method": self.method,
            "source": self.source,
            "formula": self.formula,
            "inputs": list(self.inputs),
            "low": exact_text(self.low),
            "high": exact_text(self.high),
            "level": self.level,
            "date": self.date,
            "note": self.note,
        }
        return {k: v for k, v in fields.items() if k == "value" or v not in (None, "", [])}


@dataclass(slots=True)
class Figures:
    """The figures of one document, by id, in the order in which they were added."""

    by_id: dict[str, Figure] = field(default_factory=dict)

    def add(self, figure: Figure) -> Figure:
        """Adds a figure; an id that is taken or an input that isn't there is our own bug."""
        assert figure.id not in self.by_id, f"figure {figure.id} added twice"
        for name in figure.inputs:
            assert name in self.by_id, f"figure {figure.id} names {name}, which isn't there"
        self.by_id[figure.id] = figure
        return figure

    def __getitem__(self, figure_id: str) -> Figure:
        return self.by_id[figure_id]

    def document(self) -> dict[str, dict[str, Any]]:
        return {name: figure.document() for name, figure in self.by_id.items()}

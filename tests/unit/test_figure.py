"""A figure's value becomes text in one place: exact where it terminates, else rounded once, half to even."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.figure import Figure, Figures, exact_text, weakest


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (Fraction(1, 4), 18, "0.25"), (Fraction(-1, 8), 2, "-0.12"), (Fraction(3, 8), 2, "0.38"),
        (Fraction(1, 3), 3, "0.333"), (Fraction(2, 3), 3, "0.667"), (Fraction(-1, 10**9), 3, "0"),
        (Fraction(12), 18, "12"), (Decimal("1.50"), 18, "1.5"), (Fraction(1, 2), 0, "0"), (Fraction(3, 2), 0, "2"),
        (7, 18, "7"), (None, 18, None),
    ],
)  # fmt: skip
def test_known_texts(value: object, places: int, text: str | None) -> None:
    assert exact_text(value, places) == text  # type: ignore[arg-type]


@given(st.fractions(), st.integers(0, 30))
def test_equals_decimal_rounding(value: Fraction, places: int) -> None:
    with localcontext() as context:
        context.prec = 2000
        oracle = (Decimal(value.numerator) / Decimal(value.denominator)).quantize(
            Decimal(1).scaleb(-places), ROUND_HALF_EVEN
        )
    found = exact_text(value, places)
    assert found is not None
    assert Decimal(found) == oracle
    assert ("E" not in found and not found.startswith("-0")) or Decimal(found) != 0


def test_a_derived_figure_is_as_weak_as_its_weakest_input() -> None:
    assert weakest(["measured", "assumed", "priced"]) == "assumed"
    assert weakest([]) == "measured"


def test_unknown_is_kept_and_inputs_must_exist() -> None:
    figures = Figures()
    figures.add(Figure("a", "A", None, "usd", "measured", "log"))
    assert figures.document()["a"]["value"] is None
    with pytest.raises(AssertionError):
        figures.add(Figure("b", "B", 1, "usd", "measured", "log", inputs=("missing",)))

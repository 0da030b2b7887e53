"""A number as stated, and the range its wording allows."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from solvent.money.claims.stated import MAX_DIGITS, MAX_POWER, Tolerance, Unreadable, leading_power, read, written

AS_WRITTEN = Tolerance()


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (130, "125", "135"),
        ("130", "125", "135"),
        ("130.0", "129.95", "130.05"),
        (Decimal("1.30"), "1.295", "1.305"),
        ("1.30", "1.295", "1.305"),
        (15_000_000, "14500000", "15500000"),
        ("15,000,000", "14500000", "15500000"),
        (1_300, "1250", "1350"),
        (7, "6.5", "7.5"),
        (10, "5", "15"),
        (0, "-0.5", "0.5"),
        ("0.00", "-0.005", "0.005"),
        ("4.5e6", "4450000", "4550000"),
        ("4.50e6", "4495000", "4505000"),
        (Decimal("4.5E+6"), "4450000", "4550000"),
        ("1e3", "500", "1500"),
        ("25%", "0.245", "0.255"),
        ("30%", "0.25", "0.35"),
        ("0.5 %", "0.0045", "0.0055"),
        ("-3", "-3.5", "-2.5"),
        (["1.09", "1.30"], "1.09", "1.30"),
        ([Decimal("-1"), 2], "-1", "2"),
    ],
)
def test_the_range_that_a_wording_allows(value: Any, low: str, high: str) -> None:
    stated = read(value, AS_WRITTEN)
    assert (stated.low, stated.high) == (Fraction(low), Fraction(high))
    assert stated.value == (stated.low + stated.high) / 2


@pytest.mark.parametrize(
    ("value", "tolerance", "half"),
    [
        (130, Tolerance(digits=3), "0.5"),
        (130, Tolerance(digits=1), "50"),
        ("0.0123", Tolerance(digits=2), "0.0005"),
        (999, Tolerance(digits=2), "5"),
        (1000, Tolerance(digits=2), "50"),
        (8, Tolerance(plus_minus=Fraction(2)), "2"),
        (-8, Tolerance(percent=Fraction(5)), "0.4"),
        (130, Tolerance(exact=True), "0"),
    ],
)
def test_a_tolerance_says_it_outright(value: int | str, tolerance: Tolerance, half: str) -> None:
    stated = read(value, tolerance)
    assert stated.high - stated.value == stated.value - stated.low == Fraction(half)


@pytest.mark.parametrize(
    "value",
    [
        True, None, 1.5, {}, b"1", "", "one", "1 2", "0x10", "1.2.3", "130.", "--1", "١٢", "1e31", "1e-31",
        "1e999999999", Decimal("NaN"), Decimal("Infinity"), Decimal("1e999999"), 10**MAX_DIGITS, "9" * (MAX_DIGITS + 1),
        "9" * 10**6, [1], [1, 2, 3], [2, 1], ["1", True], [[1, 2], 3],
    ],
)  # fmt: skip
def test_what_is_no_bounded_number_is_refused(value: Any) -> None:
    with pytest.raises(Unreadable, match=r"expected|more than"):
        read(value, AS_WRITTEN)


def test_the_bounds_themselves_are_allowed() -> None:
    assert read("9" * MAX_DIGITS, AS_WRITTEN).value == 10**MAX_DIGITS - 1
    assert read(f"1e-{MAX_POWER}", AS_WRITTEN).value == Fraction(1, 10**MAX_POWER)


def test_a_range_takes_no_tolerance_and_zero_no_digits() -> None:
    with pytest.raises(Unreadable, match="one or the other"):
        read([1, 2], Tolerance(digits=1))
    with pytest.raises(Unreadable, match="plus_minus"):
        read(0, Tolerance(digits=2))


@pytest.mark.parametrize(
    ("value", "power"), [("1", 0), ("9.99", 0), ("10", 1), ("0.1", -1), ("0.099", -2), ("-1000", 3)]
)
def test_leading_power_is_exact(value: str, power: int) -> None:
    assert leading_power(Fraction(value)) == power


def test_written_keeps_the_text_without_separators() -> None:
    assert written("1_300").text == "1300"

"""A number as somebody stated it, and the range of values that its wording allows.

"1.30" allows 1.295 to 1.305; 15_000_000 allows 14.5 to 15.5 million, because the zeros at the end of a whole
number may be rounding; [1.09, 1.30] allows itself; a tolerance says it outright.
Exact throughout: decimal text in, `Fraction` out. Bounded: at most 40 digits and powers of ten from −30 to 30.
Enter at `read`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_DIGITS, MAX_POWER = 40, 30
NUMBER = re.compile(
    r"(?P<sign>[-+]?)(?P<head>\d[\d_,]*)(?P<tail>\.\d+)?(?:[eE](?P<power>[-+]?\d{1,3}))?\s*(?P<percent>%?)",
    re.ASCII,
)
HALF = Fraction(1, 2)


class Unreadable(ValueError):
    """The text or value is no number that a claim can state; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How loosely a number is stated; at most one of them is set, none means as written.

    digits: significant digits.   plus_minus: absolute half-width.   percent: half-width relative to the value.
    """

    digits: int | None = None
    plus_minus: Fraction | None = None
    percent: Fraction | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Stated:
    """A stated number: its value (the middle, where a range was stated) and the closed range it allows."""

    value: Fraction
    low: Fraction
    high: Fraction
    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """A number as written: its value, and the worth of one unit in its last significant digit."""

    value: Fraction
    last_digit: Fraction
    text: str


def read(value: Any, tolerance: Tolerance) -> Stated:
    """The range that a stated value allows: value ± half a unit of its last digit, or ± the tolerance.

    value: int, Decimal, text such as "1.30", "25%" or "4.5e6", or [low, high].   Exactness: exact.
    Raises: Unreadable.
    """
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise Unreadable(f"a list of {len(value)}; expected [low, high]")
        if tolerance != Tolerance():
            raise Unreadable("a range with a tolerance; expected one or the other")
        low, high = written(value[0]), written(value[1])
        if low.value > high.value:
            raise Unreadable(f"a range from {low.text} down to {high.text}; expected [low, high]")
        return Stated((low.value + high.value) / 2, low.value, high.value, f"{low.text} to {high.text}")
    number = written(value)
    half = _half_width(number, tolerance)
    return Stated(number.value, number.value - half, number.value + half, number.text)


def written(value: Any) -> Written:
    """A number as written, with the worth of its last significant digit. Raises: Unreadable."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise Unreadable(f'{type(value).__name__}; expected a number, a text such as "1.30", or [low, high]')
    if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        raise Unreadable(f"more than {MAX_DIGITS} digits")
    text = str(value).strip()
    match = NUMBER.fullmatch(text) if len(text) <= 2 * MAX_DIGITS else None
    if match is None:
        raise Unreadable(f"{text[:40]!r}; expected a number such as 130, 1.30, 4.5e6 or 25%")
    return _number(match, text)


def _number(match: re.Match[str], text: str) -> Written:
    head, tail = re.sub("[_,]", "", match["head"]), (match["tail"] or "")[1:]
    power = int(match["power"] or 0)
    if len(head) + len(tail) > MAX_DIGITS or abs(power) > MAX_POWER:
        raise Unreadable(f"{text[:40]!r}; expected at most {MAX_DIGITS} digits and a power of ten within ±{MAX_POWER}")
    # Without a decimal point or a power, zeros at the end may stand for rounding.
    whole = head.rstrip("0") if not tail and match["power"] is None else head
    rounded_off = len(head) - len(whole) if whole else 0
    exponent = power - len(tail) - (2 if match["percent"] else 0)
    value = int(head + tail) * Fraction(10) ** exponent
    shown = re.sub("[_,]", "", text)
    return Written(-value if match["sign"] == "-" else value, Fraction(10) ** (exponent + rounded_off), shown)


def _half_width(number: Written, tolerance: Tolerance) -> Fraction:
    if tolerance.exact:
        return Fraction(0)
    if tolerance.plus_minus is not None:
        return tolerance.plus_minus
    if tolerance.percent is not None:
        return abs(number.value) * tolerance.percent / 100
    if tolerance.digits is None:
        return number.last_digit * HALF
    if number.value == 0:
        raise Unreadable("zero with `digits`; expected `plus_minus`, for zero has no significant digits")
    return Fraction(10) ** (leading_power(number.value) - tolerance.digits + 1) * HALF


def leading_power(value: Fraction) -> int:
    """The largest k with 10^k ≤ |value|, exactly; value ≠ 0."""
    value = abs(value)
    power = len(str(value.numerator)) - len(str(value.denominator))
    return power if value >= Fraction(10) ** power else power - 1

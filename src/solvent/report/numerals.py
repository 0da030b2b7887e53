"""Decimal text as a person reads it: $1,234.56, $0.00123, 12.3%, 74,416.

It rounds for the eye only; the exact value stays in the lineage. Rounding is half-even, on decimals, never
through a float. assets/report.js repeats these rules for the rows that a browser draws; a test holds them together.
Enter at `human` (a value with its unit), `unit_words`, `interval`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

UNKNOWN = "unknown"
DECIMAL = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?")
# Wide enough for any text that DECIMAL admits, so that nothing but `_places` ever rounds; `abs` and the operators
# would round to the 28 digits of the default context.
_CONTEXT = Context(prec=2000, rounding=ROUND_HALF_EVEN, Emin=-9999, Emax=9999)
# Below this a dollar amount has more leading zeros than a reader counts.
_TINY_USD = Decimal("1e-9")
_MONEY = ("usd", "usd/output", "usd/request", "usd/usd", "usd/month", "usd/day", "usd/h")
_PER = {"usd/request": "per request", "usd/usd": "per $1", "usd/month": "per month", "usd/day": "per day",
        "usd/h": "per hour", "outputs/month": "per month"}  # fmt: skip


def decimal(value: object) -> Decimal | None:
    """The number that a cell holds, or None where it holds none."""
    if isinstance(value, bool) or value is None:
        return None
    text = str(value)
    return Decimal(text) if DECIMAL.fullmatch(text) else None


def human(value: object, unit: str) -> str:
    """A value (decimal text, text or None) as read by a person, without the words of its unit."""
    if value is None:
        return UNKNOWN
    number = decimal(value)
    if number is None:
        return str(value)
    if unit in _MONEY:
        return money(number)
    if unit == "share":
        return percent(number)
    if unit in ("tok", "tok/output"):
        return compact(number)
    if unit == "µs":
        return grouped(_CONTEXT.divide(number, Decimal(1_000_000)), 1) + " s"
    if unit in ("count", "outputs/month"):
        return grouped(number, 0 if number == number.to_integral_value() else 2)
    return significant(number, 3)


def unit_words(unit: str, product: Mapping[str, Any]) -> str:
    """The words that follow a number: 'per review', 'days'; empty where the number says it all."""
    output = str(product.get("output") or "output")
    if unit in ("usd/output", "tok/output"):
        return ("tokens " if unit == "tok/output" else "") + f"per {output}"
    if unit == "outputs/month":
        return f"{product.get('output_plural') or output + 's'} per month"
    return _PER.get(unit) or {"tok": "tokens", "days": "days"}.get(unit, "")


def interval(figure: Mapping[str, Any]) -> str:
    """'$1.10 to $1.30' where the figure has an interval, else empty."""
    low, high = figure.get("low"), figure.get("high")
    if low is None or high is None:
        return ""
    unit = str(figure.get("unit", ""))
    return f"{human(low, unit)} to {human(high, unit)}"


def level(figure: Mapping[str, Any]) -> str:
    """'95% interval' where the figure has one."""
    stated = decimal(figure.get("level"))
    return "interval" if stated is None else f"{percent(stated).removesuffix('.0%').removesuffix('%')}% interval"


def money(usd: Decimal) -> str:
    """Cents from a dollar up, no cents from a million up, three significant digits below a dollar."""
    size = usd.copy_abs()
    sign = "−" if usd < 0 else ""
    if size == 0:
        return "$0"
    if size < _TINY_USD:
        return f"{sign}${_scientific(size)}"
    if size >= 1_000_000:
        return f"{sign}${grouped(size, 0)}"
    if size >= 1:
        return f"{sign}${grouped(size, 2)}"
    return f"{sign}${_fixed(size, max(2, 2 - size.adjusted()))}"


def percent(share: Decimal) -> str:
    """One decimal from 0.1% up, two significant digits below, none where the share is 0 or 1."""
    hundredfold = _CONTEXT.multiply(share, Decimal(100))
    size = hundredfold.copy_abs()
    if size in (0, 100):
        return _signed(grouped(hundredfold, 0)) + "%"
    if size < Decimal("1e-6"):
        return ("−" if share < 0 else "") + _scientific(size) + "%"
    return _signed(grouped(hundredfold, 1 if size >= Decimal("0.1") else 1 - size.adjusted())) + "%"


def compact(number: Decimal) -> str:
    """In full below ten million, then 12.3M, 12.3B, 12.3T."""
    size = number.copy_abs()
    for limit, divisor, letter in (("1e13", "1e12", "T"), ("1e10", "1e9", "B"), ("1e7", "1e6", "M")):
        if size >= Decimal(limit):
            return grouped(_CONTEXT.divide(number, Decimal(divisor)), 1) + letter
    return grouped(number, 0 if number == number.to_integral_value() else 1)


def grouped(number: Decimal, places: int) -> str:
    """With thousands separators and a real minus sign: −1,234.50."""
    return _signed(f"{_places(number, places):,f}")


def significant(number: Decimal, digits: int) -> str:
    """At least `digits` significant digits, all of the whole part, no trailing zeros."""
    if number == 0:
        return "0"
    if number.copy_abs() < _TINY_USD:
        return ("−" if number < 0 else "") + _scientific(number.copy_abs())
    text = f"{_places(number, max(0, digits - 1 - number.adjusted())):,f}"
    return _signed(text.rstrip("0").rstrip(".") if "." in text else text)


def _places(number: Decimal, places: int) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-places), context=_CONTEXT)


def _fixed(number: Decimal, places: int) -> str:
    """Fixed places with trailing zeros cut back to two."""
    text = f"{_places(number, places):f}"
    head, _, tail = text.partition(".")
    return f"{head}.{tail[:2]}{tail[2:].rstrip('0')}"


def _scientific(size: Decimal) -> str:
    digits, exponent = f"{size:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def _signed(text: str) -> str:
    return text.replace("-", "−")

"""Exact interval arithmetic over rationals: every result holds all values the operation can take.

A bound is a `Fraction`, or ±infinity (the only floats). Bounds are closed. Nothing here rounds but `coarse`,
which rounds outward, so that long computations don't grow without limit.
Source: extended division as in Hansen and Walster, Global Optimization Using Interval Analysis, §4.
"""

from __future__ import annotations

import math
from fractions import Fraction

Bound = Fraction | float
Interval = tuple[Bound, Bound]

INF = math.inf
ALL: Interval = (-INF, INF)
ZERO = Fraction(0)
# Bounds keep at least this many significant bits (27 decimal digits); points are kept exact up to the second.
COARSE_BITS, EXACT_BITS = 90, 4096


class NoValue(Exception):
    """No value is possible: the intersection is empty."""


def point(value: Fraction) -> Interval:
    return (value, value)


def contains(x: Interval, value: Bound) -> bool:
    return x[0] <= value <= x[1]


def is_point(x: Interval) -> bool:
    return x[0] == x[1]


def is_finite(x: Interval) -> bool:
    return isinstance(x[0], Fraction) and isinstance(x[1], Fraction)


def meet(x: Interval, y: Interval) -> Interval:
    """Values in both. Raises: NoValue."""
    low, high = max(x[0], y[0]), min(x[1], y[1])
    if low > high:
        raise NoValue
    return (low, high)


def add(x: Interval, y: Interval) -> Interval:
    return (_sum(x[0], y[0]), _sum(x[1], y[1]))


def subtract(x: Interval, y: Interval) -> Interval:
    return (_sum(x[0], -y[1]), _sum(x[1], -y[0]))


def multiply(x: Interval, y: Interval) -> Interval:
    if x[0] >= 0 and y[0] >= 0:
        return (_product(x[0], y[0]), _product(x[1], y[1]))
    ends = [_product(a, b) for a in x for b in y]
    return (min(ends), max(ends))


def divide(x: Interval, y: Interval) -> Interval:
    """Hull of x ÷ y over y ≠ 0. Raises: NoValue where y can only be zero."""
    return hull([multiply(x, piece) for piece in _reciprocals(y)])


def factor(product: Interval, other: Interval, within: Interval) -> Interval:
    """Hull of the values in `within` that, times some value in `other`, give a value in `product`.

    Raises: NoValue.
    """
    if contains(other, ZERO) and contains(product, ZERO):
        return within
    pieces = []
    for piece in _reciprocals(other):
        low, high = multiply(product, piece)
        low, high = max(low, within[0]), min(high, within[1])
        if low <= high:
            pieces.append((low, high))
    return hull(pieces)


def hull(pieces: list[Interval]) -> Interval:
    if not pieces:
        raise NoValue
    return (min(low for low, _ in pieces), max(high for _, high in pieces))


def coarse(x: Interval) -> Interval:
    """The interval, rounded outward where its bounds have become long; a point stays exact while it is short."""
    low, high = x
    limit = EXACT_BITS if low == high else 2 * COARSE_BITS
    return (_shorter(low, limit, up=False), _shorter(high, limit, up=True))


def nearest(x: Interval, value: Fraction) -> Fraction:
    """The value of the interval that lies nearest to `value`."""
    low, high = x
    if isinstance(low, Fraction) and value < low:
        return low
    if isinstance(high, Fraction) and value > high:
        return high
    return value


def _reciprocals(y: Interval) -> list[Interval]:
    low, high = y
    if low > 0 or high < 0:
        return [(_inverse(high), _inverse(low))]
    pieces: list[Interval] = []
    if low < 0:
        pieces.append((-INF, _inverse(low)))
    if high > 0:
        pieces.append((_inverse(high), INF))
    if not pieces:
        raise NoValue
    return pieces


def _inverse(a: Bound) -> Fraction:
    return 1 / a if isinstance(a, Fraction) else ZERO


def _sum(a: Bound, b: Bound) -> Bound:
    # A float is ±infinity; adding it to a long Fraction would overflow.
    if isinstance(a, float):
        return a
    if isinstance(b, float):
        return b
    return a + b


def _product(a: Bound, b: Bound) -> Bound:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a * b
    if a == 0 or b == 0:
        return ZERO
    return INF if (a > 0) == (b > 0) else -INF


def _shorter(a: Bound, limit: int, *, up: bool) -> Bound:
    if isinstance(a, float) or a.numerator.bit_length() + a.denominator.bit_length() <= limit:
        return a
    shift = COARSE_BITS - (a.numerator.bit_length() - a.denominator.bit_length())
    scaled = a * Fraction(2) ** shift
    whole = -(-scaled.numerator // scaled.denominator) if up else scaled.numerator // scaled.denominator
    return Fraction(whole) / Fraction(2) ** shift

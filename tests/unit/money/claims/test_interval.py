"""Interval arithmetic: each operation against a grid of points, with zero and infinity at every place."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction

import pytest

from solvent.money.claims import interval
from solvent.money.claims.interval import ALL, INF, Interval, NoValue

ENDS = [-INF, Fraction(-3), Fraction(-1, 2), Fraction(0), Fraction(2, 3), Fraction(5), INF]
SPANS: list[Interval] = [
    (a, b) for a, b in itertools.combinations_with_replacement(ENDS, 2) if (a, b) not in ((INF, INF), (-INF, -INF))
]
POINTS = [Fraction(n, 6) for n in range(-24, 37, 2)]
OPERATIONS: list[tuple[Callable[[Interval, Interval], Interval], Callable[[Fraction, Fraction], Fraction]]] = [
    (interval.add, lambda a, b: a + b),
    (interval.subtract, lambda a, b: a - b),
    (interval.multiply, lambda a, b: a * b),
    (interval.divide, lambda a, b: a / b),
]


def inside(span: Interval) -> list[Fraction]:
    ends = [end for end in span if isinstance(end, Fraction)]
    return [p for p in POINTS if interval.contains(span, p)] + ends


@pytest.mark.parametrize(("on_spans", "on_points"), OPERATIONS, ids=["add", "subtract", "multiply", "divide"])
def test_every_value_is_inside_the_result(
    on_spans: Callable[[Interval, Interval], Interval], on_points: Callable[[Fraction, Fraction], Fraction]
) -> None:
    for x, y in itertools.product(SPANS, SPANS):
        try:
            result = on_spans(x, y)
        except NoValue:
            assert on_spans is interval.divide and y == (0, 0)
            continue
        for a, b in itertools.product(inside(x)[::5] + inside(x)[-2:], inside(y)[::5] + inside(y)[-2:]):
            if not (on_spans is interval.divide and b == 0):
                assert interval.contains(result, on_points(a, b)), (x, y, a, b, result)


def exact(span: Interval) -> Interval:
    low, high = (end if abs(end) == INF else Fraction(end) for end in span)
    return (low, high)


@pytest.mark.parametrize(
    ("x", "y", "product", "quotient"),
    [
        ((2, 3), (4, 5), (8, 15), (Fraction(2, 5), Fraction(3, 4))),
        ((-2, 3), (4, 5), (-10, 15), (Fraction(-1, 2), Fraction(3, 4))),
        ((2, 3), (-1, 1), (-3, 3), ALL),
        ((2, 3), (0, 1), (0, 3), (2, INF)),
        ((2, 3), (-1, 0), (-3, 0), (-INF, -2)),
        ((0, 1), (0, INF), (0, INF), (0, INF)),
        ((-INF, INF), (0, 0), (0, 0), None),
    ],
)
def test_results_are_tight(x: Interval, y: Interval, product: Interval, quotient: Interval | None) -> None:
    x, y = exact(x), exact(y)
    assert interval.multiply(x, y) == product
    if quotient is None:
        with pytest.raises(NoValue):
            interval.divide(x, y)
    else:
        assert interval.divide(x, y) == quotient


def test_a_factor_lies_on_either_side_of_zero() -> None:
    one, two = Fraction(1), Fraction(2)
    # x · y = 1 to 2 with y from −1 to 1: |x| ≥ 1, so within 0 to 10 it is 1 to 10.
    assert interval.factor((one, two), (-one, one), (Fraction(0), Fraction(10))) == (1, 10)
    assert interval.factor((one, two), (-one, one), (Fraction(-10), Fraction(10))) == (-10, 10)
    with pytest.raises(NoValue):
        interval.factor((one, two), (-one, one), (Fraction(-1, 2), Fraction(1, 2)))
    with pytest.raises(NoValue):
        interval.factor((one, two), (Fraction(0), Fraction(0)), ALL)
    # Zero times anything is zero: nothing is learnt.
    assert interval.factor((-one, two), (-one, one), (one, two)) == (1, 2)


def test_meet_is_closed() -> None:
    assert interval.meet((Fraction(0), Fraction(1)), (Fraction(1), INF)) == (1, 1)
    with pytest.raises(NoValue):
        interval.meet((Fraction(0), Fraction(1)), (Fraction(1) + Fraction(1, 10**30), INF))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("power", [-40, 0, 40])
def test_coarse_rounds_outward_and_little(sign: int, power: int) -> None:
    low = sign * (Fraction(10) ** power / 3 + Fraction(1, 7) ** 200)
    span = (low, low + Fraction(10) ** power / 9)
    rounded = interval.coarse(span)
    assert rounded[0] <= span[0] < span[1] <= rounded[1] and rounded != span
    for end, before in zip(rounded, span, strict=True):
        assert abs(end - before) <= abs(before) / 2**80


def test_short_bounds_and_points_stay_exact() -> None:
    third = Fraction(1, 3) ** 100
    assert interval.coarse((third, third)) == (third, third)
    assert interval.coarse((Fraction(1, 3), Fraction(2, 3))) == (Fraction(1, 3), Fraction(2, 3))
    assert interval.coarse(ALL) == ALL
    # Adding infinity to a number too long for a float must not overflow.
    assert interval.add((Fraction(10) ** 400, INF), ALL) == ALL


def test_nearest() -> None:
    span = (Fraction(1), Fraction(2))
    assert [interval.nearest(span, Fraction(v)) for v in (0, 1, "1.5", 9)] == [1, 1, Fraction(3, 2), 2]
    assert interval.nearest(ALL, Fraction(4)) == 4

"""Jeffreys' interval against its definition, integrated without scipy, and at its ends."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from solvent.money.revenue.interval import jeffreys

LEVEL = Decimal("0.95")


def beta_mass(a: float, b: float, to: float) -> float:
    """P(X < to) for Beta(a, b), by the midpoint rule in t with x = sin²(t): smooth at both ends for a, b ≥ 1/2.

    The integrand is then 2·sin^(2a−1)·cos^(2b−1), and 20,000 steps leave an error far below 1e-6.
    """
    norm = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b))
    end, steps = math.asin(math.sqrt(to)), 20_000
    width = end / steps
    points = ((i + 0.5) * width for i in range(steps))
    return norm * width * sum(2 * math.sin(t) ** (2 * a - 1) * math.cos(t) ** (2 * b - 1) for t in points)


@pytest.mark.parametrize(("successes", "trials"), [(1, 8), (3, 40), (7, 9), (250, 1000)])
def test_each_tail_holds_half_of_what_the_level_leaves(successes: int, trials: int) -> None:
    low, high = jeffreys(successes, trials, LEVEL)
    a, b = successes + 0.5, trials - successes + 0.5
    assert beta_mass(a, b, float(low)) == pytest.approx(0.025, abs=1e-5)
    assert beta_mass(a, b, float(high)) == pytest.approx(0.975, abs=1e-5)


def test_a_bound_one_percent_off_would_be_seen() -> None:
    low, _ = jeffreys(3, 40, LEVEL)
    assert abs(beta_mass(3.5, 37.5, float(low) * 1.01) - 0.025) > 1e-4


def test_no_success_may_mean_never_and_only_successes_always() -> None:
    low, high = jeffreys(0, 20, LEVEL)
    assert low == 0 and 0 < high < Fraction(1, 5)
    assert jeffreys(20, 20, LEVEL)[1] == 1
    assert float(jeffreys(20, 20, LEVEL)[0]) == pytest.approx(float(1 - high), abs=1e-11)


def test_more_trials_narrow_it_and_a_higher_level_widens_it() -> None:
    def width(successes: int, trials: int, level: Decimal) -> Fraction:
        low, high = jeffreys(successes, trials, level)
        return high - low

    assert width(30, 400, LEVEL) < width(3, 40, LEVEL) < width(3, 40, Decimal("0.99"))

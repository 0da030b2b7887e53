"""The heavy tail: how cost is spread over customers, and what the worst of them lose.

Everything is over exact sums per customer; shares come out exact. Enter at `spread` and `cvar_loss`.
Source: Lorenz 1905; Gini as twice the area between the Lorenz curve and the diagonal;
CVaR as in Rockafellar & Uryasev 2000, for a discrete sample with the boundary customer weighted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

LORENZ_POINTS = 200


@dataclass(frozen=True, slots=True)
class Spread:
    """top: share p of customers → share of the sum that the largest p cause.

    lorenz: points (x, y) from (0, 0) to (1, 1).
    """

    top: dict[Fraction, Fraction]
    gini: Fraction
    lorenz: list[tuple[Fraction, Fraction]]


def spread(values: Sequence[Fraction], shares: Sequence[Fraction]) -> Spread | None:
    """Concentration of non-negative values; None where there is nothing to spread (one customer, or a sum of zero).

    top(p) = sum of the largest p·n values ÷ sum, the boundary customer by its part: 1% of 73 customers is 0.73 of
    the largest. gini = 1 − 2 × area under the Lorenz curve. Exact.
    """
    total = sum(values, Fraction(0))
    n = len(values)
    if n < 2 or total <= 0:
        return None
    ascending = sorted(values)
    top = {p: _largest(ascending[::-1], p * n) / total for p in shares}
    area = Fraction(0)
    running = Fraction(0)
    points = [(Fraction(0), Fraction(0))]
    step = max(1, n // LORENZ_POINTS)
    for i, value in enumerate(ascending, 1):
        area += 2 * running + value
        running += value
        if i % step == 0 or i == n:
            points.append((Fraction(i, n), running / total))
    return Spread(top, 1 - area / (n * total), points)


def cvar_loss(margins: Sequence[Fraction], share: Fraction = Fraction(1, 20)) -> Fraction | None:
    """Mean loss (−margin) of the worst `share` of customers; negative where even the worst earn. Exact."""
    if not margins:
        return None
    weight = share * len(margins)
    return _largest(sorted((-m for m in margins), reverse=True), weight) / weight


def _largest(descending: Sequence[Fraction], count: Fraction) -> Fraction:
    """The sum of the first `count` values; a fractional count takes that part of the next one."""
    whole = count.numerator // count.denominator
    result = sum(descending[:whole], Fraction(0))
    if whole < len(descending):
        result += (count - whole) * descending[whole]
    return result

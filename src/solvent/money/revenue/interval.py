"""The interval of a share that was seen in a sample: k successes among n trials.

Jeffreys' interval, the quantiles of Beta(k + 1/2, n − k + 1/2): for small samples it covers its level on average
and is shorter than Clopper-Pearson's. Wilson's would serve as well; Jeffreys' is equal-tailed.
It is the interval of the rate, not of what the next sample will show.
Source: Brown, Cai, DasGupta, Statistical Science 16 (2001) 101-133, §4.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

PLACES = 12


@lru_cache(maxsize=1024)
def jeffreys(successes: int, trials: int, level: Decimal) -> tuple[Fraction, Fraction]:
    """[low, high] with P(rate < low) = P(rate > high) = (1 − level)/2; low = 0 at k = 0, high = 1 at k = n.

    Exactness: quantiles in double precision, rounded outwards to 12 decimal places.
    """
    from scipy.special import betaincinv

    assert 0 <= successes <= trials and trials > 0
    tail = float((1 - level) / 2)
    a, b = successes + 0.5, trials - successes + 0.5
    scale = 10**PLACES
    low, high = Fraction(0), Fraction(1)
    if successes > 0:
        low = Fraction(math.floor(Fraction(float(betaincinv(a, b, tail))) * scale), scale)
    if successes < trials:
        high = Fraction(math.ceil(Fraction(float(betaincinv(a, b, 1 - tail))) * scale), scale)
    return low, high

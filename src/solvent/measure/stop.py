"""When a measurement has gone on for long enough: the interval of one mean is narrow enough, at any time one looks.

A 95% interval that is looked at after every sample, until it is narrow, covers less than 95%: stopping picks the
moments at which it is narrow by luck. So the rule uses an asymptotic confidence sequence, which holds at all times
at once. Samples that ran together aren't independent, so means of as many as ran together are taken.
Enter at `StopRule.reached`. Source: Waudby-Smith et al., arXiv:2103.06476, Theorem 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvent.errors import MeasureError

# Fewer means than this say too little about their own spread for an asymptotic interval.
MIN_MEANS = 32
# The number of means at which the sequence is made narrowest.
_TIGHT_AT = 64


@dataclass(frozen=True, slots=True)
class Sequence95:
    """The interval of a mean that holds at every time at once."""

    mean: float
    low: float
    high: float
    n_means: int


@dataclass(frozen=True, slots=True)
class StopRule:
    """Stop when half the interval of the mean of `metric` is at most `precision` of it.

    together: samples that ran at the same time, averaged into one."""

    metric: str
    precision: float
    together: int = 1
    level: float = 0.95

    def __post_init__(self) -> None:
        if not 0.001 <= self.precision <= 1:
            raise MeasureError("--precision", str(self.precision), "0.001 to 1: half the interval over the mean")

    def reached(self, samples: Sequence[float]) -> bool:
        found = anytime_interval(samples, self.together, self.level)
        return found is not None and found.mean > 0 and found.high - found.mean <= self.precision * found.mean

    def document(self) -> dict[str, Any]:
        return {"metric": self.metric, "precision": self.precision, "level": self.level, "together": self.together}


def anytime_interval(samples: Sequence[float], together: int = 1, level: float = 0.95) -> Sequence95 | None:
    """mean ± σ·√(2(nρ²+1)/(n²ρ²) · ln(√(nρ²+1)/α)) of n means of `together` samples each, in their order.

    ρ makes it narrowest at n = 64.   None below 32 means.   Exactness: asymptotic in n; a rest that fills no mean is
    left out of this interval alone."""
    n = len(samples) // together
    if n < MIN_MEANS:
        return None
    means = np.asarray(samples[: n * together], np.float64).reshape(n, together).mean(axis=1)
    alpha = 1 - level
    # arXiv:2103.06476 §B.2: the ρ that makes the width at n* least, to the first order.
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / _TIGHT_AT
    inner = n * rho2 + 1
    half = float(means.std(ddof=1)) * math.sqrt(2 * inner / (n * n * rho2) * math.log(math.sqrt(inner) / alpha))
    mean = float(means.mean())
    return Sequence95(mean, mean - half, mean + half, n)

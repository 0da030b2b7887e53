"""Intervals by resampling whole requests: what is measured within one request hangs together.

A quantile of pooled values (the gaps between tokens) is resampled by the requests that they belong to; a rate over
time by equal stretches of the time. Percentile intervals at 95%; None where there is too little to resample.
Enter at `quantiles`, `mean_of`, `ratio_of`, `share_of`.
Source: Davison and Hinkley, Bootstrap Methods, 1997, §3.8 and §5.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
N_RESAMPLES = 1000
# Pooled values times resamples that are worth their time: half a second.
MAX_WORK = 40_000_000
MIN_RESAMPLES = 200
# Fewer requests than this, or fewer values beyond a quantile, say nothing about the spread.
MIN_REQUESTS = 10
MIN_BEYOND = 5
# The 97.5th percentile of the normal distribution.
Z95 = 1.959964
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% interval, or None for both ends."""

    value: float
    low: float | None = None
    high: float | None = None


def quantiles(groups: Sequence[Sequence[float]], levels: Sequence[float], seed: int = 0) -> list[Estimate]:
    """Of all values of all groups: the smallest that at least a share q of them doesn't exceed.

    groups: one of each request.   Exactness: values are the data's own; resampling is by group."""
    filled = [np.asarray(group, np.float64) for group in groups if len(group)]
    values = np.concatenate(filled) if filled else np.empty(0)
    assert len(values), "quantiles of nothing"
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    owner = np.repeat(np.arange(len(filled)), [len(group) for group in filled])[order]
    points = [float(ordered[_rank(q, len(ordered))]) for q in levels]
    if len(filled) < MIN_REQUESTS:
        return [Estimate(point) for point in points]
    drawn = _resampled_quantiles(ordered, owner, len(filled), np.asarray(levels), np.random.default_rng(seed))
    estimates = []
    for q, point, column in zip(levels, points, drawn.T, strict=True):
        enough = len(ordered) * min(q, 1 - q) >= MIN_BEYOND
        estimates.append(_estimate(point, column) if enough else Estimate(point))
    return estimates


def _rank(q: float, n: int) -> int:
    # 0.99 · 100 is 99.00000000000001 in no float, but 0.07 · 100 is 7.000000000000001.
    return int(min(max(np.ceil(q * n - 1e-9), 1), n)) - 1


def _resampled_quantiles(
    ordered: Floats, owner: NDArray[np.int64], n_groups: int, levels: Floats, rng: np.random.Generator
) -> Floats:
    """→ (resamples, levels)"""
    n = max(MIN_RESAMPLES, min(N_RESAMPLES, MAX_WORK // len(ordered)))
    drawn = np.empty((n, len(levels)))
    for row in drawn:
        counts = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups))
        below = np.cumsum(counts[owner])
        row[:] = ordered[np.searchsorted(below, np.ceil(levels * below[-1] - 1e-9).clip(1))]
    return drawn


def mean_of(values: Sequence[float], seed: int = 0) -> Estimate:
    """Σx/n, resampled by value."""
    return ratio_of(values, [1.0] * len(values), seed)


def ratio_of(tops: Sequence[float], bottoms: Sequence[float], seed: int = 0) -> Estimate:
    """Σtop/Σbottom of paired values, resampled by pair; bottoms sum to more than 0."""
    top, bottom = np.asarray(tops, np.float64), np.asarray(bottoms, np.float64)
    point = float(top.sum() / bottom.sum())
    if len(top) < MIN_REQUESTS:
        return Estimate(point)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(top), np.full(len(top), 1 / len(top)), size=N_RESAMPLES)
    below = counts @ bottom
    drawn = (counts @ top)[below > 0] / below[below > 0]
    return _estimate(point, drawn) if len(drawn) >= MIN_RESAMPLES else Estimate(point)


def share_of(n_good: int, n: int) -> Estimate:
    """n_good/n with Wilson's score interval, which has a width at 0 and at 1 too, where resampling has none.

    Source: Wilson, JASA 22 (1927), 209–212."""
    z2 = Z95 * Z95
    middle = (n_good + z2 / 2) / (n + z2)
    half = Z95 / (n + z2) * math.sqrt(n_good * (n - n_good) / n + z2 / 4)
    return Estimate(n_good / n, max(0.0, middle - half), min(1.0, middle + half))


def _estimate(point: float, drawn: Floats) -> Estimate:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # Of skewed values the resampled quantiles may all lie on one side.
    return Estimate(point, min(float(low), point), max(float(high), point))

"""Two variants on the same items: differences with intervals, item against item.

Levels of two variants hide what pairs show: both get most items right or wrong together, so the difference is known
far better than either level.
What it doesn't do: score. Enter at `compare` and `difference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

import numpy as np
from numpy.typing import NDArray

from solvent.errors import MeasureError
from solvent.measure.quality.score_set import SetScore

LEVEL = 0.95
N_RESAMPLES = 10_000
MIN_BOOTSTRAP = 20
# Resamples are drawn so many values at a time: 8 MB.
CHUNK = 1 << 20
# Two-sided 95% of the normal distribution.
Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference, this − other, with its interval at `level`."""

    value: float
    low: float
    high: float
    n: int
    level: float = LEVEL


@dataclass(frozen=True, slots=True)
class Paired:
    """One set, two variants.

    accuracy: this one's.   other_accuracy: the other's.   accuracy_difference: with Agresti and Min's interval, which
    is none of width zero where no item differs.   mcnemar_p: exact, two-sided.   only_this, only_other: items that only
    one of them gets right.   logprob_difference: mean of gold_logprob's differences, paired bootstrap.   margin_…: the
    same of the margins to the likeliest wrong ending (None for continuations)."""

    name: str
    variant: str
    other: str
    n: int
    accuracy: float
    other_accuracy: float
    accuracy_difference: Difference
    mcnemar_p: float
    only_this: int
    only_other: int
    logprob_difference: Difference
    margin_difference: Difference | None


def compare(this: SetScore, other: SetScore, seed: int = 0) -> Paired:
    """Pairs two variants item by item.

    Raises: MeasureError (they weren't scored on the same items, with the same examples)"""
    ours, theirs = [one.item for one in this.scores], [one.item for one in other.scores]
    if this.name != other.name or ours != theirs or this.n_shots != other.n_shots:
        raise MeasureError(
            f"compare {this.name}",
            f"{len(ours)} items with {this.n_shots} examples, and {len(theirs)} with {other.n_shots}",
            "the same items and examples for both",
        )
    pairs = list(zip(this.scores, other.scores, strict=True))
    only_this = sum(a.right and not b.right for a, b in pairs)
    only_other = sum(b.right and not a.right for a, b in pairs)
    margins = [(a.margin, b.margin) for a, b in pairs if a.margin is not None and b.margin is not None]
    return Paired(
        this.name, this.variant, other.variant, len(pairs),
        sum(a.right for a, _ in pairs) / len(pairs),
        sum(b.right for _, b in pairs) / len(pairs),
        accuracy_difference(only_this, only_other, len(pairs)),
        mcnemar(only_this, only_other), only_this, only_other,
        difference([a.gold_logprob for a, _ in pairs], [b.gold_logprob for _, b in pairs], seed),
        difference([a for a, _ in margins], [b for _, b in margins], seed) if margins else None,
    )  # fmt: skip


def accuracy_difference(only_this: int, only_other: int, n: int) -> Difference:
    """(b − c)/n with Agresti and Min's interval: half an item is added to each of the four cells.

    Source: Agresti & Min, Statistics in Medicine 24 (2005), 729–740."""
    value = (only_this - only_other) / n
    b, c, m = only_this + 0.5, only_other + 0.5, n + 2
    middle, half = (b - c) / m, Z * sqrt(b + c - (b - c) ** 2 / m) / m
    return Difference(value, min(max(middle - half, -1.0), value), max(min(middle + half, 1.0), value), n)


def share(n_right: int, n: int) -> Difference:
    """n_right/n with Wilson's interval, which isn't of width zero at none or all.   Raises: MeasureError (n is 0)"""
    if n < 1:
        raise MeasureError("share", "no item", "at least one")
    p, square = n_right / n, Z * Z / n
    middle, half = p + square / 2, Z * sqrt(p * (1 - p) / n + square / (4 * n))
    return Difference(p, max((middle - half) / (1 + square), 0.0), min((middle + half) / (1 + square), 1.0), n)


def mcnemar(only_this: int, only_other: int) -> float:
    """The chance of a split at least as uneven where both variants are as good: two-sided, exact."""
    n, k = only_this + only_other, min(only_this, only_other)
    tail = sum(comb(n, i) for i in range(k + 1))
    return min(1.0, 2 * tail / 2**n) if n else 1.0


def difference(this: Sequence[float], other: Sequence[float], seed: int = 0) -> Difference:
    """Mean of this − other with the percentile interval of a paired bootstrap of 10,000 resamples.

    Of fewer than 20 pairs a bootstrap is too narrow: Student's interval then.
    Raises: MeasureError (fewer than two pairs; unequal lengths)"""
    if len(this) < 2 or len(this) != len(other):
        raise MeasureError("compare", f"{len(this)} and {len(other)} scores", "as many of both, at least two")
    deltas = np.asarray(this, np.float64) - np.asarray(other, np.float64)
    if len(deltas) < MIN_BOOTSTRAP:
        from scipy.stats import t

        half = float(t.ppf((1 + LEVEL) / 2, len(deltas) - 1) * deltas.std(ddof=1)) / sqrt(len(deltas))
        middle = float(deltas.mean())
        return Difference(middle, middle - half, middle + half, len(deltas))
    low, high = np.quantile(_means(deltas, seed), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(float(deltas.mean()), float(low), float(high), len(deltas))


def mean(values: Sequence[float], seed: int = 0) -> Difference:
    """A mean with the percentile interval of a bootstrap.   Raises: MeasureError (no value)"""
    return difference(values, [0.0] * len(values), seed)


def _means(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    rows = max(1, CHUNK // len(values))
    found: list[NDArray[np.float64]] = []
    for start in range(0, N_RESAMPLES, rows):
        n = min(rows, N_RESAMPLES - start)
        found.append(values[random.integers(0, len(values), (n, len(values)))].mean(axis=1))
    return np.concatenate(found)

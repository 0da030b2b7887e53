"""The exam: predict every point from a training set that has never seen its group, and count how far off.

Groups are fold keys of `Point`; twins of one measurement stay together (`fold_groups`). Intervals are examined the
same way: a group's widths are learned from the other groups' residuals. What it doesn't do: print.
Enter at `sit` and `grade`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvent.choose.predict.forecast import TARGETS, Forecast, Target, train
from solvent.choose.predict.interval import learn
from solvent.choose.predict.points import Point, Setup, fold_groups
from solvent.choose.predict.roofline import Array

CONFIGURATION_FOLDS = 5
# A predictor for the exam: trains on points, returns what predicts setups.
Teacher = Callable[[Sequence[Point]], Callable[[Sequence[Setup]], Forecast]]


@dataclass(frozen=True, slots=True)
class Paper:
    """Out-of-fold predictions of every point.   predicted, physical: logarithms by target.   fold: its number."""

    key: str
    points: tuple[Point, ...]
    fold: NDArray[np.int64]
    predicted: dict[Target, Array]
    physical: dict[Target, Array]

    def residuals(self, target: Target) -> Array:
        """log(measured / predicted)."""
        return np.log([getattr(p, target) for p in self.points]) - self.predicted[target]


@dataclass(frozen=True, slots=True)
class Grade:
    """n_points, share_predicted (of them); relative errors |predicted/measured − 1|: median, p90, of the physics alone
    too; share_covered of the 90% intervals, their median relative width (high − low)/value."""

    n_points: int
    share_predicted: float
    median_error: float
    p90_error: float
    physics_median_error: float
    share_covered: float
    median_width: float


def folds(points: Sequence[Point], key: str) -> NDArray[np.int64]:
    """A fold number for each point: five folds of whole configurations, or one fold for each other group."""
    groups = np.array(fold_groups(list(points), key))
    names = np.unique(groups)
    if key == "configuration":
        np.random.default_rng(0).shuffle(names)
    number = {name: i % CONFIGURATION_FOLDS if key == "configuration" else i for i, name in enumerate(names)}
    return np.array([number[g] for g in groups], dtype=np.int64)


def own_teacher(points: Sequence[Point], start: Array | None = None) -> Callable[[Sequence[Setup]], Forecast]:
    """Physics and trees, trained on these points."""
    return train(points, start).forecast


def sit(points: Sequence[Point], key: str, teacher: Teacher = own_teacher) -> Paper:
    """Each fold predicted by what was trained on the others."""
    fold = folds(points, key)
    predicted: dict[Target, Array] = {t: np.full(len(points), np.nan) for t in TARGETS}
    physical: dict[Target, Array] = {t: np.full(len(points), np.nan) for t in TARGETS}
    for number in np.unique(fold):
        held = [int(i) for i in np.flatnonzero(fold == number)]
        tell = teacher([p for p, f in zip(points, fold, strict=True) if f != number])
        told = tell([points[i].setup for i in held])
        for target in TARGETS:
            predicted[target][held] = told.logs[target]
            physical[target][held] = np.log(getattr(told.physical, target))
    return Paper(key, tuple(points), fold, predicted, physical)


def spans(paper: Paper, target: Target) -> tuple[Array, Array]:
    """(low, high) in logarithms around each prediction, learned from the other folds' residuals only."""
    residuals = paper.residuals(target)
    low, high = np.empty(len(residuals)), np.empty(len(residuals))
    setups = [p.setup for p in paper.points]
    for number in np.unique(paper.fold):
        held = np.flatnonzero(paper.fold == number)
        other = np.flatnonzero(paper.fold != number)
        found = learn([setups[i] for i in other], residuals[other], groups=paper.fold[other])
        low[held], high[held] = found.span([setups[i] for i in held])
    return low, high


def grade(paper: Paper, target: Target, rows: NDArray[np.bool_] | None = None, inverse: bool = False) -> Grade:
    """Errors and coverage over `rows` (default all). inverse: of 1/target, as throughput is of latency."""
    rows = np.ones(len(paper.points), dtype=bool) if rows is None else rows
    residual, sign = paper.residuals(target)[rows], -1.0 if inverse else 1.0
    known = np.isfinite(residual)
    low, high = (side[rows] for side in spans(paper, target))
    errors = np.abs(np.exp(-sign * residual) - 1)
    physics = np.log([getattr(p, target) for p in paper.points])[rows] - paper.physical[target][rows]
    width = np.exp(np.maximum(sign * low, sign * high)) - np.exp(np.minimum(sign * low, sign * high))
    return Grade(
        n_points=int(rows.sum()),
        share_predicted=float(known.mean()),
        median_error=float(np.median(errors)),
        p90_error=float(np.quantile(errors, 0.9)),
        physics_median_error=float(np.median(np.abs(np.exp(-sign * physics) - 1))),
        share_covered=float(np.mean((residual >= low) & (residual <= high))),
        median_width=float(np.median(width)),
    )

"""Calibrated 90% intervals: how far predictions of what was left out of training lay off, and for what.

Conformal: residuals of points that no fold was trained on, divided by a predicted difficulty, so that widths adapt;
the interval is made of their quantiles, low and high apart, then stretched until it covers 90% of groups that it wasn't
learned from: the points of a group err together, so that those of a new one lie further off. One table for each regime,
that is for how much of a setup was measured: its model and GPU together, each elsewhere, or one of them never.
What it doesn't do: make the residuals (`exam`). Enter at `widths` and `learn`. Source: arXiv:2107.07511 §2.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvent.choose.predict.fits import sequences_that_fit
from solvent.choose.predict.points import Setup
from solvent.choose.predict.roofline import Array

LEVEL = 0.9
# What was measured of a setup, from most to least; each is calibrated by leaving just that out.
REGIMES = ("configuration", "model_and_gpu", "gpu", "family")
# Residuals below this don't make a setup easier: runs repeat to a few per cent.
FLOOR = 0.03
RIDGE = 30.0
HAIR = 1e-3


@dataclass(frozen=True, slots=True)
class Widths:
    """log|residual| ≈ weights · difficulty features; low, high: quantiles of residual / difficulty."""

    weights: tuple[float, ...]
    low: float
    high: float
    n_points: int

    def span(self, setups: Sequence[Setup]) -> tuple[Array, Array]:
        """(lowest, highest) measured ÷ predicted, in logarithms, for each setup."""
        scale = np.exp(difficulty(setups) @ np.array(self.weights))
        return self.low * scale, self.high * scale


def difficulty(setups: Sequence[Setup]) -> NDArray[np.float64]:
    """(setups, 8): what makes a setup hard to predict: load, pressure on the cache, GPUs, format, how it is built."""
    rows = []
    for s in setups:
        pressure = s.concurrency / max(sequences_that_fit(s), 1.0)
        rows.append(
            [
                1.0,
                np.log(s.concurrency) - 3,
                min(pressure, 2.0),
                np.log(s.n_gpus) - 1.5,
                float(s.weight_format in ("fp4", "int4")),
                float(s.model.experts > 0),
                float(s.replicated_attention),
                np.log(s.isl_tok / s.osl_tok),
            ]
        )
    return np.array(rows, dtype=np.float64).reshape(len(setups), 8)


def learn(
    setups: Sequence[Setup], residuals: Array, level: float = LEVEL, groups: NDArray[np.int64] | None = None
) -> Widths:
    """Widths from residuals log(measured / predicted) of points that weren't trained on. Deterministic.

    Ridge regression of log(|residual| + floor), then the (1 ± level)/2 quantiles of residual / difficulty, taken at
    the conservative order statistic. groups: of the points that err together; each is left out of the widths in turn,
    and both ends are multiplied by the smallest factor of at least 1 that covers `level` of the points left out.
    Raises: AssertionError for fewer than 20 residuals."""
    assert len(residuals) >= 20, "a 90% interval of fewer than 20 residuals says nothing"
    seen = difficulty(setups)
    found = _learn(seen, residuals, level)
    if groups is None or len(names := np.unique(groups)) < 2:
        return found
    needed = np.empty(len(residuals))
    for name in names:
        held = groups == name
        scale, low, high = _of_others(seen, residuals, held, level)
        needed[held] = np.maximum(residuals[held] / (high * scale), residuals[held] / (low * scale))
    n = len(needed)
    factor = max(float(np.sort(needed)[min(int(np.ceil(level * (n + 1))) - 1, n - 1)]), 1.0)
    return Widths(found.weights, found.low * factor, found.high * factor, n)


def _of_others(
    seen: NDArray[np.float64], residuals: Array, held: NDArray[np.bool_], level: float
) -> tuple[Array, float, float]:
    """(difficulty of the points held back, low, high), learned from the others; ends at least a hair from 0."""
    other = _learn(seen[~held], residuals[~held], level)
    scale = np.exp(seen[held] @ np.array(other.weights))
    return scale, min(other.low, -HAIR), max(other.high, HAIR)


def _learn(seen: NDArray[np.float64], residuals: Array, level: float) -> Widths:
    n = len(residuals)
    penalty = RIDGE * np.eye(seen.shape[1])
    penalty[0, 0] = 0.0
    weights = np.linalg.solve(seen.T @ seen + penalty, seen.T @ np.log(np.abs(residuals) + FLOOR))
    scores = np.sort(residuals / np.exp(seen @ weights))
    tail = (1 - level) / 2
    low = scores[max(int(np.floor(tail * (n + 1))) - 1, 0)]
    high = scores[min(int(np.ceil((1 - tail) * (n + 1))) - 1, n - 1)]
    return Widths(tuple(float(w) for w in weights), float(min(low, 0.0)), float(max(high, 0.0)), n)


@cache
def widths(regime: str, target: str) -> Widths:
    """The shipped widths of a regime and target, learned by tools/serving_forecast.py."""
    text = files("solvent.choose").joinpath("data", "serving-intervals.toml").read_text("utf-8")
    entry: dict[str, Any] = tomllib.loads(text)[regime][target]
    return Widths(tuple(entry["weights"]), entry["low"], entry["high"], entry["n_points"])

"""How long a decoding step of solvent's own engine takes on this machine, from a few measured steps.

A step multiplies every weight for each sequence of the batch and reads each sequence's cache. What its matrix
products take is measured of the kernels alone (one pass over matrices of that format and size: no step is run); the
rates of the rest (layers, norms, attention over f16 or coded caches) are fitted to measured steps of other formats,
contexts and batches. What it doesn't do: run the engine (tools/engine_forecast.py measures). Enter at `fit_engine`.
Source: what a step moves and computes, docs/reference/model-card.md; rates by non-negative least squares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvent.choose.offers.record import Range
from solvent.errors import ChoiceError

LEVEL = 0.9
# How strongly a coded cache's rate is held to f16's, where the measured steps don't say.
TIE = 0.005
KINDS, REACH = ("model", "cache_format"), ("cached_tok", "batch")


@dataclass(frozen=True, slots=True)
class Step:
    """One decoding step: what it is, and what it moves and computes.

    weight_bytes: read once.   products_s: what its matrix products alone take at this batch, measured of the kernels.
    cached_tok: tokens before this one in each sequence.   cache_values: values of one sequence's cache.
    coded_cache: kept as codes, not f16.   seconds: measured, or None."""

    model: str
    weight_format: str
    cache_format: str
    batch: int
    cached_tok: int
    n_layers: int
    width: int
    weight_bytes: float
    products_s: float
    cache_values: float
    coded_cache: bool
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """Fitted rates (seconds a unit, in `terms` order) and the 90% span of measured ÷ predicted when left out.

    kinds: for models and cache formats, those that were measured and the span when one is left out, None where only
    one was.   reach: least and most measured of contexts and batches."""

    rates: tuple[float, ...]
    low: float
    high: float
    n_steps: int
    kinds: Mapping[str, tuple[frozenset[str], tuple[float, float] | None]]
    reach: Mapping[str, tuple[float, float]]

    def seconds(self, step: Step) -> Range:
        """Predicted seconds of one step, with the 90% interval.   output tok/s of the engine: batch / seconds.

        Beyond the measured contexts and batches the interval's logarithms grow by their own with each doubling; of a
        model or cache format that wasn't measured they are those of leaving one out.
        Raises: ChoiceError (such a kind where only one was measured: how far off it may be is unknown)"""
        value = float(terms([step])[0] @ np.array(self.rates))
        low, high = self.low, self.high
        for name, (known, span) in self.kinds.items():
            kind = str(getattr(step, name))
            if kind not in known and span is None:
                raise ChoiceError(name, f"{kind!r} wasn't measured, nor two others", "steps of two kinds or of this")
            if kind not in known and span is not None:
                low, high = min(low, span[0]), max(high, span[1])
        far = 1.0
        for name, (least, most) in self.reach.items():
            far += float(max(np.log2(getattr(step, name) / most), np.log2(least / getattr(step, name)), 0.0))
        source = f"{self.n_steps} measured steps of this machine's engine"
        return Range(value, value * min(low, 1.0) ** far, value * max(high, 1.0) ** far, "predicted", source)


def terms(steps: Sequence[Step]) -> NDArray[np.float64]:
    """(steps, 9): the step, its layers, layers·batch·width, matrix products; attention over f16 caches by values and
    by their root (short contexts cost more a token than long ones); the same of coded caches, and coding itself."""
    rows = []
    for s in steps:
        vectors, values = s.n_layers * s.batch * s.width, s.batch * s.cache_values
        root = vectors * float(np.sqrt(s.cached_tok))
        plain, coded = (0.0, 1.0) if s.coded_cache else (1.0, 0.0)
        rows.append(
            [
                *(1.0, s.n_layers, vectors, s.products_s, plain * values, plain * root),
                *(coded * values, coded * root, coded * vectors),
            ]
        )
    return np.array(rows, dtype=np.float64).reshape(len(steps), 9)


def fit_rates(steps: Sequence[Step]) -> tuple[float, ...]:
    """Rates ≥ 0 that minimise Σ (predicted/measured − 1)², ties of unmeasured kinds apart. Deterministic.

    Raises: ChoiceError (no measured step, or a time that isn't positive)"""
    from scipy.optimize import nnls

    if not steps or any(s.seconds is None or not s.seconds > 0 for s in steps):
        raise ChoiceError("steps", "a step without a measured, positive time", "measured steps")
    matrix = terms(steps)
    measured = np.array([s.seconds for s in steps], dtype=np.float64)
    relative = matrix / measured[:, None]
    unit = np.maximum(matrix.max(axis=0), 1e-30) / np.median(measured)
    ties = np.zeros((2, matrix.shape[1]))
    for row, (coded, plain) in enumerate(((6, 4), (7, 5))):
        weight = TIE * max(unit[coded], unit[plain])
        ties[row, coded], ties[row, plain] = weight, -weight
    rows, aim = np.vstack([relative, ties]), np.r_[np.ones(len(steps)), np.zeros(len(ties))]
    # Columns to one scale, so that the solver's tolerance means the same to each.
    scales = np.maximum(np.abs(rows).max(axis=0), 1e-300)
    found, _ = nnls(rows / scales, aim)
    return tuple(float(x) for x in found / scales)


def leave_out(steps: Sequence[Step], what: str) -> NDArray[np.float64]:
    """Measured ÷ predicted of each step, from rates fitted without any step that shares its `what` (a field)."""
    values = np.array([str(getattr(s, what)) for s in steps])
    ratios = np.empty(len(steps))
    for value in np.unique(values):
        rates = np.array(fit_rates([s for s, v in zip(steps, values, strict=True) if v != value]))
        held = [int(i) for i in np.flatnonzero(values == value)]
        found = terms([steps[i] for i in held]) @ rates
        ratios[held] = [(steps[i].seconds or np.nan) / f for i, f in zip(held, found, strict=True)]
    return ratios


def fit_engine(steps: Sequence[Step]) -> EngineSpeed:
    """Rates from all steps; the interval from leaving out formats, contexts and batches in turn (the widest)."""
    spans = [span for what in ("weight_format", "cached_tok", "batch") if (span := _span(steps, what))]
    if not spans:
        raise ChoiceError("steps", "one format, one context, one batch", "steps that differ, to learn rates from")
    low, high = min(spans, key=lambda s: s[0])[0], max(spans, key=lambda s: s[1])[1]
    kinds = {what: (frozenset(str(getattr(s, what)) for s in steps), _span(steps, what)) for what in KINDS}
    reach = {what: (min(x), max(x)) for what in REACH if (x := [float(getattr(s, what)) for s in steps])}
    return EngineSpeed(fit_rates(steps), low, high, len(steps), kinds, reach)


def _span(steps: Sequence[Step], what: str) -> tuple[float, float] | None:
    """Quantiles of measured ÷ predicted, each value of `what` left out in turn; None where there is only one."""
    if len({str(getattr(s, what)) for s in steps}) < 2:
        return None
    ratios = np.sort(leave_out(steps, what))
    n, tail = len(ratios), (1 - LEVEL) / 2
    low = ratios[max(int(np.floor(tail * (n + 1))) - 1, 0)]
    high = ratios[min(int(np.ceil((1 - tail) * (n + 1))) - 1, n - 1)]
    return float(low), float(high)

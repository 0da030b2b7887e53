"""Sobol indices: which assumption decides the margin, and which decides whether the policy holds.

Every assumption varies at once. With a scenario's confidence it lies in that scenario's interval (log-uniform; the tilt
uniform), else as today; what another log of the same customers would have cost varies as the audit's bootstrap
says (log-normal). First order: the share of variance that goes when the assumption is known; total: what stays when
all others are. Enter at `decide` (a product), `sampled` and `indices` (any function).
Source: Sobol' 2001; Saltelli 2010 (scipy.stats.sobol_indices).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from solvent.choose.stress.assumptions import ASSUMPTIONS, name_of, today
from solvent.choose.stress.outcome import Model
from solvent.choose.stress.product import grouped
from solvent.choose.stress.scenario_file import Change, Scenario

Array: TypeAlias = npt.NDArray[np.float64]
N_SAMPLES, N_RESAMPLES, LEVEL, SEED = 8_192, 300, 0.95, 20_260_331
# Where the intervals of the first two overlap after N_SAMPLES, this many are drawn instead: the margin in dollars is
# ruled by rare draws in which two large things meet.
N_MORE = 32_768
# Fewer draws than this on the rarer side of the policy's line say nothing about who put them there.
MIN_EVENTS = 50
CHUNK = 2_048
# Customers beyond this are put together by use, so that many states of many customers fit in memory.
MAX_GROUPS = 256
LOG = "log"
OUTPUTS = ("margin_usd", "log10_cost_per_value", "policy_holds")
Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Index:
    """Of one assumption: first and total order, each with its bootstrap interval at LEVEL."""

    key: str
    first: float
    first_low: float
    first_high: float
    total: float
    total_low: float
    total_high: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Indices, the largest total first; empty where nothing varies. mean, low, high: of the value itself."""

    of: str
    indices: tuple[Index, ...]
    mean: float
    low: float
    high: float
    n_samples: int = N_SAMPLES

    def leaders(self) -> tuple[str, ...]:
        """The assumption that decides: the one of the largest total index, and with it all whose intervals reach its
        own; () where there are no indices."""
        floor = self.indices[0].total_low if self.indices else 0.0
        return tuple(index.key for index in self.indices if index.total_high >= floor)


@dataclass(frozen=True, slots=True)
class Mixture:
    """A distribution over u in [0, 1): intervals with their weights, then today. It needs no order, only its shares."""

    spans: tuple[tuple[float, float, float], ...]
    otherwise: float
    linear: bool

    def ppf(self, u: Array) -> Array:
        values, start = np.full(np.shape(u), self.otherwise), 0.0
        for weight, low, high in self.spans:
            inside = (u >= start) & (u < start + weight)
            at = np.clip((u - start) / weight, 0.0, 1.0)
            drawn = low + (high - low) * at if self.linear else low * (high / low) ** at
            values = np.where(inside, drawn, values)
            start += weight
        return values


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Median 1; `sigma` of the logarithm."""

    sigma: float

    def ppf(self, u: Array) -> Array:
        from scipy.special import ndtri

        drawn: Array = np.exp(self.sigma * ndtri(np.clip(u, 1e-12, 1 - 1e-12)))
        return drawn


@dataclass(frozen=True, slots=True)
class Samples:
    """A function at Saltelli's points. at_a, at_b: (s, n); at_ab: (d, s, n), A with column k of B."""

    at_a: Array
    at_b: Array
    at_ab: Array

    def plain(self) -> Array:
        """The values at independent points, (s, 2n)."""
        return np.concatenate([self.at_a, self.at_b], axis=1)


def sampled(function: Callable[[Array], Array], distributions: Sequence[Any], n: int = N_SAMPLES) -> Samples:
    """function: (d, n) → (s, n).   distributions: d of them, each with `ppf`.   n: a power of 2.
    Evaluates n·(d + 2) points of a scrambled Sobol' sequence; the same seed gives the same points.
    """
    from scipy.stats import qmc

    d = len(distributions)
    points = qmc.Sobol(2 * d, rng=np.random.default_rng(SEED)).random(n).T
    drawn = [np.array([dist.ppf(u) for dist, u in zip(distributions, half, strict=True)])
             for half in (points[:d], points[d:])]  # fmt: skip
    mixed = []
    for k in range(d):
        points_ab = drawn[0].copy()
        points_ab[k] = drawn[1][k]
        mixed.append(function(points_ab))
    return Samples(function(drawn[0]), function(drawn[1]), np.array(mixed))


def indices(samples: Samples, names: Sequence[str]) -> list[tuple[Index, ...]]:
    """First and total order of each output, the largest total first; () for an output that doesn't vary.

    Exactness: an estimate with its percentile bootstrap interval; the same samples give the same.
    """
    from scipy.stats import sobol_indices

    if len(samples.at_ab) == 1:
        # SciPy wants two inputs: one that does nothing stands beside a single one.
        both = indices(Samples(samples.at_a, samples.at_b, np.array([samples.at_ab[0], samples.at_a])), [*names, ""])
        return [tuple(index for index in each if index.key) for each in both]
    found: list[tuple[Index, ...]] = []
    for i in range(len(samples.at_a)):
        if not np.var(samples.plain()[i]) > 0:
            found.append(())
            continue
        values = {"f_A": samples.at_a[i : i + 1], "f_B": samples.at_b[i : i + 1], "f_AB": samples.at_ab[:, i : i + 1]}
        result = sobol_indices(func=values, n=samples.at_a.shape[1])
        first, total = np.ravel(result.first_order), np.ravel(result.total_order)
        spread = _bootstrap(values["f_A"][0], values["f_B"][0], samples.at_ab[:, i])
        rows = np.array([first, *spread[0], total, *spread[1]]).T
        made = [Index(name, *(float(v) for v in row)) for name, row in zip(names, rows, strict=True)]
        found.append(tuple(sorted(made, key=lambda index: -index.total)))
    return found


def _bootstrap(at_a: Array, at_b: Array, at_ab: Array) -> Array:
    """(2, 2, d): ends of the first and the total orders, with the points resampled; seeded, which SciPy's isn't.

    S = mean(b·(ab − a)) ÷ V,   T = mean((a − ab)²) ÷ 2V,   V over both halves (Saltelli 2010, as in SciPy).
    """
    n, d = len(at_a), len(at_ab)
    mean = float(np.mean([at_a, at_b]))
    a, b, ab = at_a - mean, at_b - mean, at_ab - mean
    columns = np.vstack([b * (ab - a), (a - ab) ** 2 / 2, (a + b) / 2, (a * a + b * b) / 2])
    weights = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES) / n
    means = weights @ columns.T
    variance = means[:, -1] - means[:, -2] ** 2
    with np.errstate(all="ignore"):
        orders = np.nan_to_num(means[:, : 2 * d] / variance[:, None])
    tail = (1 - LEVEL) / 2
    ends: Array = np.quantile(orders, [tail, 1 - tail], axis=0).reshape(2, 2, d).transpose(1, 0, 2)
    return ends


def distributions(model: Model, scenarios: Iterable[Scenario]) -> dict[str, Any]:
    """How each assumption varies: by the scenarios that move this product, and the log by the audit's bootstrap.

    Confidences of scenarios on one assumption add up; beyond 1 they are scaled to it. One interval that is a point
    stays a point.
    """
    spans: dict[str, list[tuple[float, Change]]] = {}
    for scenario in scenarios:
        for change in scenario.changes:
            if scenario.confidence > 0 and model.moves(change.key) is None:
                spans.setdefault(change.key, []).append((scenario.confidence, change))
    found: dict[str, Any] = {}
    for key, moves in spans.items():
        scale = max(1.0, sum(confidence for confidence, _ in moves))
        parts = tuple((confidence / scale, *change.ends) for confidence, change in moves)
        found[key] = Mixture(parts, today(key), ASSUMPTIONS[name_of(key)].way == "plus")
    spread = model.product.economics.ratio_spread
    if spread is not None and spread[1] > spread[0] > 0:
        found[LOG] = LogNormal(math.log(spread[1] / spread[0]) / (2 * Z_95))
    return found


def decided(model: Model, scenarios: Iterable[Scenario]) -> dict[str, Sensitivity]:
    """`decide`, with more samples for the outputs whose first assumption doesn't stand apart from the second."""
    scenarios = tuple(scenarios)
    found = decide(model, scenarios)
    if any(len(sensitivity.leaders()) > 1 for sensitivity in found.values()):
        found |= decide(model, scenarios, N_MORE)
    return found


def decide(model: Model, scenarios: Iterable[Scenario], n: int = N_SAMPLES) -> dict[str, Sensitivity]:
    """Indices of the margin (USD a month), of compute ÷ value (as log10) and of whether the policy holds (0 or 1).

    Empty where nothing varies or the margin isn't known under some state.
    """
    varies = distributions(model, scenarios)
    if not varies:
        return {}
    model = Model(grouped(model.product, MAX_GROUPS))
    names, limit = list(varies), model.product.economics.policy_max_compute_per_value

    def function(points: Array) -> Array:
        parts = []
        for start in range(0, points.shape[1], CHUNK):
            chunk = points[:, start : start + CHUNK]
            sums = model.over(dict(zip(names, chunk, strict=True)), chunk.shape[1])
            holds = np.where(sums.value_usd > 0, sums.compute_usd <= limit * sums.value_usd, sums.compute_usd <= 0)
            known = ~np.isnan(sums.value_usd)
            with np.errstate(all="ignore"):
                ratio = np.log10(sums.compute_usd / sums.value_usd)
            parts.append(np.array([sums.margin_usd, ratio, np.where(known, holds.astype(np.float64), np.nan)]))
        return np.concatenate(parts, axis=1)

    samples = sampled(function, list(varies.values()), n)
    outputs = samples.plain()
    if not (np.isfinite(outputs).all() and np.isfinite(samples.at_ab).all()):
        return {}
    found = {}
    for of, values, index in zip(OUTPUTS, outputs, indices(samples, names), strict=True):
        low, high = np.quantile(values, [0.05, 0.95])
        events = min(values.sum(), len(values) - values.sum()) if of == "policy_holds" else MIN_EVENTS
        found[of] = Sensitivity(
            of, index if events >= MIN_EVENTS else (), float(values.mean()), float(low), float(high), n
        )
    return found

"""Physics, then what the physics leaves: calibrated roofline times, corrected by boosted trees on log residuals.

The trees see the setup, its demands and the physical times, never the name of a model or a GPU, so that one
predictor serves those it was trained on and those it wasn't. No constraint of monotonicity: what is left over after
the physics has no sign of its own. What it doesn't do: intervals (`interval`). Enter at `train`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from solvent.choose.predict.efficiency import Physical, calibrate, group_columns, physical
from solvent.choose.predict.fits import misfit
from solvent.choose.predict.points import Point, Setup
from solvent.choose.predict.roofline import Array, Demands, demands

Target = Literal["latency_s", "ttft_s", "tpot_s"]
TARGETS: tuple[Target, ...] = ("latency_s", "ttft_s", "tpot_s")
BACKENDS = ("vllm", "sglang", "trtllm")
FORMATS = ("bf16", "fp8", "fp4", "int4")
# Median regression, so that a few runs with an unstated speculative decoder don't pull the rest; small leaves of at
# least 20 points. Chosen by leaving model × GPU out, on both targets at once.
TREES = {
    "loss": "absolute_error",
    "max_iter": 300,
    "learning_rate": 0.05,
    "max_leaf_nodes": 12,
    "min_samples_leaf": 20,
    "l2_regularization": 5.0,
    "max_features": 0.4,
}
# Trees of so many seeds are averaged: the features a split may use are drawn at random.
N_SEEDS = 3
N_PHYSICAL = 4
# A setup that states no day counts as measured on the table's last.
LAST_DAY = date(2026, 4, 22)
UNDATED_DAY = date(2026, 1, 15)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Logarithms of predicted times, by target, and the physical times they start from."""

    logs: dict[Target, Array]
    physical: Physical


@dataclass(slots=True)
class Trained:
    """Calibrated parameters and one set of trees for each target."""

    parameters: Array
    trees: dict[Target, list[Any]]

    def forecast(self, setups: Sequence[Setup]) -> Forecast:
        """log time = log physical time + trees(features), for each target."""
        told, groups = demands(setups), group_columns(setups)
        times = physical(self.parameters, told, groups)
        seen = features(setups, told, times)
        with _one_thread():
            logs = {
                target: np.log(getattr(times, target))
                + np.mean([t.predict(_seen_by(target, seen)) for t in self.trees[target]], axis=0)
                for target in self.trees
            }
        return Forecast(logs, times)


def _one_thread() -> AbstractContextManager[Any]:
    """Trees are small: their threads gain little, and wait for each other by spinning: on a machine that others use, a
    training of 3 CPU seconds took 200 with two threads."""
    # It comes with scikit-learn.
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def train(points: Sequence[Point], start: Array | None = None, targets: Sequence[Target] = TARGETS) -> Trained:
    """Calibrates the physics and fits the trees on points that can be what they say; a measurement that is listed
    twice counts once. Deterministic.

    start: parameters to begin the calibration from; the result doesn't depend on them beyond its tolerance."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    once = list({p.measurement: p for p in points if misfit(p.setup) is None}.values())
    setups = [p.setup for p in once]
    told, groups = demands(setups), group_columns(setups)
    tpot_s, ttft_s = np.array([p.tpot_s for p in once]), np.array([p.ttft_s for p in once])
    with _one_thread():
        parameters = calibrate(told, groups, tpot_s, ttft_s, start)
    times = physical(parameters, told, groups)
    seen = features(setups, told, times)
    trees: dict[Target, list[Any]] = {}
    for target in targets:
        left = np.log([getattr(p, target) for p in once]) - np.log(getattr(times, target))
        with _one_thread():
            trees[target] = [
                HistGradientBoostingRegressor(**TREES, random_state=seed).fit(_seen_by(target, seen), left)
                for seed in range(N_SEEDS)
            ]
    return Trained(parameters, trees)


def features(setups: Sequence[Setup], told: Demands, times: Physical) -> NDArray[np.float64]:
    """(setups, features) what the trees see."""
    log = np.log
    tiny = 1e-7
    own = np.array([_own_features(s) for s in setups], dtype=np.float64).reshape(len(setups), -1)
    load = np.clip(told.in_flight / told.room, 0.2, 2.0)
    columns = [
        log(told.weights_s + told.routed_s),
        log(told.cache_s),
        log(told.compute_s),
        log(told.link_s + tiny),
        told.layers,
        told.joined_layers,
        log(told.prompt_compute_s + told.prompt_attention_s),
        log(load),
        # The last N_PHYSICAL columns.
        log(times.tpot_s),
        log(times.ttft_s),
        log(times.latency_s),
        log(times.ttft_s / times.latency_s),
    ]
    return np.column_stack([own, *columns])


def _seen_by(target: Target, seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """The trees of the first token's time don't see the physical times: with them they carried over less well."""
    return seen[:, :-N_PHYSICAL] if target == "ttft_s" else seen


def _own_features(setup: Setup) -> list[float]:
    day = date.fromisoformat(setup.date) if setup.date else UNDATED_DAY
    return [
        np.log(setup.concurrency),
        np.log(setup.concurrency / setup.n_gpus),
        np.log(setup.isl_tok),
        np.log(setup.osl_tok),
        np.log(setup.n_gpus),
        float(setup.replicated_attention),
        float(setup.expert_gpus > 1),
        float(day.toordinal()),
        setup.gpu.generation,
        float(setup.model.attention == "mla"),
        float(setup.model.experts > 0),
        np.log(setup.model.active_parameters),
        # Short runs from one burst, which state no day, wait longer for the first token than steady ones.
        float(not setup.date),
        np.log1p(setup.prefill_gpus),
        np.log1p(setup.decode_gpus),
        setup.held_steps,
        float(setup.speculative),
        *(float(setup.backend == b) for b in BACKENDS),
        *(float(setup.weight_format == f) for f in FORMATS),
    ]

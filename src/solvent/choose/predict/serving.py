"""`predict_serving`: what one replica of a model on GPUs gives under a load, each figure with its 90% interval.

Trains on every measured point at first use (some seconds, one core, deterministic) and keeps that for the process.
How wide an interval is depends on what was measured of the setup, and each prediction names what it leans on.
What it doesn't do: price it (`choose.offers`), correct it by later measurements (`ledger`).
Enter at `predict_serving`. Method: docs/explanation/prediction.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np

from solvent.choose.offers.record import Range
from solvent.choose.predict.fits import misfit
from solvent.choose.predict.forecast import BACKENDS, LAST_DAY, Target, Trained, train
from solvent.choose.predict.interval import Widths, widths
from solvent.choose.predict.points import SOURCE, Point, Setup, serving_points
from solvent.choose.predict.shapes import WEIGHT_BYTES, Accelerator, ModelShape, accelerator, model_shape
from solvent.errors import ChoiceError

N_NEAREST = 3
# More than these are typing errors, not setups.
MAX_TOK, MAX_CONCURRENCY, MAX_GPUS = 10_000_000, 100_000, 1_000


@dataclass(frozen=True, slots=True)
class Parallel:
    """How one replica is cut.   n_gpus: all of it.   replicated_attention: each GPU has its own sequences.
    expert_gpus: GPUs that whole experts are spread over; 1: each expert is cut over all."""

    n_gpus: int = 1
    replicated_attention: bool = False
    expert_gpus: int = 1


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of isl_tok tokens in and osl_tok out, `concurrency` of them in flight on the replica at all times."""

    isl_tok: int
    osl_tok: int
    concurrency: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Of one replica: tokens/s out of all its GPUs, time to first token, time per output token after it.

    regime: what was measured of the setup (one of `interval.REGIMES`).   leans_on: groups and nearest rows."""

    output_tok_per_s: Range
    ttft_s: Range
    tpot_s: Range
    regime: str
    leans_on: tuple[str, ...]


@cache
def trained() -> Trained:
    """The predictor trained on every aggregated point."""
    return train([p for p in serving_points() if p.mode == "agg"])


def predict_serving(
    model: str | ModelShape,
    system: str | Accelerator,
    weight_format: str,
    parallel: Parallel,
    load: Load,
    backend: str = "vllm",
) -> Prediction:
    """output tok/s = concurrency · osl / (ttft + (osl − 1)·tpot), for a steady closed loop without speculation.

    model, system: names of choose/data/models.toml and gpus.toml, or stated shapes.   weight_format: bf16, fp8, fp4
    or int4.   backend: vllm, sglang or trtllm.
    Exactness: 90% intervals, calibrated by leaving out what the setup has not got either; beyond the measured lengths,
    loads and sizes they widen with each doubling (`beyond`), and `leans_on` says so.
    Raises: ChoiceError for an unknown name or format, a load out of range, a setup that can't fit (with bytes)."""
    setup = _checked(model, system, weight_format, parallel, load, backend)
    told = trained().forecast([setup])
    regime = regime_of(setup)
    found = {target: _range(setup, target, float(told.logs[target][0]), regime) for target in told.logs}
    latency = found["latency_s"]
    made = load.concurrency * load.osl_tok
    speed = Range(made / latency.value, made / latency.high, made / latency.low, "predicted", latency.source)
    return Prediction(speed, found["ttft_s"], found["tpot_s"], regime, leans_on(setup))


def regime_of(setup: Setup) -> str:
    """What was measured: this model on this GPU; each elsewhere; the GPU never; the model never."""
    pairs, families, gpus = _measured()
    if (setup.model.family, setup.gpu.name) in pairs:
        return "configuration"
    if setup.model.family not in families:
        return "family"
    return "model_and_gpu" if setup.gpu.name in gpus else "gpu"


@cache
def _measured() -> tuple[frozenset[tuple[str, str]], frozenset[str], frozenset[str]]:
    pairs = frozenset((p.family, p.gpu) for p in serving_points() if p.mode == "agg")
    return pairs, frozenset(f for f, _ in pairs), frozenset(g for _, g in pairs)


def leans_on(setup: Setup) -> tuple[str, ...]:
    """The groups of measured points that carry a prediction, with their sizes, and the nearest rows by id."""
    points = [p for p in serving_points() if p.mode == "agg"]
    groups: Counter[tuple[str, int]] = Counter()
    for point in points:
        same_model, same_gpu = point.family == setup.model.family, point.gpu == setup.gpu.name
        if same_model or same_gpu:
            groups[point.model_and_gpu, same_model + same_gpu] += 1
    ranked = sorted(groups.items(), key=lambda entry: (-entry[0][1], -entry[1], entry[0][0]))
    nearest = sorted(points, key=lambda p: (_distance(setup, p), p.id))[:N_NEAREST]
    return (
        *(f"{name}: {n} points" for (name, _), n in ranked[:N_NEAREST]),
        *(f"row {p.id}" for p in nearest),
        *(f"beyond what was measured: {what}" for what, _ in beyond(setup)),
    )


def _distance(setup: Setup, point: Point) -> float:
    """How unlike a measured row is: halvings of load, lengths, GPUs and size; a whole step for another kind."""
    other = point.setup
    pairs = (
        (setup.concurrency, other.concurrency),
        (setup.isl_tok, other.isl_tok),
        (setup.osl_tok, other.osl_tok),
        (setup.n_gpus, other.n_gpus),
        (setup.model.active_parameters, other.model.active_parameters),
        (setup.gpu.memory_bytes_per_s, other.gpu.memory_bytes_per_s),
    )
    steps = sum(abs(np.log2(a / b)) for a, b in pairs)
    kinds = (
        (setup.model.family != other.model.family) * 2
        + (setup.gpu.name != other.gpu.name)
        + (setup.weight_format != other.weight_format)
        + (setup.backend != other.backend)
        + (setup.replicated_attention != other.replicated_attention)
    )
    return float(steps + kinds)


def beyond(setup: Setup) -> tuple[tuple[str, float], ...]:
    """What of a setup lies outside all that was measured, and by how many doublings.

    An interval's logarithms are stretched by 1 + their sum. Why so much: trained on the lower part of the points by
    load, prompt or GPUs, 90% of those 1 to 5 doublings above need factors of 0.7 to 3.0, at most 1 + doublings but
    for a tenth more at one (docs/explanation/prediction.md)."""
    found = []
    for name, (least, most) in _reach().items():
        value = _extent(setup)[name]
        doublings = float(max(np.log2(value / most), np.log2(least / value), 0.0))
        if doublings > 0:
            found.append((f"{name} {value:,.6g}, measured {least:,.6g} to {most:,.6g}", doublings))
    return tuple(found)


def _extent(setup: Setup) -> dict[str, float]:
    return {
        "isl_tok": setup.isl_tok,
        "osl_tok": setup.osl_tok,
        "concurrency": setup.concurrency,
        "n_gpus": setup.n_gpus,
        "active parameters": setup.model.active_parameters,
        "memory_bytes_per_s": setup.gpu.memory_bytes_per_s,
        "bf16_flop_per_s": setup.gpu.bf16_flop_per_s,
    }


@cache
def _reach() -> dict[str, tuple[float, float]]:
    """Least and most of what was measured of setups that fit."""
    extents = [_extent(p.setup) for p in serving_points() if p.mode == "agg" and misfit(p.setup) is None]
    return {name: (min(e[name] for e in extents), max(e[name] for e in extents)) for name in extents[0]}


def _range(setup: Setup, target: Target, log: float, regime: str) -> Range:
    low, high = _widest(setup, target, regime).span([setup])
    value = float(np.exp(log))
    stretch = 1.0 + sum(doublings for _, doublings in beyond(setup))
    return Range(
        value,
        value * float(np.exp(stretch * low[0])),
        value * float(np.exp(stretch * high[0])),
        "predicted",
        f"{SOURCE}; {regime} left out",
    )


def _widest(setup: Setup, target: Target, regime: str) -> Widths:
    """The regime's widths; where neither model nor GPU was measured, the wider of the two that leave one out."""
    unseen_gpu = setup.gpu.name not in _measured()[2]
    regimes = ("gpu", "family") if regime == "family" and unseen_gpu else (regime,)
    spans = [widths(name, target) for name in regimes]
    return max(spans, key=lambda w: float(np.subtract(*w.span([setup])[::-1])[0]))


def _checked(
    model: str | ModelShape,
    system: str | Accelerator,
    weight_format: str,
    parallel: Parallel,
    load: Load,
    backend: str,
) -> Setup:
    if weight_format not in WEIGHT_BYTES:
        raise ChoiceError("weight_format", f"{weight_format!r}", f"one of {', '.join(WEIGHT_BYTES)}")
    if backend not in BACKENDS:
        raise ChoiceError("backend", f"{backend!r}", f"one of {', '.join(BACKENDS)}")
    for name, value, most in (
        ("isl_tok", load.isl_tok, MAX_TOK),
        ("osl_tok", load.osl_tok, MAX_TOK),
        ("concurrency", load.concurrency, MAX_CONCURRENCY),
        ("n_gpus", parallel.n_gpus, MAX_GPUS),
        ("expert_gpus", parallel.expert_gpus, parallel.n_gpus),
    ):
        if not 1 <= value <= most:
            raise ChoiceError(name, f"{value}", f"1 to {most:,}")
    setup = Setup(
        model=model_shape(model),
        gpu=accelerator(system),
        weight_format=weight_format,
        n_gpus=parallel.n_gpus,
        replicated_attention=parallel.replicated_attention,
        expert_gpus=parallel.expert_gpus,
        isl_tok=load.isl_tok,
        osl_tok=load.osl_tok,
        concurrency=load.concurrency,
        backend=backend,
        date=LAST_DAY.isoformat(),
    )
    why = misfit(setup)
    if why:
        raise ChoiceError(
            f"{setup.model.name} on {setup.gpu.name}", why, "a setup that fits", "use more GPUs or fewer bits"
        )
    return setup

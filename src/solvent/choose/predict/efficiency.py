"""Calibrated efficiencies: from demands at the data sheet's rates to times, and the fit of the shares reached.

About fifty numbers with priors (choose/data/serving-efficiencies.toml), fitted by robust least squares on the
logarithms of measured times; offsets by engine, format and generation of GPU are small by their priors.
What it doesn't do: explain what is left (`forecast`). Enter at `physical` and `calibrate`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from solvent.choose.predict.points import Setup
from solvent.choose.predict.roofline import Array, Demands

# Residuals' scales in logarithms, and the prior's weight against them: set once, on the whole table.
STEP_SCALE, FIRST_SCALE, PRIOR_WEIGHT = 0.15, 0.5, 2.0
# Sharpness of the bend between memory-bound and compute-bound, and between all in flight and all that fit.
BEND, ADMISSION_BEND = 4.0, 6.0
MAX_LOAD = 0.98
NEW_GENERATION = 10.0


@dataclass(frozen=True, slots=True)
class Physical:
    """Times that the physics predicts, for each setup."""

    tpot_s: Array
    ttft_s: Array
    latency_s: Array


@dataclass(frozen=True, slots=True)
class Priors:
    names: tuple[str, ...]
    start: Array
    spread: Array


@cache
def priors() -> Priors:
    """Names, prior means and spreads of the parameters' logarithms, in the file's order."""
    table = tomllib.loads(files("solvent.choose").joinpath("data", "serving-efficiencies.toml").read_text("utf-8"))
    named = [
        (name, np.log(p["start"]), p["spread"])
        for part in ("share", "seconds", "count")
        for name, p in table[part].items()
    ]
    # `share.attention` and the rest have names of their own across parts; offsets start at 0.
    named += [(name, 0.0, table["offset"]["spread"]) for name in table["offset"]["groups"]]
    names, start, spread = zip(*named, strict=True)
    assert len(set(names)) == len(names)
    return Priors(names, np.array(start, dtype=np.float64), np.array(spread, dtype=np.float64))


def group_columns(setups: Sequence[Setup]) -> NDArray[np.float64]:
    """(setups, offsets) 0/1: which offsets apply to a setup; the words of an offset's name all have to."""
    offsets = [name.split()[1:] for name in priors().names if " " in name]
    rows = []
    for setup in setups:
        new = setup.gpu.generation >= NEW_GENERATION
        narrow = setup.weight_format in ("fp4", "int4")
        words = {setup.backend, setup.weight_format, "new" if new else "old"}
        words |= {"experts"} if setup.model.experts else set()
        rows.append([all(w in words or (w == "narrow" and narrow) for w in name) for name in offsets])
    return np.array(rows, dtype=np.float64).reshape(len(setups), len(offsets))


def physical(logs: Array, told: Demands, groups: Array) -> Physical:
    """Times of each setup under parameters `logs` (logarithms, in `priors` order).

    step = (memory⁴ + compute⁴)^¼ + link + overheads + in flight · sequence
    tpot = step / accepted (where tokens are drafted) + mixing · (in flight − 1) · prompt / osl
    ttft = (first_token + steps_waited·step + prompt·(1 + queueing·load/(1 − load)) + burst·in flight·prompt
            + isl·prompt_token) · offset + held·(steps held back)·(time between steps) + wait for room
    latency = ttft + (osl − 1)·tpot
    Only as many requests are in flight as fit; the others wait for whole requests: (asked/fitting − 1)·latency."""
    names = priors().names
    p = {name: np.exp(value) for name, value in zip(names, logs, strict=True) if " " not in name}
    offset = _offsets(logs, groups)
    asked = told.in_flight
    batch = (asked**-ADMISSION_BEND + (told.room * p["room"]) ** -ADMISSION_BEND) ** (-1 / ADMISSION_BEND)
    share = batch / asked
    memory = (told.weights_s / p["weights"] + told.routed_s / p["experts"]) / offset["memory"]
    memory = memory + told.cache_s * share / p["cache"]
    compute = share * (told.compute_s / p["compute"] / offset["compute"] + told.attention_s / p["attention"])
    overhead = offset["overhead"] * (
        told.layers * p["layer"]
        + told.joined_layers * p["joined_layer"]
        + told.expert_layers * p["expert_layer"]
        + p["step"]
    )
    step = (memory**BEND + compute**BEND) ** (1 / BEND) + share * told.link_s / p["link"] + overhead
    step = step + batch * p["sequence"] * offset["overhead"]
    prompt = told.prompt_compute_s / p["prompt_compute"] / offset["compute"] + told.prompt_link_s / p["link"]
    prompt = prompt + told.prompt_attention_s / p["prompt_attention"] + overhead
    accepted = p["accepted"] ** told.speculative
    tpot = step / accepted + p["mixing"] * np.maximum(batch - 1, 0.0) * prompt / told.osl_tok
    load = np.minimum(batch * prompt / (prompt + told.osl_tok * tpot), MAX_LOAD)
    ttft = p["first_token"] + p["steps_waited"] * step + prompt * (1 + p["queueing"] * load / (1 - load))
    ttft = (ttft + p["burst"] * batch * prompt + told.isl_tok * p["prompt_token"]) * offset["first"]
    ttft = ttft + p["held"] * told.held_steps * tpot * accepted
    ttft = ttft + (asked / batch - 1) * (ttft + told.osl_tok * tpot)
    return Physical(tpot, ttft, ttft + (told.osl_tok - 1) * tpot)


def _offsets(logs: Array, groups: Array) -> dict[str, Array]:
    """exp of the summed offsets that apply to each setup, by what they multiply."""
    names = [name.split() for name in priors().names if " " in name]
    values = logs[-len(names) :]
    found = {}
    for what in ("memory", "compute", "overhead", "first"):
        # A narrow format on an old generation is widened in registers: it slows reading and computing alike.
        mask = np.array([n[0] == what or (n[0] == "narrow" and what in ("memory", "compute")) for n in names])
        found[what] = np.exp(groups @ (values * mask))
    return found


def calibrate(told: Demands, groups: Array, tpot_s: Array, ttft_s: Array, start: Array | None = None) -> Array:
    """The parameters' logarithms: robust (soft L1) least squares on log tpot and log ttft, with the priors.

    Deterministic. start: where the search begins (default the priors)."""
    from scipy.optimize import least_squares

    prior = priors()
    log_tpot, log_ttft = np.log(tpot_s), np.log(ttft_s)

    def soft(r: Array) -> Array:
        return np.asarray(np.sign(r) * np.sqrt(2 * (np.sqrt(1 + r * r) - 1)))

    def residuals(logs: Array) -> Array:
        times = physical(logs, told, groups)
        step = soft((np.log(times.tpot_s) - log_tpot) / STEP_SCALE)
        first = soft((np.log(times.ttft_s) - log_ttft) / FIRST_SCALE)
        return np.concatenate([step, first, PRIOR_WEIGHT * (logs - prior.start) / prior.spread])

    found = least_squares(residuals, prior.start if start is None else start, x_scale=prior.spread, max_nfev=25)
    return np.asarray(found.x, dtype=np.float64)

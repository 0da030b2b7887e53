"""What a step and a prompt must move and compute, as seconds at the data sheet's rates, and how many sequences fit.

What it doesn't do: say which share of each rate is reached (`efficiency`) or what remains unexplained (`forecast`).
Arrays throughout: one entry for each setup. Enter at `demands`.
Source: roofline model (doi:10.1145/1498765.1498785); the counts are derived in `shapes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvent.choose.predict.fits import cache_bytes_per_value, cache_split, resident_bytes, sequences_that_fit
from solvent.choose.predict.points import Setup
from solvent.choose.predict.shapes import WEIGHT_BYTES

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Demands:
    """For each setup, at 100 % of every rate; "step" is one decoding step over all requests in flight.

    weights_s, routed_s, cache_s: bytes of dense and attention weights, of experts hit, of the cache / bandwidth.
    compute_s, attention_s: operations of the step / rate.   link_s: bytes of two reductions a layer / link.
    prompt_*: the same of one prompt.   layers, joined_layers (over several GPUs), expert_layers: counts.
    in_flight: requests; room: sequences that the memory holds at isl + osl.
    held_steps, speculative (0 or 1): as the setup says."""

    weights_s: Array
    routed_s: Array
    cache_s: Array
    compute_s: Array
    attention_s: Array
    link_s: Array
    prompt_compute_s: Array
    prompt_attention_s: Array
    prompt_link_s: Array
    layers: Array
    joined_layers: Array
    expert_layers: Array
    in_flight: Array
    room: Array
    isl_tok: Array
    osl_tok: Array
    held_steps: Array
    speculative: Array

    def pick(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Demands:
        """The same, of some rows only."""
        return Demands(*(getattr(self, name)[rows] for name in self.__slots__))


def demands(setups: Sequence[Setup]) -> Demands:
    """The demands of each setup, at half of its output written (context isl + osl/2)."""
    return Demands(
        *np.array([_of_one(setup) for setup in setups], dtype=np.float64).reshape(-1, len(Demands.__slots__)).T
    )


def _of_one(setup: Setup) -> tuple[float, ...]:
    model, gpu, n, batch = setup.model, setup.gpu, setup.n_gpus, setup.concurrency
    room = max(sequences_that_fit(setup), 1.0)
    context = setup.isl_tok + setup.osl_tok / 2
    expert_bytes, head = WEIGHT_BYTES[setup.weight_format], model.hidden * model.vocab
    routed_active = model.active_parameters - model.attention_parameters
    resident_attention, resident_dense, _ = resident_bytes(setup)
    # The input embedding is looked up, not read; a tied one is the head.
    dense_read = resident_dense - (0 if model.tied else head * 2.0 / n)
    attention_rate = gpu.flop_per_s("bf16" if setup.wide_attention else setup.weight_format)
    per_token = (
        2 * (model.attention_parameters / attention_rate + routed_active / gpu.flop_per_s(setup.weight_format)) / n
    )
    link = 2 * model.layers * 2.0 * model.hidden * 2 * (n - 1) / n / gpu.link_bytes_per_s
    step_attention = model.attention_flop(context) / (n * gpu.bf16_flop_per_s)
    cached = model.cache_read_values(context) * cache_bytes_per_value(setup.weight_format)
    return (
        (resident_attention + dense_read) / gpu.memory_bytes_per_s,
        model.routed_read(min(batch, room)) * expert_bytes / n / gpu.memory_bytes_per_s,
        batch * cached / (cache_split(setup) * gpu.memory_bytes_per_s),
        batch * per_token,
        batch * step_attention,
        batch * link,
        setup.isl_tok * per_token,
        setup.isl_tok * model.attention_flop(setup.isl_tok / 2) / (n * gpu.bf16_flop_per_s),
        setup.isl_tok * link,
        model.layers,
        model.layers if n > 1 else 0,
        model.expert_layers,
        batch,
        room,
        setup.isl_tok,
        setup.osl_tok,
        setup.held_steps,
        float(setup.speculative),
    )

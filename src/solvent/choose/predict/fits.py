"""Does it fit: weights, cache and activations on the GPUs' memory, all bytes counted.

Weights that narrow formats leave wide are counted wide: fp4 and int4 recipes of expert models keep attention and
dense layers in bf16, and every recipe keeps the embedding and the output head in bf16.
What it doesn't do: time anything (`roofline`). Enter at `misfit`.
"""

from __future__ import annotations

from solvent.choose.predict.points import Setup
from solvent.choose.predict.shapes import WEIGHT_BYTES

# Share of the memory that an engine takes by default (vLLM 0.9, TensorRT-LLM 0.9 of what is free), and what it
# needs beside weights and cache: activations, graphs, collectives (aiconfigurator: 3.5 GB + 0.4 GB).
MEMORY_SHARE = 0.9
WORKING_BYTES = 3.9e9


def cache_bytes_per_value(weight_format: str) -> float:
    """Cached values are fp8 where the weights are narrower than bf16, as the served recipes do; else bf16."""
    return 2.0 if weight_format == "bf16" else 1.0


def cache_split(setup: Setup) -> float:
    """Over how many GPUs one copy of the cache is divided: by heads, not below one; a latent has none to divide."""
    if setup.replicated_attention:
        return float(setup.n_gpus)
    if setup.model.attention == "mla":
        return 1.0
    return float(min(setup.n_gpus, setup.model.kv_heads))


def resident_bytes(setup: Setup) -> tuple[float, float, float]:
    """Bytes on each GPU of attention, of dense layers with embeddings, and of routed experts."""
    model, n = setup.model, setup.n_gpus
    narrow = WEIGHT_BYTES[setup.weight_format]
    wide = WEIGHT_BYTES["bf16"] if setup.wide_attention else narrow
    tables = model.hidden * model.vocab * (1 if model.tied else 2) * 2.0
    dense = (model.dense_parameters - model.hidden * model.vocab) * wide
    attention = model.attention_parameters * wide / (1 if setup.replicated_attention else n)
    return attention, (dense + tables) / n, model.routed_parameters * narrow / n


def sequences_that_fit(setup: Setup) -> float:
    """Sequences of isl + osl tokens whose cache fits beside the weights, over the replica; below 1 where none does."""
    free = setup.gpu.memory_bytes * MEMORY_SHARE - sum(resident_bytes(setup)) - WORKING_BYTES
    each = setup.model.cache_values(setup.isl_tok + setup.osl_tok) * cache_bytes_per_value(setup.weight_format)
    return max(free, 0.0) * cache_split(setup) / each


def misfit(setup: Setup) -> str | None:
    """Why this setup can't be what it says, or None.

    Weights must leave room for one sequence; attention that is split over GPUs must divide its heads."""
    per_gpu = sum(resident_bytes(setup))
    have = setup.gpu.memory_bytes * MEMORY_SHARE - WORKING_BYTES
    if per_gpu > have:
        return (
            f"weights take {per_gpu / 1e9:.0f} GB on each of {setup.n_gpus} GPUs; "
            f"{have / 1e9:.0f} of {setup.gpu.memory_bytes / 1e9:.0f} GB can hold them"
        )
    if sequences_that_fit(setup) < 1:
        return f"no room for the cache of one sequence of {setup.isl_tok + setup.osl_tok} tokens"
    if not setup.replicated_attention and setup.model.heads % setup.n_gpus and not setup.prefill_gpus:
        return (
            f"{setup.model.heads} heads don't divide over {setup.n_gpus} GPUs: "
            "a sum of prefill and decode workers, not one replica"
        )
    return None

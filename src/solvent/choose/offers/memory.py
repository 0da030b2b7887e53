"""Whether a model fits: the bytes of weights, cache, activations and runtime against the memory of the machine.

Formulas and their sources are in docs/reference/choice.md. A model or a format whose shape nobody states has unknown
bytes: None, and the offer isn't screened by physics.
Enter at `needed_bytes` and `available_bytes`.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from solvent.choose.predict.shapes import accelerators, models


@cache
def _data() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files("solvent.choose").joinpath("data", "offers.toml").read_text("utf-8"))


def bits_of(value_format: str) -> float | None:
    """Bits of one value, its scales included; None for a format that the table doesn't have."""
    bits = _data()["bits"].get(value_format.lower())
    return None if bits is None else float(bits)


def needed_bytes(
    model: str, weight_format: str, cache_format: str, batch: int, sequence_tok: int | None, n_gpus: int = 1
) -> int | None:
    """parameters·w/8 + cache_values(sequence_tok)·batch·c/8 + activations + runtime·n_gpus.

    activations = 2·chunk_tok·(4·hidden + 3·widest) + 4·batch·vocab: residual, query, key and value, three products of
    the MLP at 16 bits for the prompt tokens that pass at once, and 32-bit logits of one token per sequence.
    None where the shape, a format or the length of a sequence is unknown.
    """
    shape = models().get(model)
    weight_bits, cache_bits = bits_of(weight_format), bits_of(cache_format)
    if shape is None or weight_bits is None or cache_bits is None or sequence_tok is None:
        return None
    machine = _data()["machine"]
    widest = max(shape.dense_width, shape.shared_width + shape.experts_per_token * shape.expert_width)
    activations = 2 * machine["chunk_tok"] * (4 * shape.hidden + 3 * widest) + 4 * batch * shape.vocab
    weights = shape.parameters * weight_bits / 8
    cached = shape.cache_values(sequence_tok) * batch * cache_bits / 8
    return int(weights + cached + activations + machine["runtime_bytes_per_gpu"] * n_gpus)


def available_bytes(gpu: str | None, n_gpus: int) -> int | None:
    """Memory of the machine's GPUs; None for one that isn't in the table of accelerators."""
    known = accelerators().get(gpu or "")
    return None if known is None else known.memory_bytes * n_gpus

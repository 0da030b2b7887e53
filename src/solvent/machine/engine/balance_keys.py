"""A model whose keys lose less as codes: each pair of channels of a key is made larger where queries are, smaller where
not, and the queries the other way round.

q·k doesn't change when a pair of channels that RoPE turns together is times w in the key and times 1/w in the query:
not by a bit where w is a power of two, and by half precision's rounding of the blocks' scales otherwise. Codes spread
their error evenly over a head's channels, and a channel's error counts as much as the queries in it; so the error that
reaches scores is least where keys are as large as queries, channel by channel: w² = rms(q) / rms(k − mean).
What it doesn't do: see queries and keys (tools/balance_keys.py reads a text); write files (gguf_write.py).
Enter at `exponents_of` and `balanced`. What it brings: docs/explanation/turboquant.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from solvent.errors import ModelFileError
from solvent.machine.engine.config import Config
from solvent.machine.engine.model_file import ModelFile, Tensor
from solvent.machine.engine.quants import TYPES

Exponents = NDArray[np.float64]
Floats = NDArray[np.float32]

TILE_TOK = 128
LARGEST = 4
ROUNDING = 2.0**-8  # of a scale, at most: far below a code's step; half precision's is 2^-11 but where it is below 6e-5
# Type → bytes of a block that are half-precision scales of all its weights.
SCALES = {"q4_0": (0, 2), "q4_1": (0, 4), "q8_0": (0, 2), "q4_k": (0, 4), "q5_k": (0, 4), "q6_k": (208, 210)}
FLOATS = {"f32": "<f4", "f16": "<f2"}


def exponents_of(q: Floats, k: Floats, pairs: str, steps: int = 1) -> Exponents:
    """n of w = 2^n for every pair of channels of every key head, the mean over a head's pairs about 0.

    q: (H, T, D), k: (KV, T, D), as attention takes them, of at least 256 tokens.   pairs: as Config.rope_pairs.
    steps: to an octave; 1: powers of two.   → (KV, D/2)
    Raises: ModelFileError (too few tokens)"""
    if k.shape[1] < 2 * TILE_TOK:
        raise ModelFileError("text", f"{k.shape[1]} tokens", f"at least {2 * TILE_TOK}")
    starts = range(TILE_TOK, k.shape[1] - TILE_TOK + 1, TILE_TOK)
    # What codes are made of: keys less the mean of the tile before.
    centred = [k[:, at : at + TILE_TOK] - k[:, at - TILE_TOK : at].mean(axis=1, keepdims=True) for at in starts]
    k_square = (np.concatenate(centred, axis=1).astype(np.float64) ** 2).mean(axis=1)
    q_square = (q.astype(np.float64) ** 2).mean(axis=1).reshape(len(k), -1, k.shape[2]).mean(axis=1)
    k_pair, q_pair = (_by_pair(square, pairs).mean(axis=2) for square in (k_square, q_square))
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.log2(q_pair / k_pair) / 4
    wanted = np.where(np.isfinite(wanted), wanted, 0.0)
    n = np.rint(steps * (wanted - wanted.mean(axis=1, keepdims=True))) / steps
    return np.asarray(np.clip(n, -LARGEST, LARGEST), np.float64)


def balanced(file: ModelFile, config: Config, layers: Sequence[Exponents]) -> ModelFile:
    """The model with its query and key rows, and their biases, times 2^n and 2^−n.   layers: exponents of each.

    Exactness: with whole exponents scores are the same to the last bit, but for keys below 6e-5, which have fewer bits
    in half precision; with others each row is off by the rounding of its blocks' scales, 2^-11.
    Raises: ModelFileError (heads that are normalised after the product, a type without scales of its own, scales that
    would leave their range)"""
    if config.qk_norm:
        raise ModelFileError(
            str(file.path), "queries and keys with norms of their own", "a model without (Llama, Qwen2)"
        )
    tensors = dict(file.tensors)
    group = config.n_heads // config.n_kv_heads
    for layer, exponents in enumerate(layers):
        rows = _by_channel(exponents, config.rope_pairs)
        for name, signed in (("attn_k", rows), ("attn_q", -np.repeat(rows, group, axis=0))):
            for part in ("weight", "bias"):
                full = f"blk.{layer}.{name}.{part}"
                if full in tensors:
                    tensors[full] = times_powers(tensors[full], signed.ravel())
    return dataclasses.replace(file, tensors=tensors)


def times_powers(tensor: Tensor, exponents: Exponents) -> Tensor:
    """Each row of a tensor times 2^exponent. exponents: one a row (of a vector: an element).

    Exactness: exact for whole exponents, but for f16 weights below 6e-5; else each scale (of floats: weight) to 2^-11.
    Raises: ModelFileError (as balanced)"""
    factor = np.exp2(exponents).astype(np.float32)
    data = tensor.data.copy()
    if tensor.type in FLOATS:
        scales = data.view(FLOATS[tensor.type]).reshape(len(exponents), -1)
        wanted = scales * factor[:, None]
        scales[:] = wanted
    elif tensor.type in SCALES:
        start, end = SCALES[tensor.type]
        blocks = data.reshape(len(exponents), -1, TYPES[tensor.type][1])
        wanted = blocks[:, :, start:end].copy().view("<f2") * factor[:, None, None]
        scales = wanted.astype(np.float16)
        blocks[:, :, start:end] = scales.view(np.uint8)
    else:
        raise ModelFileError(tensor.name, f"the type {tensor.type}", f"one of {', '.join((*FLOATS, *SCALES))}")
    data.flags.writeable = False
    # Half-precision weights below 6e-5 lose bits that products don't show; a block's scale loses its block's.
    allowed = ROUNDING if (exponents % 1).any() else 0.0
    lost = np.abs(scales.astype(np.float32) - wanted) > allowed * np.abs(wanted)
    if (tensor.type != "f16" and lost.any()) or not np.isfinite(scales).all():
        raise ModelFileError(tensor.name, "scales that leave half precision's range", "a model with larger ones")
    return dataclasses.replace(tensor, data=data)


def _by_pair(channels: NDArray[np.float64], pairs: str) -> NDArray[np.float64]:
    """(KV, D) → (KV, D/2, 2)"""
    heads, n = channels.shape
    if pairs == "adjacent":
        return channels.reshape(heads, n // 2, 2)
    return channels.reshape(heads, 2, n // 2).swapaxes(1, 2)


def _by_channel(exponents: Exponents, pairs: str) -> Exponents:
    """(KV, D/2) → (KV, D)"""
    return np.repeat(exponents, 2, axis=1) if pairs == "adjacent" else np.tile(exponents, (1, 2))

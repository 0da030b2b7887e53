"""Attention of one query on packed keys and values in plain NumPy, rounded where the native kernels round.

Scores are computed in the rotated domain on codes: the query is rotated once, made int8, and multiplied with the
codebook's integers; the weighted sum of values is integer too, and its result is rotated back once. What it doesn't
do: many queries, masks, threads.
Enter at `attend`. Source: docs/reference/turboquant-format.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvent.machine.turboquant.cache_format import CHUNK_TOK
from solvent.machine.turboquant.centring import PackedHeads
from solvent.machine.turboquant.reference import level_codes
from solvent.machine.turboquant.rotation import rotate, rotate_back

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

LARGEST = 127
# Tokens whose weights share one unit.
WEIGHED = 32


def attend(query: F32, keys: PackedHeads, values: PackedHeads, head: int) -> F32:
    """softmax(q · K̂ᵀ) V̂ over all tokens held.

    query: (D,) f32, already times 1/√D.   → (D,) f32
    Exactness: int8 for the rotated query and, per 32 tokens, for weight times scale; sums in integers and f64. Nothing
    of tokens in half precision."""
    score = scores(query, keys, head)
    weights = np.exp(score - score.max())
    return weighted_values(weights / weights.sum(), values, head)


def scores(query: F32, keys: PackedHeads, head: int) -> F64:
    """⟨Rq, m⟩ + s · ⟨Rq, values⟩ for every token, the second product with Rq in int8. → (T,) f64"""
    turned = rotate(query)
    codes, unit = int8_codes(turned)
    levels, step = levels_of(keys, head)
    centres = keys.token_centres(0, keys.n_tok)[head].astype(np.float64) @ turned.astype(np.float64)
    found = np.asarray(centres + keys.token_scales(0, keys.n_tok)[head] * (unit * step) * (levels @ codes))
    for part in full_parts(keys):
        found[part] = keys.rotated(part.start, part.stop)[head].astype(np.float64) @ turned
    return found


def weighted_values(weights: F64, values: PackedHeads, head: int) -> F32:
    """R⁻¹ Σ p · s · values, with p · s as integers of −127..127 for each 32 tokens. weights: (T,)   → (D,) f32"""
    levels, step = levels_of(values, head)
    scaled = (weights * values.token_scales(0, values.n_tok)[head]).astype(np.float32)
    total = np.zeros(values.code.head_size)
    for part in full_parts(values):
        scaled[part] = 0
        total += weights[part] @ values.rotated(part.start, part.stop)[head].astype(np.float64)
    for start in range(0, values.n_tok, WEIGHED):
        codes, unit = int8_codes(scaled[start : start + WEIGHED])
        total += unit * step * (codes @ levels[start : start + WEIGHED])
    return rotate_back(total.astype(np.float32))


def full_parts(packed: PackedHeads) -> list[slice]:
    """The tokens in half precision, by chunk."""
    starts = (chunk * CHUNK_TOK for chunk in sorted(packed.halves))
    return [slice(start, min(start + CHUNK_TOK, packed.n_tok)) for start in starts]


def int8_codes(x: F32) -> tuple[I32, float]:
    """round(x · 127 / max |x|), ties to even, and the unit max |x| / 127; zeros for zeros. (n,) f32 → (n,) i32"""
    largest = np.float32(np.abs(x).max(initial=0))
    if largest == 0:
        return np.zeros(len(x), np.int32), 0.0
    return np.rint(x * (np.float32(LARGEST) / largest)).astype(np.int32), float(largest) / LARGEST


def levels_of(packed: PackedHeads, head: int) -> tuple[I32, float]:
    """The integers that one head's codes stand for, and their unit. → (T, D) i32"""
    _, step = packed.code.levels()
    return level_codes(packed.codes(0, packed.n_tok)[head], packed.code), step

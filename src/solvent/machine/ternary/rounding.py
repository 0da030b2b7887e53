"""Weights rounded to −1, 0 and 1 times a scale, as BitNet b1.58 rounds them in training; and whether they are already.

A scale belongs to a whole tensor here; the block formats then store it once a block. What it doesn't do: make a
model ternary that wasn't trained for it. Rounding is part of a trained ternary network and ruins any other
(docs/explanation/ternary-weights.md has the numbers).
Enter at `round_to_ternary`, `is_ternary`. Source: arXiv:2402.17764 §2.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

# TQ1_0 and TQ2_0 have a scale for each 256 weights of a row.
BLOCK = 256
SMALLEST_SCALE = 1e-5


def absmean(parts: Iterable[F32]) -> np.float32:
    """s = max(mean |W|, 1e-5) over the parts of one tensor.

    parts: float32 of any shapes.   → float32
    Exactness: summed in float64, rounded once. Training sums in float32, so a weight within 1e-6 of a half of s may
    round the other way.
    Source: arXiv:2402.17764 Eq. 3; transformers integrations/bitnet.py, weight_quant (the floor)"""
    total, n = 0.0, 0
    for part in parts:
        total += float(np.abs(part).sum(dtype=np.float64))
        n += part.size
    return np.float32(max(total / max(n, 1), SMALLEST_SCALE))


def round_to_ternary(weights: F32, scale: np.float32) -> F32:
    """W̃ = clamp(round(W / s), −1, 1) · s.

    weights: float32 of any shape.   scale: s of the tensor that they are part of.   → float32, the same shape
    Exactness: the division rounds once; ties go to the even code, as torch rounds; |W| = s/2 becomes 0.
    Source: arXiv:2402.17764 Eq. 1–2"""
    codes: F32 = np.clip(np.rint(weights / scale), -1, 1) * scale
    return codes


def is_ternary(weights: F32) -> bool:
    """Whether every block of 256 holds only −d, 0 and d for some d: such weights go into TQ1_0 and TQ2_0 unchanged.

    weights: (…, K).   → False where K isn't a multiple of 256.
    Exactness: exact, but for d itself, which the formats store in half precision."""
    if weights.shape[-1] % BLOCK:
        return False
    magnitudes = np.abs(weights).reshape(-1, BLOCK)
    largest = magnitudes.max(axis=1, keepdims=True)
    return bool(((magnitudes == largest) | (magnitudes == 0)).all())

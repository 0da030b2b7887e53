"""The rotation R: fixed signs, then a Hadamard transform over pieces of a power of two, so that coordinates look alike.

R x = H (σ ∘ x) / √n on each piece; R is orthonormal, so scalar products survive it, and one R serves every layer, head,
key and value. Head sizes that are no power of two are split by their binary digits, largest first: 80 = 64 + 16.
Nothing is padded and nothing is drawn at run time.
Enter at `rotate`, `rotate_back`. Source: arXiv:2504.19874 §3.1 (there a dense random matrix); arXiv:2404.00456 §4.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

SEED = 0x5045_4E54
MASK = (1 << 64) - 1


@cache
def signs(head_size: int) -> F32:
    """σ: element i is −1 where the top bit of the i-th output of SplitMix64 (seed 0x50454E54) is set.

    head_size: D.   → (D,) f32 of ±1, read-only; σ of a smaller head is the start of a larger one's.
    Source: S. Vigna's splitmix64.c (public domain)"""
    state, out = SEED, np.empty(head_size, np.float32)
    for i in range(head_size):
        state = (state + 0x9E37_79B9_7F4A_7C15) & MASK
        mixed = state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58_476D_1CE4_E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D0_49BB_1331_11EB) & MASK
        out[i] = -1.0 if (mixed ^ (mixed >> 31)) >> 63 else 1.0
    out.flags.writeable = False
    return out


def pieces(head_size: int) -> tuple[int, ...]:
    """The powers of two that a head is split into, largest first. 80 → (64, 16)"""
    return tuple(1 << bit for bit in range(head_size.bit_length() - 1, -1, -1) if head_size >> bit & 1)


def rotate(vectors: F32) -> F32:
    """R x for each vector. (…, D) f32 → (…, D) f32

    Exactness: f32 sums of D terms in log2 D levels; relative error of the norm below 1e-6."""
    head_size = vectors.shape[-1]
    return hadamard(vectors.astype(np.float32) * signs(head_size))


def rotate_back(vectors: F32) -> F32:
    """R⁻¹ y = σ ∘ (H y) / √n for each vector. (…, D) f32 → (…, D) f32"""
    turned: F32 = hadamard(vectors.astype(np.float32)) * signs(vectors.shape[-1])
    return turned


def hadamard(vectors: F32) -> F32:
    """The orthonormal Sylvester–Hadamard transform of each piece: its own inverse. (…, D) → (…, D)"""
    parts, start = [], 0
    for piece in pieces(vectors.shape[-1]):
        part = vectors[..., start : start + piece]
        half = 1
        while half < piece:
            pair = part.reshape(*part.shape[:-1], piece // (2 * half), 2, half)
            first, second = pair[..., 0, :], pair[..., 1, :]
            part = np.stack([first + second, first - second], axis=-2).reshape(part.shape)
            half *= 2
        parts.append(part * np.float32(piece**-0.5))
        start += piece
    return np.concatenate(parts, axis=-1)

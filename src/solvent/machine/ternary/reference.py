"""BitNet's arithmetic on ternary codes in plain NumPy: the truth that ternary kernels are tested against.

Codes are int8 −1, 0, 1 of shape (M, K); scales multiply them: one for the tensor (1, 1), as BitNet is trained, or one
for each group of a row (M, K / group), as Bonsai is. Integer sums are exact whatever K; one rounding ends a product.
What it doesn't do: round a model that wasn't trained ternary (rounding.py says whether that is wise), pack (format.py).
Enter at `quantised_weights` and `product`. Source: arXiv:2402.17764 §2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int8]
F32 = NDArray[np.float32]

# transformers integrations/bitnet.py, WeightQuant: the floor of the mean.
SMALLEST_MEAN = 1e-5


def quantised_weights(weights: F32, group_size: int | None = None) -> tuple[Codes, F32]:
    """codes = clamp(round(W · s), −1, 1), s = 1 / max(mean |W|, 1e-5); scale = 1 / s; W ≈ codes · scale.

    weights: (M, K).   group_size: weights of a row that share a scale; None: the tensor has one.
    → codes (M, K) int8;  scales (1, 1) or (M, K / group_size) float32
    Exactness: the mean is summed in float64 and rounded once; then every step rounds in float32 in the order in which
    transformers trains, so that codes · scale are its weights to the bit where its mean is ours.
    Source: arXiv:2402.17764 Eq. 1–3; transformers integrations/bitnet.py, WeightQuant"""
    grouped = weights.reshape(1, -1) if group_size is None else weights.reshape(-1, group_size)
    mean = np.abs(grouped).mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    s = np.float32(1) / np.maximum(mean, np.float32(SMALLEST_MEAN))
    codes = np.clip(np.rint(grouped * s), -1, 1).astype(np.int8)
    scales: F32 = np.float32(1) / s
    return codes.reshape(weights.shape), scales.reshape(1 if group_size is None else len(weights), -1)


def dequantised(codes: Codes, scales: F32) -> F32:
    """codes · scale, group by group.   codes: (M, K).   scales: (1, 1) or (M, K / group).   → (M, K) float32"""
    spread = scales if scales.size == 1 else np.repeat(scales, codes.shape[1] // scales.shape[1], axis=1)
    return codes.astype(np.float32) * spread


def dots(codes: Codes, activations: NDArray[np.int8], n_groups: int = 1) -> NDArray[np.int64]:
    """Σ codes · activations over each of n_groups parts of the columns.

    codes: (M, K).   activations: (T, K) int8.   → (T, M, n_groups)
    Exactness: exact."""
    (n_rows, n_columns), n_tokens = codes.shape, len(activations)
    w = codes.reshape(n_rows, n_groups, -1).astype(np.int64)
    x = activations.reshape(n_tokens, n_groups, n_columns // n_groups).astype(np.int64)
    sums: NDArray[np.int64] = np.einsum("tgk,mgk->tmg", x, w)
    return sums


def product(codes: Codes, scales: F32, activations: NDArray[np.int8], activation_scales: F32) -> F32:
    """y = Σ_groups scale · (codes · activations) / activation_scale.

    codes: (M, K).   scales: (1, 1) or (M, G).   activations: (T, K) int8.
    activation_scales: (T, 1), by which the activations were multiplied.   → (T, M) float32
    Exactness: the integer sums are exact; scales multiply and add in float64; one rounding to float32.
    Source: arXiv:2402.17764 §2; transformers integrations/bitnet.py, BitLinear.forward"""
    sums = dots(codes, activations, scales.shape[1]) * scales.astype(np.float64)
    y: F32 = (sums.sum(axis=2) / activation_scales.astype(np.float64)).astype(np.float32)
    return y

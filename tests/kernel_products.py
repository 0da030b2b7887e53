"""What a product by native kernels must give: a reference in float64, and how far rounding may take it from there.

The activations are rounded as the kernels are defined to (docs/reference/weight-panels.md), so that what remains are
the kernels' own float32 roundings, whose number is known; integer sums are exact.
"""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import engine_models
import numpy as np
from numpy.typing import NDArray

from solvent.machine import native
from solvent.machine.engine import reference
from solvent.machine.engine.model_file import Tensor
from solvent.machine.engine.quants import TYPES, dequantise, n_bytes

Floats = NDArray[np.floating[Any]]

N_OUTLIERS = 8
FLOATS = ("f32", "f16", "bf16")
# Type → byte at which its codes start, behind scales that say what code 0 means.
CODES_OF_MINIMUM_TYPES = {"q4_1": 4, "q4_k": 16, "q5_k": 16}
# float32 rounds by at most half of 2^-23.
EPS = 2.0**-24


def known_kernels() -> list[str]:
    """Every kernel set that the source has, whatever this CPU."""
    folder = Path(__file__).resolve().parents[1] / "native" / "kernels"
    found = [re.search(r'SOLVENT_NAME "(\w+)"', path.read_text("utf-8")) for path in folder.glob("kernels_*.cpp")]
    return sorted(match[1] for match in found if match)


def random_matrix(kind: str, n_rows: int, n_cols: int, seed: int = 0) -> Tensor:
    """Random codes under sane scales."""
    return engine_models.random_tensor(f"blk.{n_rows}.attn_q.weight", kind, (n_rows, n_cols), seed)


def one_scale(tensor: Tensor) -> Tensor:
    """The tensor with the first block's scale in all blocks, as BitNets come in types that have one for each."""
    if tensor.type not in engine_models.SCALES:
        return tensor
    start, _ = engine_models.SCALES[tensor.type]
    data = tensor.data.reshape(-1, TYPES[tensor.type][1]).copy()
    data[:, start : start + 2] = data[0, start : start + 2]
    return dataclasses.replace(tensor, data=data.reshape(-1))


def random_bytes(kind: str, n_rows: int, n_cols: int, seed: int) -> Tensor:
    """Any bytes, but for scales and minima that are no finite number, which aren't packed; they may be 0 or huge.
    Floats may be infinite or no number."""
    size = n_bytes(kind, (n_rows, n_cols))
    data = (engine_models.splitmix64(seed, size) >> np.uint64(56)).astype(np.uint8)
    for halves in (engine_models.SCALES, engine_models.MINIMUMS):
        if kind in halves:
            data.reshape(-1, TYPES[kind][1])[:, halves[kind][0] + 1] &= 0xFB  # an exponent below 31
    return Tensor("blk.0.attn_q.weight", kind, (n_rows, n_cols), data, 0.5 if kind == "hf_ternary" else 1.0)


def random_x(n_tokens: int, n_cols: int, seed: int = 0) -> NDArray[np.float32]:
    """Numbers in [−1, 1) with a few that dwarf them."""
    x = engine_models.uniform(seed + 77, n_tokens * n_cols).reshape(n_tokens, n_cols).copy()
    x[:, :: max(7, n_cols // 5)] *= np.float32(9)
    return x


def multiply(
    tensor: Tensor,
    x: NDArray[np.float32],
    kernel: str,
    n_together: int = 1,
    *,
    per_token: bool = False,
    packed_for: str = "",
) -> NDArray[np.float32]:
    """x · Wᵀ by the native kernels of that name, from panels as these or others want them."""
    matrix = native.extension().Matrix(
        tensor.type, *tensor.shape, tensor.data, tensor.scale, per_token, packed_for=packed_for or kernel
    )
    y: NDArray[np.float32] = matrix.multiply(x, kernel, n_together)
    return y


def is_one_sum(tensor: Tensor, *, per_token: bool) -> bool:
    """Whether a row is one sum of integers: activations of one scale a token, ternary weights of one scale a matrix."""
    if not per_token or tensor.type not in engine_models.TERNARY:
        return False
    magnitudes = np.unique(np.abs(dequantise(tensor)))
    return tensor.type in ("i2_s", "i2_s_arm", "hf_ternary") or len(magnitudes[magnitudes > 0]) == 1


def expected(tensor: Tensor, x: NDArray[np.float32], *, per_token: bool = False) -> tuple[Floats, Floats]:
    """The product in float64, and the largest error that float32 can make of it.   → (T, M), (T, M)

    A sum of n float32 additions errs by at most n · 2^-24 · Σ|terms|, however it is ordered.
    Floats: K/16 fused additions a lane, four levels over the lanes, one more as a margin for what is of second order;
    int8 per token, 1/s and its product with a code round too.
    Int8 per token, ternary of one scale: the sum is exact; its conversion, 1/s, scale · 1/s and the product round, and
    so does the weight of the reference: 6 with one for the second order.
    Int8 per 32, and per token over other blocks: one addition for each scale, minimum and outlier; a term rounds in d,
    scale · d, d · Σq, twice in the weight and once in the reference's code · d: 7 with one for the second order.
    Σ|terms| counts a weight's minimum apart, since the kernel adds Σ code · q and Σ q apart."""
    weights = dequantise(tensor).astype(np.float64)
    minima = _minima(tensor).astype(np.float64)
    parts = np.abs(weights - minima) + np.abs(minima)
    n_cols = tensor.shape[1]
    per_block = 2 if tensor.type == "q6_k" or minima.any() else 1
    n_roundings = math.ceil(n_cols / 32) * per_block + N_OUTLIERS + 7.0
    if tensor.type in FLOATS:
        n_roundings = n_cols / 16 + 1 + 4 + 1 + 2 * per_token
    taken = x.astype(np.float64)
    if per_token:
        codes, scale = reference.quantised_activations(x)
        # Codes times one scale: float64 holds the sum exactly, so that a sum of 0 is 0.
        taken = codes.astype(np.float64)
        exact = taken @ weights.T / scale.astype(np.float64)
        if is_one_sum(tensor, per_token=per_token):
            return exact, 6 * EPS * np.abs(exact)
        taken = taken / scale.astype(np.float64)
    elif tensor.type not in FLOATS:
        taken = reference.int8_blocks(x, N_OUTLIERS).astype(np.float64)
    return taken @ weights.T, n_roundings * EPS * (np.abs(taken) @ parts.T)


def is_right(y: Floats, tensor: Tensor, x: NDArray[np.float32], *, per_token: bool = False) -> bool:
    """Whether y is W·x within the error that float32 explains."""
    exact, bound = expected(tensor, x, per_token=per_token)
    assert y.shape == exact.shape
    return bool((np.abs(y - exact) <= bound).all())


def _minima(tensor: Tensor) -> Floats:
    """Each weight's value at code 0, where the type adds a minimum to code · scale; else 0."""
    start = CODES_OF_MINIMUM_TYPES.get(tensor.type)
    if start is None:
        return np.zeros(tensor.shape, np.float32)
    data = tensor.data.reshape(-1, TYPES[tensor.type][1]).copy()
    data[:, start:] = 0
    return dequantise(dataclasses.replace(tensor, data=data.reshape(-1)))

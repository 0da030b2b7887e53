"""Float32 weights to the bytes of a number format: the block quantisers of llama.cpp, in NumPy.

The way back is quants.py. Each operation rounds once, in float32, in the order of llama.cpp's reference
(`quantize_row_*_ref` in ggml-quants.c), so that the bytes are equal to its. What it doesn't do: importance weights,
a search for better scales, and the per-tensor rounding that BitNet was trained with (ternary/rounding.py).
Enter at `quantise`. Source: docs/reference/quantised-blocks.md, docs/reference/ternary-format.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from solvent.errors import ModelFileError
from solvent.machine.engine.model_file import Bytes, shown
from solvent.machine.engine.quants import F32, TYPES

LARGEST_F16 = 65504.0
# A scale from here on rounds to infinity in half precision: halfway to what would be the next number.
_TOO_LARGE = 65520.0


def quantise(weights: F32, kind: str, where: str = "weights") -> Bytes:
    """Weights in the blocks of a type: f32, f16, q8_0, q4_0, q4_1, tq1_0 or tq2_0.

    weights: float32, (…, K) with K a multiple of the type's block.   → uint8, 1-D, as in the file.
    Exactness: equal in every bit to ggml-quants.c; f16 rounds to the nearest, ties to even.
    Raises: ModelFileError (rows that aren't whole blocks; a weight that isn't finite; one too large for half
    precision), naming `where`.
    Source: ggml-quants.c, quantize_row_{q8_0,q4_0,q4_1,tq1_0,tq2_0}_ref"""
    n_weights, _ = TYPES[kind]
    if weights.shape[-1] % n_weights:
        raise ModelFileError(
            f"tensor {shown(where)}", f"rows of {weights.shape[-1]}", f"a multiple of {n_weights} for {kind}",
            "choose another type",
        )  # fmt: skip
    if not np.isfinite(weights).all():
        raise ModelFileError(f"tensor {shown(where)}", "a weight that isn't finite", "finite weights")
    blocks = np.ascontiguousarray(weights, np.float32).reshape(-1, n_weights)
    if kind != "f32" and _largest_scale(blocks, kind) >= _TOO_LARGE:
        raise ModelFileError(
            f"tensor {shown(where)}", f"weights up to {np.abs(blocks).max():.3g}", f"scales up to {LARGEST_F16:g}"
        )
    return ENCODERS[kind](blocks).reshape(-1)


def _largest_scale(blocks: F32, kind: str) -> float:
    """The largest number that becomes half precision, in magnitude."""
    if blocks.size == 0:
        return 0.0
    low, high = float(blocks.min()), float(blocks.max())
    largest = max(abs(low), abs(high))
    if kind == "q4_1":
        return max(abs(low), abs(high), float((blocks.max(axis=1) - blocks.min(axis=1)).max()) / 15)
    return largest / {"q8_0": 127, "q4_0": 8}.get(kind, 1)


def _inverse(d: F32) -> F32:
    """1/d, and 0 where d is 0 or so small that its inverse overflows (its half-precision scale is 0 then)."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / d
    return np.where(np.isfinite(inverse), inverse, np.float32(0))


def _half(d: F32) -> Bytes:
    """(n, 1) float32 → (n, 2) bytes of half precision."""
    return d.astype("<f2").view(np.uint8).reshape(len(d), 2)


def _rounded(x: F32) -> NDArray[np.int8]:
    """C's roundf: to the nearest, halves away from zero.

    Not floor(|x| + 0.5), which takes the number just below one half up to one."""
    whole = np.trunc(x)
    return (whole + np.trunc(2 * (x - whole))).astype(np.int8)


def _float32(blocks: F32) -> Bytes:
    return blocks.astype("<f4", copy=False).view(np.uint8)


def _float16(blocks: F32) -> Bytes:
    return blocks.astype("<f2").view(np.uint8)


def _q8_0(blocks: F32) -> Bytes:
    d = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    codes = _rounded(blocks * _inverse(d))
    return np.concatenate([_half(d), codes.view(np.uint8)], axis=1)


def _nibbles(codes: F32) -> Bytes:
    """Codes truncated to 0 … 15, the first half of a block in the low nibbles."""
    whole = np.clip(np.trunc(codes), 0, 15).astype(np.uint8)
    return whole[:, :16] | whole[:, 16:] << np.uint8(4)


def _q4_0(blocks: F32) -> Bytes:
    """The weight of largest magnitude, first of equals, becomes code 0, which stands for −8."""
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1, keepdims=True), axis=1)
    d = largest / np.float32(-8)
    return np.concatenate([_half(d), _nibbles(blocks * _inverse(d) + np.float32(8.5))], axis=1)


def _q4_1(blocks: F32) -> Bytes:
    low, high = blocks.min(axis=1, keepdims=True), blocks.max(axis=1, keepdims=True)
    d = (high - low) / np.float32(15)
    codes = _nibbles((blocks - low) * _inverse(d) + np.float32(0.5))
    return np.concatenate([_half(d), _half(low), codes], axis=1)


def _ternary_codes(blocks: F32) -> tuple[F32, Bytes]:
    """d = max |w|, codes round(w / d) + 1 in {0, 1, 2}."""
    d = np.abs(blocks).max(axis=1, keepdims=True)
    return d, (_rounded(blocks * _inverse(d)) + np.int8(1)).view(np.uint8)


def _tq1_0(blocks: F32) -> Bytes:
    """Five codes of base 3 in a byte, as the fixed-point fraction ceil(q·256/243); the last sixteen in fours."""
    d, codes = _ternary_codes(blocks)

    def packed(part: Bytes, run: int, n_digits: int) -> Bytes:
        powers = np.array([81, 27, 9, 3, 1][:n_digits], np.uint16).reshape(1, 1, -1, 1)
        numbers: NDArray[np.uint16] = (part.reshape(len(part), -1, n_digits, run) * powers).sum(axis=2, dtype=np.uint16)
        fractions: Bytes = ((numbers * 256 + 242) // 243).astype(np.uint8)
        return fractions.reshape(len(part), -1)

    parts = [packed(codes[:, :160], 32, 5), packed(codes[:, 160:240], 16, 5), packed(codes[:, 240:], 4, 4)]
    return np.concatenate([*parts, _half(d)], axis=1)


def _tq2_0(blocks: F32) -> Bytes:
    """Two halves of 128 codes, each in 32 bytes: byte m holds m, m + 32, m + 64, m + 96, lowest bits first."""
    d, codes = _ternary_codes(blocks)
    lanes = codes.reshape(len(codes), 2, 4, 32)
    packed = lanes[:, :, 0]
    for place in (1, 2, 3):
        packed = packed | lanes[:, :, place] << np.uint8(2 * place)
    return np.concatenate([packed.reshape(len(codes), 64), _half(d)], axis=1)


ENCODERS: dict[str, Callable[[F32], Bytes]] = {
    "f32": _float32,
    "f16": _float16,
    "q8_0": _q8_0,
    "q4_0": _q4_0,
    "q4_1": _q4_1,
    "tq1_0": _tq1_0,
    "tq2_0": _tq2_0,
}

"""What each number format's bytes mean: block sizes, and the float32 weights that a tensor stands for.

Plain NumPy and the truth that kernels are tested against; nothing here is fast, and nothing quantises.
Enter at `dequantise`; `TYPES` and `n_bytes` say how large a tensor is.
Exactness: scales are widened to float32, then each operation rounds once, in the order of llama.cpp's reference
(ggml-quants.c), so that the results are equal to its in every bit.
Source: docs/reference/quantised-blocks.md, docs/reference/ternary-format.md (bit diagrams).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from solvent.errors import ModelFileError
from solvent.machine.engine.model_file import Bytes, Tensor, shown

F32 = NDArray[np.float32]

# Type → (weights per block, bytes per block). I2_S has 32 bytes more behind all blocks: `n_bytes` counts them.
TYPES: dict[str, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q4_0": (32, 18),
    "q4_1": (32, 20),
    "q4_k": (256, 144),
    "q5_k": (256, 176),
    "q6_k": (256, 210),
    "tq1_0": (256, 54),
    "tq2_0": (256, 66),
    "i2_s": (128, 32),
    "i2_s_arm": (64, 16),
    "q2_0_g64": (64, 18),
    "q2_0_g128": (128, 34),
    "hf_ternary": (4, 1),
}
TRAILING_BYTES = {"i2_s": 32, "i2_s_arm": 32}


def n_bytes(kind: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor: weights / weights per block · bytes per block, and what trails.

    Exactness: exact (Python integers).   Raises: KeyError (no such type)."""
    weights, size = TYPES[kind]
    return math.prod(shape) // weights * size + TRAILING_BYTES.get(kind, 0)


def dequantise(tensor: Tensor) -> F32:
    """The weights that a tensor stands for.

    tensor.data: n_bytes(type, shape) bytes.   → float32 of tensor.shape, a new array.
    Exactness: every operation rounds once, in the order of ggml-quants.c.
    Raises: ModelFileError (as many bytes as the type and shape don't have; an I2_S scale that is no number).
    Source: docs/reference/quantised-blocks.md, docs/reference/ternary-format.md"""
    if tensor.type not in TYPES or len(tensor.data) != n_bytes(tensor.type, tensor.shape):
        raise ModelFileError(
            f"tensor {shown(tensor.name)}",
            f"{len(tensor.data)} bytes for shape {tensor.shape} in {tensor.type}",
            f"{n_bytes(tensor.type, tensor.shape)}" if tensor.type in TYPES else f"one of {', '.join(TYPES)}",
        )
    if tensor.type == "hf_ternary":
        return _hf_ternary(tensor)
    weights, size = TYPES[tensor.type]
    n_blocks = math.prod(tensor.shape) // weights
    blocks = np.ascontiguousarray(tensor.data[: n_blocks * size]).reshape(n_blocks, size)
    # A scale that is infinite or no number gives such weights; they are the file's, and no warning's business.
    with np.errstate(invalid="ignore", over="ignore"):
        values = DECODERS[tensor.type](blocks).reshape(tensor.shape)
    if tensor.type in TRAILING_BYTES:
        values *= i2_s_scale(tensor)
    return values if tensor.scale == 1.0 else values * np.float32(tensor.scale)


def i2_s_scale(tensor: Tensor) -> np.float32:
    """The one scale of an I2_S tensor: the float32 right behind its blocks.

    Raises: ModelFileError (it isn't finite)."""
    start = len(tensor.data) - TRAILING_BYTES[tensor.type]
    scale: np.float32 = tensor.data[start : start + 4].view("<f4")[0]
    if not np.isfinite(scale):
        raise ModelFileError(f"tensor {shown(tensor.name)}", f"a scale of {scale}", "a finite number")
    return scale


def _f16(blocks: Bytes, start: int) -> F32:
    """The half-precision scale at a byte of each block: (n, 1)."""
    return np.ascontiguousarray(blocks[:, start : start + 2]).view("<f2").astype(np.float32)


def _shifted(packed: Bytes, shifts: tuple[int, ...], mask: int, run: int) -> Bytes:
    """Codes of `packed` in the order of weights: each run of bytes is read once at every shift."""
    n = len(packed)
    spread = packed.reshape(n, -1, 1, run) >> np.array(shifts, np.uint8).reshape(1, 1, -1, 1)
    return (spread & np.uint8(mask)).reshape(n, -1)


def _float32(blocks: Bytes) -> F32:
    return blocks.view("<f4").astype(np.float32)


def _float16(blocks: Bytes) -> F32:
    return blocks.view("<f2").astype(np.float32)


def _bfloat16(blocks: Bytes) -> F32:
    return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32)


def _q8_0(blocks: Bytes) -> F32:
    return _f16(blocks, 0) * blocks[:, 2:].view(np.int8).astype(np.float32)


def _q4_0(blocks: Bytes) -> F32:
    codes = _shifted(blocks[:, 2:], (0, 4), 15, 16)
    return _f16(blocks, 0) * (codes.astype(np.float32) - np.float32(8))


def _q4_1(blocks: Bytes) -> F32:
    codes = _shifted(blocks[:, 4:], (0, 4), 15, 16)
    return _f16(blocks, 0) * codes.astype(np.float32) + _f16(blocks, 2)


def _six_bit_scales(packed: Bytes) -> tuple[F32, F32]:
    """The 8 scales and 8 minimums, 6 bits each, in the 12 bytes that Q4_K and Q5_K share: two times (n, 8, 1)."""
    low_scales, low_minimums, high = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([low_scales & 63, (high & 15) | (low_scales >> 2 & 48)], axis=1)
    minimums = np.concatenate([low_minimums & 63, (high >> 4) | (low_minimums >> 2 & 48)], axis=1)
    return scales.astype(np.float32)[:, :, None], minimums.astype(np.float32)[:, :, None]


def _with_minimums(blocks: Bytes, codes: Bytes) -> F32:
    scales, minimums = _six_bit_scales(blocks[:, 4:16])
    scales = _f16(blocks, 0)[:, :, None] * scales
    minimums = _f16(blocks, 2)[:, :, None] * minimums
    return scales * codes.reshape(len(blocks), 8, 32).astype(np.float32) - minimums


def _q4_k(blocks: Bytes) -> F32:
    return _with_minimums(blocks, _shifted(blocks[:, 16:], (0, 4), 15, 32))


def _q5_k(blocks: Bytes) -> F32:
    high = _shifted(blocks[:, 16:48], tuple(range(8)), 1, 32)
    return _with_minimums(blocks, _shifted(blocks[:, 48:], (0, 4), 15, 32) | (high << np.uint8(4)))


def _q6_k(blocks: Bytes) -> F32:
    low = _shifted(blocks[:, :128], (0, 4), 15, 64)
    high = _shifted(blocks[:, 128:192], (0, 2, 4, 6), 3, 32)
    codes = (low | (high << np.uint8(4))).astype(np.float32) - np.float32(32)
    scales = _f16(blocks, 208) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    return scales[:, :, None] * codes.reshape(len(blocks), 16, 16)


def _tq1_0(blocks: Bytes) -> F32:
    """Bytes are fixed-point fractions of 243: each multiplication by 3, mod 256, brings the next digit to the top."""

    def digits(packed: Bytes, run: int, n_digits: int) -> NDArray[np.uint16]:
        powers = np.array([3**i for i in range(n_digits)], np.uint8).reshape(1, 1, -1, 1)
        turned = packed.reshape(len(packed), -1, 1, run) * powers
        return (turned.astype(np.uint16) * np.uint16(3) >> np.uint16(8)).reshape(len(packed), -1)

    parts = [digits(blocks[:, :32], 32, 5), digits(blocks[:, 32:48], 16, 5), digits(blocks[:, 48:52], 4, 4)]
    return _f16(blocks, 52) * (np.concatenate(parts, axis=1).astype(np.float32) - np.float32(1))


def _tq2_0(blocks: Bytes) -> F32:
    return _f16(blocks, 64) * (_shifted(blocks[:, :64], (0, 2, 4, 6), 3, 32).astype(np.float32) - np.float32(1))


def _q2_0(blocks: Bytes) -> F32:
    return _f16(blocks, 0) * (_shifted(blocks[:, 2:], (0, 2, 4, 6), 3, 1).astype(np.float32) - np.float32(1))


def _i2_s(blocks: Bytes) -> F32:
    """Unscaled; the block's bytes are its run, so x86 (32) and ARM (16) differ in nothing else."""
    codes = _shifted(blocks, (6, 4, 2, 0), 3, blocks.shape[1])
    return codes.astype(np.float32) - np.float32(1)


def _hf_ternary(tensor: Tensor) -> F32:
    """(M, K) from M/4 rows of K bytes: row r holds rows r, r + M/4, r + M/2 and r + 3M/4, lowest bits first."""
    packed = tensor.data.reshape(tensor.shape[0] // 4, tensor.shape[1])
    codes = np.concatenate([packed >> shift & 3 for shift in (0, 2, 4, 6)])
    return (codes.astype(np.float32) - np.float32(1)) * np.float32(tensor.scale)


DECODERS: dict[str, Callable[[Bytes], F32]] = {
    "f32": _float32,
    "f16": _float16,
    "bf16": _bfloat16,
    "q8_0": _q8_0,
    "q4_0": _q4_0,
    "q4_1": _q4_1,
    "q4_k": _q4_k,
    "q5_k": _q5_k,
    "q6_k": _q6_k,
    "tq1_0": _tq1_0,
    "tq2_0": _tq2_0,
    "q2_0_g64": _q2_0,
    "q2_0_g128": _q2_0,
    "i2_s": _i2_s,
    "i2_s_arm": _i2_s,
}

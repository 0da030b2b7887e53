"""What each number format's bytes mean: block sizes, and the float32 weights that a tensor stands for.

Plain NumPy and the truth that kernels are tested against; nothing here is fast. It doesn't quantise.
Enter at `dequantise`; `TYPES` and `n_bytes` say how large a tensor is.
Source: docs/reference/quantised-blocks.md, docs/reference/ternary-format.md (bit diagrams).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

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

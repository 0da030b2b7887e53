"""Round-to-nearest in blocks of 32 with one half-precision scale: the cache formats that llama.cpp users have.

What it doesn't do: know the formats (quantise.py and quants.py of the engine do, bit for bit); this gives what comes
back of keys and values, rotated first as llama.cpp rotates them, or not.
Enter at `block_rounded`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvent.machine.engine.model_file import Tensor
from solvent.machine.engine.quantise import quantise
from solvent.machine.engine.quants import TYPES, dequantise
from solvent.machine.turboquant.rotation import rotate, rotate_back

F32 = NDArray[np.float32]


def block_rounded(vectors: F32, kind: str, rotated: bool = True) -> F32:
    """What comes back of vectors kept in a block format.

    vectors: (…, D) f32, D a multiple of 32.   kind: q8_0 or q4_0.   → (…, D) f32
    Exactness: as ggml-quants.c, bit for bit, between the rotations.
    Raises: ModelFileError (D no multiple of 32, a number that isn't finite or too large for half precision)."""
    turned = rotate(vectors) if rotated else vectors
    back = dequantise(Tensor("cache", kind, turned.shape, quantise(turned, kind, "cache")))
    return rotate_back(back) if rotated else back


def bits_per_element(kind: str) -> float:
    """Codes and scale: 8.5 for q8_0, 4.5 for q4_0."""
    weights, size = TYPES[kind]
    return 8 * size / weights

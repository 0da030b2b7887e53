"""A cache format as the native core takes it: one table for each kind of code, and which table each layer uses.

What it doesn't do: hold tokens (engine/model.py), name formats (cache_format.py).
Enter at `native_format`.
"""

from __future__ import annotations

import atexit
from functools import lru_cache
from typing import Any

import numpy as np

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.turboquant.cache_format import F16, CacheFormat
from solvent.machine.turboquant.codebook import UNIFORM_REACH, codebook, distortion
from solvent.machine.turboquant.rotation import signs

LARGEST_HEAD = 256
# Even steps of least squared error for a normal variable: J. Max, Quantizing for minimum distortion, 1960, table II.
EVEN_STEP = {1: 1.5958, 2: 0.9957, 3: 0.5860, 4: 0.3352, 5: 0.1881, 6: 0.1041}


@lru_cache(maxsize=32)
def native_format(format: CacheFormat, n_layers: int, head_size: int) -> Any:
    """The format for a model of n_layers layers with heads of D elements.

    Raises: EngineError (a head size that codes have no layout for; pairs for another number of layers)"""
    whole = format.of_layers(n_layers)
    check_format(whole, head_size)
    kinds = sorted({bits for pair in whole.bits for bits in pair} - {F16})
    books = [
        {
            "bits": bits,
            "trellis": whole.uses_trellis(bits),
            "gain": 1.0 if whole.least_squares else 1 / (1 - distortion(bits, head_size, whole.uses_trellis(bits))),
            "values": _values(bits, head_size, whole),
        }
        for bits in kinds
    ]
    index = {F16: -1, **{bits: i for i, bits in enumerate(kinds)}}
    return native.extension().CacheFormat(
        books,
        [index[keys] for keys, _ in whole.bits],
        [index[values] for _, values in whole.bits],
        np.array(signs(head_size)),
        whole.centred,
        whole.sink_tok,
        whole.tail_tok,
    )


# Else nanobind reports the formats that are still here at exit as leaks, on every user's terminal.
atexit.register(native_format.cache_clear)


def check_format(format: CacheFormat, head_size: int) -> None:
    """Raises: EngineError (codes for heads that aren't of 64 elements, 128 or 256)"""
    if format.is_f16:
        return
    if head_size != 64 and (head_size % 128 or not 0 < head_size <= LARGEST_HEAD):
        raise EngineError(
            "cache format",
            f"heads of {head_size} elements",
            "64, 128 or 256 for codes",
            "keep this model's cache in f16",
        )


def _values(bits: int, head_size: int, format: CacheFormat) -> np.ndarray[Any, np.dtype[np.float32]]:
    # Codes of 8 bits need no table, only how far they reach.
    if bits == 8:
        return np.full(64, UNIFORM_REACH, np.float32)
    if format.even:
        n_levels = 1 << bits
        levels = (np.arange(n_levels) - (n_levels - 1) / 2) * EVEN_STEP[bits]
        return np.repeat(levels, 64 // n_levels).astype(np.float32)
    return np.array(codebook(bits, head_size, format.uses_trellis(bits)))

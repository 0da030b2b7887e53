"""The bit stream of a vector: b bits an element, elements in order, the lowest bit of each first.

Enter at `pack`, `unpack`. Layout in docs/reference/turboquant-format.md; how a cache interleaves the bytes of many
vectors is the native code's business.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]


def n_stream_bytes(head_size: int, bits: int) -> int:
    """⌈D · b / 8⌉"""
    return -(-head_size * bits // 8)


def pack(codes: U8, bits: int) -> U8:
    """Element e's code occupies bits [e·b, e·b + b) of the stream; bit i is bit i mod 8 of byte i div 8.

    codes: (…, D) each < 2^b.   bits: 1–8.   → (…, ⌈D·b/8⌉) u8; bits past the last element are 0
    Exactness: exact; `unpack` is its inverse."""
    spread = np.unpackbits(codes[..., None], axis=-1, bitorder="little", count=bits)
    return np.packbits(spread.reshape(*codes.shape[:-1], codes.shape[-1] * bits), axis=-1, bitorder="little")


def unpack(stream: U8, bits: int, head_size: int) -> U8:
    """The codes of the elements. stream: (…, ⌈D·b/8⌉) u8   → (…, D) u8, each < 2^b"""
    spread = np.unpackbits(stream, axis=-1, bitorder="little", count=head_size * bits)
    return np.packbits(spread.reshape(*stream.shape[:-1], head_size, bits), axis=-1, bitorder="little")[..., 0]

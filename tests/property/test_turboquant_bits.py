"""Streams of codes over random sizes: packing loses nothing, and every bit is where the format says."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from solvent.machine.turboquant.bit_stream import n_stream_bytes, pack, unpack
from solvent.machine.turboquant.rotation import pieces, rotate, rotate_back


@given(st.integers(1, 8), st.integers(1, 300), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_unpacking_is_the_inverse_of_packing(bits: int, head_size: int, n: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 1 << bits, (n, head_size)).astype(np.uint8)
    stream = pack(codes, bits)
    assert stream.shape == (n, n_stream_bytes(head_size, bits))
    assert np.array_equal(unpack(stream, bits, head_size), codes)
    for vector, held in zip(codes, stream, strict=True):
        assert int.from_bytes(held.tobytes(), "little") == sum(int(c) << e * bits for e, c in enumerate(vector))


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_a_rotation_keeps_lengths_and_comes_back(head_size: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((2, head_size)).astype(np.float32)
    turned = rotate(x)
    assert sum(pieces(head_size)) == head_size
    assert np.allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(x, axis=1), rtol=1e-5)
    assert np.allclose(rotate_back(turned), x, atol=1e-5)

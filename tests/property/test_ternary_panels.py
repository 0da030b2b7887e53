"""Panels of ternary codes: packing loses nothing, and every code lies where the format says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from solvent.machine.ternary import format as panels

SIZES = st.integers(1, 70)
CODES = st.tuples(SIZES, SIZES).flatmap(lambda shape: arrays.arrays(np.int8, shape, elements=st.integers(-1, 1)))


@given(CODES, st.sampled_from([16, 32, 256]))
def test_unpacking_undoes_packing(codes: np.ndarray, column_multiple: int) -> None:
    packed = panels.packed_panels(codes, column_multiple)
    assert packed.nbytes == panels.panel_bytes(codes.shape, column_multiple)
    assert np.array_equal(panels.unpacked_panels(packed, codes.shape), codes)


@given(CODES)
def test_what_fills_up_is_zeros(codes: np.ndarray) -> None:
    packed = panels.packed_panels(codes, 32)
    whole = panels.unpacked_panels(packed, (packed.shape[0] * 16, packed.shape[1] * 16))
    assert packed.shape[1] % 2 == 0
    assert np.count_nonzero(whole) == np.count_nonzero(codes)
    assert not (packed & packed >> 1 & 0x55).any(), "code 3 means nothing"


@given(arrays.arrays(np.uint8, (2, 3, 64)))
def test_packing_undoes_unpacking(random: np.ndarray) -> None:
    packed = random & ~((random & random >> 1 & 0x55) << 1)
    assert np.array_equal(panels.packed_panels(panels.unpacked_panels(packed, (32, 48))), packed)


@given(st.integers(0, 39), st.integers(0, 52))
def test_each_code_lies_where_the_format_says(row: int, column: int) -> None:
    """Written out by the format's words: panel, unit, byte 4·r + i, two bits of quarter (k − k0) / 4."""
    codes = np.zeros((40, 53), np.int8)
    codes[row, column] = 1
    packed = panels.packed_panels(codes)
    byte = packed[row // 16, column // 16, 4 * (row % 16) + column % 4]
    assert byte == 0x55 + (1 << 2 * (column % 16 // 4))
    assert np.count_nonzero(packed != 0x55) == 1


@pytest.mark.parametrize("code", [-2, 2, 127])
def test_a_code_that_is_not_ternary_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match="ternary"):
        panels.packed_panels(np.full((2, 2), code, np.int8))

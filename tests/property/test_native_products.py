"""Products of any shape, format and activations: right to the rounding, and the same whatever kernels run them."""

from __future__ import annotations

import dataclasses
from typing import Any

import engine_models
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_products import is_right, multiply, random_bytes, random_matrix, random_x

from solvent.machine import native
from solvent.machine.engine.model_file import Tensor
from solvent.machine.engine.quants import TYPES

pytestmark = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")

HERE = native.kernels() if native.available() else ()
SIZES = [0.0, 1e-30, 1e-3, 1.0, 300.0, 1e20]


@st.composite
def shapes(draw: st.DrawFn) -> tuple[str, int, int]:
    """A type, rows, and columns that fill its blocks: up to four of them, or more than are unpacked at a time."""
    kind = draw(st.sampled_from(sorted(TYPES)))
    per_block = 1 if TYPES[kind][0] <= 4 else TYPES[kind][0]
    n_blocks = draw(st.integers(1, 4) | st.just(-(-1030 // per_block))) if per_block > 1 else draw(st.integers(1, 130))
    n_rows = draw(st.integers(1, 40))
    return kind, n_rows * 4 if kind == "hf_ternary" else n_rows, n_blocks * per_block


@st.composite
def activations(draw: st.DrawFn, n_cols: int) -> np.ndarray:
    """Up to 19 tokens, each of a size of its own, some elements far larger than the rest or 0."""
    n_tokens = draw(st.integers(1, 19))
    x = random_x(n_tokens, n_cols, draw(st.integers(0, 2**20)))
    x *= np.array(draw(st.lists(st.sampled_from(SIZES), min_size=n_tokens, max_size=n_tokens)), np.float32)[:, None]
    for column in draw(st.lists(st.integers(0, n_cols - 1), max_size=12)):
        x[:, column] *= np.float32(draw(st.sampled_from([0.0, 50.0, 1e4])))
    return x


def moved(tensor: Tensor, shift: int) -> Tensor:
    """The same bytes at an address of that remainder by 64."""
    room = np.zeros(len(tensor.data) + 128, np.uint8)
    start = -room.ctypes.data % 64 + shift
    room[start : start + len(tensor.data)] = tensor.data
    return dataclasses.replace(tensor, data=room[start : start + len(tensor.data)])


@given(st.data(), shapes(), st.booleans(), st.integers(0, 63), st.integers(0, 2**20))
def test_any_product(data: Any, shape: tuple[str, int, int], per_token: bool, shift: int, seed: int) -> None:
    kind, n_rows, n_cols = shape
    tensor = moved(random_matrix(kind, n_rows, n_cols, seed), shift)
    x = data.draw(activations(n_cols))
    per_token = per_token and kind in engine_models.TERNARY
    first = multiply(tensor, x, HERE[0], 1, per_token=per_token)
    assert is_right(first, tensor, x, per_token=per_token)
    for kernel in HERE:
        n_together = data.draw(st.integers(1, len(x)), label=f"together by {kernel}")
        assert np.array_equal(multiply(tensor, x, kernel, n_together, per_token=per_token), first), kernel


@given(st.data(), shapes(), st.booleans(), st.integers(0, 2**20))
def test_any_bytes(data: Any, shape: tuple[str, int, int], per_token: bool, seed: int) -> None:
    """Also floats and activations that are infinite or no number: where results are so is the same for all."""
    kind, n_rows, n_cols = shape
    tensor = random_bytes(kind, n_rows, n_cols, seed)
    x = data.draw(activations(n_cols))
    odd = data.draw(st.sampled_from([1.0, np.inf, -np.inf, np.nan, 1e-42, 3e38]))
    x[data.draw(st.integers(0, len(x) - 1)), data.draw(st.integers(0, n_cols - 1))] = odd
    first = multiply(tensor, x, HERE[-1], 1, per_token=per_token)
    for kernel in HERE[:-1]:
        y = multiply(tensor, x, kernel, data.draw(st.integers(1, len(x))), per_token=per_token)
        assert np.array_equal(y, first, equal_nan=True), kernel

"""Products by every kernel set of this CPU, of every number format: against float64, and sets against each other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import engine_models
import numpy as np
import pytest
from kernel_products import (
    expected,
    is_one_sum,
    is_right,
    known_kernels,
    multiply,
    one_scale,
    random_bytes,
    random_matrix,
    random_x,
)

from solvent.machine import native
from solvent.machine.engine.model_file import Tensor
from solvent.machine.engine.quants import TYPES, dequantise, n_bytes

pytestmark = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")

KERNELS = known_kernels()
HERE = native.kernels() if native.available() else ()
# Twice the widest tile of any kernel set, and one: full tiles, and every rest.
MOST_TOKENS = 17
ROWS = range(1, 41)
# (type, activations of one scale a token): what BitNet's layers take, whatever their weights.
FORMS = [(kind, per_token) for per_token in (False, True) for kind in TYPES]
names = [f"{kind}{'-per-token' if per_token else ''}" for kind, per_token in FORMS]
all_forms = pytest.mark.parametrize(("kind", "per_token"), FORMS, ids=names)
all_kernels = pytest.mark.parametrize("kernel", HERE)


def shapes(kind: str) -> Iterator[tuple[int, int]]:
    """Every number of rows, at one of the widths in turn: one to four blocks, or any where a type has none."""
    per_block = {"f32": 1, "f16": 1, "bf16": 1, "hf_ternary": 1}.get(kind, TYPES[kind][0])
    widths = [n * per_block for n in (1, 2, 3, 4)] if per_block > 1 else [1, 5, 15, 16, 17, 31, 32, 33, 48, 100]
    for n_rows in ROWS:
        if kind != "hf_ternary" or n_rows % 4 == 0:
            yield n_rows, widths[n_rows % len(widths)]
    if kind != "hf_ternary":
        for n_cols in widths:
            yield 19, n_cols


def matrix(kind: str, n_rows: int, n_cols: int, *, per_token: bool) -> Tensor:
    tensor = random_matrix(kind, n_rows, n_cols)
    return one_scale(tensor) if per_token else tensor


def test_every_kernel_set_that_runs_here_is_known() -> None:
    assert set(HERE) <= set(KERNELS)
    assert HERE[-1] == "scalar"


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_sets_that_are_tested_here(kernel: str) -> None:
    """A skip tells which sets this CPU leaves untested."""
    if kernel not in HERE:
        pytest.skip(f"this CPU doesn't run the {kernel} kernels")
    assert native.kernel(kernel) == kernel


@pytest.mark.parametrize(("kind", "bits"), [("q4_k", 4.625), ("q5_k", 5.625), ("q6_k", 6.5625), ("q8_0", 8.5)])
def test_panels_are_about_as_small_as_the_file(kind: str, bits: float) -> None:
    tensor = random_matrix(kind, 64, 512)
    packed = native.extension().Matrix(tensor.type, *tensor.shape, tensor.data)
    assert packed.n_bytes == bits * 64 * 512 / 8
    assert len(tensor.data) <= packed.n_bytes <= 1.03 * len(tensor.data)


@all_forms
@all_kernels
def test_products_are_right_to_the_rounding(kernel: str, kind: str, per_token: bool) -> None:
    for n_rows, n_cols in shapes(kind):
        tensor = matrix(kind, n_rows, n_cols, per_token=per_token)
        x = random_x(3, n_cols, n_rows)
        y = multiply(tensor, x, kernel, 1, per_token=per_token)
        assert is_one_sum(tensor, per_token=per_token) == (per_token and kind in engine_models.TERNARY)
        assert is_right(y, tensor, x, per_token=per_token), (n_rows, n_cols)


@all_forms
def test_an_error_just_above_the_bound_is_seen(kind: str, per_token: bool) -> None:
    """1.5 bounds, since the product itself may be off by less than half of one; and it is."""
    for n_rows, n_cols in shapes(kind):
        tensor = matrix(kind, n_rows, n_cols, per_token=per_token)
        x = random_x(2, n_cols, n_rows)
        y, bound = expected(tensor, x, per_token=per_token)
        found = multiply(tensor, x, "scalar", 1, per_token=per_token)
        assert not is_right(y + 1.5 * bound + 1e-300, tensor, x, per_token=per_token)
        assert not is_right(y - 1.5 * bound - 1e-300, tensor, x, per_token=per_token)
        assert np.abs(found - y).max() <= bound.max()


@all_forms
def test_one_code_that_is_off_by_one_is_seen(kind: str, per_token: bool) -> None:
    """The smallest fault of an unpacker: the lowest bit of one code, in the widest row."""
    *_, (n_rows, n_cols) = shapes(kind)
    tensor = matrix(kind, n_rows, n_cols, per_token=per_token)
    x = random_x(2, n_cols)
    where = {"q6_k": 10, "q5_k": 70, "tq1_0": 20, "q4_k": 20, "f32": 2, "hf_ternary": 3}.get(
        kind, 7 if TYPES[kind][1] > 4 else 0
    )
    data = tensor.data.copy()
    data[where] ^= 1
    wrong = multiply(dataclasses.replace(tensor, data=data), x, "scalar", per_token=per_token)
    assert not is_right(wrong, tensor, x, per_token=per_token)


@all_forms
def test_all_kernel_sets_agree_in_every_bit(kind: str, per_token: bool) -> None:
    for n_rows, n_cols in shapes(kind):
        tensor = matrix(kind, n_rows, n_cols, per_token=per_token)
        x = random_x(2, n_cols, n_rows)
        first, *others = (multiply(tensor, x, kernel, per_token=per_token) for kernel in HERE)
        for kernel, y in zip(HERE[1:], others, strict=True):
            assert np.array_equal(y, first), (kernel, n_rows, n_cols)


@pytest.mark.parametrize("kind", engine_models.TERNARY)
def test_either_packing_of_one_scale_has_the_same_bits_on_every_kernel_set(kind: str) -> None:
    """Widths that begin and end chunks of 960 and 1,024 columns and units of 20; extremes of codes and activations."""
    for n_cols in (256, 1024, 2304):
        tensor = one_scale(random_matrix(kind, 36, n_cols))
        x = random_x(30, n_cols)
        x[0], x[1], x[2, 1:] = 1, -1, 0
        first = multiply(tensor, x, "scalar", 1, per_token=True, packed_for="scalar")
        assert is_right(first, tensor, x, per_token=True)
        for kernel in HERE:
            for packed_for in HERE:
                for n_together in (1, 2, 13, 30):
                    y = multiply(tensor, x, kernel, n_together, per_token=True, packed_for=packed_for)
                    assert np.array_equal(y, first), (n_cols, kernel, packed_for, n_together)


@pytest.mark.skipif(not any(native.packs_fives(kernel) for kernel in HERE), reason="no kernels here want fives")
@pytest.mark.parametrize("kind", ["tq2_0", "i2_s", "hf_ternary"])
def test_a_code_of_three_is_kept(kind: str) -> None:
    """It stands for +2, which five to a byte don't hold: such a matrix has two bits a weight."""
    tensor = one_scale(random_matrix(kind, 16, 512))
    kernel = next(kernel for kernel in HERE if native.packs_fives(kernel))
    sizes = []
    for last in (0xAA, 0xFF):
        data = tensor.data.copy()
        data[37] = last
        one = dataclasses.replace(tensor, data=data)
        x = random_x(2, 512)
        assert is_right(multiply(one, x, kernel, per_token=True), one, x, per_token=True)
        packed = native.extension().Matrix(kind, 16, 512, data, tensor.scale, per_token=True, packed_for=kernel)
        sizes.append(packed.n_bytes)
    assert sizes == [26 * 64, 32 * 64]


@all_forms
@all_kernels
def test_tokens_together_give_each_alone_in_every_bit(kernel: str, kind: str, per_token: bool) -> None:
    """Also where columns are more than are unpacked at a time (1,024)."""
    per_block = max(TYPES[kind][0], 4)
    for n_rows, n_cols in ((20, per_block), (36, -(-1100 // per_block) * per_block)):
        tensor = matrix(kind, n_rows, n_cols, per_token=per_token)
        x = random_x(MOST_TOKENS, n_cols)
        alone = multiply(tensor, x, kernel, 1, per_token=per_token)
        assert is_right(alone, tensor, x, per_token=per_token)
        for n_together in range(2, MOST_TOKENS + 1):
            together = multiply(tensor, x, kernel, n_together, per_token=per_token)
            assert np.array_equal(together, alone), (n_rows, n_cols, n_together)


@pytest.mark.parametrize("kind", TYPES)
@all_kernels
def test_bytes_may_lie_anywhere(kernel: str, kind: str) -> None:
    n_cols = 3 * max(TYPES[kind][0], 4)
    tensor = random_matrix(kind, 20, n_cols)
    x = random_x(5, n_cols)
    aligned = multiply(tensor, x, kernel, 4)
    for shift in range(1, 8):
        room = np.zeros(len(tensor.data) + 64, np.uint8)
        start = -room.ctypes.data % 64 + shift
        room[start : start + len(tensor.data)] = tensor.data
        moved = dataclasses.replace(tensor, data=room[start : start + len(tensor.data)])
        assert np.array_equal(multiply(moved, x, kernel, 4), aligned), shift


@pytest.mark.parametrize("per_token", [True, False])
@pytest.mark.parametrize("kind", engine_models.TRAP_TYPES)
@all_kernels
def test_a_long_row_of_ones_does_not_wrap_sixteen_bits(kernel: str, kind: str, per_token: bool) -> None:
    tensor, x, dot = engine_models.int16_trap(kind)
    for sign in (1, -1):
        for n_together in (1, 9):
            tokens = np.repeat(sign * x.astype(np.float32), n_together, axis=0)
            y = multiply(tensor, tokens, kernel, n_together, per_token=per_token)
            assert np.array_equal(y, np.full((n_together, 16), sign * dot, np.float32))


@pytest.mark.parametrize("byte", [0x00, 0x7F, 0x80, 0xFF])
@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind not in ("f32", "f16", "bf16")])
@all_kernels
def test_the_largest_codes_do_not_saturate(kernel: str, kind: str, byte: int) -> None:
    """Pairs of the largest products are what 16-bit sums of products lose: 255 · 127 · 2."""
    n_rows, n_cols = 16, 4 * TYPES[kind][0]
    data = np.full(n_bytes(kind, (n_rows, n_cols)), byte, np.uint8)
    if kind in engine_models.SCALES:
        starts = [
            engine_models.SCALES[kind][0],
            *(engine_models.MINIMUMS[kind][:1] if kind in engine_models.MINIMUMS else ()),
        ]
        for start in map(int, starts):
            data.reshape(-1, TYPES[kind][1])[:, start : start + 2] = (0x00, 0x3C)
    if kind.startswith("i2_s"):
        data[-32:-28] = np.frombuffer(np.float32(1).tobytes(), np.uint8)
    tensor = Tensor("blk.0.attn_q.weight", kind, (n_rows, n_cols), data)
    ones = np.ones(n_cols, np.float32)
    signs = np.where(np.arange(n_cols) % 2, 1, -1).astype(np.float32)
    x = 127 * np.stack([ones, -ones, signs, -signs])
    for n_together in (1, 4):
        assert is_right(multiply(tensor, x, kernel, n_together), tensor, x)


@pytest.mark.parametrize("kind", TYPES)
def test_kernel_sets_agree_on_any_bytes(kind: str) -> None:
    """Scales of any size, and floats that are no number, make results that are none; where is the same for all."""
    n_cols = 2 * max(TYPES[kind][0], 8)
    for seed in range(8):
        tensor = random_bytes(kind, 24, n_cols, seed)
        x = random_x(9, n_cols, seed)
        first, *others = (multiply(tensor, x, kernel, 1 + seed) for kernel in HERE)
        for kernel, y in zip(HERE[1:], others, strict=True):
            assert np.array_equal(y, first, equal_nan=True), (kernel, seed)


@pytest.mark.parametrize("kind", ["q8_0", "q4_1", "q6_k", "tq2_0", "i2_s", "f32", "f16"])
@all_kernels
def test_activations_of_any_size(kernel: str, kind: str) -> None:
    """Nothing, almost nothing, and a scale that float32 just holds: no code overflows."""
    n_cols = 2 * max(TYPES[kind][0], 32)
    tensor = random_matrix(kind, 16, n_cols)
    for size in (0.0, 1e-30, 1e-4, 1.0, 1e4, 1e30):
        x = random_x(3, n_cols) * np.float32(size)
        for n_together in (1, 3):
            assert is_right(multiply(tensor, x, kernel, n_together), tensor, x), size


@pytest.mark.parametrize("value", [1e-38, 1e-45, math.inf, math.nan])
@pytest.mark.parametrize("kind", ["q8_0", "q4_1", "tq2_0", "i2_s", "f32"])
def test_activations_that_no_code_holds_stay_in_their_blocks(kind: str, value: float) -> None:
    """Subnormal, infinite or no number: every kernel set gives the same, and tokens beside it are as before."""
    n_cols = 2 * max(TYPES[kind][0], 32)
    tensor = random_matrix(kind, 16, n_cols)
    x = random_x(3, n_cols)
    before = multiply(tensor, x, "scalar", 3)
    x[1] = value
    results = [multiply(tensor, x, kernel, n_together) for kernel in HERE for n_together in (1, 3)]
    for y in results:
        assert np.array_equal(y, results[0], equal_nan=True)
        assert np.array_equal(y[[0, 2]], before[[0, 2]])
    if math.isfinite(value):
        # Products below 1e-37 may be lost, but never become large.
        assert np.abs(results[0][1]).max() <= n_cols * value * float(np.abs(dequantise(tensor)).max()) * 2


@pytest.mark.parametrize("kind", ["i2_s", "i2_s_arm", "hf_ternary"])
@pytest.mark.parametrize("scale", [1.2345678e-3, 1e-7, 1e6])
def test_a_scale_for_the_whole_matrix_keeps_its_bits(kind: str, scale: float) -> None:
    """It is a float32, also where activations are int8 per 32: half precision would lose 2^-12 of it, or all."""
    n_cols = 2 * max(TYPES[kind][0], 32)
    tensor = random_matrix(kind, 16, n_cols)
    data = tensor.data.copy()
    if kind == "hf_ternary":
        tensor = dataclasses.replace(tensor, scale=float(np.float32(scale)))
    else:
        data[-32:-28] = np.frombuffer(np.float32(scale).tobytes(), np.uint8)
        tensor = dataclasses.replace(tensor, data=data)
    x = random_x(3, n_cols)
    for per_token in (True, False):
        for n_together in (1, 3):
            y = multiply(tensor, x, HERE[0], n_together, per_token=per_token)
            assert is_right(y, tensor, x, per_token=per_token), per_token


@pytest.mark.parametrize("kind", ["q8_0", "q4_1", "q6_k", "tq2_0", "f16"])
def test_one_scale_a_token_is_another_product_than_one_for_each_32(kind: str) -> None:
    """What a wrong form of activations would give is far outside the bound."""
    tensor = random_matrix(kind, 20, 512)
    x = random_x(2, 512)
    assert not is_right(multiply(tensor, x, HERE[0], per_token=False), tensor, x, per_token=True)
    assert not is_right(multiply(tensor, x, HERE[0], per_token=True), tensor, x, per_token=False)


def test_shapes_and_bytes_that_do_not_fit_are_refused() -> None:
    matrix = native.extension().Matrix
    data = np.zeros(1000, np.uint8)
    for kind, n_rows, n_cols in (
        ("q4_0", 1, 33),
        ("q4_0", 0, 32),
        ("q4_0", 1, -32),
        ("hf_ternary", 6, 8),
        ("q9", 1, 32),
    ):
        with pytest.raises(ValueError):
            matrix(kind, n_rows, n_cols, data)
    for kind in TYPES:
        n_cols = max(TYPES[kind][0], 32)
        size = n_bytes(kind, (16, n_cols)) - 1 - (31 - 3 if kind.startswith("i2_s") else 0)
        with pytest.raises(ValueError, match="fewer"):
            matrix(kind, 16, n_cols, np.zeros(size, np.uint8))
    # A shape whose bytes no 64-bit number counts right would pass for small.
    with pytest.raises(ValueError):
        matrix("f32", 2**31 - 1, 2**31 - 1, data)
    good = matrix("q4_0", 1, 32, data)
    x = np.zeros((1, 32), np.float32)
    for bad in (
        lambda: good.multiply(x[:, :31].copy(), "scalar"),
        lambda: good.multiply(x, "none"),
        lambda: good.multiply(x, "scalar", 0),
    ):
        with pytest.raises(ValueError):
            bad()

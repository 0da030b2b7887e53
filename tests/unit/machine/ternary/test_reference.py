"""BitNet's quantisation and products by hand, by definition, and against the engine's reference."""

from __future__ import annotations

import engine_models
import numpy as np
import pytest

from solvent.machine.engine import quants
from solvent.machine.engine import reference as engine_reference
from solvent.machine.ternary import reference


def random(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_weights_by_hand() -> None:
    """mean |W| = 0.5: half of it rounds to the even code 0, more to 1, and nothing beyond 1."""
    codes, scales = reference.quantised_weights(np.array([[0.25, -0.26, 1.5, 0.0], [-0.75, 0.74, -0.25, 0.25]], "f4"))
    assert codes.dtype == np.int8
    assert codes.tolist() == [[0, -1, 1, 0], [-1, 1, 0, 0]]
    assert scales.tolist() == [[0.5]]


def test_a_tensor_of_nothing_keeps_the_floor() -> None:
    codes, scales = reference.quantised_weights(np.full((2, 8), 1e-9, np.float32))
    assert not codes.any()
    assert scales[0, 0] == pytest.approx(1e-5, rel=1e-6)


def test_groups_have_their_own_scale() -> None:
    weights = random((4, 256)) * np.repeat(np.array([1, 100], "f4"), 128)
    codes, scales = reference.quantised_weights(weights, 128)
    assert scales.shape == (4, 2)
    for row in range(4):
        for group in range(2):
            part = weights[row : row + 1, 128 * group : 128 * (group + 1)]
            alone, scale = reference.quantised_weights(part)
            assert np.array_equal(alone[0], codes[row, 128 * group : 128 * (group + 1)])
            assert scale[0, 0] == scales[row, group]
    whole, _ = reference.quantised_weights(weights)
    assert not whole[:, :128].any(), "one scale drowns the small half"


def test_dequantised_weights_quantise_to_themselves() -> None:
    """The magnitudes of what was rounded are 0 and s; its mean is a third below s, so that the codes stay."""
    for group_size in (None, 64):
        codes, scales = reference.quantised_weights(random((16, 128), 3), group_size)
        again, _ = reference.quantised_weights(reference.dequantised(codes, scales), group_size)
        assert np.array_equal(again, codes)


@pytest.mark.parametrize("group_size", [None, 32, 128])
def test_the_product_is_that_of_the_dequantised(group_size: int | None) -> None:
    codes, scales = reference.quantised_weights(random((24, 256), 1), group_size)
    q, s = engine_reference.quantised_activations(random((5, 256), 2))
    y = reference.product(codes, scales, q, s)
    exact = (q / s.astype(np.float64)) @ reference.dequantised(codes, scales).astype(np.float64).T
    # One rounding to float32, and float64's own.
    assert (np.abs(y - exact) <= np.abs(exact) * 2.0**-24 * 1.0001 + 1e-14).all()
    # The fault that this must see: one code off by one in one place.
    codes[3, 7] += -1 if codes[3, 7] == 1 else 1
    wrong = reference.product(codes, scales, q, s)
    assert (np.abs(wrong - exact)[:, 3] > np.abs(exact)[:, 3] * 2.0**-24 * 1.0001 + 1e-14).any()


def test_the_engine_computes_the_same_to_the_bit() -> None:
    codes, scales = reference.quantised_weights(random((24, 256), 1))
    x = random((5, 256), 2)
    q, s = engine_reference.quantised_activations(x)
    engine = engine_reference.int8_linear(reference.dequantised(codes, scales), x)
    assert np.array_equal(reference.product(codes, scales, q, s), engine)


def test_dots_are_exact_and_split_by_group() -> None:
    codes = np.random.default_rng(4).integers(-1, 2, (6, 96)).astype(np.int8)
    q = np.random.default_rng(5).integers(-128, 128, (3, 96)).astype(np.int8)
    whole = reference.dots(codes, q)[:, :, 0]
    assert whole.tolist() == [[sum(int(a) * int(b) for a, b in zip(x, w, strict=True)) for w in codes] for x in q]
    assert np.array_equal(reference.dots(codes, q, 3).sum(axis=2), whole)


@pytest.mark.parametrize("kind", engine_models.TRAP_TYPES)
def test_the_trap_for_int16_means_what_it_says(kind: str) -> None:
    tensor, x, exact = engine_models.int16_trap(kind)
    codes = quants.dequantise(tensor).astype(np.int8)
    assert (codes == 1).all()
    assert (reference.dots(codes, x)[:, :, 0] == exact).all()
    # What the published kernel sums, (code + 1) · x in 16 lanes of 16 bits, and what they hold in the end.
    lane = 2 * exact // 16
    assert 16 * lane == 650_240
    assert 16 * int(np.int64(lane).astype(np.int16)) == -398_336

"""Ternary rounding as BitNet's training has it, and what counts as ternary already."""

from __future__ import annotations

import numpy as np
import pytest

from solvent.machine.engine.model_file import Tensor
from solvent.machine.engine.quantise import quantise
from solvent.machine.engine.quants import dequantise
from solvent.machine.ternary.rounding import absmean, is_ternary, round_to_ternary


def weights(seed: int = 0, shape: tuple[int, ...] = (8, 512)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(0.03)


def test_by_hand() -> None:
    """mean |W| = 0.5: what lies within 0.25 of zero becomes zero, a half to the even code, which is zero too."""
    w = np.array([[0.2, -0.25, 0.26, -0.74, 1.05, -0.5]], np.float32)
    scale = absmean([w])
    assert scale == np.float32(0.5)
    assert round_to_ternary(w, scale).tolist() == [[0, 0, 0.5, -0.5, 0.5, -0.5]]


def test_the_mean_is_over_the_whole_tensor_however_it_is_cut() -> None:
    w = weights()
    assert absmean([w]) == absmean([w[:1], w[1:3], w[3:]]) == pytest.approx(np.abs(w).mean(), rel=1e-6)
    assert absmean([w[:1]]) != absmean([w])


def test_a_tensor_of_zeros_has_the_floor_as_its_scale() -> None:
    zeros = np.zeros((2, 256), np.float32)
    assert absmean([zeros]) == np.float32(1e-5)
    assert not round_to_ternary(zeros, absmean([zeros])).any()


def test_transformers_rounds_the_same() -> None:
    torch = pytest.importorskip("torch")
    w = weights(7)
    tensor = torch.tensor(w)
    scale = 1.0 / tensor.abs().mean().clamp_(min=1e-5)
    theirs = (tensor * scale).round().clamp(-1, 1).numpy()
    ours = round_to_ternary(w, absmean([w])) / absmean([w])
    # Means rounded in different orders differ by up to 1e-6; only a weight that near a tie may fall otherwise.
    ratio = np.abs(w / absmean([w]))
    clear = np.abs(ratio - 0.5) > 1e-5
    assert clear.mean() > 0.999 and np.array_equal(ours[clear], theirs[clear])


def test_what_is_ternary_is_seen_and_survives_the_format() -> None:
    w = round_to_ternary(weights(), np.float32(np.float16(0.02)))
    assert is_ternary(w) and not is_ternary(weights())
    w[0, 3] *= np.float32(1.0001)
    w[0, 4] = w[0, 5] = np.float32(0.02)
    assert not is_ternary(w)


def test_blocks_may_have_scales_of_their_own() -> None:
    codes = np.sign(weights()) * (np.abs(weights()) > 0.01)
    scaled = (codes.reshape(-1, 256) * np.linspace(0.5, 2, 16)[:, None]).reshape(8, 512).astype(np.float16)
    exact = scaled.astype(np.float32)
    assert is_ternary(exact)
    assert np.array_equal(dequantise(Tensor("w", "tq2_0", exact.shape, quantise(exact, "tq2_0"))), exact)


def test_rows_that_are_no_whole_blocks_are_not_ternary() -> None:
    assert not is_ternary(np.ones((4, 128), np.float32))

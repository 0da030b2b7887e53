"""Blocks of 32 against codes computed by hand, and against the error of uniform rounding."""

from __future__ import annotations

import numpy as np
import pytest

from solvent.errors import ModelFileError
from solvent.machine.turboquant.block_rounding import bits_per_element, block_rounded


def test_q8_0_by_hand() -> None:
    x = np.zeros((1, 32), np.float32)
    x[0, :3] = [127, -0.6, 50.4]
    assert block_rounded(x, "q8_0", rotated=False)[0, :4].tolist() == [127, -1, 50, 0]


def test_q4_0_by_hand() -> None:
    # The largest magnitude, −8, gets code 0: d = 1. 7.6 would be code 16 and is held at 15, which is 7.
    x = np.zeros((1, 32), np.float32)
    x[0, :5] = [-8, 7.6, 3.4, -3.6, 0.5]
    assert block_rounded(x, "q4_0", rotated=False)[0, :5].tolist() == [-8, 7, 3, -4, 1]


@pytest.mark.parametrize(("kind", "steps"), [("q8_0", 127), ("q4_0", 8)])
def test_errors_are_those_of_uniform_rounding(kind: str, steps: int) -> None:
    x = np.random.default_rng(0).standard_normal((2000, 128)).astype(np.float32)
    unit = np.abs(x.reshape(-1, 32)).max(axis=1) / steps
    # Uniform within a step: step²/12. With 8 steps a twentieth of the elements lies beyond the last code: 6 %.
    wanted = (unit**2).mean() / 12
    for rotated in (False, True):
        measured = ((block_rounded(x, kind, rotated) - x) ** 2).mean()
        assert measured == pytest.approx(wanted, rel=0.08)
        assert measured != pytest.approx(wanted * 1.2, rel=0.08)


def test_rotation_rescues_a_vector_with_an_outlier() -> None:
    x = np.random.default_rng(1).standard_normal((500, 64)).astype(np.float32)
    x[:, 7] = 40
    plain = ((block_rounded(x, "q4_0", rotated=False) - x) ** 2).mean()
    assert ((block_rounded(x, "q4_0") - x) ** 2).mean() < 0.8 * plain


def test_zeros_sizes_and_bits() -> None:
    assert (block_rounded(np.zeros((2, 64), np.float32), "q4_0") == 0).all()
    assert (bits_per_element("q8_0"), bits_per_element("q4_0")) == (8.5, 4.5)
    with pytest.raises(ModelFileError, match="32"):
        block_rounded(np.zeros((1, 72), np.float32), "q4_0")

"""PolarQuant: the transformation is exact, angles are distributed as its lemma says, the error is the derived one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solvent.errors import KernelError
from solvent.machine.turboquant.codebook import lloyd_max
from solvent.machine.turboquant.polar import Polar, angle_density, from_polar, to_polar


def test_polar_coordinates_come_back() -> None:
    x = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    radii, angles = to_polar(x, 4)
    assert radii[:, 0] == pytest.approx(np.linalg.norm(x, axis=1))
    assert [part.shape[1] for part in angles] == [8, 4, 2, 1]
    assert all((part >= 0).all() and (part <= math.pi / 2).all() for part in angles[1:])
    assert from_polar(radii, angles) == pytest.approx(x.astype(float), abs=1e-12)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_angles_have_the_lemmas_density(level: int) -> None:
    x = np.random.default_rng(1).standard_normal((20_000, 16)).astype(np.float32)
    seen = np.sort(to_polar(x, 4)[1][level - 1].ravel())
    grid, mass = angle_density(level)
    gap = np.abs(np.interp(seen, grid, np.cumsum(mass)) - np.arange(len(seen)) / len(seen)).max()
    # Kolmogorov–Smirnov at 1 in 1000: 1.95/√n.
    assert gap < 1.95 / math.sqrt(len(seen))
    wrong = angle_density(level % 4 + 1)
    assert np.abs(np.interp(seen, wrong[0], np.cumsum(wrong[1])) - np.arange(len(seen)) / len(seen)).max() > 0.02


@pytest.mark.parametrize("level_bits", [(3, 1, 1, 1), (4, 2, 2, 2), (5, 3, 3, 3)])
def test_the_error_is_the_derived_one(level_bits: tuple[int, ...]) -> None:
    x = np.random.default_rng(2).standard_normal((10_000, 64)).astype(np.float32)
    polar = Polar(level_bits, 64)
    measured = float((((x - polar.decoded(x)) ** 2).sum(axis=1) / (x * x).sum(axis=1)).mean())
    # 40,000 blocks: a standard error of 0.5 %; half-precision radii add 1e-7.
    assert measured == pytest.approx(polar.error, rel=0.02)
    assert measured != pytest.approx(polar.error * 1.05, rel=0.02)


def test_bits_are_counted_all() -> None:
    # Of 16 elements 8 · 4 + 4 · 2 + 2 · 2 + 1 · 2 bits of angles and 16 of a radius: 62; the paper's "3.9 bits".
    assert Polar((4, 2, 2, 2), 64).bits_per_element == 62 / 16


def test_it_loses_to_rounding_coordinates() -> None:
    """At 3.875 bits: worse than three-bit Lloyd–Max codes come to with a fifth of a bit for the scale."""
    assert Polar((4, 2, 2, 2), 64).error > lloyd_max(3, 64)[1] / 4 ** (3.875 - 3.25)


def test_a_head_that_does_not_split_is_refused() -> None:
    with pytest.raises(KernelError, match="multiple of 16"):
        Polar((4, 2, 2, 2), 72)

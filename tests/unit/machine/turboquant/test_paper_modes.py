"""The paper's two algorithms against its theorems, with the constants computed and not truncated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from solvent.machine.turboquant.codebook import lloyd_max
from solvent.machine.turboquant.paper_modes import PaperMse, PaperProduct, random_rotation

D = 64


def pairs(n: int, cosine: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """n unit vectors x and n unit vectors y at one cosine."""
    random = np.random.default_rng(1)
    x, other = random.standard_normal((2, n, D))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    other -= (other * x).sum(axis=1, keepdims=True) * x
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return x, cosine * x + math.sqrt(1 - cosine**2) * other


def test_a_random_rotation_is_orthogonal() -> None:
    q = random_rotation(D, np.random.default_rng(0))
    assert q @ q.T == pytest.approx(np.eye(D), abs=1e-12)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_mse_lies_between_its_bounds_and_at_the_exact_value(bits: int) -> None:
    x, _ = pairs(10_000, 0.0)
    mode = PaperMse(bits, D, np.random.default_rng(2))
    error = float(((x - mode.decode(*mode.encode(x))) ** 2).sum(axis=1).mean())
    # Theorem 1 with its own constant, Theorem 3 from below; the standard error of 10,000 vectors is 0.3 %.
    assert 4.0**-bits < error < math.sqrt(3) * math.pi / 2 * 4.0**-bits
    assert error == pytest.approx(lloyd_max(bits, D)[1], rel=0.01)
    # The paper's table truncates: what it prints for 3 and 4 bits nobody can reach.
    assert bits < 3 or error > {3: 0.03, 4: 0.009}[bits]


def test_norms_come_back() -> None:
    x, _ = pairs(500, 0.0)
    mode = PaperMse(4, D, np.random.default_rng(2))
    lengths = np.linspace(0, 50, 500)
    back = mode.decode(*mode.encode(x * lengths[:, None]))
    assert back == pytest.approx(mode.decode(*mode.encode(x)) * lengths[:, None], abs=1e-9)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_products_are_unbiased_and_their_variance_is_bounded(bits: int) -> None:
    """Over 40 rotations and sketches of 500 pairs each: errors of one sketch depend on each other a little."""
    x, y = pairs(500, 0.5)
    errors = np.array(
        [
            ((PaperProduct(bits, D, np.random.default_rng(seed)).decoded(x) - x) * y).sum(axis=1)
            for seed in range(40)
        ]
    )  # fmt: skip
    bound = PaperProduct(bits, D, np.random.default_rng(0)).variance
    # 20,000 errors of variance `bound`: their mean is within four standard errors of 0 …
    assert abs(errors.mean()) < 4 * math.sqrt(bound / errors.size)
    # … and their variance at most the bound (a standard error of 1 %), and not much less: ⟨y, r⟩² is all it lacks.
    assert 0.7 * bound < errors.var() < 1.03 * bound
    # The first algorithm with as many bits is biased by −0.5 D, which the same test sees.
    mse = PaperMse(bits, D, np.random.default_rng(3))
    biased = ((mse.decode(*mse.encode(x)) - x) * y).sum(axis=1)
    assert bits == 4 or abs(biased.mean()) > 4 * math.sqrt(bound / errors.size)


def test_the_exact_constants_of_the_second_theorem() -> None:
    # D times the bound: π/2, and π/2 times the errors .3584, .1145, .0334 of a head of 64.
    for bits, constant in [(1, 1.5708), (2, 0.5629), (3, 0.1799), (4, 0.05245)]:
        assert D * PaperProduct(bits, D, np.random.default_rng(0)).variance == pytest.approx(constant, rel=1e-3)
        assert PaperProduct(bits, D, np.random.default_rng(0)).variance <= math.sqrt(3) * math.pi**2 / D * 4.0**-bits

"""Which elements of a token stay whole beside its int8 codes: the eight largest, the first of equals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from solvent.machine import native
from solvent.machine.engine import reference

N_OUTLIERS = 8  # as native/kernels/contract.hpp


def as_taken(x: NDArray[np.float32], kernel: str) -> NDArray[np.float32]:
    """What products see of a token: each of its elements once, by rows of Q8_0 that hold a single 1."""
    n = len(x)
    blocks = np.zeros((n, n // 32, 34), np.uint8)
    blocks[..., :2] = np.frombuffer(np.float16(1).tobytes(), np.uint8)
    places = np.arange(n)
    blocks[places, places // 32, 2 + places % 32] = 1
    matrix = native.extension().Matrix("q8_0", n, n, blocks.reshape(-1))
    y: NDArray[np.float32] = matrix.multiply(x[None], kernel)
    return y[0]


def tokens() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    rising = (np.arange(1024) // 3).astype(np.float32)
    few = np.zeros(64, np.float32)
    few[[3, 40, 63]] = 1.5, -2.5, 0.5
    each_group = 0.01 * rng.standard_normal(576).astype(np.float32)
    each_group[np.arange(8) * 49] = np.arange(2, 10)
    heavy = rng.standard_t(1.5, 1024).astype(np.float32)
    return {
        "normal": rng.standard_normal(576).astype(np.float32),
        "heavy tail": heavy,
        "one block": rng.standard_normal(32).astype(np.float32),
        "all equal": np.full(320, -0.25, np.float32),
        "ever larger": rising,
        "ever smaller": rising[::-1].copy(),
        "few values": rng.integers(-3, 4, 512).astype(np.float32),
        "mostly zeros": few,
        "zeros": np.zeros(96, np.float32),
        "one in each group of lanes": each_group,
        "in one lane": np.where(np.arange(576) % 16 == 5, heavy[:576], 0).astype(np.float32),
    }


@pytest.mark.parametrize("kernel", native.kernels())
@pytest.mark.parametrize("name", tokens())
def test_the_eight_largest_stay_whole(name: str, kernel: str) -> None:
    x = tokens()[name]
    taken = as_taken(x, kernel)
    largest = np.argsort(-np.abs(x), kind="stable")[:N_OUTLIERS]
    np.testing.assert_array_equal(taken[largest], x[largest])
    # The rest is rounded with the scale of its block without them: the code · d, and d itself, round once each.
    expected = reference.int8_blocks(x[None], N_OUTLIERS)[0]
    np.testing.assert_allclose(taken, expected, rtol=2 * 2.0**-23, atol=0)

"""The rotation: orthonormal, of pieces, by signs that anybody can compute again."""

from __future__ import annotations

import numpy as np
import pytest

from solvent.machine.turboquant.rotation import pieces, rotate, rotate_back, signs

SIZES = [8, 16, 24, 64, 80, 96, 128, 192, 256]


def test_signs_are_those_of_splitmix64() -> None:
    # First outputs of the published C program for seed 0: 0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f.
    state, top_bits = 0, []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        top_bits.append(z ^ (z >> 31))
    assert top_bits == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    # With this codec's seed the first 16 signs are fixed for ever: every saved cache depends on them.
    assert "".join("-" if sign < 0 else "+" for sign in signs(16)) == FIRST_SIGNS
    assert (signs(256)[:64] == signs(64)).all()
    assert abs(signs(256).sum()) < 5 * 16  # five sigma of 256 fair coins


FIRST_SIGNS = "---+---+--+---++"


@pytest.mark.parametrize(("head_size", "parts"), [(64, (64,)), (80, (64, 16)), (96, (64, 32)), (120, (64, 32, 16, 8))])
def test_a_head_is_split_by_its_binary_digits(head_size: int, parts: tuple[int, ...]) -> None:
    assert pieces(head_size) == parts


@pytest.mark.parametrize("head_size", SIZES)
def test_rotation_is_the_matrix_of_the_format(head_size: int) -> None:
    """Against Sylvester's construction written out: H(2n) = [[H, H], [H, −H]]."""
    matrix = np.zeros((head_size, head_size))
    start = 0
    for piece in pieces(head_size):
        h = np.ones((1, 1))
        while len(h) < piece:
            h = np.block([[h, h], [h, -h]])
        matrix[start : start + piece, start : start + piece] = h / np.sqrt(piece)
        start += piece
    matrix = matrix * signs(head_size)
    x = np.random.default_rng(1).standard_normal((5, head_size)).astype(np.float32)
    # log2(256) = 8 roundings of 6e-8 each, on values of a few units: 1e-5 is ten times their worst sum.
    assert rotate(x) == pytest.approx(x @ matrix.T, abs=1e-5)
    assert rotate_back(rotate(x)) == pytest.approx(x, abs=1e-5)
    x[0, 3] += 1e-3
    assert rotate_back(rotate(x))[0, 3] != pytest.approx(x[0, 3] - 1e-3, abs=1e-5)


def test_rotation_keeps_scalar_products() -> None:
    a, b = np.random.default_rng(2).standard_normal((2, 100, 80)).astype(np.float32)
    assert (rotate(a) * rotate(b)).sum(axis=1) == pytest.approx((a * b).sum(axis=1), abs=1e-4)


def test_a_spike_is_spread_over_its_piece() -> None:
    spike = np.zeros(128, np.float32)
    spike[5] = 1
    assert np.abs(rotate(spike)) == pytest.approx(np.full(128, 128**-0.5))

"""Codebooks: optimal, as the exact density says; the windows' form; what can't be had is refused."""

from __future__ import annotations

import numpy as np
import pytest

from solvent.errors import KernelError
from solvent.machine.turboquant.codebook import byte_table, cells, codebook, density, lloyd_max, rounded

# Of a normal variable: J. Max, Quantizing for minimum distortion, 1960, Table I.
MAX_1960 = {1: 0.3634, 2: 0.1175, 3: 0.03454, 4: 0.009497, 5: 0.002499}


@pytest.mark.parametrize("bits", MAX_1960)
def test_levels_of_a_huge_head_are_those_of_the_normal_distribution(bits: int) -> None:
    # In 10^6 dimensions a coordinate is normal to 1e-6; the table has four digits (its last entry is 0.2 % low).
    assert lloyd_max(bits, 1_000_000)[1] == pytest.approx(MAX_1960[bits], rel=3e-3)


def test_levels_at_two_bits_are_the_known_ones() -> None:
    assert lloyd_max(2, 1_000_000)[0] == pytest.approx([-1.5104, -0.4528, 0.4528, 1.5104], abs=1e-4)


@pytest.mark.parametrize("head_size", [8, 64, 80, 128, 256])
@pytest.mark.parametrize("bits", range(1, 9))
def test_each_level_is_the_mean_of_its_cell(bits: int, head_size: int) -> None:
    levels, error = lloyd_max(bits, head_size)
    assert (np.diff(levels) > 0).all()
    positive = levels[len(levels) // 2 :]
    mass, moment = cells(positive, head_size)
    assert moment / mass == pytest.approx(positive, abs=1e-9)
    assert mass.sum() == pytest.approx(0.5, abs=1e-9)
    assert 4.0**-bits <= error * (1.3 if head_size == 8 else 1.0)  # the bound is that of large heads
    moved = positive * 1.01
    assert moment / mass != pytest.approx(moved, abs=1e-9)


@pytest.mark.parametrize("head_size", [8, 64, 128])
def test_the_density_is_that_of_a_coordinate_on_the_sphere(head_size: int) -> None:
    grid = np.linspace(-np.sqrt(head_size), np.sqrt(head_size), 400_001)
    f = density(grid, head_size)
    step = grid[1] - grid[0]
    assert f.sum() * step == pytest.approx(1, abs=1e-6)
    assert (f * grid**2).sum() * step == pytest.approx(1, abs=1e-6)
    # Fourth moment of a coordinate on the sphere of radius √D: 3 D / (D + 2).
    assert (f * grid**4).sum() * step == pytest.approx(3 * head_size / (head_size + 2), abs=1e-5)


@pytest.mark.parametrize("bits", range(1, 7))
def test_a_scalar_table_depends_on_the_top_bits_only(bits: int) -> None:
    table = codebook(bits, 64, False)
    assert table.shape == (64,) and table.dtype == np.float32
    parts = table.reshape(1 << bits, -1)
    assert (parts == parts[:, :1]).all()
    assert parts[:, 0] == pytest.approx(lloyd_max(bits, 64)[0], abs=1e-6)


def test_rounded_values_are_those_of_the_bytes() -> None:
    table = codebook(4, 64, False)
    codes, step = byte_table(table)
    assert codes.dtype == np.uint8 and codes.min() == 1 and codes.max() == 255
    assert rounded(table) == pytest.approx((codes.astype(float) - 128) * step, abs=1e-6)
    assert np.abs(rounded(table) - table).max() <= step / 2 + 1e-6


@pytest.mark.parametrize(
    ("bits", "head_size", "trellis"), [(0, 64, False), (7, 64, False), (6, 64, True), (4, 4, False)]
)
def test_what_has_no_table_is_refused(bits: int, head_size: int, trellis: bool) -> None:
    with pytest.raises(KernelError, match="turboquant"):
        codebook(bits, head_size, trellis)
    with pytest.raises(KernelError):
        lloyd_max(9, 64)

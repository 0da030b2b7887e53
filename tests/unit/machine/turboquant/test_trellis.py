"""Trellis codes: paths are circles, no path through the same state is nearer, the tables are the tool's."""

from __future__ import annotations

import importlib.util
import itertools
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from solvent.machine.turboquant.bit_stream import pack
from solvent.machine.turboquant.codebook import TRELLIS_FILE, codebook, lloyd_max, rounded
from solvent.machine.turboquant.trellis import nearest_codes, windows_of

BITS = range(1, 6)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).resolve().parents[4] / "tools" / "trellis_tables.py"
    spec = importlib.util.spec_from_file_location("trellis_tables", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("bits", range(1, 7))
@pytest.mark.parametrize("head_size", [8, 24, 64])
def test_a_window_is_six_bits_of_the_circular_stream(bits: int, head_size: int) -> None:
    codes = np.random.default_rng(1).integers(0, 1 << bits, (3, head_size)).astype(np.uint8)
    n_bits = head_size * bits
    for vector, windows in zip(codes, windows_of(codes, bits), strict=True):
        whole = int.from_bytes(pack(vector, bits).tobytes(), "little")
        circle = whole | whole << n_bits
        first = [(element * bits + bits - 6) % n_bits for element in range(head_size)]
        assert windows.tolist() == [circle >> start & 63 for start in first]


@pytest.mark.parametrize(("bits", "head_size"), [(1, 10), (2, 6), (3, 4), (4, 3)])
def test_the_path_is_the_best_circle_through_its_state(bits: int, head_size: int) -> None:
    """Against every sequence of codes of a short vector: none through the same state is nearer."""
    table = rounded(codebook(bits, 64, True))
    every = np.array(list(itertools.product(range(1 << bits), repeat=head_size)), np.uint8)
    values, ends = table[windows_of(every, bits)], windows_of(every, bits)[:, -1] >> bits
    vectors = np.random.default_rng(2).standard_normal((40, head_size)).astype(np.float32)
    found = nearest_codes(vectors, table, bits)
    windows = windows_of(found, bits)
    for vector, path in zip(vectors, windows, strict=True):
        errors = ((vector - values) ** 2).sum(axis=1)
        cost = ((vector - table[path]) ** 2).sum()
        same = errors[ends == path[-1] >> bits]
        # f32 sums of at most ten squares: 1e-5 is a hundred times their rounding.
        assert cost == pytest.approx(same.min(), abs=1e-5)
        assert np.sort(same)[1] > same.min()


def test_a_scalar_table_in_the_search_gives_scalar_codes() -> None:
    table = codebook(3, 64, False)
    vectors = np.random.default_rng(3).standard_normal((20, 64)).astype(np.float32)
    nearest = np.abs(vectors[..., None] - table[::8]).argmin(axis=-1)
    assert (nearest_codes(vectors, table, 3) == nearest).all()


@pytest.mark.parametrize("head_size", [64, 128])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_trellis_codes_are_a_fifth_below_scalar_ones(bits: int, head_size: int, tool: ModuleType) -> None:
    # 1024 vectors of 64 or 128: the standard error of the mean is below 1 %, the margin of the bound above 5 %.
    measured = tool.mse(codebook(bits, head_size, True), bits, head_size, 1024)
    assert measured < 0.8 * lloyd_max(bits, head_size)[1]
    shuffled = np.random.default_rng(4).permutation(codebook(bits, head_size, True))
    assert tool.mse(shuffled, bits, head_size, 128) > 0.8 * lloyd_max(bits, head_size)[1]


@pytest.mark.parametrize("bits", BITS)
def test_published_figures_are_those_of_the_published_table(bits: int, tool: ModuleType) -> None:
    published = tomllib.loads(TRELLIS_FILE.read_text("utf-8"))[f"bits_{bits}"]
    # A quarter of the vectors that the file's figures come from: their means differ by 1 % at most (1.4 sigma = 0.7 %).
    assert tool.mse(codebook(bits, 64, True), bits, 64, 2048) == pytest.approx(published["mse_64"], rel=0.015)
    assert published["scalar_64"] == pytest.approx(lloyd_max(bits, 64)[1], abs=1e-5)


@pytest.mark.parametrize("bits", BITS)
def test_a_published_table_is_a_fixed_point_of_the_computation(bits: int, tool: ModuleType) -> None:
    table = codebook(bits, 64, True)
    vectors = tool.sphere(tool.FINAL_VECTORS, tool.HEAD_SIZE, 2)
    _, after = tool.lloyd(vectors, table, bits, 1)
    # On the vectors that it was made from. Rounds still move values a little; a value that is wrong moves back, though
    # only part of the way, since the paths go along with it.
    assert np.abs(after - table).max() < 0.02
    planted = table.copy()
    planted[17] += 0.4
    assert np.abs(tool.lloyd(vectors, planted, bits, 1)[1] - planted).max() > 0.02


@pytest.mark.slow
def test_a_table_is_computed_again_digit_by_digit(tool: ModuleType) -> None:
    assert np.array_equal(tool.train(1), codebook(1, 64, True))

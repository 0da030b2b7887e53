"""Packed heads: tiles, centres made from what is held alone, exponents that grow, crop and reorder."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from solvent.errors import EngineError
from solvent.machine.turboquant.centring import PackedHeads, tile_of, tile_start
from solvent.machine.turboquant.codebook import lloyd_max
from solvent.machine.turboquant.reference import Code
from solvent.machine.turboquant.rotation import rotate

F32 = NDArray[np.float32]
D = 64


def keys(n_tok: int, bias: float = 0.0, n_heads: int = 2, seed: int = 1) -> F32:
    """Normal keys with a constant of `bias` times their own size added to each channel."""
    random = np.random.default_rng(seed)
    own = random.standard_normal((n_heads, n_tok, D))
    return (own + bias * random.standard_normal((n_heads, 1, D))).astype(np.float32)


def packed(vectors: F32, code: Code | None = None, centred: bool = True) -> PackedHeads:
    heads = PackedHeads(code or Code(4, D), len(vectors), centred)
    heads.append(vectors)
    return heads


def same_bytes(a: PackedHeads, b: PackedHeads) -> bool:
    n, tiles = a.n_tok, a.n_tiles
    exponents = -(-n // 128)
    return a.n_tok == b.n_tok and all(
        np.array_equal(x, y)
        for x, y in [
            (a.streams[:, :n], b.streams[:, :n]),
            (a.scales[:, :n], b.scales[:, :n]),
            (a.exponents[:, :exponents], b.exponents[:, :exponents]),
            (a.centres[:, :tiles], b.centres[:, :tiles]),
        ]
    )


def error(heads: PackedHeads, vectors: F32, start: int = 0) -> float:
    return float(((heads.vectors() - vectors)[:, start:] ** 2).mean())


def test_tiles_are_those_of_the_format() -> None:
    assert [tile_start(tile) for tile in range(8)] == [0, 16, 32, 64, 128, 256, 384, 512]
    assert [tile_of(token) for token in (0, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 511)] == [
        0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6,
    ]  # fmt: skip
    assert all(tile_start(tile_of(t)) <= t < tile_start(tile_of(t) + 1) for t in range(2000))


@pytest.mark.parametrize("code", [Code(2, D), Code(4, D, trellis=True), Code(8, D), Code(5, D, unbiased=False)])
@pytest.mark.parametrize("centred", [False, True])
def test_one_at_a_time_and_all_at_once_give_the_same_bytes(code: Code, centred: bool) -> None:
    vectors = keys(150, bias=3)
    vectors[:, 40] *= 50  # the exponent has to grow in the middle of a tile
    vectors[0, :3] = 0
    slowly = PackedHeads(code, 2, centred)
    for start, end in [(0, 1), (1, 2), (2, 20), (20, 40), (40, 41), (41, 150)]:
        slowly.append(vectors[:, start:end])
    assert same_bytes(slowly, packed(vectors, code, centred))


@pytest.mark.parametrize("kept", [0, 5, 16, 17, 64, 100, 128, 140])
def test_a_cropped_cache_goes_on_as_if_nothing_had_been_there(kept: int) -> None:
    vectors, other = keys(160, bias=3), keys(90, bias=3, seed=2)
    cropped = packed(vectors)
    cropped.crop(kept)
    cropped.append(other)
    direct = packed(np.concatenate([vectors[:, :kept], other], axis=1))
    assert same_bytes(cropped, direct)


def test_an_exponent_stays_where_its_tokens_are_cropped() -> None:
    """Only the exponent differs from a cache that never saw the others; a scale's error stays half a step."""
    vectors = keys(40)
    vectors[:, 20:] *= 1000
    heads = packed(vectors)
    heads.crop(20)
    heads.append(vectors[:, :20])
    assert (heads.exponents[:, 0] > packed(vectors[:, :20]).exponents[:, 0]).all()
    assert error(heads, np.concatenate([vectors[:, :20]] * 2, axis=1)) < 0.03


def test_centring_takes_a_constant_out() -> None:
    """With a bias of ten times the keys' own size, centred error stays near that of keys without a bias.

    The first tile is centred on one token, which carries that token's own deviation: twice the variance. From the
    second on the mean of n tokens leaves 1/n of it and the mean's own coding error: 1 + 1/16 and less at token 16."""
    plain = error(packed(keys(400)), keys(400), 16)
    centred, uncentred = keys(400, 10), keys(400, 10)
    assert error(packed(centred), centred, 16) < 1.1 * plain
    assert error(packed(uncentred, centred=False), uncentred, 16) > 20 * plain


def test_token_zero_is_its_tiles_centre() -> None:
    vectors = keys(5)
    heads = packed(vectors)
    assert heads.scales[:, 0].tolist() == [0, 0]
    # Half precision: 2^-11 of values up to 4.
    assert heads.rotated(0, 1) == pytest.approx(rotate(vectors[:, :1]), abs=4 * 2**-11)


def test_a_centre_is_the_mean_of_the_tile_before_as_decoded() -> None:
    heads = packed(keys(70, bias=5))
    first = heads.rotated(1, 16).mean(axis=1, dtype=float).astype(np.float16)
    third = heads.rotated(32, 64).mean(axis=1, dtype=float).astype(np.float16)
    assert (heads.centres[:, 1] == first).all() and (heads.centres[:, 3] == third).all()
    assert not (heads.centres[:, 1] == heads.rotated(0, 16).mean(axis=1, dtype=float).astype(np.float16)).all()


def test_an_exponent_grows_by_whole_octaves_and_earlier_codes_shrink() -> None:
    vectors = np.ones((1, 20, D), np.float32) * np.exp2(np.arange(20, dtype=np.float32))[None, :, None]
    heads = packed(vectors, Code(4, D, unbiased=False), centred=False)
    steps = np.diff(heads.scales[0, :20].astype(int))
    seen = heads.scales[0, :20] > 0
    # A doubling is 16 steps; what is more than 2^16 below the largest has become the zero vector.
    assert heads.scales[0, 19] >= 240 and not seen[:3].any() and seen[5:].all()
    assert (steps[5:] == 16).all()
    relative = np.abs(heads.vectors()[0, 5:] / vectors[0, 5:] - 1).mean()
    assert relative < 0.2


def test_all_zero_vectors() -> None:
    heads = packed(np.zeros((2, 40, D), np.float32))
    assert (heads.vectors() == 0).all()
    heads.append(keys(10))
    assert error(heads, np.concatenate([np.zeros((2, 40, D), np.float32), keys(10)], axis=1)) < 0.02


def test_bytes_are_counted_all() -> None:
    heads = packed(keys(300))
    # 32 bytes of codes and one of scale a token, 3 exponents, 6 centres of 128 bytes; two heads.
    assert heads.n_bytes == 2 * (300 * 33 + 3 + 6 * 128)
    assert packed(keys(300), centred=False).n_bytes == 2 * (300 * 33 + 3)


def test_sequences_can_be_reordered_and_taken_twice() -> None:
    vectors = keys(40, n_heads=3)
    heads = packed(vectors)
    heads.select(np.array([2, 0, 2]))
    assert same_bytes(heads, packed(vectors[[2, 0, 2]]))


@pytest.mark.parametrize("n_tok", [-1, 41])
def test_a_crop_beyond_what_is_held_is_refused(n_tok: int) -> None:
    with pytest.raises(EngineError, match="crop"):
        packed(keys(40)).crop(n_tok)


def test_a_centre_beyond_half_precision_is_refused() -> None:
    with pytest.raises(EngineError, match="65504"):
        packed(keys(3) * np.float32(1e6))
    with pytest.raises(EngineError, match="finite"):
        packed(np.full((1, 3, D), np.nan, np.float32))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_whole_path_has_the_distortion_of_the_codebook(bits: int) -> None:
    """Values, uncentred: Lloyd–Max error and what rounding the scale adds: (ln 2 / 16)² / 12 = 1.56e-4 of ‖x‖²."""
    vectors = keys(2000)
    measured = error(packed(vectors, Code(bits, D, unbiased=False), centred=False), vectors)
    # Fitted scales are up to 2/D better; the standard error of 4000 vectors is 0.5 %.
    exact = lloyd_max(bits, D)[1]
    assert exact * (1 - 2.2 / D - 0.015) < measured < exact * 1.015 + 1.6e-4


@pytest.mark.parametrize(("sink_tok", "tail_tok"), [(256, 0), (0, 256), (256, 256), (512, 256)])
def test_sinks_and_a_tail_are_halves_until_they_are_coded(sink_tok: int, tail_tok: int) -> None:
    """One at a time and all at once; cropped into codes, which stay; and every byte is counted."""
    vectors = keys(1100, bias=2)
    code = Code(4, D)
    whole, slowly = (PackedHeads(code, 2, True, sink_tok, tail_tok) for _ in range(2))
    whole.append(vectors)
    for start, end in [(0, 1), (1, 300), (300, 512), (512, 513), (513, 900), (900, 1100)]:
        slowly.append(vectors[:, start:end])
    assert np.array_equal(whole.vectors(), slowly.vectors()) and whole.n_bytes == slowly.n_bytes
    coded_to = 1024 - tail_tok if tail_tok else 1100
    halves = np.r_[0:sink_tok, max(coded_to, sink_tok) : 1100]
    codes = np.setdiff1d(np.arange(1100), halves)
    off = ((whole.vectors() - vectors) ** 2).mean(axis=(0, 2))
    assert off[halves].max() < 1e-5 < 1e-3 < off[codes[codes > 0]].min()  # token 0 is its own centre
    tiles = -(-len(codes) // 128) + (3 if not sink_tok else 0)
    assert whole.n_bytes == 2 * (
        len(codes) * (D // 2 + 1) + -(-len(codes) // 128) + tiles * 2 * D + len(halves) * 2 * D
    )
    whole.crop(600)
    again = whole.vectors()
    whole.append(vectors[:, 600:700])
    assert np.array_equal(whole.vectors()[:, :600], again) and whole.n_tok == 700
    whole.select(np.array([1, 1, 0]))
    assert np.array_equal(whole.vectors()[2, :600], again[0])
    with pytest.raises(EngineError, match="half precision"):
        PackedHeads(code, 2, True, 256, 0).append(np.full((2, 1, D), 60000, np.float32))

"""The codec: distortion as the exact density says, the unbiased scale, scale codes, and what isn't finite."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from solvent.errors import EngineError
from solvent.machine.turboquant.codebook import lloyd_max
from solvent.machine.turboquant.reference import (
    Code,
    decode,
    encode,
    least_exponent,
    level_codes,
    scale_codes,
    scales_of,
)

F32 = NDArray[np.float32]
SIZES = [64, 128]


def vectors(n: int, head_size: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal((n, head_size)).astype(np.float32)


def distortion(x: F32, decoded: F32) -> float:
    """Mean of ‖x − x̂‖² / ‖x‖²."""
    return float((((x - decoded) ** 2).sum(axis=1) / (x * x).sum(axis=1)).mean())


def coded(x: F32, code: Code) -> F32:
    codes, scales = encode(x, code)
    return decode(codes, scales, code)


def with_own_norm(x: F32, code: Code) -> F32:
    """As the paper scales: by ‖x‖ / √D, whatever the codes are."""
    rms = np.sqrt((x * x).mean(axis=1)).astype(np.float32)
    return decode(encode(x, code)[0], rms, code)


@pytest.mark.parametrize("head_size", SIZES)
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_distortion_is_the_exact_one_of_the_head_size(bits: int, head_size: int) -> None:
    """40,000 vectors: the standard error of the mean is 0.15 % at most; rounding to bytes adds 0.5 % at 4 bits."""
    code = Code(bits, head_size, unbiased=False)
    x, exact = vectors(40_000, head_size), lloyd_max(bits, head_size)[1]
    assert distortion(x, with_own_norm(x, code)) == pytest.approx(exact, rel=0.01)
    # A scale fitted to each vector can only be better; it takes out the part of the error along the vector, which
    # is 1 to 2 of D directions: up to 2/D and the standard error.
    fitted = distortion(x, coded(x, code))
    assert exact * (1 - 2.2 / head_size) < fitted < exact * 1.002
    # Values wrong by 6 % of the step between them are seen.
    planted = decode(encode(x, code)[0], np.sqrt((x * x).mean(axis=1)).astype(np.float32) * np.float32(1.08), code)
    assert distortion(x, planted) != pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("head_size", SIZES)
@pytest.mark.parametrize("trellis", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_the_unbiased_scale_costs_what_it_must(bits: int, trellis: bool, head_size: int) -> None:
    """Its error is D/(1 − D) of each vector; the mean over vectors is that of the mean and, by convexity, up to
    Var(D)/(1 − D)³ more: below 1.3 % at one bit, less above."""
    x = vectors(1500 if trellis else 10_000, head_size, 1)
    best = distortion(x, coded(x, Code(bits, head_size, trellis, unbiased=False)))
    unbiased = distortion(x, coded(x, Code(bits, head_size, trellis)))
    assert unbiased == pytest.approx(best / (1 - best), rel=0.015)
    assert unbiased != pytest.approx(best, rel=0.006)


def test_the_unbiased_scale_keeps_the_length_along_the_vector() -> None:
    x = vectors(1000, 64, 2)
    along = (coded(x, Code(2, 64)) * x).sum(axis=1) / (x * x).sum(axis=1)
    assert along == pytest.approx(np.ones(1000), abs=1e-5)
    shrunk = (coded(x, Code(2, 64, unbiased=False)) * x).sum(axis=1) / (x * x).sum(axis=1)
    # The least-squares scale shrinks by 1 − D on average: D = 0.113 at 2 bits.
    assert shrunk.mean() == pytest.approx(1 - 0.113, abs=0.005)


def test_scalar_products_keep_their_mean_over_rotations() -> None:
    """For a fixed pair at cosine 0.7, turned at random 20,000 times: ⟨q, x̂⟩ has the mean ⟨q, x⟩."""
    random, n, head_size = np.random.default_rng(3), 20_000, 64
    x = random.standard_normal((n, head_size))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    other = random.standard_normal((n, head_size))
    other -= (other * x).sum(axis=1, keepdims=True) * x
    q = 0.7 * x + np.sqrt(1 - 0.49) * other / np.linalg.norm(other, axis=1, keepdims=True)
    for unbiased, bias in ((True, 0.0), (False, -0.7 * 0.113)):
        products = (coded(x.astype(np.float32), Code(2, head_size, unbiased=unbiased)) * q).sum(axis=1)
        error = products.std() / np.sqrt(n)
        assert error < 0.0005
        # Four standard errors; the planted bias of the other scale is a hundred and more of them.
        assert products.mean() - 0.7 == pytest.approx(bias, abs=4 * error + 0.001 * (bias != 0))
        assert abs(bias) == 0 or abs(bias) > 100 * error


@pytest.mark.parametrize("head_size", [8, 24, 80, 96])
def test_head_sizes_that_are_no_power_of_two(head_size: int) -> None:
    x = vectors(10_000, head_size, 4)
    exact = lloyd_max(3, head_size)[1]
    assert distortion(x, with_own_norm(x, Code(3, head_size))) == pytest.approx(exact, rel=0.015)


def test_eight_bits_are_uniform() -> None:
    x = vectors(2000, 128, 5)
    code = Code(8, 128, unbiased=False)
    # Uniform rounding with step 4.5/127: step²/12 = 1.046e-4; a scale fitted to each vector takes 1 % of it.
    assert distortion(x, coded(x, code)) == pytest.approx((4.5 / 127) ** 2 / 12, rel=0.02)
    codes, _ = encode(x * np.float32(1), code)
    assert codes.min() >= 1
    assert (level_codes(codes, code) == codes.astype(int) - 128).all()


@pytest.mark.parametrize(("bits", "gain"), [(4, 0.02), (5, 0.06), (6, 0.18), (8, 0.55)])
def test_codes_chosen_for_the_stored_scale_make_its_rounding_free(bits: int, gain: float) -> None:
    x = vectors(8000, 64, 6) * np.exp2(np.random.default_rng(6).uniform(-1, 1, (8000, 1))).astype(np.float32)
    errors = {}
    for settled in (False, True):
        codes, scales = encode(x, Code(bits, 64, unbiased=False, settled=settled))
        exponents = np.full(len(x), 4, np.int32)
        stored = scales_of(scale_codes(scales, exponents), exponents)
        assert not settled or stored == pytest.approx(scales, rel=1e-6)
        errors[settled] = distortion(x, decode(codes, stored, Code(bits, 64)))
    # What is saved is (ln 2 / 16)² / 12 = 1.56e-4 of ‖x‖², less what a codebook loses that is 1 % too wide.
    assert errors[True] < errors[False] * (1 - gain)
    assert errors[False] - errors[True] == pytest.approx(1.56e-4, rel=1.0)


def test_scale_codes_are_sixteenths_of_an_octave() -> None:
    scales = np.exp2(np.linspace(-8, 0, 5000)).astype(np.float32)
    exponents = np.zeros(5000, np.int32)
    back = scales_of(scale_codes(scales, exponents), exponents)
    # Half a step is 2^(1/32) = 1.02190.
    assert np.maximum(back / scales, scales / back).max() == pytest.approx(2 ** (1 / 32), abs=2e-4)
    for s, e, code in [(1.0, 0, 255), (0.5, 0, 239), (1.0, 1, 239), (2.0**-15, 0, 15), (2.0**-17, 0, 0), (0.0, 0, 0)]:
        assert scale_codes(np.array([s], np.float32), np.array([e], np.int32))[0] == code
    assert scales_of(np.array([0, 255, 239], np.uint8), np.array([3, 3, 3], np.int32)).tolist() == [0.0, 8.0, 4.0]


def test_the_least_exponent_is_the_first_that_has_a_code() -> None:
    scales = np.exp2(np.linspace(-3, 3, 997)).astype(np.float32)
    least = least_exponent(scales)
    steps = np.rint(16 * (np.log2(scales.astype(float)) - least))
    assert (steps <= 0).all()
    assert (np.rint(16 * (np.log2(scales.astype(float)) - (least - 1))) > 0).all()


def test_the_zero_vector_is_itself() -> None:
    x = vectors(3, 64)
    x[1] = 0
    codes, scales = encode(x, Code(4, 64))
    assert scales[1] == 0 and (scales[[0, 2]] > 0).all()
    assert (decode(codes, scales, Code(4, 64))[1] == 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_finite_number_is_refused(bad: float) -> None:
    x = vectors(3, 64)
    x[1, 7] = bad
    with pytest.raises(EngineError, match="finite"):
        encode(x, Code(4, 64))


def test_what_attention_cannot_multiply_is_refused() -> None:
    with pytest.raises(EngineError, match="2\\^100"):
        least_exponent(np.array([2.0**101], np.float32))

"""The quantisers against those of the `gguf` package, bit for bit, and against their own way back."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from solvent.errors import ModelFileError
from solvent.machine.engine.model_file import Tensor
from solvent.machine.engine.quantise import ENCODERS, quantise
from solvent.machine.engine.quants import TYPES, dequantise

KINDS = [kind for kind in ENCODERS if kind != "f32"]


def samples(seed: int = 3) -> dict[str, np.ndarray]:
    """Weights of many shapes: usual, tiny, large, sparse, tied in magnitude, halfway between codes, all zero."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((6, 512)).astype(np.float32)
    ties = rng.choice(np.array([-1.0, -0.5, 0.0, 0.5, 1.0], np.float32), (6, 512))
    return {
        "normal": normal * np.float32(0.02),
        "large": normal * np.float32(3000),
        "subnormal scale": normal * np.float32(1e-7),
        "heavy tail": (rng.standard_t(2, (6, 512)) * 0.05).astype(np.float32),
        "ternary": np.sign(np.rint(normal)) * np.float32(0.037),
        "ties": ties,
        "eighths": np.rint(normal * 8) / np.float32(8),
        "just below a half": np.where(ties > 0, np.nextafter(np.float32(0.5), np.float32(0)), ties),
        "zeros": np.zeros((2, 512), np.float32),
        "one sign": np.abs(normal),
        "constant": np.full((2, 512), np.float32(0.3)),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", samples())
def test_bytes_are_those_of_the_gguf_package(kind: str, name: str) -> None:
    weights = samples()[name]
    wanted = gguf.quants.quantize(weights, gguf.GGMLQuantizationType[kind.upper()])
    assert np.array_equal(quantise(weights, kind), np.ascontiguousarray(wanted).view(np.uint8).reshape(-1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_off_by_one_would_be_seen(kind: str) -> None:
    weights = samples()["normal"]
    data = quantise(weights, kind)
    data[-3] ^= 1
    wanted = gguf.quants.quantize(weights, gguf.GGMLQuantizationType[kind.upper()])
    assert not np.array_equal(data, np.ascontiguousarray(wanted).view(np.uint8).reshape(-1))


# Half a step of the format, as a share of the largest magnitude in a block, plus what half precision takes of the
# scale (2⁻¹¹ of a weight). Q4_0's codes are −8 … 7, so at one end they fall a whole step short: 1/8. A ternary step
# is the largest weight itself, so half of it. Q4_1's step is a 15th of the range, at most twice the largest.
WORST = {"f16": 0.0, "q8_0": 0.5 / 127, "q4_0": 1 / 8, "q4_1": 1 / 15, "tq1_0": 0.5, "tq2_0": 0.5}
HALF_PRECISION = 2.0**-11


def worst_error(weights: np.ndarray, back: np.ndarray, kind: str) -> float:
    n = max(TYPES[kind][0], 32)
    error = np.abs(weights - back).reshape(-1, n).max(axis=1)
    return float((error / np.abs(weights).reshape(-1, n).max(axis=1)).max())


@pytest.mark.parametrize("kind", KINDS)
def test_the_way_back_is_within_half_a_step(kind: str) -> None:
    weights = samples()["heavy tail"]
    back = dequantise(Tensor("w", kind, weights.shape, quantise(weights, kind)))
    # Q4_1 rounds minimum and step, so twice; a step times 15 codes is at most twice the largest.
    bound = WORST[kind] + 3.1 * HALF_PRECISION
    assert worst_error(weights, back, kind) <= bound
    largest = np.abs(weights[0, : max(TYPES[kind][0], 32)]).argmax()
    back[0, largest] = weights[0, largest] * np.float32(1 + 1.01 * bound)
    assert worst_error(weights, back, kind) > bound


def test_ternary_weights_come_back_exactly() -> None:
    """One scale that half precision holds: no rounding anywhere."""
    rng = np.random.default_rng(5)
    weights = rng.integers(-1, 2, (16, 1024)).astype(np.float32) * np.float32(np.float16(0.0173))
    for kind in ("tq1_0", "tq2_0"):
        assert np.array_equal(dequantise(Tensor("w", kind, weights.shape, quantise(weights, kind))), weights)


def test_every_byte_of_five_trits_comes_back() -> None:
    """All 243 numbers that a byte of TQ1_0 stands for."""
    codes = np.array([[n // 3**digit % 3 - 1 for digit in range(5)] for n in range(243)], np.float32)
    weights = np.zeros((243, 256), np.float32)
    weights[:, :160:32] = codes
    weights[:, 255] = 1
    back = dequantise(Tensor("w", "tq1_0", weights.shape, quantise(weights, "tq1_0")))
    assert np.array_equal(back, weights)


@pytest.mark.parametrize(
    ("kind", "weights", "said"),
    [
        ("tq2_0", np.zeros((2, 128)), "rows of 128.*multiple of 256"),
        ("q8_0", np.full((1, 32), np.nan), "isn't finite"),
        ("f16", np.full((1, 32), -np.inf), "isn't finite"),
        ("f16", np.full((1, 32), 65520.0), "up to 6.55e[+]04"),
        ("tq2_0", np.full((1, 256), 1e6), "up to 1e[+]06"),
        ("q4_1", np.full((1, 32), -1e5), "up to 1e[+]05"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_by_name(kind: str, weights: np.ndarray, said: str) -> None:
    with pytest.raises(ModelFileError, match=f"tensor blk.0.x: .*{said}"):
        quantise(weights.astype(np.float32), kind, "blk.0.x")


def test_the_largest_numbers_that_fit_are_not_refused() -> None:
    assert len(quantise(np.full((1, 32), np.float32(65503)), "f16")) == 64
    assert len(quantise(np.full((1, 32), np.float32(65503 * 127)), "q8_0")) == 34

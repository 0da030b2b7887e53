"""Keys and queries balanced by powers of two: scores are the same to the last bit, and codes lose less."""

from __future__ import annotations

import dataclasses

import engine_models
import numpy as np
import pytest
from numpy.typing import NDArray

from solvent.errors import ModelFileError
from solvent.machine import native
from solvent.machine.engine import models, reference
from solvent.machine.engine.balance_keys import balanced, exponents_of, times_powers
from solvent.machine.engine.model import Model
from solvent.machine.engine.quants import dequantise
from solvent.machine.turboquant.centring import PackedHeads
from solvent.machine.turboquant.reference import Code

TOKENS = [(7 * i + i * i) % 271 for i in range(90)]
LAYERS = [np.array([[(i + head) % 3 - 1 for i in range(32)] for head in range(2)]) for _ in range(2)]


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("kind", ["f32", "q8_0", "q4_0", "q4_1"])
def test_logits_are_the_same_to_the_last_bit(family: str, kind: str) -> None:
    """In float64, where nothing leaves its range."""
    file = engine_models.tiny(family, kind)
    config = models.config(file)
    changed = balanced(file, config, LAYERS)
    found, wanted = (
        reference.forward(config, engine_models.weights(one, np.float64), TOKENS) for one in (changed, file)
    )
    assert np.array_equal(found, wanted)
    assert not np.array_equal(changed.tensors["blk.1.attn_k.weight"].data, file.tensors["blk.1.attn_k.weight"].data)
    # One channel of a query that isn't taken back is seen.
    name = "blk.1.attn_q.weight"
    off = times_powers(changed.tensors[name], np.eye(256, dtype=np.int64)[3])
    wrong = dataclasses.replace(changed, tensors={**changed.tensors, name: off})
    assert not np.array_equal(reference.forward(config, engine_models.weights(wrong, np.float64), TOKENS), wanted)


@pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")
def test_the_native_model_says_the_same() -> None:
    """Keys below 6e-5 have fewer bits in half precision: 2^-24 of a score's largest term, and no more."""
    file = engine_models.tiny("llama", "f32")
    config = models.config(file)
    found, wanted = (
        (one := Model(each, config, threads=1)).extend(one.new_sequence(), TOKENS, "all")
        for each in (balanced(file, config, LAYERS), file)
    )
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def draws(spread: NDArray[np.float64], n_heads: int, seed: int) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal((n_heads, 512, 64)) * spread).astype(np.float32)


@pytest.mark.parametrize("pairs", ["adjacent", "halves"])
def test_scores_lose_less_where_queries_and_keys_differ_by_channel(pairs: str) -> None:
    """Queries large where keys are small: unbalanced, their error is as Σk²·Σq², balanced as (Σ|k||q|)².

    Where both are alike there is nothing to win."""
    turn = np.repeat([1.0, 4.0, 0.25, 1.0] * 8, 2)
    of_pair = turn if pairs == "adjacent" else np.concatenate([turn[::2], turn[::2]])
    q, k = draws(1 / of_pair, 6, 1), draws(of_pair, 2, 2)
    exponents = exponents_of(q, k, pairs)
    # w² = rms(q)/rms(k) = 1/turn²: w = 1/turn.
    assert np.array_equal(exponents, np.tile(-np.log2(turn[::2]), (2, 1)))
    w = np.exp2(np.repeat(exponents, 2, axis=1) if pairs == "adjacent" else np.tile(exponents, (1, 2)))[:, None]

    def score_error(factor: NDArray[np.float64] | float) -> float:
        packed = PackedHeads(Code(4, 64, trellis=True, unbiased=False, settled=True), 2, centred=True)
        made = (k * factor).astype(np.float32)
        packed.append(made)
        error = (packed.vectors() - made) / factor
        return float(np.mean([(q[h] @ error[h // 3].T) ** 2 for h in range(6)]))

    # Means of k² and of q²: (1 + 16 + 1/16 + 1) / 4 each, 20.4 together, against 1. Where a quarter of the channels has
    # nearly all energy, rotated coordinates aren't quite as the codebook takes them: a quarter more or less.
    assert score_error(1.0) / score_error(w) == pytest.approx(20.4, rel=0.25)
    assert score_error(1.0) / score_error(np.sqrt(w)) < 20.4 * 0.75
    assert np.array_equal(exponents_of(q, draws(1 / of_pair, 2, 3), pairs), np.zeros((2, 32)))


def test_what_is_constant_in_the_keys_does_not_count() -> None:
    k = draws(np.ones(64), 2, 4)
    k[:, :, 10] += 100
    assert np.array_equal(exponents_of(draws(np.ones(64), 4, 5), k, "adjacent"), np.zeros((2, 32)))


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0", "q4_0", "q4_1", "q4_k", "q5_k", "q6_k"])
def test_rows_are_multiplied_exactly(kind: str) -> None:
    tensor = engine_models.random_tensor("blk.0.attn_k.weight", kind, (4, 512), 3)
    powers = np.array([0, 1, 2, 3])
    assert np.array_equal(dequantise(times_powers(tensor, powers)), dequantise(tensor) * np.exp2(powers)[:, None])


def test_what_cannot_be_balanced_is_refused() -> None:
    for family, kind, said in (("qwen3", "f32", "norms of their own"), ("llama", "tq2_0", "the type tq2_0")):
        file = engine_models.tiny(family, kind)
        with pytest.raises(ModelFileError, match=said):
            balanced(file, models.config(file), LAYERS)
    tensor = engine_models.random_tensor("blk.0.attn_k.weight", "q8_0", (4, 512), 3)
    with pytest.raises(ModelFileError, match="range"):
        times_powers(tensor, np.array([0, 0, -20, 0]))
    with pytest.raises(ModelFileError, match="255 tokens"):
        exponents_of(np.ones((2, 255, 64), np.float32), np.ones((2, 255, 64), np.float32), "halves")


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0", "q4_0", "q4_1", "q4_k", "q5_k", "q6_k"])
def test_rows_between_powers_are_off_by_their_scales_rounding(kind: str) -> None:
    """Scale and minimum of a block are each off by 2^-11 of themselves, 2^-8 where they may lie below 6e-5 (K-quants);
    so no weight by more than twice that of the row's largest. One that is off by four times that is seen."""
    rounding = 2.0**-8 if kind.endswith("_k") else 2.0**-11
    tensor = engine_models.random_tensor("blk.0.attn_k.weight", kind, (4, 512), 3)
    steps = np.array([0.25, -0.5, 1.75, -2.25])
    wanted = dequantise(tensor) * np.exp2(steps)[:, None]
    found = dequantise(times_powers(tensor, steps))
    bound = 2 * rounding * np.abs(wanted).max(axis=1, keepdims=True)
    assert (np.abs(found - wanted) <= bound).all()
    assert not (np.abs(found * (1 + 4 * rounding) - wanted) <= bound).all()


def test_steps_between_powers_come_nearer() -> None:
    of_pair = np.concatenate([np.tile([1.0, 2.0**0.6], 16)] * 2)
    q, k = draws(1 / of_pair, 6, 1), draws(of_pair, 2, 2)
    # w = 1/of_pair about a mean of 0: ±0.3 of an octave, which whole exponents round to 0.
    assert np.array_equal(exponents_of(q, k, "halves"), np.zeros((2, 32)))
    assert np.array_equal(exponents_of(q, k, "halves", 4), np.tile([0.25, -0.25], (2, 16)))

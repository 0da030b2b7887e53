"""The NumPy forward pass against transformers (golden logits), and each of its rules by itself."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_models
import numpy as np
import pytest

from solvent.errors import EngineError
from solvent.machine.engine import models, reference
from solvent.machine.engine.config import Config

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "engine"
CASES = sorted(path.stem for path in GOLDEN.glob("*.json"))

Weights = dict[str, np.ndarray]


def golden(name: str) -> tuple[dict[str, Any], Config, Weights]:
    """The document of a case, and the model that it names."""
    document = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    file = engine_models.tiny(document["family"], document["types"], document["seed"], **document["sizes"])
    assert engine_models.checksum(file) == document["weights_crc32"], "not the model that the golden file was made of"
    config = models.config(file)
    if "int8_per_token" in document["sizes"]:
        # No file can say this; the family does.
        config = dataclasses.replace(config, int8_per_token=document["sizes"]["int8_per_token"])
    weights = engine_models.weights(file)
    if "rope_factors" in document:
        weights["rope_freqs.weight"] = np.array(document["rope_factors"], np.float32)
    return document, config, weights


def tolerance(config: Config, logits: np.ndarray) -> float:
    """How far two float32 passes that sum in different orders may lie apart.

    A dot of K terms errs by about sqrt(K) · 2^-24 of its size (errors of random sign). The logits stand at the end of
    a chain of 7 products a layer and the head's, and at worst the errors add in one direction. Both passes err: twice.
    Cases with int8 activations are chosen so that no code lies near enough to a tie to flip (see `clearance`)."""
    n_products = 7 * config.n_layers + 1
    k = max(config.width, config.q_width, config.ff_width)
    return 2 * n_products * float(np.sqrt(k)) * 2.0**-24 * float(np.abs(logits).max())


def is_close(ours: np.ndarray, document: dict[str, Any], config: Config) -> bool:
    theirs = np.array(document["logits"])
    assert ours.shape == theirs.shape
    return bool(np.abs(ours - theirs).max() <= tolerance(config, theirs))


def test_there_are_cases_of_every_family() -> None:
    families = {json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))["family"] for name in CASES}
    assert families == set(engine_models.CONFIGS)


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_transformers(name: str) -> None:
    document, config, weights = golden(name)
    ours = reference.forward(config, weights, document["tokens"])
    assert ours.dtype == np.float32
    assert is_close(ours, document, config)


@pytest.mark.parametrize("name", CASES)
def test_a_fault_just_above_the_tolerance_is_seen(name: str) -> None:
    """Logits too large by 1.5 tolerances at the largest."""
    document, config, weights = golden(name)
    logits = np.array(document["logits"])
    excess = 1.5 * tolerance(config, logits) / np.abs(logits).max()
    weights["output_norm.weight"] = weights["output_norm.weight"] * np.float32(1 + excess)
    assert not is_close(reference.forward(config, weights, document["tokens"]), document, config)


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("llama_adjacent", {"rope_pairs": "halves"}),
    ("llama_adjacent", {"rope_base": 10_010.0}),
    ("llama_adjacent", {"norm_eps": 1.2e-5}),
    ("llama_halves", {"rope_pairs": "adjacent"}),
    ("llama3_rope", {"rope_base": 510_000.0}),
    ("qwen3", {"qk_norm": False}),
    ("qwen3", {"norm_eps": 1.2e-6}),
    ("bitnet", {"activation": "silu"}),
    ("bitnet", {"sub_norms": False}),
    ("bitnet", {"int8_per_token": False}),
    ("bitnet_silu", {"activation": "relu2"}),
    ("bitnet_silu", {"rope_pairs": "adjacent"}),
    ("llama_hf_ternary", {"int8_per_token": False}),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_wrong_switch_is_seen(name: str, fault: dict[str, Any]) -> None:
    document, config, weights = golden(name)
    wrong = dataclasses.replace(config, **fault)
    assert not is_close(reference.forward(wrong, weights, document["tokens"]), document, config)


@pytest.mark.parametrize(
    ("name", "tensor"), [("llama3_rope", "rope_freqs.weight"), ("qwen2", "blk.1.attn_k.bias"), ("llama_halves", None)]
)
def test_a_tensor_left_out_is_seen(name: str, tensor: str | None) -> None:
    document, config, weights = golden(name)
    if tensor is None:
        config = dataclasses.replace(config, tied=True)
    else:
        del weights[tensor]
    assert not is_close(reference.forward(config, weights, document["tokens"]), document, config)


@pytest.mark.parametrize("name", [name for name in CASES if "bitnet" in name or "ternary" in name])
def test_no_int8_code_of_the_golden_models_is_near_a_tie(name: str) -> None:
    """x · s errs by at most 127 · 2^-24 · sqrt(K) · a few products; 5e-4 is ten times that."""
    document, config, weights = golden(name)
    if config.int8_per_token:
        assert engine_models.clearance(config, weights, document["tokens"]) > 4e-4


def test_float64_tells_how_much_is_rounding() -> None:
    document, config, weights = golden("qwen2")
    exact = reference.forward(config, {k: w.astype(np.float64) for k, w in weights.items()}, document["tokens"])
    assert exact.dtype == np.float64
    rounded = reference.forward(config, weights, document["tokens"])
    assert 0 < np.abs(exact - rounded).max() < tolerance(config, exact) / 2


def test_a_cache_of_halves_rounds_keys_and_values_alone() -> None:
    """Logits differ by about 2^-11 of their size, and with values that halves hold exactly not at all."""
    document, config, weights = golden("llama_adjacent")
    exact = reference.forward(config, weights, document["tokens"])
    halves = reference.forward(config, weights, document["tokens"], reference.Rounding(np.float16))
    assert halves.dtype == np.float32
    assert tolerance(config, exact) < np.abs(halves - exact).max() < 2.0**-11 * np.abs(exact).max() * 2
    zero = {k: w * 0 if "attn_k" in k or "attn_v" in k else w for k, w in weights.items()}
    kept = reference.forward(config, zero, document["tokens"], reference.Rounding(np.float16))
    assert np.array_equal(kept, reference.forward(config, zero, document["tokens"]))


def test_blocks_of_activations_have_their_own_scale() -> None:
    x = np.zeros((2, 70), np.float32)
    x[0, :4], x[0, 40], x[1, 69] = [127.0, 0.5, 1.5, -2.5], 1e-3, -7.0
    y = reference.int8_blocks(x)
    assert y[0, :4].tolist() == [127.0, 0.0, 2.0, -2.0]  # ties to even
    assert (y[0, 40], y[1, 69]) == (np.float32(1e-3), -7.0)
    assert np.count_nonzero(y) == 5
    x = np.random.default_rng(0).normal(size=(3, 70)).astype(np.float32)
    steps = [np.abs(x[:, i : i + 32]).max(axis=1, keepdims=True) / 127 for i in (0, 32, 64)]
    for i, step in zip((0, 32, 64), steps, strict=True):
        error = np.abs(reference.int8_blocks(x) - x)[:, i : i + 32]
        assert (error <= step * 0.5001).all()
        assert error.max() > 0.1 * step.min()


def test_outliers_stay_and_leave_their_blocks_scale_to_the_rest() -> None:
    x = np.full((1, 64), 1.0, np.float32)
    x[0, 5], x[0, 6], x[0, 40], x[0, 41] = 1000.3, 0.013, -50.7, 50.7
    two = reference.int8_blocks(x, 2)
    # The first of the equals at 40 and 41 goes; the other then sets the scale of its block.
    assert (two[0, 5], two[0, 40], two[0, 41]) == (np.float32(1000.3), np.float32(-50.7), np.float32(50.7))
    assert two[0, 6] == np.float32(2) * (np.float32(1) / np.float32(127))
    assert two[0, 50] == pytest.approx(50.7 / 127 * 3)
    assert reference.int8_blocks(x, 0)[0, 6] == 0
    assert x[0, 5] == np.float32(1000.3), "the input stays"


@pytest.mark.parametrize("where", ["int8_linears", "int8_head"])
def test_int8_blocks_round_where_they_are_asked_for(where: str) -> None:
    """About a half of 1/127 at each element: between a hundredth of a percent and five percent of the logits."""
    document, config, weights = golden("qwen3")
    exact = reference.forward(config, weights, document["tokens"])
    rounded = reference.forward(config, weights, document["tokens"], reference.Rounding(**{where: True}))
    assert 1e-4 < np.abs(rounded - exact).max() / np.abs(exact).max() < 0.05


@pytest.mark.parametrize("family", engine_models.CONFIGS)
def test_a_token_sees_none_that_come_later(family: str) -> None:
    file = engine_models.tiny(family, n_vocab=64)
    config, weights = models.config(file), engine_models.weights(file, np.float64)
    long = reference.forward(config, weights, [3, 1, 4, 1, 5, 9])
    short = reference.forward(config, weights, [3, 1, 4])
    # Sums of other lengths, hence other orders: 2^-53 · sqrt(512) · 15 products · logits of about 10.
    assert np.abs(long[:3] - short).max() < 1e-12
    assert np.abs(long[2] - long[3]).max() > 0.1


@pytest.mark.parametrize("kind", engine_models.TYPES)
def test_every_format_makes_a_model_of_ordinary_size(kind: str) -> None:
    """The tiny models are what other tests stand on: neither all zero nor out of range."""
    file = engine_models.tiny("llama", kind, n_vocab=64)
    weight = engine_models.weights(file)["blk.0.ffn_up.weight"]
    assert 0.8 < weight.std() * np.sqrt(256) < 1.3
    assert abs(weight.mean()) < 0.2 * weight.std()
    logits = reference.forward(models.config(file), engine_models.weights(file), [1, 2, 3])
    assert np.isfinite(logits).all()
    assert 1 < logits.std() < 10


def test_rope_turns_pairs_by_position() -> None:
    """Adjacent pairs, taken apart into halves, turn as halves do; length is kept; position 0 stays."""
    random = np.random.default_rng(0)
    x = random.normal(size=(5, 2, 8))
    config = dataclasses.replace(engine_models.LLAMA, head_size=8, rope_base=100.0)
    turns = reference.rope_turns(config, 5, None)
    assert turns[3].tolist() == pytest.approx([3 * 100.0 ** (-i / 4) for i in range(4)])
    adjacent = reference.rope(x, turns, "adjacent")
    apart = np.concatenate([x[..., 0::2], x[..., 1::2]], axis=-1)
    halves = reference.rope(apart, turns, "halves")
    assert np.array_equal(np.concatenate([adjacent[..., 0::2], adjacent[..., 1::2]], axis=-1), halves)
    assert np.array_equal(adjacent[0], x[0])
    assert np.linalg.norm(adjacent, axis=-1) == pytest.approx(np.linalg.norm(x, axis=-1))
    # By hand: (1, 0) turned by 1 radian at position 1.
    unit = np.zeros((2, 1, 8))
    unit[:, :, 0] = 1
    assert reference.rope(unit, turns[:2], "adjacent")[1, 0, :2].tolist() == pytest.approx([np.cos(1), np.sin(1)])
    assert reference.rope_turns(config, 2, np.full(4, 2.0))[1, 0] == 0.5


def test_query_heads_share_their_keys_in_runs() -> None:
    """With 4 query heads over 2, heads 0 and 1 read the first key head, 2 and 3 the second."""
    random = np.random.default_rng(1)
    q = np.repeat(random.normal(size=(3, 1, 8)), 4, axis=1)
    k, v = random.normal(size=(3, 2, 8)), random.normal(size=(3, 2, 8))
    y = reference.attention(q, k, v)
    assert np.array_equal(y[:, 0], y[:, 1])
    assert np.array_equal(y[:, 2], y[:, 3])
    assert not np.allclose(y[:, 0], y[:, 2])
    assert y[0] == pytest.approx(np.repeat(v[0], 2, axis=0))


def test_attention_survives_large_scores() -> None:
    q = np.full((2, 1, 4), 1e4, np.float32)
    y = reference.attention(q, q, np.arange(8, dtype=np.float32).reshape(2, 1, 4))
    assert y[1, 0].tolist() == [2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("x", "codes", "scale"),
    [
        ([127.0, 0.5, 1.5, -0.5, -2.5], [127, 0, 2, 0, -2], 1.0),  # ties to even
        ([-127.0, 126.4, 3.0, 0.0, 0.0], [-127, 126, 3, 0, 0], 1.0),
        ([0.0, 0.0, 0.0, 0.0, 0.0], [0, 0, 0, 0, 0], 12_700_000.0),  # the floor of 1e-5
        ([1e-6, -4e-6, 0.0, 0.0, 0.0], [13, -51, 0, 0, 0], 12_700_000.0),
    ],
)
def test_activations_round_as_bitnet_trained(x: list[float], codes: list[int], scale: float) -> None:
    q, s = reference.quantised_activations(np.array([x], np.float32))
    assert q.dtype == np.int8
    assert q[0].tolist() == codes
    assert s[0, 0] == pytest.approx(scale, rel=2**-23)


def test_activations_have_one_scale_a_token() -> None:
    x = np.random.default_rng(2).normal(size=(4, 64)).astype(np.float32) * np.array([[1], [10], [0.01], [100]], "f4")
    q, scale = reference.quantised_activations(x)
    assert scale.shape == (4, 1)
    assert (np.abs(q.astype(int)).max(axis=1) == 127).all()
    # Half a code, and the rounding of x · s.
    assert (np.abs(q / scale - x) <= 0.5001 / scale).all()


def test_the_int8_sum_is_exact_where_int16_would_wrap() -> None:
    """All weights 1, all codes 127, K = 2560: 127 · 2560 = 325,120 times the scale, far beyond int16."""
    w, x = np.ones((3, 2560), np.float32), np.full((1, 2560), 2.0, np.float32)
    q, scale = reference.quantised_activations(x)
    assert (q == 127).all()
    assert reference.int8_linear(w, x)[0].tolist() == [np.float32(325_120 / np.float64(scale[0, 0]))] * 3


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (reference.silu, [-0.0, -0.26894142, 0.0, 0.73105858, 1000.0]),
        (reference.relu2, [0.0, 0.0, 0.0, 1.0, 1e6]),
    ],
)
def test_activations_of_the_gate(function: Callable[[np.ndarray], np.ndarray], expected: list[float]) -> None:
    x = np.array([-1000, -1, 0, 1, 1000], np.float32)
    assert function(x).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("tokens", "where"),
    [([], "tokens"), ([0] * 129, "tokens"), ([1, -1], "token 1"), ([0, 0, 272], "token 2")],
)
def test_tokens_that_the_model_has_not_are_refused(tokens: list[int], where: str) -> None:
    file = engine_models.tiny("llama")
    with pytest.raises(EngineError, match=f"^{where}:"):
        reference.forward(models.config(file), engine_models.weights(file), tokens)

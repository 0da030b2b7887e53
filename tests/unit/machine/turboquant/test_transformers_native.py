"""The registered attention on native kernels: padding isn't stored, and a row answers as if it were alone."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.turboquant.cache_format import CacheFormat

if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
    pytest.skip("torch and transformers aren't installed", allow_module_level=True)
if not native.available():
    pytest.skip("no native kernels in this installation", allow_module_level=True)

import torch
import transformers

from solvent import TurboQuantCache
from solvent.machine.turboquant.transformers_native import NativeRows, check_mask, leading

N_TOK, N_PADDING = 37, 9


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=96, hidden_size=96, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=64, max_position_embeddings=512, pad_token_id=0, initializer_range=0.05,
        attn_implementation="solvent_turboquant",
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def ids(n_tok: int = N_TOK) -> Any:
    return torch.randint(1, 96, (1, n_tok), generator=torch.Generator().manual_seed(3))


def logits(model: Any, tokens: Any, cache: Any, mask: Any = None) -> Any:
    positions = None if mask is None else (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    with torch.no_grad():
        return model(tokens, attention_mask=mask, position_ids=positions, past_key_values=cache).logits


def rms(x: Any) -> float:
    return float(x.double().pow(2).mean().sqrt())


def test_nothing_but_codes_is_kept(model: Any) -> None:
    cache = TurboQuantCache(model.config)
    logits(model, ids(), cache)
    layer = cache.layers[0]
    assert layer.native is not None and layer.packed_keys is None and layer.keys is None
    assert layer.get_seq_length() == N_TOK and cache.batch_size == 1
    # One chunk of 256 tokens a row and layer: 2 heads of 2 · 256 · 33 bytes, exponents and centres.
    assert 2 * 2 * 2 * 256 * 33 < cache.n_bytes < 1.05 * 2 * 2 * 2 * 256 * 33


def test_a_padded_row_answers_exactly_as_alone(model: Any) -> None:
    alone = logits(model, ids(), TurboQuantCache(model.config))
    padding = torch.zeros(1, N_PADDING, dtype=torch.long)
    other = torch.randint(1, 96, (1, N_TOK + N_PADDING), generator=torch.Generator().manual_seed(5))
    tokens = torch.cat([torch.cat([padding, ids()], dim=1), other])
    mask = torch.ones_like(tokens)
    mask[0, :N_PADDING] = 0
    cache = TurboQuantCache(model.config)
    together = logits(model, tokens, cache, mask)
    # The same codes and kernels; torch's matrix products differ in their last bits between shapes, and a coordinate
    # at a cell's border may then get another code: 1e-3 of the logits' size, where 4-bit codes err by 5e-2.
    assert rms(together[0, N_PADDING:] - alone[0]) < 5e-3 * rms(alone)
    more = ids(1)
    following = logits(model, torch.cat([more, more]), cache, torch.cat([mask, torch.ones(2, 1, dtype=torch.long)], 1))
    single = TurboQuantCache(model.config)
    logits(model, ids(), single)
    assert rms(following[0] - logits(model, more, single)[0]) < 5e-3 * rms(alone)
    # Padding that was attended to would be seen.
    assert rms(logits(model, tokens[:1], TurboQuantCache(model.config))[0, N_PADDING:] - alone[0]) > 0.1 * rms(alone)


def test_steps_of_any_size_answer_alike(model: Any) -> None:
    whole, stepwise = TurboQuantCache(model.config), TurboQuantCache(model.config)
    at_once = logits(model, ids(300), whole)
    parts = [logits(model, part, stepwise) for part in ids(300).split([1, 16, 200, 60, 23], dim=1)]
    assert rms(torch.cat(parts, dim=1) - at_once) < 2e-2 * rms(at_once)
    assert stepwise.n_bytes == whole.n_bytes and stepwise.get_seq_length() == 300


def test_a_cropped_cache_goes_on_and_rows_are_forked(model: Any) -> None:
    cache, whole = TurboQuantCache(model.config), TurboQuantCache(model.config)
    wanted = logits(model, ids(), whole)
    logits(model, ids(), cache)
    cache.crop(-7)
    again = logits(model, ids()[:, -7:], cache)
    assert rms(again - wanted[:, -7:]) < 5e-3 * rms(wanted)
    with pytest.raises(EngineError, match="crop"):
        cache.crop(-N_TOK - 1)
    cache.batch_repeat_interleave(2)
    cache.reorder_cache(torch.tensor([1, 0, 0]))
    assert cache.batch_size == 3
    three = torch.tensor([[5], [5], [6]])
    following = logits(model, three, cache)
    lone = logits(model, three[:1], whole)
    assert rms(following[:2] - lone) < 5e-3 * rms(lone)
    assert rms(following[2] - lone) > 0.1 * rms(lone)


def test_generate_with_beams_and_padding(model: Any) -> None:
    tokens = torch.cat([ids(), ids()])
    mask = torch.ones_like(tokens)
    tokens[0, :4], mask[0, :4] = 0, 0
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "attention_mask": mask}
    greedy = model.generate(tokens, past_key_values=TurboQuantCache(model.config, 8, 8), **options)
    beams = model.generate(tokens, past_key_values=TurboQuantCache(model.config, 8, 8), num_beams=3, **options)
    assert greedy.shape == beams.shape == (2, N_TOK + 5)


def test_other_masks_are_refused(model: Any) -> None:
    right = torch.ones(1, N_TOK, dtype=torch.long)
    right[0, -3:] = 0
    with pytest.raises(EngineError, match="padding on the left"):
        logits(model, ids(), TurboQuantCache(model.config), right)
    hole = torch.ones(1, N_TOK, dtype=torch.long)
    hole[0, 5] = 0
    with pytest.raises(EngineError, match="padding on the left"):
        logits(model, ids(), TurboQuantCache(model.config), hole)
    causal = np.tril(np.ones((1, 4, 4), bool))
    check_mask(causal, [0], 0, 4)
    with pytest.raises(EngineError, match="another attention mask"):
        check_mask(np.ones((1, 4, 4), bool), [0], 0, 4)
    with pytest.raises(EngineError, match="no attention mask"):
        check_mask(None, [0, 2], 4, 1)
    assert leading(np.array([False, False, True])) == 2 and leading(np.zeros(3, bool)) == 3


def test_a_mask_that_changes_scores_is_refused(model: Any) -> None:
    """A score less 3 isn't a score less everything: it was once taken for it."""
    causal = torch.ones(N_TOK, N_TOK).triu(1).bool()
    least = torch.finfo(torch.float32).min

    def answer(fill: float, heads: int = 1, rows: int = 2) -> Any:
        mask = torch.zeros(rows, heads, N_TOK, N_TOK).masked_fill_(causal, fill)
        two = torch.cat([ids(), ids()])
        with torch.no_grad():
            return model(two, attention_mask=mask, past_key_values=TurboQuantCache(model.config)).logits

    wanted = logits(model, torch.cat([ids(), ids()]), TurboQuantCache(model.config))
    for fill in (least, -torch.inf):
        assert torch.equal(answer(fill), wanted) and torch.equal(answer(fill, rows=1), wanted)
    with pytest.raises(EngineError, match="changes scores"):
        answer(-3.0)
    with pytest.raises(EngineError, match="masks for 6 heads"):
        answer(least, heads=6)


def test_a_copied_cache_goes_its_own_way(model: Any) -> None:
    """A filled cache is copied for every prompt that goes on from it: transformers' way to share a beginning."""
    filled = TurboQuantCache(model.config)
    logits(model, ids(), filled)
    copied = copy.deepcopy(filled)
    first = logits(model, ids(5), copied)
    assert filled.get_seq_length() == N_TOK and copied.get_seq_length() == N_TOK + 5
    assert torch.equal(logits(model, ids(5), filled), first)
    with pytest.raises(EngineError, match="pickle"):
        pickle.dumps(filled)


def test_nothing_is_said_at_exit() -> None:
    """Formats that outlive the extension were reported as leaks on every user's terminal."""
    code = (
        "from solvent import TurboQuantCache\n"
        "from solvent.machine.turboquant.transformers_native import NativeRows\n"
        "from solvent.machine.turboquant.cache_format import CacheFormat\n"
        "rows = NativeRows(CacheFormat(((4, 4),)), 1, 2, 64)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "nanobind" not in done.stderr


def test_what_changes_scores_is_refused(model: Any) -> None:
    attention = transformers.AttentionInterface()["solvent_turboquant"]
    cache = TurboQuantCache(model.config)
    states = torch.randn(1, 2, 3, 64)
    keys, values = cache.update(states, states, 0)
    for option in ({"softcap": 30.0}, {"dropout": 0.1}, {"sliding_window": 8}):
        with pytest.raises(EngineError, match=next(iter(option))):
            attention(None, torch.randn(1, 6, 3, 64), keys, values, None, scaling=0.125, **option)


def test_another_attention_cannot_go_on(model: Any) -> None:
    cache = TurboQuantCache(model.config)
    logits(model, ids(), cache)
    layer = cache.layers[0]
    with pytest.raises(EngineError, match="solvent_turboquant"):
        layer.update(torch.zeros(1, 2, 1, 64), torch.zeros(1, 2, 1, 64))
    with pytest.raises(EngineError, match="batch of 1"):
        logits(model, torch.cat([ids(), ids()]), cache)
    cache.reset()
    assert cache.get_seq_length() == 0


def test_rows_attend_as_softmax_does() -> None:
    """At 8 bits against float64: a uniform step of 4.5/127 makes values err by 1 %, int8 queries move a score by
    max|q| / 127 / 2 · ‖k‖ / √D at most, which is 1 % of the scores' own spread, and weights are rounded to 1/127."""
    random = np.random.default_rng(6)
    keys, values = random.standard_normal((2, 1, 60, 2, 64)).astype(np.float32)
    queries = (random.standard_normal((1, 60, 6, 64)) / 8).astype(np.float32)
    out = NativeRows(CacheFormat(((8, 8),)), 1, 2, 64).step(keys, values, queries, None)
    for token, head in [(0, 0), (1, 5), (30, 2), (59, 3)]:
        scores = keys[0, : token + 1, head // 3].astype(float) @ queries[0, token, head]
        weights = np.exp(scores - scores.max())
        wanted = weights / weights.sum() @ values[0, : token + 1, head // 3]
        error = np.linalg.norm(out[0, token, head] - wanted) / np.linalg.norm(wanted)
        assert error < 0.04
        other = np.linalg.norm(out[0, token, head] - (values[0, : token + 2, head // 3]).mean(axis=0))
        assert other / np.linalg.norm(wanted) > 0.04


def test_a_crop_leaves_padding_out_of_the_count() -> None:
    random = np.random.default_rng(7)
    keys, values = random.standard_normal((2, 2, 30, 2, 64)).astype(np.float32)
    queries = random.standard_normal((2, 30, 4, 64)).astype(np.float32)
    tokens = np.arange(30)
    mask = np.stack([(tokens >= missing) & (tokens <= tokens[:, None]) for missing in (6, 0)])
    cropped, direct = (NativeRows(CacheFormat(((4, 4),)), 2, 2, 64) for _ in range(2))
    cropped.step(keys, values, queries, mask)
    cropped.crop(20)
    again = cropped.step(keys[:, 20:], values[:, 20:], queries[:, 20:], mask[:, 20:])
    assert np.array_equal(again, direct.step(keys, values, queries, mask)[:, 20:])
    assert [row.n_tokens for row in cropped.rows] == [24, 30]
    cropped.crop(3)
    assert [row.n_tokens for row in cropped.rows] == [0, 3]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    rows = NativeRows(CacheFormat(((4, 4),)), 1, 2, 64)
    good = np.ones((1, 3, 2, 64), np.float32)
    for side in (0, 1):
        sides = [good.copy(), good.copy()]
        sides[side][0, 1, 0, 5] = bad
        with pytest.raises(EngineError, match="finite"):
            rows.step(sides[0], sides[1], good, None)
    assert rows.n_tok == 0


def test_a_tail_is_the_same_however_long_the_steps_are() -> None:
    """To the last bit; padded rows beside it, which begin elsewhere; copied where a chunk is about to become codes."""
    random = np.random.default_rng(8)
    keys, values = random.standard_normal((2, 2, 900, 2, 64)).astype(np.float32)
    queries = (random.standard_normal((2, 900, 4, 64)) / 8).astype(np.float32)
    mask = np.tril(np.ones((2, 900, 900), bool))
    mask[1, :, :70] = False

    def rows(sink_tok: int, tail_tok: int) -> NativeRows:
        return NativeRows(CacheFormat(((3, 2),), sink_tok=sink_tok, tail_tok=tail_tok), 2, 2, 64)

    outputs = {}
    for kept in ((0, 0), (256, 0), (256, 256)):
        whole, stepwise = rows(*kept), rows(*kept)
        outputs[kept] = whole.step(keys, values, queries, mask)
        parts = []
        for start, end in ((0, 500), (500, 512), (512, 780), (780, 781), (781, 900)):
            part = slice(start, end)
            stepwise = copy.deepcopy(stepwise) if start == 512 else stepwise
            parts.append(stepwise.step(keys[:, part], values[:, part], queries[:, part], mask[:, part, :end]))
        assert np.array_equal(np.concatenate(parts, axis=1), outputs[kept])
        assert [row.coded_tok for row in whole.rows] == ([512, 512] if kept[1] else [1024, 1024])
        assert stepwise.n_bytes == whole.n_bytes
    assert not np.array_equal(outputs[256, 0], outputs[256, 256])


@pytest.mark.parametrize("attention", ["solvent_turboquant", "sdpa"])
def test_sinks_and_a_tail_come_nearer_to_half_precision(model: Any, attention: str) -> None:
    tokens = ids(700)
    model.set_attn_implementation(attention)
    try:
        exact = logits(model, tokens, transformers.DynamicCache(config=model.config))[:, 640:]
        caches = [TurboQuantCache(model.config, 2, 2, sinks_and_tail_tok=kept) for kept in ((0, 0), (0, 256), (768, 0))]
        errors = [rms(logits(model, tokens, cache)[:, 640:] - exact) / rms(exact) for cache in caches]
    finally:
        model.set_attn_implementation("solvent_turboquant")
    assert errors[0] > 0.03 and errors[1] < 0.9 * errors[0] and errors[2] < 2e-3, errors
    assert caches[0].n_bytes < caches[1].n_bytes < caches[2].n_bytes
    others: list[Any] = [(100, 0), (0, -256), (0, True), 256, (256,), (256, 256, 256), None]
    for kept in others:
        with pytest.raises(EngineError, match=r"multiple of 256|two numbers"):
            TurboQuantCache(model.config, 2, 2, sinks_and_tail_tok=kept)

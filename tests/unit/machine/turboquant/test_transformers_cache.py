"""The transformers cache on tiny random models: against a float cache that is fed what the codes decode to, and
against a float cache with noise of the codes' own distortion."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from solvent.errors import EngineError
from solvent.machine.turboquant.centring import PackedHeads
from solvent.machine.turboquant.reference import Code

if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
    pytest.skip("torch and transformers aren't installed", allow_module_level=True)

import torch
import transformers
from transformers import DynamicCache

from solvent import TurboQuantCache

N_TOK = 40
SHAPE: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 96,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "initializer_range": 0.05,
}
Build = Callable[..., Any]


def llama(**changes: Any) -> Any:
    torch.manual_seed(1)
    config = transformers.LlamaConfig(**{**SHAPE, "head_dim": 64, **changes})
    return transformers.LlamaForCausalLM(config).eval()


def qwen2(**changes: Any) -> Any:
    """Its keys have a bias, here a strong one, and heads of 24. RoPE turns each pair of channels i and i + 12 by an
    angle a token; the bias sits where that is below 0.01, so that it stays about the same over a prompt."""
    torch.manual_seed(2)
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**{**SHAPE, **changes})).eval()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.k_proj.bias.normal_(0, 5)
            layer.self_attn.k_proj.bias.view(-1, 2, 12)[..., :6] = 0
    return model


MODELS = pytest.mark.parametrize("build", [llama, qwen2])


def batch(n_padding: int = 9) -> dict[str, Any]:
    """Two prompts; the first has padding on its left."""
    ids = torch.randint(1, 96, (2, N_TOK), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    ids[0, :n_padding], mask[0, :n_padding] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def logits(model: Any, cache: Any, step: int = N_TOK) -> Any:
    """Of the real tokens, fed `step` at a time through the cache. (tokens, vocabulary)"""
    given, out = batch(), []
    with torch.no_grad():
        for start in range(0, N_TOK, step):
            part = given["input_ids"][:, start : start + step]
            positions = (given["attention_mask"].cumsum(1) - 1).clamp(min=0)[:, start : start + step]
            seen = given["attention_mask"][:, : start + step]
            out.append(model(part, attention_mask=seen, position_ids=positions, past_key_values=cache).logits)
    return torch.cat(out, dim=1)[given["attention_mask"].bool()]


class Rounded(DynamicCache):
    """A float cache that gives what `change` makes of all keys and values seen. change: (B·H, T, D) f32, is key."""

    def __init__(self, change: Callable[[Any, bool], Any]) -> None:
        super().__init__()
        self.change = change

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        both = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        changed = [
            torch.from_numpy(np.asarray(self.change(x.flatten(0, 1).numpy(), is_key))).reshape(x.shape)
            for x, is_key in zip(both, (True, False), strict=True)
        ]
        return changed[0], changed[1]


def through_codes(key_bits: int, value_bits: int) -> Callable[[Any, bool], Any]:
    def change(vectors: Any, is_key: bool) -> Any:
        bits = key_bits if is_key else value_bits
        unbiased = is_key and bits <= 3
        code = Code(bits, vectors.shape[-1], trellis=bits <= 5, unbiased=unbiased, settled=not unbiased)
        back = []
        for one in vectors:
            heads = PackedHeads(code, 1, centred=is_key)
            heads.append(one[None])
            back.append(heads.vectors()[0])
        return np.stack(back)

    return change


def rms(x: Any) -> float:
    return float(x.double().pow(2).mean().sqrt())


@MODELS
@pytest.mark.parametrize("bits", [(4, 4), (3, 2), (8, 6)])
def test_logits_are_those_of_what_the_codes_stand_for(build: Build, bits: tuple[int, int]) -> None:
    model = build()
    found = logits(model, TurboQuantCache(model.config, *bits))
    wanted = logits(model, Rounded(through_codes(*bits)))
    # The same arithmetic on the same numbers, but for sums in another order: f32 rounding, 1e-4 of logits of size 1.
    assert rms(found - wanted) < 1e-4 * rms(wanted)
    assert rms(found - logits(model, DynamicCache(config=model.config))) > 1e-3 * rms(wanted)


@pytest.mark.parametrize(("build", "step"), [(llama, 7), (qwen2, 4)])
def test_steps_of_any_size_leave_the_same_cache(build: Build, step: int) -> None:
    model = build()
    at_once, stepwise = TurboQuantCache(model.config), TurboQuantCache(model.config)
    logits(model, at_once)
    logits(model, stepwise, step)
    # Layer 0's keys don't depend on the cache; a step's matrix product may round a coordinate at a border otherwise.
    for a, b in zip(at_once.layers[0].sides(), stepwise.layers[0].sides(), strict=True):
        assert (a.streams[:, :N_TOK] == b.streams[:, :N_TOK]).mean() > 0.99
    assert stepwise.get_seq_length() == N_TOK and stepwise.n_bytes == at_once.n_bytes


def test_logits_err_as_much_as_noise_of_the_codes_distortion() -> None:
    """What 4-bit codes do to logits is what independent noise of their distortion does, within 30 %.

    Keys: .00650, values: .0062 of ‖x‖² (trellis at 4 bits; the first is of the key less its centre, which for these
    keys, whose mean is small, is ‖x‖² and the centre's own variance: up to 1/16 more). The ratio of two root mean
    squares over 71 × 96 logits varies by a few percent; the rest of 30 % is that errors grow in the second layer."""
    model = llama()
    exact = logits(model, DynamicCache(config=model.config))
    random = np.random.default_rng(4)

    def noisy(vectors: Any, is_key: bool) -> Any:
        size = np.sqrt((0.0068 if is_key else 0.0062) * (vectors**2).mean(axis=-1, keepdims=True))
        return (vectors + size * random.standard_normal(vectors.shape)).astype(np.float32)

    noise = np.mean([rms(logits(model, Rounded(noisy)) - exact) for _ in range(3)])
    assert 0.7 < rms(logits(model, TurboQuantCache(model.config)) - exact) / noise < 1.3
    # Planted: a bit less for the values alone doubles their error and is seen.
    assert not 0.7 < rms(logits(model, TurboQuantCache(model.config, 4, 3)) - exact) / noise < 1.3


def test_keys_with_a_strong_bias_need_centring() -> None:
    model = qwen2()
    exact = logits(model, DynamicCache(config=model.config))
    centred = rms(logits(model, TurboQuantCache(model.config, 4, 8)) - exact)
    plain = rms(logits(model, TurboQuantCache(model.config, 4, 8, centred=False)) - exact)
    assert centred < 0.6 * plain


@MODELS
def test_generate_runs_greedy_and_beams_with_padding(build: Build) -> None:
    model = build()
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    cache = TurboQuantCache(model.config, 8, 8)
    found = model.generate(**batch(), past_key_values=cache, **options)
    assert cache.get_seq_length() == N_TOK + 5
    exact = model.generate(**batch(), **options, output_logits=True, return_dict_in_generate=True)
    # Equal as long as the best token leads by more than 8-bit codes move a logit: rms .005 and .010.
    lead = torch.stack([part.topk(2).values.diff().abs().squeeze(1) for part in exact.logits], dim=1)
    sure_tokens = (lead > 0.05).long().cumprod(1).sum(1).tolist()
    assert sum(sure_tokens) >= 2
    for row, sure in enumerate(sure_tokens):
        assert found[row, N_TOK : N_TOK + sure].tolist() == exact.sequences[row, N_TOK : N_TOK + sure].tolist()
    beams = model.generate(
        **batch(), past_key_values=TurboQuantCache(model.config, 8, 8), num_beams=3, num_return_sequences=2, **options
    )
    assert beams.shape == (4, N_TOK + 6)


def test_a_padded_prompt_is_answered_as_without_padding() -> None:
    model = llama()
    given = batch()
    alone = {name: tensor[:1, 9:] for name, tensor in given.items()}
    with torch.no_grad():
        padded = model.generate(
            **given, past_key_values=TurboQuantCache(model.config, 8, 8), max_new_tokens=1, pad_token_id=0,
            output_logits=True, return_dict_in_generate=True, do_sample=False,
        ).logits[0][0]  # fmt: skip
        bare = model(**alone, past_key_values=TurboQuantCache(model.config, 8, 8)).logits[0, -1]
        unseen = model(input_ids=given["input_ids"][:1], past_key_values=DynamicCache(config=model.config))
    # Both have 8-bit errors of their own; padding that is attended to would move logits by their own size.
    assert rms(padded - bare) < 0.05 * rms(bare)
    assert rms(unseen.logits[0, -1] - bare) > 0.05 * rms(bare)


def test_sequences_are_reordered_repeated_and_selected() -> None:
    model = llama()

    def filled() -> Any:
        cache = TurboQuantCache(model.config)
        logits(model, cache)
        return cache

    keys, values = filled().layers[1].decoded()
    for act, rows in [
        (lambda cache: cache.reorder_cache(torch.tensor([1, 0])), [1, 0]),
        (lambda cache: cache.reorder_cache(torch.tensor([1, 1])), [1, 1]),
        (lambda cache: cache.batch_repeat_interleave(2), [0, 0, 1, 1]),
        (lambda cache: cache.batch_select_indices(torch.tensor([1])), [1]),
        (lambda cache: cache.batch_select_indices(torch.tensor([False, True])), [1]),
    ]:
        cache = filled()
        act(cache)
        found_keys, found_values = cache.layers[1].decoded()
        assert torch.equal(found_keys, keys[rows]) and torch.equal(found_values, values[rows])
        assert cache.batch_size == len(rows)


def test_a_cropped_cache_goes_on_as_the_original() -> None:
    model = llama()
    cache, whole = TurboQuantCache(model.config), TurboQuantCache(model.config)
    logits(model, cache)
    wanted = logits(model, whole, 32)[-16:]
    cache.crop(-8)
    given = batch()
    positions = (given["attention_mask"].cumsum(1) - 1)[:, 32:]
    with torch.no_grad():
        found = model(
            given["input_ids"][:, 32:], attention_mask=given["attention_mask"], position_ids=positions,
            past_key_values=cache,
        ).logits  # fmt: skip
    assert cache.get_seq_length() == N_TOK
    assert found[1].flatten().numpy() == pytest.approx(wanted[-8:].flatten().numpy(), abs=0.02)
    with pytest.raises(EngineError, match="negative"):
        cache.crop(5)
    with pytest.raises(EngineError, match="crop"):
        cache.crop(-N_TOK - 1)
    cache.reset()
    assert cache.get_seq_length() == 0 and cache.batch_size == -1


def test_nothing_is_kept_beside_the_codes() -> None:
    model = llama()
    cache = TurboQuantCache(model.config)
    logits(model, cache)
    layer = cache.layers[0]
    assert layer.keys is None and layer.values is None
    arrays = [x for side in layer.sides() for x in vars(side).values() if isinstance(x, np.ndarray)]
    # Room grows by doubling, and centres have room for the tiles of it.
    assert sum(x.nbytes for x in arrays) <= 2 * layer.n_bytes + 2 * 64 * 4 * 4
    assert not [x for x in vars(layer).values() if isinstance(x, torch.Tensor)]
    # 4 heads of each side: 40 tokens of 33 bytes, an exponent, and of keys 3 centres of 128 bytes.
    assert layer.n_bytes == 2 * 4 * (N_TOK * 33 + 1) + 4 * 3 * 128
    assert cache.n_bytes == 2 * layer.n_bytes


@MODELS
def test_the_registered_attention_errs_as_the_codes_do(build: Build) -> None:
    """By native kernels for heads of 64, decoded for heads of 24, and without our cache not at all."""
    model = build()
    exact = logits(model, DynamicCache(config=model.config))
    decoded = rms(logits(model, TurboQuantCache(model.config)) - exact)
    model.set_attn_implementation("solvent_turboquant")
    assert rms(logits(model, DynamicCache(config=model.config)) - exact) < 1e-5 * rms(exact)
    # Int8 queries and 7-bit weights add little to 4-bit codes; two draws of such errors differ by a tenth or so.
    assert 0.7 < rms(logits(model, TurboQuantCache(model.config), 11) - exact) / decoded < 1.3
    assert not 0.7 < rms(logits(model, TurboQuantCache(model.config, 3, 3)) - exact) / decoded < 1.3


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (lambda: transformers.MistralConfig(**SHAPE, sliding_window=16), "sliding_attention"),
        (
            lambda: transformers.Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=16, max_window_layers=1),
            "sliding_attention .layer 1",
        ),
    ],
)
def test_layers_that_are_not_full_attention_are_refused(config: Callable[[], Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        TurboQuantCache(config())


@pytest.mark.parametrize("bits", [0, 7, 9, 16, 4.5, "4"])
def test_bits_without_a_codebook_are_refused(bits: Any) -> None:
    config = llama().config
    for options in ({"key_bits": bits}, {"value_bits": bits}):
        with pytest.raises(EngineError, match="1 to 6, or 8"):
            TurboQuantCache(config, **options)


def test_head_sizes_and_numbers_that_cannot_be_coded_are_refused() -> None:
    with pytest.raises(EngineError, match="head size of 4"):
        model = llama(head_dim=4)
        logits(model, TurboQuantCache(model.config))
    cache = TurboQuantCache(llama().config)
    good = torch.zeros(1, 2, 3, 64)
    with pytest.raises(EngineError, match="finite"):
        cache.update(good, good + torch.nan, 0)
    other = TurboQuantCache(llama().config)
    other.update(good, good, 0)
    with pytest.raises(EngineError, match="batch of 1"):
        other.update(good.repeat(2, 1, 1, 1), good.repeat(2, 1, 1, 1), 0)


@pytest.mark.parametrize("attention", ["sdpa", "solvent_turboquant"])
def test_gradients_are_refused_where_they_would_be_wrong(attention: str) -> None:
    """A model answers without torch.no_grad() as with it; gradients would leave keys and values out and are refused."""
    model = llama()
    model.set_attn_implementation(attention)
    found = model(**batch(0), past_key_values=TurboQuantCache(model.config)).logits
    with torch.no_grad():
        assert torch.equal(found, model(**batch(0), past_key_values=TurboQuantCache(model.config)).logits)
    with pytest.raises(EngineError, match="gradient"):
        found.sum().backward()
    model(**batch(0), past_key_values=DynamicCache(config=model.config)).logits.sum().backward()


@pytest.mark.parametrize("attention", ["sdpa", "solvent_turboquant"])
def test_a_step_that_was_cut_short_is_not_gone_on_from(attention: str) -> None:
    """A number that isn't finite in layer 1 leaves layer 0 ahead: what follows would attend to other tokens there."""
    model = llama()
    model.set_attn_implementation(attention)
    cache = TurboQuantCache(model.config)
    with torch.no_grad():
        model(**batch(0), past_key_values=cache)
        weight = model.model.layers[1].self_attn.k_proj.weight
        kept, weight[0, 0] = weight[0, 0].clone(), torch.inf
        with pytest.raises(EngineError, match="finite"):
            model(batch()["input_ids"][:, -3:], past_key_values=cache)
        weight[0, 0] = kept
        with pytest.raises(EngineError, match="41 tokens in layer 1 and 44 in layer 0"):
            model(batch()["input_ids"][:, -1:], past_key_values=cache)
        cache.reset()
        model(**batch(0), past_key_values=cache)


@pytest.mark.parametrize("attention", ["sdpa", "solvent_turboquant"])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("head_dim", [8, 12, 64, 72, 80, 96, 128])
def test_heads_of_any_size_and_number_answer(head_dim: int, n_kv_heads: int, attention: str) -> None:
    """8-bit codes: keys and values err by a hundredth, and two layers' logits by that. The next query's head's keys
    would move them by their own size."""
    model = llama(head_dim=head_dim, num_key_value_heads=n_kv_heads)
    exact = logits(model, DynamicCache(config=model.config))
    model.set_attn_implementation(attention)
    assert rms(logits(model, TurboQuantCache(model.config, 8, 8)) - exact) < 0.03 * rms(exact)


@pytest.mark.parametrize("attention", ["sdpa", "solvent_turboquant"])
def test_other_ways_to_generate(attention: str) -> None:
    """Assisted by a smaller model or by the prompt itself (both crop), in chunks, twice on one cache."""
    model = llama()
    model.set_attn_implementation(attention)
    prompt = batch(0)["input_ids"][:1].repeat(1, 2)
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    wanted = model.generate(prompt, past_key_values=TurboQuantCache(model.config, 8, 8), **options)

    def found(**more: Any) -> Any:
        return model.generate(prompt, past_key_values=TurboQuantCache(model.config, 8, 8), **options, **more)

    assert torch.equal(found(prompt_lookup_num_tokens=3), wanted)
    assert torch.equal(found(prefill_chunk_size=16), wanted)
    cache = TurboQuantCache(model.config, 8, 8)
    first = model.generate(prompt, past_key_values=cache, **{**options, "max_new_tokens": 3})
    # The last token isn't in the cache yet: generate goes on where it stopped.
    assert cache.get_seq_length() == first.shape[1] - 1
    again = model.generate(first, past_key_values=cache, **{**options, "max_new_tokens": 3})
    assert torch.equal(again, wanted)


def test_tensors_without_numbers_are_refused() -> None:
    cache = TurboQuantCache(llama().config)
    with pytest.raises(EngineError, match="device meta"):
        cache.update(torch.zeros(1, 2, 3, 64, device="meta"), torch.zeros(1, 2, 3, 64, device="meta"), 0)


def test_half_precision_stays_half_precision() -> None:
    cache = TurboQuantCache(llama().config)
    states = torch.randn(1, 2, 20, 64).to(torch.bfloat16)
    keys, values = cache.update(states, states, 0)
    assert keys.dtype == values.dtype == torch.bfloat16 and keys.shape == (1, 2, 20, 64)


def test_without_torch_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import solvent\nassert 'transformers' not in sys.modules\n"
        "from solvent.errors import KernelError\n"
        "try:\n    solvent.TurboQuantCache\n"
        "except KernelError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": "src"},
    )
    assert "pip install" in done.stdout, done.stderr

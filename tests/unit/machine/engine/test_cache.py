"""Sequences whose keys and values are codes: whatever runs together or on which kernels, the results are the same; they
fork and crop; and what isn't right is refused."""

from __future__ import annotations

import dataclasses
from functools import cache

import engine_models
import numpy as np
import pytest

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.engine import models
from solvent.machine.engine.memory import cache_bytes
from solvent.machine.engine.model import Model, Sequence
from solvent.machine.engine.model_file import ModelFile, Tensor
from solvent.machine.engine.quants import dequantise
from solvent.machine.turboquant.cache_format import BITS, CacheFormat, bits_per_element, parse

pytestmark = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")

NAMES = ("f16", "q8_0", "q4_0", "tq8", "tq6", "tq5", "tq4", "tq4s", "tq3-2", "tq1", "tqf16-4", "tq4-f16")
KEPT = ("tq4+sinks256", "tq3-2+sinks256+tail256", "tqf16-4+tail256")
CONTEXT = 800
TOKENS = [(7 * i + i * i) % 271 for i in range(CONTEXT)]


@cache
def file() -> ModelFile:
    return engine_models.tiny("llama", "f32", context=CONTEXT)


@cache
def model(threads: int = 1, kernel: str | None = None) -> Model:
    return Model(file(), models.config(file()), threads=threads, kernel=kernel)


def filled(cache: str | CacheFormat, n: int, of: Model | None = None, piece: int = 97) -> Sequence:
    sequence = (of or model()).new_sequence(cache=cache)
    for start in range(0, n, piece):
        (of or model()).extend(sequence, TOKENS[start : min(n, start + piece)], "none")
    return sequence


def contents(sequence: Sequence) -> list[bytes]:
    return [sequence.native.chunk(i) for i in range(sequence.native.n_chunks)]


@pytest.mark.parametrize("name", NAMES)
def test_tokens_alone_or_together_leave_the_same_bytes(name: str) -> None:
    """In the first layer, whose input doesn't depend on attention: sums of attention are split otherwise together."""
    one = engine_models.tiny("llama", "f32", context=CONTEXT, n_layers=1)
    small = Model(one, models.config(one), threads=2)
    together = filled(name, 300, small, 300)
    alone = small.new_sequence(cache=name)
    for token in TOKENS[:300]:
        small.extend(alone, [token], "none")
    assert contents(together) == contents(alone)


@pytest.mark.parametrize("name", ["f16", "q4_0", "tq4", "tq3-2", "tq4s", "tqf16-4"])
def test_a_prompt_in_pieces_is_the_same_to_the_last_bit(name: str) -> None:
    """As long as no piece is so small (16 tokens here) that attention over more than 512 keys is summed in spans."""
    whole = filled(name, 600, piece=600)
    logits = model().extend(whole.fork(), TOKENS[:40], "all")
    for piece in (97, 256, 512, 40):
        sequence = filled(name, 600, piece=piece)
        assert contents(sequence) == contents(whole), piece
        assert np.array_equal(model().extend(sequence, TOKENS[:40], "all"), logits)
    # Eight tokens alone sum otherwise: the equality can fail.
    together = model().extend(model().new_sequence(cache=name), TOKENS[:600], "all")[592:]
    assert not np.array_equal(model().extend(filled(name, 592), TOKENS[592:600], "all"), together)
    assert np.array_equal(model().extend(filled(name, 560), TOKENS[560:600], "all")[32:], together)


@pytest.mark.parametrize("name", ["tq4", "tq3-2"])
@pytest.mark.parametrize("n_kept", [17, 130, 258, 511, 513])
def test_forks_of_a_crop_in_the_middle_of_a_tile_agree(name: str, n_kept: int) -> None:
    """A fork that is cropped, a crop that is forked, and what was read afresh; the fork's own chunks stay its own."""
    sequence = filled(name, 600)
    before = contents(sequence)
    forked = sequence.fork()
    forked.truncate(n_kept)
    again = forked.fork()
    fresh = model().new_sequence(cache=name)
    for start in range(0, n_kept, 97):
        model().extend(fresh, TOKENS[start : min(n_kept, start + 97)], "none")
    rest = [5 * i % 250 for i in range(90)]
    wanted = model().extend(fresh, rest, "all")
    for one in (forked, again):
        assert np.array_equal(model().extend(one, rest, "all"), wanted)
    assert contents(sequence) == before
    again.truncate(0)
    assert again.n_tokens == 0 and again.n_bytes == 0
    assert np.array_equal(
        model().extend(again, TOKENS[:60], "all"), model().extend(filled(name, 0), TOKENS[:60], "all")
    )


@pytest.mark.parametrize("name", ["tq4", "tq3-2", "tq5", "tq8", "tq6", "tqf16-4", *KEPT])
def test_kernels_and_threads_give_the_same_logits(name: str) -> None:
    """Bit for bit; where tokens are kept in full precision, over a sink, codes and a tail. Else the text is short,
    since the scalar kernels are slow."""
    n_tok = 780 if name in KEPT else 290
    expected = model().extend(filled(name, n_tok), [3], "last")
    assert np.array_equal(model(2).extend(filled(name, n_tok, model(2)), [3], "last"), expected)
    for kernel in native.kernels():
        if kernel != model().kernel:
            other = model(1, kernel)
            assert np.array_equal(other.extend(filled(name, n_tok, other), [3], "last"), expected), kernel


def test_more_bits_come_nearer_to_f16() -> None:
    """The relative error of a logit vector falls with the bits, and stays below twice the square root of the codes'
    distortion, keys' and values' together (8 bits 1e-4, 5 .0022, 4 .0068, 3 .025, 2 .086): a random model of two layers
    hands errors on as they are. The coarser code breaks the finer one's bound: the bounds can fail."""
    exact = model().extend(filled("f16", 500), [3], "last")

    def error(name: str) -> float:
        found = model().extend(filled(name, 500), [3], "last")
        return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

    bounds = {"tq8": 1e-4, "tq5": 0.0022, "tq4": 0.0068, "tq3": 0.025, "tq2": 0.086}
    errors = {name: error(name) for name in bounds}
    assert sorted(errors, key=lambda name: errors[name]) == list(bounds)
    for name, distortion in bounds.items():
        assert errors[name] < 2 * (2 * distortion) ** 0.5, name
    assert errors["tq4"] > 2 * (2 * bounds["tq8"]) ** 0.5 and errors["tq2"] > 2 * (2 * bounds["tq5"]) ** 0.5


@pytest.mark.parametrize("name", ["f16", "tq4", "tq3-2"])
def test_a_fork_goes_its_own_way(name: str) -> None:
    sequence = filled(name, 300)
    before = contents(sequence)
    fork = sequence.fork()
    first = model().extend(fork, [9, 8, 7], "all")
    assert contents(sequence) == before and sequence.n_tokens == 300
    assert np.array_equal(model().extend(sequence, [9, 8, 7], "all"), first)


@pytest.mark.parametrize("name", ["f16", "tq4", "tq4-f16"])
@pytest.mark.parametrize("n_kept", [5, 128, 255, 256, 257, 290])
def test_what_is_cropped_leaves_no_trace(name: str, n_kept: int) -> None:
    cropped, fresh = filled(name, 300), filled(name, n_kept, piece=n_kept)
    cropped.truncate(n_kept)
    fresh = model().new_sequence(cache=name)
    for start in range(0, n_kept, 97):
        model().extend(fresh, TOKENS[start : min(n_kept, start + 97)], "none")
    assert np.array_equal(model().extend(cropped, [1, 2, 3], "all"), model().extend(fresh, [1, 2, 3], "all"))


@pytest.mark.parametrize("name", ["f16", "tq4", "tq4-3"])
def test_bytes_are_as_many_as_said(name: str) -> None:
    """A first chunk has three more centres and every chunk four bytes a head, up to a line."""
    sequence = filled(name, 512)
    format, config = parse(name).of_layers(2), model().config
    said = bits_per_element(format, 64) * 512 * 2 * 2 * 2 * 64 / 8
    assert said <= sequence.n_bytes <= said + 2 * 64 + (0 if name == "f16" else 3 * 2 * 2 * 64 * 2)
    assert cache_bytes(config, 512, format) == int(np.ceil(said))


def test_keys_that_are_no_numbers_are_refused() -> None:
    tensors = dict(file().tensors)
    broken = tensors["blk.1.attn_k.weight"]
    data = broken.data.copy()
    data[:4] = np.array([np.inf], np.float32).view(np.uint8)
    tensors[broken.name] = Tensor(broken.name, broken.type, broken.shape, data)
    bad = dataclasses.replace(file(), tensors=tensors)
    one = Model(bad, models.config(bad), threads=1)
    sequences = [one.new_sequence(cache="tq4") for _ in range(3)]
    for refused in (
        lambda: one.extend(sequences[0], TOKENS[:5], "last"),
        lambda: one.greedy(sequences[1], TOKENS[:5]),
        lambda: one.decode([sequences[2]], [5]),
    ):
        with pytest.raises(EngineError, match=r"no finite numbers .*; the model's weights are damaged or overflow"):
            refused()


def test_memory_that_runs_out_while_it_runs_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def extend(self, *_: object) -> None:
            raise MemoryError

    one = Model(file(), models.config(file()), threads=1)
    sequence = one.new_sequence()
    monkeypatch.setattr(one, "native", Full())
    with pytest.raises(EngineError, match="memory: none left for keys, values or the head; take a shorter context"):
        one.extend(sequence, [1])


@pytest.mark.parametrize("name", ["tq7", "tq9", "tq", "q5_0", "tq4-", "tq44", "TQ4", "", "tq" + "4" * 5000, "+" * 5000])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(EngineError, match="cache format") as caught:
        model().new_sequence(cache=name)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("head_size", [24, 32, 80, 96])
def test_heads_without_a_layout_are_refused(head_size: int) -> None:
    odd = engine_models.tiny("llama", "f32", head_size=head_size, width=head_size * 4)
    one = Model(odd, models.config(odd), threads=1)
    with pytest.raises(EngineError, match=f"heads of {head_size}"):
        one.new_sequence(cache="tq4")
    one.extend(one.new_sequence(), [1], "last")


def test_formats_by_layer() -> None:
    mixed = CacheFormat(((0, 4), (6, 0)))
    exact = model().extend(filled("f16", 100), [3], "last")
    found = model().extend(filled(mixed, 100), [3], "last")
    assert 0 < np.linalg.norm(found - exact) < 0.1 * np.linalg.norm(exact)
    with pytest.raises(EngineError, match="layers"):
        model().new_sequence(cache=CacheFormat(((4, 4),) * 3))
    with pytest.raises(EngineError, match="bits"):
        CacheFormat(((7, 4),))
    assert all(bits_per_element(CacheFormat(((bits, bits),)), 64) > (bits or 16) - 1e-9 for bits in BITS)


def biased_qwen2(size: float, pairs: slice, seed: int) -> ModelFile:
    """A random Qwen2 whose keys have a constant bias in some pairs of elements, which no query reads: so the bias
    changes nothing but what codes have to hold."""
    tiny = engine_models.tiny("qwen2", "f32", seed=seed, context=640)
    tensors = dict(tiny.tensors)
    random = np.random.default_rng(seed)
    for name, tensor in tiny.tensors.items():
        if name.endswith(("attn_k.bias", "attn_q.bias", "attn_q.weight")):
            values = np.array(dequantise(tensor)).reshape(-1, 2, 32, *tensor.shape[1:])
            values[:, :, pairs] = 0
            if name.endswith("attn_k.bias"):
                values[:, :, pairs] = size * random.standard_normal(values[:, :, pairs].shape)
            tensors[name] = Tensor(name, tensor.type, tensor.shape, values.astype(np.float32).ravel().view(np.uint8))
    return dataclasses.replace(tiny, tensors=tensors)


def divergence_with_bias(size: float, pairs: slice, format: CacheFormat) -> float:
    """Mean KL from f16."""
    kls = []
    for seed in range(2):
        biased = biased_qwen2(size, pairs, seed)
        one = Model(biased, models.config(biased), threads=1)
        exact, found = (
            one.extend(one.new_sequence(cache=cache), TOKENS[:600], "all")[16:].astype(np.float64)
            for cache in ("f16", format)
        )
        p, q = (
            x - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)) - x.max(1, keepdims=True)
            for x in (exact, found)
        )
        kls.append(float((np.exp(p) * (p - q)).sum(axis=1).mean()))
    return float(np.mean(kls))


SLOW, FAST, ALL_BUT_ONE = slice(24, 32), slice(0, 8), slice(1, 32)


@pytest.mark.parametrize("pairs", [SLOW, FAST, ALL_BUT_ONE])
def test_a_bias_of_the_keys_costs_nothing(pairs: slice) -> None:
    """Within 1.5 times the divergence without it, centred or not: it isn't in the codes. In them, and centred, the
    fastest pairs' would make it twenty times as large, since it turns on while a tile's centre stays."""
    for format in (parse("tq4"), dataclasses.replace(parse("tq4"), centred=False)):
        without = divergence_with_bias(0, pairs, format)
        assert 0 < divergence_with_bias(20, pairs, format) < 1.5 * without


SHAPES = {"halves": ("qwen2", 64), "adjacent": ("llama", 64), "longer heads": ("qwen2", 128)}


@cache
def biased(shape: str, kernel: str | None = None, threads: int = 1) -> Model:
    """A model whose queries read all of its keys' bias, some of whose pairs are small enough to stay in the codes."""
    family, head_size = SHAPES[shape]
    tiny = engine_models.tiny(family, seed=3, context=CONTEXT, qkv_bias=True, head_size=head_size)
    tensors = dict(tiny.tensors)
    for name, tensor in tiny.tensors.items():
        if name.endswith("attn_k.bias"):
            size = np.resize(np.geomspace(3, 0.003, head_size // 2), tensor.shape)
            bias = (np.random.default_rng(3).choice([-1, 1], tensor.shape) * size).astype(np.float32)
            tensors[name] = Tensor(name, tensor.type, tensor.shape, bias.view(np.uint8))
    file = dataclasses.replace(tiny, tensors=tensors)
    return Model(file, models.config(file), threads=threads, kernel=kernel)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bias_outside_the_codes_comes_to_scores_exactly(shape: str) -> None:
    """Within what 8 bits may err (as above), for a prompt and for tokens alone, short of a chunk and beyond."""
    exact, found = (filled(name, 530, biased(shape)) for name in ("f16", "tq8"))
    for tokens in ([3], [5], TOKENS[:40]):
        wanted, logits = (biased(shape).extend(one, tokens, "all") for one in (exact, found))
        assert np.linalg.norm(logits - wanted) < 2 * (2e-4) ** 0.5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_and_threads_agree_on_a_bias(shape: str) -> None:
    """Bit for bit."""
    expected = biased(shape).extend(filled("tq4", 290, biased(shape)), [3], "last")
    others = [biased(shape, threads=2), *(biased(shape, kernel) for kernel in native.kernels())]
    for other in others:
        assert np.array_equal(other.extend(filled("tq4", 290, other), [3], "last"), expected), other.kernel

"""Sinks and tails in full precision: what a token sees depends on its position alone, whatever was read together,
cropped, forked, saved or run on which kernels; and every byte is counted."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import engine_models
import numpy as np
import pytest

from solvent.cli.measure_target import kept_in_cache
from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.engine import models, saved_cache
from solvent.machine.engine.card import card
from solvent.machine.engine.memory import cache_bytes, cache_token_bytes, full_precision_tok
from solvent.machine.engine.model import Model, Sequence
from solvent.machine.engine.model_file import Tensor
from solvent.machine.engine.prefix import Prefixes, end_of_step
from solvent.machine.turboquant.cache_format import CacheFormat, format_of, full_tok, parse
from solvent.machine.turboquant.native_cache import native_format
from solvent.report.card_text import card_lines

pytestmark = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")

KEPT = ("tq4+sinks256", "tq4+tail256", "tq3-2+sinks256+tail256", "tqf16-4+tail256", "tq5-f16+tail256", "q4_0+tail256")
CONTEXT = 1300
TOKENS = [(7 * i + i * i) % 271 for i in range(1200)]


@cache
def model(threads: int = 1, kernel: str | None = None, kept: str = "f16") -> Model:
    file = engine_models.tiny("llama", "f32", context=CONTEXT)
    return Model(file, models.config(file), threads=threads, kernel=kernel, cache=kept)


def filled(name: str, n: int, of: Model | None = None, piece: int = 1024) -> Sequence:
    sequence = (of or model()).new_sequence(cache=name)
    for start in range(0, n, piece):
        (of or model()).extend(sequence, TOKENS[start : min(n, start + piece)], "none")
    return sequence


def contents(sequence: Sequence) -> list[bytes]:
    return [sequence.native.chunk(i) for i in range(sequence.native.n_chunks)]


def far(found: Any, exact: Any) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("name", KEPT)
def test_a_prompt_in_pieces_is_the_same_to_the_last_bit(name: str) -> None:
    """Chunks become codes where chunks begin, however long the steps are. No piece here leaves a step of so few tokens
    that attention is summed in spans."""
    whole = filled(name, 900)
    logits = model().extend(whole.fork(), TOKENS[900:1000], "all")
    for piece in (300, 512, 750):
        sequence = filled(name, 900, piece=piece)
        assert contents(sequence) == contents(whole), piece
        assert np.array_equal(model().extend(sequence, TOKENS[900:1000], "all"), logits)
    read = model().new_sequence(cache=name)
    model().greedy(read, TOKENS[:900])
    assert contents(read) == contents(whole)


@pytest.mark.parametrize("name", KEPT)
def test_tokens_alone_or_together_leave_the_same_bytes(name: str) -> None:
    """In the first layer, whose input doesn't depend on attention; a batch of two beside it."""
    file = engine_models.tiny("llama", "f32", context=CONTEXT, n_layers=1)
    small = Model(file, models.config(file), threads=2)
    alone, other = filled(name, 500, small), small.new_sequence(cache=name)
    small.extend(other, TOKENS[100:130], "none")
    for token in TOKENS[500:780]:
        small.decode([alone, other], [token, token])
    together = filled(name, 780, small)
    assert contents(alone) == contents(together)
    assert alone.coded_tok == together.coded_tok == (512 if "tail" in name else 1024)


def test_a_text_within_the_sinks_is_one_in_f16() -> None:
    """But for what turning and rounding to half precision change: 2⁻¹¹ of every element at most, which two layers hand
    on; codes of 8 bits, the finest, err 13 times as much (1e-4 of the energy)."""
    exact = model().extend(filled("f16", 700), [3], "last")
    found = [model().extend(filled(f"tq2{kept}", 700), [3], "last") for kept in ("+sinks1024", "+tail768", "")]
    assert 0 < far(found[0], exact) < 2 * 2**-11
    assert np.array_equal(found[0], found[1])
    assert far(model().extend(filled("tq8", 700), [3], "last"), exact) > 4 * 2**-11 and far(found[2], exact) > 0.1


def test_a_bias_that_keys_leave_out_comes_to_scores_of_both_kinds_of_chunks() -> None:
    """Keys' bias, 20 times as large as the model has it, is in neither; without it logits are others. f16 itself rounds
    keys that are so much larger: 20 · 2⁻¹¹ at most."""
    tiny = engine_models.tiny("qwen2", "f32", context=CONTEXT)
    tensors = dict(tiny.tensors)
    for name, tensor in tiny.tensors.items():
        if name.endswith("attn_k.bias"):
            larger = (20 * tensor.data.view(np.float32)).view(np.uint8)
            tensors[name] = Tensor(name, tensor.type, tensor.shape, larger)
    biased = dataclasses.replace(tiny, tensors=tensors)
    one, plain = (Model(file, models.config(file), threads=1) for file in (biased, tiny))
    exact = one.extend(filled("f16", 800, one), TOKENS[:64], "all")
    names = ("tq4+sinks1024", "tq4+tail256", "tq4")
    errors = [far(one.extend(filled(name, 800, one), TOKENS[:64], "all"), exact) for name in names]
    assert errors[0] < 0.005 and errors[1] < 0.85 * errors[2] < 0.2
    assert far(plain.extend(filled("f16", 800, plain), TOKENS[:64], "all"), exact) > 0.2


def test_sinks_and_tails_come_nearer_to_f16_the_longer_they_are() -> None:
    exact = model().extend(filled("f16", 1100), TOKENS[1100:1200], "all")
    for kind in ("sinks", "tail"):
        names = ["tq3", *(f"tq3+{kind}{n}" for n in (256, 512, 768))]
        errors = [far(model().extend(filled(name, 1100), TOKENS[1100:1200], "all"), exact) for name in names]
        assert errors == sorted(errors, reverse=True) and errors[-1] < 0.7 * errors[0], kind


@pytest.mark.parametrize("name", ["tq4+tail256", "tq4+sinks256+tail256"])
def test_what_left_the_tail_stays_codes(name: str) -> None:
    """A crop into codes goes on in codes up to the chunk's end; behind it there is a tail again."""
    sequence = filled(name, 1100)
    assert sequence.coded_tok == 768
    before = contents(sequence)
    sequence.truncate(600)
    assert sequence.coded_tok == 768 and contents(sequence)[:2] == before[:2]
    model().extend(sequence, TOKENS[600:1200], "none")
    sizes = [sequence.native.chunk_bytes(i) for i in range(5)]
    assert sequence.coded_tok == 768 and sizes == filled(name, 1200).native.sizes(1200, 768)
    assert contents(sequence)[:2] == before[:2]
    # A crop that ends in the tail is as if nothing had been read after it.
    cropped = filled(name, 1020)
    cropped.truncate(900)
    wanted = model().extend(filled(name, 900), TOKENS[900:1000], "all")
    assert np.array_equal(model().extend(cropped, TOKENS[900:1000], "all"), wanted)
    cropped.truncate(0)
    assert cropped.n_bytes == 0 and cropped.coded_tok == 0
    model().extend(cropped, TOKENS[:900], "none")
    assert contents(cropped) == contents(filled(name, 900))


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("n", [500, 512, 700])
def test_a_fork_goes_its_own_way(name: str, n: int) -> None:
    """What one of them codes stays as it is for the other."""
    sequence = filled(name, n)
    before, fork = contents(sequence), sequence.fork()
    wanted = model().extend(fork, TOKENS[:400], "all")
    assert contents(sequence) == before and sequence.n_tokens == n
    assert np.array_equal(model().extend(sequence, TOKENS[:400], "all"), wanted)
    assert contents(sequence) == contents(fork)


@pytest.mark.parametrize("name", KEPT)
def test_a_restored_prompt_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.kv"
    for n in (100, 512, 900):
        sequence = filled(name, n)
        saved_cache.save(sequence, TOKENS[:n], path)
        restored, _ = saved_cache.restore(model(), path)
        assert (contents(restored), restored.coded_tok, restored.cache) == (
            contents(sequence), sequence.coded_tok, sequence.cache,
        )  # fmt: skip
        rest = TOKENS[n : n + 300]
        assert np.array_equal(model().extend(restored, rest, "all"), model().extend(sequence, rest, "all"))
        assert contents(restored) == contents(sequence)


def resealed(path: Path, change: dict[str, object], version: int = saved_cache.VERSION) -> None:
    data = path.read_bytes()
    _, _, length = saved_cache.PREFIX.unpack_from(data)
    start = saved_cache.PREFIX.size
    header = {**json.loads(data[start : start + length]), **change}
    text = json.dumps({key: value for key, value in header.items() if value is not None}).encode()
    body = saved_cache.PREFIX.pack(saved_cache.MAGIC, version, len(text)) + text + data[start + length : -32]
    path.write_bytes(body + hashlib.blake2b(body, digest_size=32).digest())


@pytest.mark.parametrize(
    ("coded_tok", "said"),
    [(0, "chunks"), (512, "chunks"), (768, "chunks"), (1024, "chunk's end"), (100, "chunk's end"), (-256, "kinds"),
     (True, "kinds"), (256.0, "kinds"), ("256", "kinds"), (1 << 39, "chunk's end"), (None, "can't be read")],
)  # fmt: skip
def test_codes_up_to_another_token_are_refused(coded_tok: object, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.kv"
    saved_cache.save(filled("tq4+tail256", 700), TOKENS[:700], path)
    resealed(path, {"coded_tok": 256})
    assert saved_cache.restore(model(), path)[0].coded_tok == 256
    resealed(path, {"coded_tok": coded_tok})
    with pytest.raises(EngineError, match=said):
        saved_cache.restore(model(), path)


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    """It knew neither sinks nor tails, and its layout is that of caches without them."""
    path = tmp_path / "a.kv"
    for name in ("f16", "tq4"):
        sequence = filled(name, 300)
        saved_cache.save(sequence, TOKENS[:300], path)
        format = {k: v for k, v in sequence.cache.document().items() if not k.endswith("_tok")}
        resealed(path, {"coded_tok": None, "format": format}, saved_cache.FIRST_VERSION)
        restored, _ = saved_cache.restore(model(), path)
        assert restored.cache == sequence.cache and contents(restored) == contents(sequence)
    resealed(path, {}, saved_cache.VERSION + 1)
    with pytest.raises(EngineError, match=f"version {saved_cache.VERSION + 1}"):
        saved_cache.restore(model(), path)


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("n", [200, 512, 768, 1024])
def test_bytes_are_as_many_as_said(name: str, n: int) -> None:
    """Where the last chunk is full; chunks end at lines of 64 bytes, and the first of codes has three more centres."""
    sequence = filled(name, n)
    room = sequence.native.n_chunks * 256
    said = cache_bytes(model().config, room, parse(name))
    assert said <= sequence.n_bytes <= said + room // 256 * 64 + 3 * 2 * 2 * 64 * 2
    whole = room * 2 * 2 * 2 * 64 * 2
    assert said < whole or full_tok(parse(name), room) == room
    # The bytes of one more full token would be seen.
    assert cache_bytes(model().config, 1) - cache_token_bytes(model().config, parse(name)) > 300


def test_tokens_in_full_precision() -> None:
    assert [full_tok(parse("tq4+sinks256"), n) for n in (0, 1, 256, 257, 9000)] == [0, 1, 256, 256, 256]
    assert [full_tok(parse("tq4+tail256"), n) for n in (0, 1, 512, 513, 768, 769)] == [0, 1, 512, 257, 512, 257]
    both = parse("tq4+sinks256+tail512")
    assert [full_tok(both, n) for n in (1024, 1025, 1280, 1281)] == [1024, 769, 1024, 769]
    assert full_precision_tok(both) == 1024 and full_precision_tok(parse("tq4")) == 0
    for name in ("tq4+sinks512", "tq4+tail256", "tq4+sinks256+tail512"):
        for n in range(200, 1300, 211):
            sizes = filled(name, n).native
            n_full = sum(sizes.chunk_bytes(i) > 200_000 for i in range(sizes.n_chunks))
            assert n_full == -(-full_tok(parse(name), n) // 256), (name, n)


def test_the_card_and_a_measurement_count_what_is_kept_whole() -> None:
    config = model().config
    one = Model(model().file, config, threads=1, cache="tq4+sinks256+tail512")
    found = card(one, "tiny", 1100)
    assert found["cache_bytes_per_token_of_context"] == cache_token_bytes(config, parse("tq4"))
    assert found["cache_full_precision_bytes"] == 1024 * 2 * 2 * 2 * 64 * 2
    assert found["parts"][-1]["bytes"] == cache_bytes(config, 1100, one.cache) < cache_bytes(config, 1100)
    lines = list(card_lines(found))
    assert lines[-1] == "sinks of 256 and a tail of 512 tokens in f16: 1.0 MB at most"
    assert not any("sinks" in line for line in card_lines({**found, "cache_full_precision_bytes": 0}))
    assert kept_in_cache(config, "tq4").keys() == {"cache_bytes_per_tok"}
    whole = kept_in_cache(config, "tq4+sinks256")
    assert whole["cache_bytes_per_tok"] == kept_in_cache(config, "tq4")["cache_bytes_per_tok"]
    assert (whole["cache_full_precision_tok"], whole["cache_full_precision_bytes_per_tok"]) == (256, 1024)


def test_names() -> None:
    both = parse("tq4-3s+tail512+sinks256")
    assert (both.sink_tok, both.tail_tok, both.name) == (256, 512, "tq4-3s+sinks256+tail512")
    for name in ("tq4+sinks256", "q8_0+tail256", "tqf16-4+sinks512+tail256", "tq1+tail256"):
        assert parse(name).name == name and format_of(parse(name).document(), "here") == parse(name)
    assert parse("tq4+sinks0") == parse("tq4") and parse("tq4").name == "tq4"
    assert CacheFormat(((4, 4), (0, 0)), sink_tok=256).name == "bits by layer"


@pytest.mark.parametrize(
    ("name", "said"),
    [("f16+sinks256", "f16 as a whole"), ("f16+tail256", "f16 as a whole"), ("tq4+sinks100", "write sinks256"),
     ("tq4+tail700", "write tail768"), ("tq4+tail1", "write tail256"), ("tq4+sink256", r"write tq4\+sinks256\+tail256"),
     ("tq4+tail", r"write tq4\+sinks256"), ("tq4+tail256+tail256", "once each"), ("tq4+", "once each"),
     ("tq4+tail999999999", "write tail16777216"), ("tq4+sinks-256", "once each"), ("+tail256", "cache format"),
     ("tq4 + tail256", "once each"), ("auto+tail256", "cache format")],
)  # fmt: skip
def test_a_name_that_is_none_is_refused(name: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        model().new_sequence(cache=name)


@pytest.mark.parametrize("kept", [100, -256, True, 256.0, None, 1 << 25])
def test_other_numbers_of_tokens_are_refused(kept: Any) -> None:
    for name in ("sink_tok", "tail_tok"):
        with pytest.raises(EngineError, match="multiple of 256"):
            CacheFormat(((4, 4),), **{name: kept})
        with pytest.raises(EngineError, match="here"):
            format_of({**parse("tq4").document(), name: kept}, "here")


@pytest.mark.parametrize("name", ["tq4+sinks256", "tq4+sinks256+tail256"])
@pytest.mark.parametrize(("n_same", "n_own"), [(300, 100), (600, 20), (600, 200), (840, 250), (1030, 30)])
def test_a_common_beginning_is_shared_only_where_nothing_changes(name: str, n_same: int, n_own: int) -> None:
    """Another prompt begins with the first one's tokens, as many as aren't coded further than it would have them. The
    calls are those of `generate`."""
    one = model(1, None, name)
    first = [*TOKENS[:n_same], *TOKENS[:40]]
    second = [*TOKENS[:n_same], *TOKENS[50 : 50 + n_own]]

    def answer(prompt: list[int], prefixes: Prefixes) -> tuple[Any, int]:
        sequence = prefixes.begin(one, prompt, CONTEXT)
        n_known = sequence.n_tokens
        end = end_of_step(n_known, len(prompt))
        if n_known < end < len(prompt):
            one.extend(sequence, prompt[n_known:end], "none")
        logits = one.extend(sequence, prompt[sequence.n_tokens :])
        prefixes.add(sequence, prompt)
        return logits, n_known

    prefixes = Prefixes()
    answer(first, prefixes)
    shared, n_known = answer(second, prefixes)
    alone, none = answer(second, Prefixes())
    assert none == 0 and np.array_equal(shared, alone)
    if "tail" not in name or len(first) // 256 == n_known // 256:
        assert n_known > 0


def test_keys_beyond_half_precision_are_refused() -> None:
    """A turned key may be longer than any of its elements was before."""
    sequence = native.extension().Sequence(1, 1, 64, 600, native_format(parse("tq4+sinks256"), 1, 64))
    values = np.zeros((1, 1, 64), np.float32)
    sequence.store(0, values, values, native.kernel())
    with pytest.raises(ValueError, match="no finite"):
        sequence.store(0, values, np.full((1, 1, 64), np.inf, np.float32), native.kernel())
    large = np.zeros((1, 1, 64), np.float32)
    large[0, 0, 0] = 65504 * 8  # 65,504 in each element, once turned
    sequence.store(0, large, values, native.kernel())
    with pytest.raises(ValueError, match="no finite"):
        sequence.store(0, large * np.float32(1.01), values, native.kernel())

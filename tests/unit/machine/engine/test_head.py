"""The language-model head in its four forms: what each gives, what each holds in memory, and what it refuses."""

from __future__ import annotations

import dataclasses
import gc
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import engine_models
import numpy as np
import pytest
from kernel_products import random_matrix, random_x

from solvent.errors import EngineError, ModelFileError
from solvent.machine import native
from solvent.machine.engine import memory, models
from solvent.machine.engine.head import HEADS, Head, head_tensor, head_used
from solvent.machine.engine.model import Model
from solvent.machine.engine.model_file import ModelFile
from solvent.machine.engine.quants import TYPES, dequantise
from solvent.machine.engine.sample import Draws, Sampling, sample

pytestmark = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")

SIZES = {"width": 256, "n_heads": 4, "n_kv_heads": 2, "head_size": 64, "ff_width": 256, "n_layers": 1, "n_vocab": 4112}


def model_file(kind: str, linears: str = "q8_0") -> ModelFile:
    return engine_models.tiny("llama", {"linears": linears, "token_embd": kind}, 5, **SIZES)


def model(file: ModelFile, head: Head = "screened") -> Model:
    return Model(file, models.config(file), threads=2, head=head)


def logits(one: Model) -> np.ndarray:
    return one.extend(one.new_sequence(), [5, 200, 17])


def relative_error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


@pytest.mark.parametrize(("kind", "head"), [("f16", "8-bit"), ("bf16", "6-bit"), ("f32", "8-bit"), ("q8_0", "6-bit")])
def test_a_rounded_head_is_off_by_what_its_bits_explain(kind: str, head: Head) -> None:
    """Random weights lie evenly in ±1, so that a block's largest is near 1, a step 2^(1 − bits) and the error of a
    weight step / √12 beside a size of 1 / √3: 2^(1 − bits) / 2 in all, 1.6% and 0.4%; activations of int8 per 32 for a
    float head's floats add as much as 8 bits do."""
    file = model_file(kind)
    exact, rounded = logits(model(file, "whole")), model(file, head)
    error = relative_error(logits(rounded), exact)
    bits = int(head[0])
    expected = np.hypot(2.0 ** (1 - bits) / 2, 2.0**-8 if kind in ("f16", "bf16", "f32") else 0)
    assert rounded.head == head
    assert 0.5 * expected < error < 1.2 * expected
    # Two bits more or fewer would be four times as near or far.
    assert not 0.5 * expected * 4 < error and not error < 1.2 * expected / 4


@pytest.mark.parametrize("head", HEADS)
def test_greedy_is_the_argmax_of_the_logits_in_every_form(head: Head) -> None:
    one = model(model_file("f16"), head)
    ours, theirs, token = one.new_sequence(), one.new_sequence(), 3
    for _ in range(8):
        row = one.extend(theirs, [token])
        token = one.greedy(ours, token)
        assert token == int(np.argmax(row))


def changed(file: ModelFile, name: str, change: Callable[[np.ndarray], None]) -> ModelFile:
    """One tensor's float32 values, changed in place."""
    data = np.array(file.tensors[name].data)
    change(data.view("<f4").reshape(file.tensors[name].shape))
    return dataclasses.replace(file, tensors={**file.tensors, name: dataclasses.replace(file.tensors[name], data=data)})


def with_head(file: ModelFile, change: Callable[[np.ndarray], None]) -> ModelFile:
    return changed(file, head_tensor(models.config(file)), change)


def echo() -> ModelFile:
    """Layers that add nothing, and a head that begins as the embeddings: a hidden state lies along its token's row."""
    file = engine_models.tiny("llama", {"linears": "f32"}, 5, **{**SIZES, "tied": False})
    for name in ("blk.0.attn_output.weight", "blk.0.ffn_down.weight"):
        file = changed(file, name, lambda values: values.fill(0))
    embeddings = file.tensors["token_embd.weight"].data.view("<f4").reshape(4112, 256)
    return with_head(file, lambda rows: np.copyto(rows, embeddings))


def with_shared_row(size: float) -> ModelFile:
    """Rows that all have one large row in common, which shifts all logits alike."""
    shared = np.float32(size) * np.sin(np.arange(256, dtype=np.float32))

    def add(rows: np.ndarray) -> None:
        rows += shared

    return with_head(model_file("f32"), add)


def with_heavy_columns(width: int, columns: slice) -> ModelFile:
    """Rows that have half of their length and more in few columns, and hidden states likewise: tied embeddings."""

    def scale(rows: np.ndarray) -> None:
        rows[:, columns] *= 8

    file = engine_models.tiny("llama", {"linears": "q8_0", "token_embd": "f32"}, 5, **{**SIZES, "width": width})
    return with_head(file, scale)


def with_dwarfing_column() -> ModelFile:
    """Rows whose length is one column's, which hidden states don't look at: the others decide."""

    def dwarf(rows: np.ndarray) -> None:
        rows[:, 7] = np.where(np.arange(len(rows)) % 2, 400, -400)

    def silence(norm: np.ndarray) -> None:
        norm[7] = 0

    return changed(with_head(echo(), dwarf), "output_norm.weight", silence)


SCREENED = {
    "f32": lambda: model_file("f32"),
    "q6_k": lambda: model_file("q6_k"),
    "bf16": lambda: model_file("bf16"),
    "shared row": lambda: with_shared_row(3.0),
    "opposite row": lambda: with_shared_row(-3.0),
    "heavy in the last piece": lambda: with_heavy_columns(544, slice(512, None)),
    "heavy in one piece": lambda: with_heavy_columns(768, slice(256, 288)),
}


@pytest.mark.parametrize("kernel", native.kernels() if native.available() else ())
@pytest.mark.parametrize("which", SCREENED)
def test_the_screens_estimates_err_as_they_are_taken_to(which: str, kernel: str) -> None:
    """Of 20 tokens and 4,112 rows: in deviations, of which eight make a margin, errors have the mean 0 and the size 1,
    less where x is rounded too, whose part is added, and none is above 6; the row that wins is no exception."""
    file = SCREENED[which]()
    one = Model(file, models.config(file), threads=1, kernel=kernel)
    whole, greedy = one.new_sequence(), one.new_sequence()
    errors, of_best = [], []
    for token in engine_models.splitmix64(7, 20) % 4112:
        row = one.extend(whole, [int(token)])
        best = one.greedy(greedy, int(token))
        assert best == int(np.argmax(row))
        bound, margin = one.native.screen_bounds()
        error = 8 * ((bound - row) / margin - 1)
        errors.append(error)
        of_best.append(error[best])
        assert (bound >= row.max()).sum() <= one.native.n_rescored < 900
    assert are_deviations(np.array(errors)) and np.abs(of_best).max() < 4
    for wrong in (np.array(errors) + 0.2, 1.4 * np.array(errors), 0.7 * np.array(errors)):
        assert not are_deviations(wrong)


def are_deviations(errors: np.ndarray) -> bool:
    return bool(abs(errors.mean()) < 0.1 and 0.8 < errors.std() < 1.1 and np.abs(errors).max() < 6)


@pytest.mark.parametrize("factor", [1e-38, 1e-30, 1e-24, 1e-20, 1e-10, 1e10, 1e20, 1e29, 1e31, 1e36])
def test_greedy_is_the_argmax_however_large_the_weights(factor: float) -> None:
    def scale(rows: np.ndarray) -> None:
        rows *= np.float32(factor)

    one = model(with_head(echo(), scale))
    whole, greedy = one.new_sequence(), one.new_sequence()
    for token in engine_models.splitmix64(7, 10) % 4112:
        row = one.extend(whole, [int(token)])
        assert np.isfinite(row).all() and one.greedy(greedy, int(token)) == int(np.argmax(row))


def test_one_column_that_dwarfs_the_rest_is_spread_like_noise() -> None:
    """Turned once, its rows would have one code throughout, up to signs, and the rest of them be left out: of a hidden
    state along a row all of √256 = 16 deviations, twice what is allowed for."""
    file = with_dwarfing_column()
    one = Model(file, models.config(file), threads=1)
    whole, greedy = one.new_sequence(), one.new_sequence()
    for token in engine_models.splitmix64(7, 20) % 4112:
        row = one.extend(whole, [int(token)])
        assert one.greedy(greedy, int(token)) == int(np.argmax(row))
        bound, margin = one.native.screen_bounds()
        assert np.abs(8 * ((bound - row) / margin - 1)).max() < 6


def test_bounds_are_those_of_a_greedy_step() -> None:
    one = model(model_file("f32"))
    sequence = one.new_sequence()
    for step in (lambda: None, lambda: one.extend(sequence, [4])):
        step()
        with pytest.raises(ValueError, match="the last step wasn't greedy"):
            one.native.screen_bounds()
        one.greedy(sequence, 3)
        assert one.native.screen_bounds().shape == (2, 4112)


def test_several_tokens_at_once_lead_to_the_same_token() -> None:
    one = model(model_file("q8_0"))
    tokens = [int(word % 4112) for word in engine_models.splitmix64(3, 40)]
    by_one = one.new_sequence()
    for token in tokens:
        last = one.greedy(by_one, token)
    at_once = one.new_sequence()
    assert one.greedy(at_once, tokens) == last and at_once.n_tokens == 40


def test_what_each_type_is_run_as() -> None:
    config = models.config(model_file("f16"))
    for kind in TYPES:
        floats = kind in ("f16", "bf16", "f32")
        assert head_used("whole", kind, config) == "whole"
        assert head_used("8-bit", kind, config) == ("8-bit" if floats else "whole")
        assert head_used("6-bit", kind, config) == ("6-bit" if floats or kind == "q8_0" else "whole")
    narrow = dataclasses.replace(config, width=250)
    assert head_used("screened", "f16", narrow) == "whole"
    with pytest.raises(EngineError, match="rows of 250"):
        head_used("6-bit", "f16", narrow)
    with pytest.raises(EngineError, match=r"head: '7-bit'; expected one of screened, whole, 8-bit, 6-bit"):
        head_used("7-bit", "f16", config)  # type: ignore[arg-type]


def test_a_screened_head_is_packed_when_all_logits_are_first_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    one = model(model_file("q6_k"))
    sequence = one.new_sequence()
    one.greedy(sequence, [1, 2, 3])
    one.extend(sequence, [4, 5], "none")
    assert not one.head_matrix.is_packed
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    with pytest.raises(EngineError, match="the head: 1 MiB more"):
        one.extend(sequence, [6])
    assert sequence.n_tokens == 5
    monkeypatch.undo()
    one.extend(sequence, [6])
    assert one.head_matrix.is_packed
    assert model(model_file("q6_k"), "whole").head_matrix.is_packed


def test_a_table_of_embeddings_that_is_no_head_is_never_packed() -> None:
    file = engine_models.tiny("llama", {"linears": "q8_0", "token_embd": "q8_0"}, 5, **{**SIZES, "tied": False})
    one = model(file, "whole")
    logits(one)
    assert one.head_matrix.is_packed and not one.matrices["token_embd.weight"].is_packed


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("linears", "kind"), [("q4_k", "q6_k"), ("q5_k", "f16"), ("q8_0", "q8_0"), ("q4_1", "f32")])
def test_what_is_held_is_what_is_counted(linears: str, kind: str, head: Head) -> None:
    file = model_file(kind, linears)
    one = model(file, head)
    found = memory.held(one.config, file.tensors, head, 10)
    vectors = sum(t.data.nbytes for name, t in file.tensors.items() if len(t.shape) == 1)
    packed = sum(matrix.n_bytes for name, matrix in one.matrices.items() if name.startswith("blk."))
    assert found.weights_bytes == packed + vectors
    if one.head == "screened":
        assert found.head_bytes == one.native.screen_bytes
        assert found.whole_head_bytes == one.head_matrix.n_bytes
    else:
        assert (found.head_bytes, found.whole_head_bytes) == (one.head_matrix.n_bytes, 0)
    assert found.cache_bytes == 10 * 2 * 128 * 2
    assert found.total_bytes == found.weights_bytes + found.head_bytes + found.cache_bytes + memory.PROGRAM_BYTES


def with_weight(value: float, row: int = 1234) -> ModelFile:
    def put(rows: np.ndarray) -> None:
        rows[row, 7] = value

    return with_head(model_file("f32"), put)


@pytest.mark.parametrize("head", ["screened", "whole"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_a_logit_that_is_no_number_is_no_token(value: float, head: Head) -> None:
    """Greedy by codes, greedy by all logits and sampling say the same: an error, unless the logit is a number after all
    or −∞, which is never the largest."""
    one = model(with_weight(value), head)
    row = one.extend(one.new_sequence(), [3])
    say = []
    for choose in (
        lambda: one.greedy(one.new_sequence(), 3),
        lambda: sample(row, Sampling(), [], Draws(0)),
        lambda: sample(row, Sampling(temperature=1e-30), [], Draws(0)),
    ):
        try:
            say.append(choose())
        except EngineError as error:
            say.append(error.where)
    assert say[0] == say[1] == say[2]
    assert say[0] == ("logits" if np.isnan(row).any() or np.isinf(row.max()) else int(np.argmax(row)))


def test_a_row_too_large_for_the_screens_scales_is_found() -> None:
    """Its codes would have infinite scales; it is looked at exactly instead."""
    one = model(with_weight(3e6))
    row = one.extend(one.new_sequence(), [3])
    assert abs(row[1234]) > 100
    token = one.greedy(one.new_sequence(), 3)
    assert token == int(np.argmax(row))


@pytest.mark.parametrize("head", ["8-bit", "6-bit"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_weights_that_cannot_be_rounded_are_an_error_and_not_zero(value: float, head: Head) -> None:
    with pytest.raises(ModelFileError, match=r"token_embd\.weight: a row that holds no finite numbers"):
        model(with_weight(value), head)


@pytest.mark.parametrize("kind", TYPES)
def test_any_type_can_be_rounded(kind: str) -> None:
    """Errors are below those of a block whose largest weight is five times its size: 5 · 2^(1 − bits) / √12,
    and a fifth of that more for scales of int8 and for activations."""
    n_columns = 2 * max(TYPES[kind][0], 32)
    tensor, x = random_matrix(kind, 36, n_columns), random_x(3, n_columns)
    exact = x @ dequantise(tensor).astype(np.float64).T
    whole = native.extension().Matrix(tensor.type, *tensor.shape, tensor.data, tensor.scale, lazy=True)
    for bits in (6, 8):
        rounded = whole.rounded(bits)
        found = [rounded.multiply(x, kernel, n) for kernel in native.kernels() for n in (1, 3)]
        assert all(np.array_equal(found[0], other) for other in found)
        assert relative_error(found[0], exact) < 1.2 * 5 * 2.0 ** (1 - bits) / np.sqrt(12)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer's signal")
def test_a_signal_ends_a_long_prompt_within_a_step() -> None:
    sizes = {**SIZES, "width": 512, "ff_width": 1536, "n_layers": 12, "context": 512, "n_vocab": 272}
    file = engine_models.tiny("llama", "q8_0", 5, **sizes)
    one = Model(file, models.config(file), threads=2, kernel="scalar")
    sequence = one.new_sequence()
    before = one.extend(sequence, [1, 2, 3])

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    old = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(TimeoutError):
            one.extend(sequence, [7] * 500)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert sequence.n_tokens == 3
    sequence.truncate(0)
    assert np.array_equal(one.extend(sequence, [1, 2, 3]), before)


RESIDENT = """
import sys
from pathlib import Path
import numpy as np
from solvent.machine.engine import models
from solvent.machine.engine.model import Model
from solvent.machine.engine.model_file import open_model

def resident():
    of_file = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.split()[0].count("-") == 1:
            of_file = line.endswith(sys.argv[1])
        elif of_file and line.startswith("Rss:"):
            return int(line.split()[1]) << 10

file = open_model(sys.argv[1])
model = Model(file, models.config(file), threads=1)
sequence = model.new_sequence(64)
before, found = resident(), 0
for token in np.random.default_rng(1).integers(0, 65536, 60):
    model.greedy(sequence, int(token))
    found += model.native.n_rescored
print(found, resident(), resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
def test_a_model_keeps_few_files_open(tmp_path: Path) -> None:
    """One to read embeddings and rescored rows by, for the mapping and for each of at most two tables."""
    from solvent.machine.engine.gguf_write import write_gguf
    from solvent.machine.engine.model_file import open_model

    path = tmp_path / "m.gguf"
    made = engine_models.tiny("llama", {"linears": "q8_0", "token_embd": "f16"}, 5, **{**SIZES, "n_layers": 5})
    write_gguf(path, made.metadata, made.tensors.values())

    def n_open() -> int:
        return sum(str(path) == str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink())

    file = open_model(path)
    one = model(file)
    assert 1 <= n_open() <= 4
    logits(one)
    del one, file
    gc.collect()
    assert n_open() == 0


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads /proc")
@pytest.mark.parametrize(("n_vocab", "mapped"), [(65536, True), (163840, False)])
def test_rescored_rows_and_embeddings_of_a_large_head_leave_no_file_in_memory(
    n_vocab: int, mapped: bool, tmp_path: Path
) -> None:
    """A touch of the mapping keeps 64 KiB a row; a hundred rows in a head of 80 MiB are enough to see it. One of 32 MiB
    is read through its mapping: it takes no more than itself, and rows come ten times as fast."""
    from solvent.machine.engine.gguf_write import write_gguf

    file = engine_models.tiny("llama", {"linears": "q8_0", "token_embd": "f16"}, 5, **{**SIZES, "n_vocab": n_vocab})
    path = tmp_path / "m.gguf"
    write_gguf(path, file.metadata, file.tensors.values())
    done = subprocess.run([sys.executable, "-c", RESIDENT, str(path)], capture_output=True, text=True, check=True)
    n_rescored, resident, grown = map(int, done.stdout.split())
    assert n_rescored >= 100
    assert (grown > 1 << 20) == mapped and resident < 34 << 20

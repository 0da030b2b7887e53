"""Conversion between number formats: every tensor's bytes, the file around them, and what is refused."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
from engine_models import tiny, weights

from solvent.cli.convert import HeadKind, Kind
from solvent.errors import EngineError, ModelFileError
from solvent.machine import native
from solvent.machine.engine import convert as module
from solvent.machine.engine import damage, gguf_write
from solvent.machine.engine.convert import HEADS, TARGETS, Request, convert, convert_file
from solvent.machine.engine.damage import Damage, text_of, usual_text
from solvent.machine.engine.gguf_write import write_gguf
from solvent.machine.engine.memory import held
from solvent.machine.engine.model_file import ModelFile, Tensor, open_model
from solvent.machine.engine.models import config as config_of
from solvent.machine.engine.quantise import quantise
from solvent.machine.engine.quants import dequantise, n_bytes
from solvent.machine.engine.reference import forward
from solvent.machine.ternary.rounding import absmean, round_to_ternary

TEXT = "We shall be joyful of thy company."


@pytest.fixture(autouse=True)
def _in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The damage by the reference: the same with and without a compiler."""
    monkeypatch.setattr(native, "available", lambda: False)


def silent(what: str, share: float | None) -> None:
    pass


def converted(file: ModelFile, folder: Path, kind: str, head: str | None = None) -> ModelFile:
    convert(file, folder / "out.gguf", Request(kind, head), silent)
    return open_model(folder / "out.gguf")


def on_disk(file: ModelFile, path: Path) -> Path:
    write_gguf(path, file.metadata, list(file.tensors.values()))
    return path


def replaced(file: ModelFile, name: str, values: np.ndarray) -> ModelFile:
    """The model with other float32 weights in one tensor."""
    data = values.astype("<f4").view(np.uint8).reshape(-1)
    return dataclasses.replace(file, tensors={**file.tensors, name: Tensor(name, "f32", values.shape, data)})


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("source", ["f32", "bf16", "q4_1", "q6_k", "q8_0"])
def test_every_tensor_is_widened_and_rounded_once(source: str, kind: str, tmp_path: Path) -> None:
    file = tiny("llama", source)
    result = converted(file, tmp_path, kind)
    assert list(result.tensors) == list(file.tensors)
    for name, tensor in file.tensors.items():
        head = "f16" if kind == "f16" else "q8_0"
        wanted = "f32" if len(tensor.shape) == 1 else head if name == "token_embd.weight" else kind
        assert result.tensors[name].type == wanted, name
        if tensor.type == wanted:
            assert np.array_equal(result.tensors[name].data, tensor.data)
        else:
            assert np.array_equal(result.tensors[name].data, quantise(dequantise(tensor), wanted)), name


@pytest.mark.parametrize("part", [1, 300, 256 * 5])
def test_a_tensor_cut_into_parts_gives_the_same_bytes(
    part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tiny("bitnet", "bf16")
    name = "blk.1.ffn_up.weight"
    file = replaced(file, name, weights(tiny("llama", "f32"))[name])
    whole = converted(file, tmp_path, "tq2_0")
    monkeypatch.setattr(module, "PART_WEIGHTS", part)
    (tmp_path / "parts").mkdir()
    parts = converted(file, tmp_path / "parts", "tq2_0")
    assert all(np.array_equal(whole.tensors[name].data, parts.tensors[name].data) for name in whole.tensors)


def test_metadata_and_tokeniser_are_kept(tmp_path: Path) -> None:
    file = tiny("qwen3", "f16")
    result = converted(file, tmp_path, "q4_0")
    for key, value in file.metadata.items():
        if isinstance(value, float):
            assert result.metadata[key] == pytest.approx(value, rel=1e-7), key
        elif isinstance(value, np.ndarray | list):
            assert list(result.metadata[key]) == list(value), key
        else:
            assert result.metadata[key] == value, key
    assert result.metadata["general.file_type"] == 2
    assert dataclasses.replace(config_of(result), norm_eps=0, rope_base=0) == dataclasses.replace(
        config_of(file), norm_eps=0, rope_base=0
    )


@pytest.mark.parametrize(
    ("source", "kind", "head", "wanted"),
    [
        ("q6_k", "q4_0", None, "q6_k"),
        ("q6_k", "f16", None, "f16"),
        ("q6_k", "tq2_0", "q8_0", "q8_0"),
        ("f16", "tq2_0", None, "q8_0"),
        ("bf16", "q8_0", "f16", "f16"),
    ],
)
def test_the_head_has_a_type_of_its_own(source: str, kind: str, head: str | None, wanted: str, tmp_path: Path) -> None:
    file = tiny("qwen3", {"linears": "f16", "token_embd": source, "output": source})
    result = converted(file, tmp_path, kind, head)
    assert {result.tensors[name].type for name in ("token_embd.weight", "output.weight")} == {wanted}


@pytest.mark.parametrize("source", ["i2_s", "hf_ternary", "tq1_0", "tq2_0", "q2_0_g128"])
@pytest.mark.parametrize("kind", ["tq2_0", "tq1_0"])
def test_ternary_weights_keep_their_codes(source: str, kind: str, tmp_path: Path) -> None:
    """Codes exactly; the scale within half precision, 2⁻¹¹ of it. Q2_0's two groups in a block may differ: rounded."""
    file = tiny("bitnet", source)
    conversion = convert(file, tmp_path / "out.gguf", Request(kind), silent)
    wanted = {} if source == kind else {"absmean": 14} if source == "q2_0_g128" else {"kept": 14}
    assert conversion.roundings == wanted
    if source != "q2_0_g128":
        before, after = weights(file), weights(open_model(tmp_path / "out.gguf"))
        for name in before:
            if name.startswith("blk.") and before[name].ndim == 2:
                assert np.array_equal(np.sign(before[name]), np.sign(after[name]))
                assert np.abs(before[name] - after[name]).max() <= np.abs(before[name]).max() * 2.0**-11


def test_a_bitnet_master_copy_is_rounded_by_its_mean_as_in_training(tmp_path: Path) -> None:
    name = "blk.0.attn_q.weight"
    master = weights(tiny("llama", "f32"))[name]
    file = replaced(tiny("bitnet", "f32"), name, master)
    conversion = convert(file, tmp_path / "out.gguf", Request("tq2_0"), silent)
    assert conversion.roundings == {"absmean": 1, "kept": 13}
    wanted = round_to_ternary(master, absmean([master]))
    after = dequantise(open_model(tmp_path / "out.gguf").tensors[name])
    assert np.array_equal(np.sign(after), np.sign(wanted))
    # By the largest of each 256, as elsewhere, other weights would be zero.
    assert not np.array_equal(np.sign(dequantise(Tensor(name, "tq2_0", master.shape, quantise(master, "tq2_0")))),
                              np.sign(wanted))  # fmt: skip


def test_a_llama_that_pairs_halves_gets_the_order_of_ggufs_llama(tmp_path: Path) -> None:
    """Float16 weights to float16, so that nothing rounds: the same function, within float32 sums in another order.

    A query's dot with a key adds the same 64 products in another order: at most 64 · 2⁻²⁴ of their sum, through two
    layers; logits here are of order 10, so 1e-4 is ample, and weights in the wrong order miss it by far."""
    file = tiny("llama", {"linears": "f16", "token_embd": "f16"}, rope_pairs="halves")
    result = converted(file, tmp_path, "f16")
    assert config_of(file).rope_pairs == "halves" and config_of(result).rope_pairs == "adjacent"
    tokens = list(range(60, 100))
    before = forward(config_of(file), weights(file), tokens)
    assert np.abs(forward(config_of(result), weights(result), tokens) - before).max() < 1e-4
    unordered = forward(config_of(result), weights(file), tokens)
    assert np.abs(unordered - before).max() > 1e-2


@pytest.mark.parametrize("kind", TARGETS)
def test_the_gguf_package_reads_what_was_written(kind: str, tmp_path: Path) -> None:
    file = tiny("llama", "f16")
    result = converted(file, tmp_path, kind)
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    for tensor in reader.tensors:
        ours = result.tensors[tensor.name]
        assert tensor.tensor_type.name.lower() == ours.type
        theirs = gguf.quants.dequantize(np.asarray(tensor.data), tensor.tensor_type)
        assert np.array_equal(theirs.reshape(ours.shape), dequantise(ours))
    field = reader.get_field("tokenizer.ggml.tokens")
    assert field is not None and field.contents() == list(file.metadata["tokenizer.ggml.tokens"])


def test_memory_stays_at_one_tensor(tmp_path: Path) -> None:
    """Twelve layers: 27 MB as float32, of which the largest tensor is 0.5 MB."""
    file = tiny("llama", "f16", n_layers=12)
    total = sum(4 * tensor.data.nbytes // 2 for tensor in file.tensors.values())
    tracemalloc.start()
    converted(file, tmp_path, "q4_0")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Widened, its copies while it is rounded, and the result: within eight times the largest in float32.
    assert peak < 8 * 4 * 512 * 256 < total / 4


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_the_source_is_mapped_a_tensor_at_a_time(tmp_path: Path) -> None:
    """Of a file of 30 MB, two tensors at most (3 MB each) are resident: the one converted, and what the system reads
    around it; the bound leaves as much again. Without giving back all 30 would be."""
    source = on_disk(tiny("llama", "f16", ff_width=6144, n_layers=3), tmp_path / "in.gguf")
    file, most = open_model(source), 0

    def watch(what: str, share: float | None) -> None:
        nonlocal most
        most = max(most, mapped_kb())

    before = mapped_kb()
    convert(file, tmp_path / "out.gguf", Request("q8_0"), watch)
    assert source.stat().st_size > 28e6 and most - before < 12_000


def mapped_kb() -> int:
    """Of files, resident in this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))


def test_a_ruin_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source = on_disk(tiny("llama", "f16"), tmp_path / "in.gguf")
    with pytest.raises(EngineError, match=r"out.gguf: not written: perplexity .* divergence .*--force"):
        convert_file(source, tmp_path / "out.gguf", Request("tq2_0", text=TEXT))
    assert left_in(tmp_path) == ["in.gguf"]
    conversion = convert_file(source, tmp_path / "out.gguf", Request("tq2_0", text=TEXT, force=True))
    assert conversion.roundings == {"absmax": 14} and conversion.damage and conversion.damage.is_ruin
    assert left_in(tmp_path) == ["in.gguf", "out.gguf"]


def test_what_is_still_the_model_is_written(tmp_path: Path) -> None:
    source = on_disk(tiny("bitnet", "f16"), tmp_path / "in.gguf")
    conversion = convert_file(source, tmp_path / "out.gguf", Request("tq1_0", head="f16", text=TEXT))
    assert conversion.damage and conversion.damage.mean_kl_nats < 0.01 and not conversion.damage.is_ruin
    assert conversion.bytes_after < conversion.bytes_before / 2


def test_ternary_without_training_and_without_a_text_needs_force(tmp_path: Path) -> None:
    source = on_disk(tiny("llama", "f16"), tmp_path / "in.gguf")
    with pytest.raises(EngineError, match="weren't trained for it, and the damage not measured"):
        convert_file(source, tmp_path / "out.gguf", Request("tq1_0"))
    assert left_in(tmp_path) == ["in.gguf"]
    assert convert_file(source, tmp_path / "out.gguf", Request("q8_0")).damage is None


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    source = on_disk(tiny("llama", "f16"), tmp_path / "in.gguf")
    (tmp_path / "out.gguf").write_text("precious")
    with pytest.raises(EngineError, match="a file that is there"):
        convert_file(source, tmp_path / "out.gguf", Request("q8_0"))
    for same in (source, tmp_path / "." / "in.gguf"):
        with pytest.raises(EngineError, match="the model itself"):
            convert_file(source, same, Request("q8_0", overwrite=True))
    assert (tmp_path / "out.gguf").read_text() == "precious"
    convert_file(source, tmp_path / "out.gguf", Request("q8_0", overwrite=True))
    assert open_model(tmp_path / "out.gguf").tensors["blk.0.attn_q.weight"].type == "q8_0"


@pytest.mark.parametrize(("name", "found"), [("folder", "a folder"), ("pipe", "no regular file")])
def test_what_is_no_file_is_never_replaced(name: str, found: str, tmp_path: Path) -> None:
    """A pipe, or a device: the rename at the end would take its place."""
    source = on_disk(tiny("llama", "f16"), tmp_path / "in.gguf")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EngineError, match=f"{name}: {found}; expected a file to write"):
        convert_file(source, tmp_path / name, Request("q8_0", overwrite=True))
    assert left_in(tmp_path) == ["folder", "in.gguf", "pipe"] and not (tmp_path / name).is_file()


def test_a_full_disk_is_said_of_the_file_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = on_disk(tiny("llama", "f16"), tmp_path / "in.gguf")
    monkeypatch.setattr(gguf_write, "_write", full)
    with pytest.raises(ModelFileError) as caught:
        convert_file(source, tmp_path / "out.gguf", Request("q8_0"))
    assert caught.value.where == str(tmp_path / "out.gguf") and "No space left" in caught.value.found
    assert left_in(tmp_path) == ["in.gguf"]


def test_a_perplexity_larger_than_any_float_is_null_in_json() -> None:
    document = Damage(2.5, math.inf, 800.0, 0.0, 10).document()
    assert document["perplexity_before"] == 2.5 and document["perplexity_after"] is None and document["is_ruin"]
    json.dumps(document, allow_nan=False)


def test_what_does_not_fit_into_memory_is_said_before_it_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, told = on_disk(tiny("llama", "f16"), tmp_path / "in.gguf"), []
    one = held(config_of(open_model(source)), open_model(source).tensors, context=512).total_bytes
    for available, n_told in ((one - 1, 0), (one + 1, len(open_model(source).tensors) + 1)):
        monkeypatch.setattr(damage, "available_bytes", lambda available=available: available)
        with pytest.raises(EngineError, match=r"GiB to measure the damage; expected at most .* GiB.*; --no-measure"):
            convert_file(source, tmp_path / "o", Request("q8_0", text=TEXT), lambda what, share: told.append(what))
        assert len(told) == n_told and left_in(tmp_path) == ["in.gguf"]
    convert_file(source, tmp_path / "o", Request("q8_0"))


def test_an_empty_text_measures_nothing_and_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("")
    with pytest.raises(EngineError, match="text: an empty file; expected a text"):
        text_of(tmp_path / "text")


def test_a_fault_half_way_leaves_nothing(tmp_path: Path) -> None:
    file = tiny("llama", "f32")
    values = weights(file)["blk.1.ffn_down.weight"]
    values[3, 5] = np.inf
    source = on_disk(replaced(file, "blk.1.ffn_down.weight", values), tmp_path / "in.gguf")
    with pytest.raises(ModelFileError, match=r"blk.1.ffn_down.weight: a weight that isn't finite"):
        convert_file(source, tmp_path / "out.gguf", Request("q8_0", text=TEXT))
    assert left_in(tmp_path) == ["in.gguf"]


def test_a_tensor_that_keeps_its_bytes_is_checked_too(tmp_path: Path) -> None:
    file = tiny("llama", "q8_0")
    broken = file.tensors["blk.0.ffn_up.weight"]
    data = broken.data.copy()
    data[:2] = np.array([np.nan], np.float16).view(np.uint8)
    damaged = Tensor(broken.name, broken.type, broken.shape, data)
    file = dataclasses.replace(file, tensors={**file.tensors, broken.name: damaged})
    with pytest.raises(ModelFileError, match=r"blk\.0\.ffn_up\.weight: a weight that isn't finite"):
        convert(file, tmp_path / "out.gguf", Request("q8_0"), silent)
    assert left_in(tmp_path) == []


def test_rows_that_a_type_cannot_hold_are_named_before_anything_is_written(tmp_path: Path) -> None:
    file = tiny("llama", "f16", ff_width=288)
    with pytest.raises(ModelFileError, match=r"ffn_down.weight: rows of 288; expected a multiple of 256 for tq2_0"):
        convert(file, tmp_path / "out.gguf", Request("tq2_0"), silent)
    assert left_in(tmp_path) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = on_disk(tiny("llama", "f16"), tmp_path / "in.gguf")
    with pytest.raises(ModelFileError, match=r"none/out.gguf: can't be written: No such file"):
        convert_file(source, tmp_path / "none" / "out.gguf", Request("q8_0"))


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, float | None]] = []
    source = on_disk(tiny("llama", "f16"), tmp_path / "in.gguf")
    convert_file(
        source, tmp_path / "o.gguf", Request("q8_0", text=TEXT), lambda what, share: told.append((what, share))
    )
    assert told[0] == ("converting token_embd.weight", 0.0) and told[-1] == ("measuring", None)
    assert len(told) == len(tiny("llama", "f16").tensors) + 1


def test_the_command_offers_what_is_written() -> None:
    assert tuple(Kind) == TARGETS and tuple(HeadKind) == HEADS


def test_sizes_are_those_of_the_tensors(tmp_path: Path) -> None:
    file = tiny("llama", "f16")
    conversion = convert(file, tmp_path / "out.gguf", Request("q4_1"), silent)
    result = open_model(tmp_path / "out.gguf")
    assert conversion.bytes_after == sum(n_bytes(t.type, t.shape) for t in result.tensors.values())
    assert conversion.bytes_before == sum(len(t.data) for t in file.tensors.values())
    assert conversion.document()["heads"] == ["q8_0"]


def test_the_text_is_a_page_of_a_play() -> None:
    assert 2000 < len(usual_text()) < 4000 and usual_text().isascii()


@pytest.mark.parametrize("when", ["converting blk.1.attn_k.weight", "measuring"])
def test_an_interruption_leaves_what_was_there(when: str, tmp_path: Path) -> None:
    source = on_disk(tiny("llama", "f16"), tmp_path / "in.gguf")
    (tmp_path / "out.gguf").write_text("precious")

    def interrupt(what: str, share: float | None) -> None:
        if what == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_file(source, tmp_path / "out.gguf", Request("q8_0", text=TEXT, overwrite=True), interrupt)
    assert left_in(tmp_path) == ["in.gguf", "out.gguf"] and (tmp_path / "out.gguf").read_text() == "precious"


def with_tokeniser(metadata: dict[str, object], path: Path) -> Path:
    """A tiny model with other keys of its tokeniser; None leaves a key out."""
    file = tiny("llama", "f16")
    whole = {key: value for key, value in {**file.metadata, **metadata}.items() if value is not None}
    return on_disk(dataclasses.replace(file, metadata=whole), path)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (None, r"in\.gguf: no tokeniser; expected tokenizer\.json beside"),
        ("bert", r"in\.gguf: tokenizer\.ggml\.model: 'bert'; expected gpt2"),
    ],
)
def test_a_tokeniser_that_cannot_be_used_is_named_with_its_file(model: str | None, said: str, tmp_path: Path) -> None:
    source = with_tokeniser({"tokenizer.ggml.model": model}, tmp_path / "in.gguf")
    with pytest.raises(ModelFileError, match=f"^{tmp_path}/{said}"):
        damage.measure_damage(open_model(source), open_model(source), TEXT)


@pytest.mark.parametrize(
    ("text", "said"), [(None, "text: byte 0x65, for which this vocabulary has no token"), ("a", "text: one token")]
)
def test_a_text_that_cannot_be_measured_on_is_said_before_the_work(text: str | None, said: str, tmp_path: Path) -> None:
    """Our own page too: whoever gave no text is told how to give one, or to do without."""
    tokens = [f"no {token}" if token == "e" else token for token in tiny("llama").metadata["tokenizer.ggml.tokens"]]
    source, told = with_tokeniser({"tokenizer.ggml.tokens": tokens}, tmp_path / "in.gguf"), []
    request = Request("q8_0", text=text or usual_text())
    with pytest.raises(EngineError) as caught:
        convert_file(source, tmp_path / "o.gguf", request, lambda what, share: told.append(what))
    assert str(caught.value).startswith(f"{source}: {said}; expected ")
    assert caught.value.fix == "give another text with --text, or --no-measure"
    assert told == [] and left_in(tmp_path) == ["in.gguf"]
    convert_file(source, tmp_path / "o.gguf", Request("q8_0", text=TEXT.replace("e", "i")))

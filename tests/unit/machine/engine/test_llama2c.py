"""llama2.c's .bin: a real one is read whole, and every lie of its seven integers or its tokeniser is named."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from solvent.errors import ModelFileError
from solvent.machine.engine.model_file import open_model
from solvent.machine.engine.quants import dequantise

MODELS = Path(__file__).resolve().parents[3] / "golden" / "models"


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    for name in ("stories260K.bin", "tok512.bin"):
        shutil.copy(MODELS / name, tmp_path / name)
    return tmp_path / "stories260K.bin"


def test_a_real_model_is_read_whole(stories: Path) -> None:
    model = open_model(stories)
    assert sum(dequantise(t).size for t in model.tensors.values()) == 260_032
    assert model.metadata["llama.block_count"] == 5 and model.metadata["llama.attention.head_count_kv"] == 4
    assert model.metadata["solvent.rope_pairs"] == "adjacent" and "output.weight" not in model.tensors
    assert model.tensors["blk.4.ffn_down.weight"].shape == (64, 172)
    tokens = model.metadata["tokenizer.ggml.tokens"]
    assert tokens[:4] == ["<unk>", "<s>", "</s>", "<0x00>"] and tokens[265] == "▁the" and len(tokens) == 512
    assert model.metadata["tokenizer.ggml.token_type"][[0, 1, 3, 258, 259]].tolist() == [2, 3, 6, 6, 1]
    assert model.metadata["tokenizer.ggml.scores"][265] == -6.0


def test_tensors_lie_where_llama2c_has_them(tmp_path: Path) -> None:
    """A file whose every float is its own place: width 4, ff 3, 2 layers, 2 heads over 1, 5 tokens, 6 long."""
    sizes = [5 * 4, 2 * 4, 2 * 16, 2 * 8, 2 * 8, 2 * 16, 2 * 4, 2 * 12, 2 * 12, 2 * 12, 4, 6 * 2, 5 * 4]
    values = np.arange(sum(sizes), dtype="<f4")
    (tmp_path / "a.bin").write_bytes(struct.pack("<7i", 4, 3, 2, 2, 1, -5, 6) + values.tobytes())
    tensors = open_model(tmp_path / "a.bin").tensors
    starts = dict(zip(
        ("token_embd", "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_down",
         "ffn_up", "output_norm", "tables", "output"), np.cumsum([0, *sizes]).tolist(), strict=False,
    ))  # fmt: skip
    for name, start in starts.items():
        for layer in range(2) if name.startswith(("attn", "ffn")) else ():
            tensor = tensors[f"blk.{layer}.{name}.weight"]
            assert dequantise(tensor).ravel()[0] == start + layer * dequantise(tensor).size, name
    assert dequantise(tensors["output.weight"])[0, 0] == starts["output"]
    assert dequantise(tensors["output_norm.weight"]).tolist() == [starts["output_norm"] + i for i in range(4)]
    assert tensors["blk.1.ffn_down.weight"].shape == (4, 3) and tensors["blk.0.attn_k.weight"].shape == (2, 4)
    assert len(tensors) == 3 + 2 * 9


@pytest.mark.parametrize(
    ("place", "number", "said"),
    [
        (0, 0, "a header of"), (0, -64, "a header of"), (0, 1 << 30, "a header of"), (0, 80, "expected 1397468"),
        (1, 173, "1056540 bytes; expected 1060380"), (2, 1 << 30, "a header of"), (3, 3, "a header of"),
        (3, 128, "a header of"), (4, 3, "a header of"), (4, 0, "a header of"), (5, 1 << 31, "a header of"),
        (5, -512, "expected"), (6, 0, "a header of"), (6, 511, "expected"), (0, 0x616B3432, "another version"),
    ],
)  # fmt: skip
def test_a_lie_in_the_header_is_named(stories: Path, place: int, number: int, said: str) -> None:
    data = bytearray(stories.read_bytes())
    struct.pack_into("<I", data, 4 * place, number & 0xFFFFFFFF)
    stories.write_bytes(data)
    with pytest.raises(ModelFileError, match=said):
        open_model(stories)


@pytest.mark.parametrize("lost", [1, 1_000_000, 1_056_520])
def test_a_truncated_model_is_named(stories: Path, lost: int) -> None:
    stories.write_bytes(stories.read_bytes()[:-lost])
    with pytest.raises(ModelFileError, match=r"stories260K.bin"):
        open_model(stories)


def test_a_tokeniser_that_doesnt_fit_is_named(stories: Path) -> None:
    beside = stories.with_name("tok512.bin")
    data = beside.read_bytes()
    for changed, said in [
        (data[:-1], r"token 511: 3 bytes at 6216"),
        (data + b"x", "1 bytes behind token 511"),
        (data[:8] + struct.pack("<i", -1) + data[12:], "token 0: -1 bytes"),
        (data[:8] + struct.pack("<i", 1 << 30) + data[12:], "token 0: 1073741824 bytes"),
        (data[:4000], "4000 bytes; expected 8 and more for each of 512 tokens"),
        (data[:-1] + b"\xff", "token 511: bytes .*expected UTF-8"),
    ]:
        beside.write_bytes(changed)
        with pytest.raises(ModelFileError, match=said):
            open_model(stories)
    beside.unlink()
    assert "tokenizer.ggml.tokens" not in open_model(stories).metadata

"""The two shipped models: that they are what their page says, and that rounding the float one to ternary ruins it."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import numpy as np
import pytest
import zstandard

from solvent.errors import EngineError
from solvent.machine.engine.convert import Request, convert_file
from solvent.machine.engine.damage import usual_text
from solvent.machine.engine.model_file import ModelFile, open_model
from solvent.machine.engine.models import config as config_of
from solvent.machine.engine.quants import dequantise
from solvent.machine.engine.reference import forward
from solvent.machine.engine.tokeniser import Tokeniser

CONTEXT = 256


@pytest.fixture(scope="module")
def folder(repo: Path) -> Path:
    return repo / "examples" / "shakespeare"


@pytest.fixture(scope="module")
def held_out(folder: Path) -> str:
    """The last tenth, which no model saw in training."""
    text = zstandard.ZstdDecompressor().decompress((folder / "tinyshakespeare.txt.zst").read_bytes()).decode()
    return text[int(len(text) * 0.9) :]


def nats_per_byte(file: ModelFile, text: str, n_windows: int = 2) -> float:
    """Through the NumPy reference: the first windows of 256, of which all but the first token are predicted."""
    tokeniser = Tokeniser.from_metadata(file.metadata)
    config, weights = config_of(file), {name: dequantise(tensor) for name, tensor in file.tensors.items()}
    tokens = tokeniser.encode(text[: 6 * CONTEXT * n_windows])
    nats = n_bytes = 0.0
    for start in range(0, n_windows * CONTEXT, CONTEXT):
        window = tokens[start : start + CONTEXT]
        logits = forward(config, weights, window[:-1]).astype(np.float64)
        top = logits.max(axis=1)
        log_sum = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
        nats += float((log_sum - logits[np.arange(len(logits)), window[1:]]).sum())
        n_bytes += sum(len(tokeniser.token_bytes(token)) for token in window[1:])
    return nats / n_bytes


@pytest.mark.parametrize("name", ["ternary", "float"])
def test_it_reads_text_that_it_never_saw(name: str, folder: Path, held_out: str) -> None:
    """Two windows of its held-out text, where both lie near 1.5 nats a byte; the bytes alone have 3.3."""
    assert 1.2 < nats_per_byte(open_model(folder / f"{name}.gguf"), held_out) < 1.7
    scrambled = "".join(np.random.default_rng(0).permutation(list(held_out[:3072])))
    assert nats_per_byte(open_model(folder / f"{name}.gguf"), scrambled) > 3


def test_the_twins_have_one_shape_and_are_small(folder: Path) -> None:
    ternary, twin = (open_model(folder / f"{name}.gguf") for name in ("ternary", "float"))
    a, b = config_of(ternary), config_of(twin)
    for field in ("n_layers", "width", "n_heads", "n_kv_heads", "head_size", "ff_width", "n_vocab", "context", "tied"):
        assert getattr(a, field) == getattr(b, field), field
    assert (a.family, b.family) == ("bitnet", "llama")
    for file in (ternary, twin):
        assert sum(prod(tensor.shape) for tensor in file.tensors.values()) <= 2_000_000
    assert list(ternary.metadata["tokenizer.ggml.tokens"]) == list(twin.metadata["tokenizer.ggml.tokens"])
    assert (folder / "ternary.gguf").stat().st_size < 0.2 * (folder / "float.gguf").stat().st_size


def test_each_projection_holds_three_values(folder: Path) -> None:
    """−s, 0 and s, with one s a tensor: not one a block, which would be another format's training."""
    file = open_model(folder / "ternary.gguf")
    projections = [t for t in file.tensors.values() if t.name.startswith("blk.") and len(t.shape) == 2]
    assert len(projections) == 21 and {t.type for t in projections} == {"tq2_0"}
    for tensor in projections:
        values, counts = np.unique(dequantise(tensor), return_counts=True)
        assert len(values) == 3 and values[0] == -values[2] and values[1] == 0
        # About a third each, as the mean of magnitudes leaves it: no tensor has died.
        assert counts.min() > 0.15 * counts.sum(), tensor.name


def test_the_record_of_the_training_is_of_these_files(folder: Path) -> None:
    record = json.loads((folder / "training.json").read_text("utf-8"))
    assert record["schema"] == "solvent.training/1"
    runs = [record["models"][name] for name in ("ternary", "float")]
    for run, name in zip(runs, ("ternary", "float"), strict=True):
        file = open_model(folder / f"{name}.gguf")
        assert run["n_parameters"] == sum(prod(tensor.shape) for tensor in file.tensors.values())
        assert run["curve"][-1]["step"] == run["budget"]["steps"]
    assert runs[0]["shape"] == runs[1]["shape"] and runs[0]["budget"] == runs[1]["budget"]
    assert runs[0]["graph"] == {"bitnet": True, "ternary": True}


def test_rounding_the_twin_to_ternary_ruins_it_and_four_bits_do_not(folder: Path, tmp_path: Path) -> None:
    text = usual_text()[:600]
    with pytest.raises(EngineError, match="not written"):
        convert_file(folder / "float.gguf", tmp_path / "ruin.gguf", Request("tq2_0", text=text))
    four_bits = convert_file(folder / "float.gguf", tmp_path / "q4.gguf", Request("q4_0", text=text)).damage
    assert four_bits and four_bits.mean_kl_nats < 0.1
    kept = convert_file(folder / "ternary.gguf", tmp_path / "tq1.gguf", Request("tq1_0", head="f16", text=text)).damage
    assert kept and kept.mean_kl_nats == 0

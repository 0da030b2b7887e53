"""Model files: writing and reading is the identity, and no change of a file ends in anything but a clear error.

The fuzzer is tools/fuzz_model_files.py; its corpus, one file for each line of code that can refuse one, is replayed
here. `make slow` fuzzes on, in a process whose memory is bounded.
"""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.machine.engine import quants
from solvent.machine.engine.gguf import read_gguf
from solvent.machine.engine.gguf_write import write_gguf
from solvent.machine.engine.model_file import Tensor, open_model

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "fuzz_model_files.py"


def load_fuzzer() -> Any:
    spec = importlib.util.spec_from_file_location("fuzz_model_files", TOOL)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up while they are made.
    sys.modules["fuzz_model_files"] = module
    spec.loader.exec_module(module)
    return module


fuzzer = load_fuzzer()

NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1)
FLOATS = st.floats(width=32, allow_nan=False)
TEXT = st.text(max_size=20)
VALUES = st.one_of(
    TEXT, st.booleans(), NUMBERS, FLOATS, st.lists(TEXT, max_size=6), st.lists(FLOATS, min_size=1, max_size=6),
    st.lists(st.integers(-(1 << 31), (1 << 31) - 1), min_size=1, max_size=6),
    st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=6),
)  # fmt: skip
KINDS = sorted(set(quants.TYPES) - {"hf_ternary", "i2_s_arm", "q2_0_g128"})


@st.composite
def tensors(draw: st.DrawFn) -> list[Tensor]:
    names = draw(st.lists(st.text(min_size=1, max_size=16), max_size=5, unique=True))
    made = []
    for name in names:
        kind = draw(st.sampled_from(KINDS))
        # Q2_0 tells its group size only where the two sizes differ by more than padding: 4,096 weights and up.
        columns = quants.TYPES[kind][0] * (64 if kind == "q2_0_g64" else draw(st.integers(1, 3)))
        shape = (*draw(st.lists(st.integers(1, 3), max_size=3)), columns)
        data = np.random.default_rng(len(made)).integers(0, 256, quants.n_bytes(kind, shape), np.uint8)
        made.append(Tensor(name, kind, shape, data))
    return made


@given(metadata=st.dictionaries(st.text(min_size=1, max_size=20), VALUES, max_size=6), made=tensors())
def test_reading_undoes_writing(metadata: dict[str, Any], made: list[Tensor], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "written.gguf"
    metadata = {"general.architecture": "none"} | {f"x.{key}": value for key, value in metadata.items()}
    write_gguf(path, metadata, made)
    model = open_model(path)
    assert list(model.metadata) == list(metadata)
    for key, value in metadata.items():
        read = model.metadata[key]
        assert list(read) == value if isinstance(value, list) else (read == value and type(read) is type(value)), key
    assert [(t.name, t.type, t.shape, t.data.tobytes()) for t in model.tensors.values()] == [
        (t.name, t.type, t.shape, t.data.tobytes()) for t in made
    ]


def test_every_file_of_the_corpus_still_ends_well() -> None:
    run, files = fuzzer.Run(), fuzzer.corpus()
    assert len(files) > 60 and {suffix for suffix, _ in files} == set(fuzzer.READERS)
    for suffix, data in files:
        run.execute(suffix, data)
    # As many ends as files, but for lines of code that were merged or moved since the corpus was made.
    assert len(run.pool) > 0.8 * len(files)
    assert {suffix for (suffix, end) in run.pool if end.startswith("a ")} == set(fuzzer.READERS)


def test_changed_files_end_in_a_model_or_a_clear_error() -> None:
    assert fuzzer.fuzz(3_000, seed=7, suffixes=set(fuzzer.READERS)).n_executions == 3_000


def test_a_fault_would_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Readers that crash, that hand out a tensor of too many bytes, or that take too long, each fail the run."""
    monkeypatch.chdir(tmp_path)

    def crash(data: bytes) -> str:
        return "a model" if data[4:5] == b"\3" else str(struct.unpack("<I", data[:2]))

    monkeypatch.setitem(fuzzer.READERS, ".gguf", crash)
    with pytest.raises(AssertionError, match=r"error: unpack requires .*kept as fault.gguf"):
        fuzzer.fuzz(3_000, seed=7, suffixes={".gguf"})
    assert (tmp_path / "fault.gguf").exists()

    def oversized(data: bytes) -> str:
        mapped = np.frombuffer(data, np.uint8)
        model = read_gguf(Path("a.gguf"), mapped)
        for name, tensor in model.tensors.items():
            model.tensors[name] = Tensor(name, tensor.type, tensor.shape, mapped[: len(tensor.data) + 1])  # type: ignore[index]
        fuzzer.whole(model, mapped)
        return "a model"

    monkeypatch.setitem(fuzzer.READERS, ".gguf", oversized)
    with pytest.raises(AssertionError):
        fuzzer.fuzz(1_000, seed=7, suffixes={".gguf"})
    monkeypatch.undo()
    monkeypatch.setattr(fuzzer, "SLOWEST_S", 0.0)
    with pytest.raises(AssertionError, match=r"0.0 s: b'"):
        fuzzer.fuzz(1_000, seed=7, suffixes={".gguf"})


@pytest.mark.slow
def test_a_hundred_thousand_changed_files_in_a_gibibyte(tmp_path: Path) -> None:
    command = [sys.executable, str(TOOL), "--executions", "100000", "--seed", str(os.getpid())]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert "100000 executions" in done.stderr and "no fault" in done.stderr

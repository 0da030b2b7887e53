"""What is added to the source's rows: by launch scripts alone, not by what was measured; and the engine's steps."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from solvent.choose.predict.points import serving_points


@pytest.fixture
def tool(repo: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return loaded(repo / "tools/serving_points.py", monkeypatch)


def loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(**changed: str) -> dict[str, str]:
    bare = {
        "mode": "agg",
        "date": "2026-03-25",
        "model": "deepseek-ai/DeepSeek-R1",
        "system": "b200_sxm",
        "format": "fp8",
        "n_gpus": "8",
        "expert_gpus": "1",
        "replicated_attention": "0",
        "concurrency": "16",
        "backend": "sglang",
        "release": "0.5.9",
        "isl_tok": "1024",
        "osl_tok": "1024",
        "ttft_s": "0.5",
        "tpot_s": "0.01",
    }
    return bare | changed


@pytest.mark.parametrize(
    ("changed", "steps"),
    [
        ({}, 30),
        ({"concurrency": "15"}, 10),
        ({"n_gpus": "4"}, 10),
        ({"system": "h200_sxm"}, 0),
        ({"date": ""}, 0),
        ({"mode": "disagg"}, 0),
        ({"model": "zai-org/GLM-5-FP8"}, 0),
        ({"backend": "vllm"}, 0),
        ({"backend": "trtllm", "concurrency": "64"}, 40),
        ({"backend": "trtllm", "concurrency": "64", "date": "2026-01-28"}, 0),
        ({"backend": "trtllm", "model": "meta-llama/Llama-3.1-70B", "n_gpus": "4"}, 20),
        ({"backend": "trtllm", "model": "meta-llama/Llama-3.1-70B"}, 0),
    ],
)
def test_steps_held_back_are_those_of_the_launch_scripts(tool: ModuleType, changed: dict[str, str], steps: int) -> None:
    assert tool.held_steps(row(**changed)) == steps
    # Not by what was measured.
    assert tool.held_steps(row(**changed, ttft_s="9", tpot_s="1")) == steps


def test_drafting_is_known_where_only_such_a_script_was_run(tool: ModuleType) -> None:
    assert not tool.speculative(row())
    assert tool.speculative(row(backend="trtllm", release="1.2.0rc6.post3"))
    assert not tool.speculative(row(backend="trtllm", release="1.2.0rc6.post2"))
    assert tool.speculative(row(model="Qwen/Qwen3.5-397B-A17B-FP8", n_gpus="4"))
    assert not tool.speculative(row(model="Qwen/Qwen3.5-397B-A17B-FP8", n_gpus="4", expert_gpus="4"))
    assert not tool.speculative(row(backend="trtllm", release="1.2.0rc6.post3", mode="disagg"))


def test_the_shipped_points_carry_both() -> None:
    points = [p.setup for p in serving_points() if p.mode == "agg"]
    assert sum(s.held_steps > 0 for s in points) == 677
    assert sum(s.speculative for s in points) == 236
    assert not any(p.setup.held_steps or p.setup.speculative for p in serving_points() if p.mode == "disagg")


def test_no_measured_context_of_the_engine_begins_a_tile_or_a_chunk(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = loaded(repo / "tools/engine_forecast.py", monkeypatch)
    # Tiles of 64 tokens, chunks of 256: docs/reference/turboquant-format.md.
    assert all(context % 64 for context in tool.CONTEXTS)


def test_sequences_of_a_measured_batch_are_whole_copies(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import solvent

    tool = loaded(repo / "tools/engine_forecast.py", monkeypatch)
    model = solvent.load(str(repo / "examples/shakespeare/ternary.gguf"), threads=1).model
    tokens = list(range(40))
    first, second, third = tool.own_sequences(model, "tq4", tokens, 3)
    model.extend(second, [1], "none")
    assert (first.n_tokens, second.n_tokens, third.n_tokens) == (40, 41, 40)
    assert (model.decode([first], [7]) == model.decode([third], [7])).all()

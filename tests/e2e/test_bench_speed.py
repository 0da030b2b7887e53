"""The runner of speed cases beside a stand-in for llama-bench: samples, bytes, shares, absent arms. No timings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

# Prints what llama-bench prints of one test: `-r` samples of 50 tok/s, and a size beyond the file's.
STAND_IN = """#!{python}
import json, sys
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert flags["-o"] == "json" and flags["-fa"] in "01" and flags["-t"] == "1", flags
test = {{"model_size": 10**12, "samples_ts": [50.0] * (int(flags["-r"]) + {extra})}}
print("a line of its own\\n" + json.dumps([test], indent=2))
"""


@pytest.fixture
def speed(repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Makes benchmarks importable and puts a file of 1 MB where the model is looked for."""
    monkeypatch.syspath_prepend(str(repo))
    (tmp_path / "models").mkdir()
    (tmp_path / "models/tiny.gguf").write_bytes(bytes(1_000_000))
    return tmp_path


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, extra: int = 0) -> None:
    binary = folder / "llama-bench"
    binary.write_text(STAND_IN.format(python=sys.executable, extra=extra), "utf-8")
    binary.chmod(0o755)
    monkeypatch.setenv("SOLVENT_BENCH_LLAMA_CPP", str(binary))
    monkeypatch.setenv("SOLVENT_BENCH_LLAMA_CPP_BUILD", "a stand-in")


def tiny_case(**work: Any) -> Any:
    from benchmarks.speed_case import SpeedArm, SpeedCase, Work

    settings = {"kind": "decode", "n_tokens": 4, "depth": 98, "cache_values": 10_000, "repetitions": 2, **work}
    arms = (
        SpeedArm("llama_cpp", "tiny", 1, options={"flash_attention": False}),
        SpeedArm("ik_llama", "tiny", 1),
        SpeedArm("llama_cpp", "elsewhere", 1),
    )
    return SpeedCase("t", "title", "why", 3, Work(model="tiny", **settings), arms)


def test_samples_come_in_rounds_and_absent_arms_stay(speed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.speed import measure_speed
    from benchmarks.speed_table import bytes_per_token, section

    monkeypatch.delenv("SOLVENT_BENCH_IK_LLAMA", raising=False)
    stand_in(speed, monkeypatch)
    case = tiny_case()
    result = measure_speed(case, speed, lambda text: None)
    peer, absent, elsewhere = result["arms"]
    assert [sample["rate"] for sample in peer["samples"]] == [50.0] * 3
    assert (absent["absent"], elsewhere["absent"]) == ("not installed", "no model file")
    # 1 MB of weights (not the 10¹² bytes claimed), and 98 + 4/2 cached tokens of 10,000 values of 2 bytes: 3 MB.
    assert bytes_per_token(result["work"], peer) == 1_000_000 + 100 * 10_000 * 2
    assert bytes_per_token(result["work"], {**peer, "cache": "q8_0"}) == 1_000_000 + 100 * 10_000 * 34 / 32
    # Bandwidth of 0.3 GB/s: 50 tok/s of 3 MB are half of it.
    limit = {**peer, "limit": True, "samples": [{"rate": 0.3, "peak_bytes": 0}]}
    text = section({**result, "title": case.title, "why": case.why, "arms": [*result["arms"], limit]})
    assert "| 3 | 50 (50–50) | 1.00 | 3.0 | 50% |" in text and "llama.cpp (a stand-in)" in text
    assert text.count("not installed") == 1 and text.count("no model file") == 1


def test_a_peer_that_measured_something_else_fails(speed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.speed import measure_speed

    stand_in(speed, monkeypatch, extra=1)
    with pytest.raises(SystemExit, match="not 2 times"):
        measure_speed(tiny_case(), speed, lambda text: None)


def test_a_prefill_has_no_bytes_per_token(speed: Path) -> None:
    from benchmarks.speed_table import bytes_per_token

    assert bytes_per_token({"kind": "prefill", "cache_bytes": {"f16": 0.0}}, {"model_bytes": 1}) is None
    assert tiny_case(kind="prefill").work.cache_bytes() == 0.0


def test_every_speed_case_reads(repo: Path, speed: Path) -> None:
    from benchmarks.case import CASES
    from benchmarks.speed_case import is_speed_case, read_speed_case

    cases = [read_speed_case(path) for path in sorted(CASES.glob("*.toml")) if is_speed_case(path)]
    assert len(cases) >= 6
    for case in cases:
        assert {arm.threads for arm in case.arms} == {1, 2} and case.samples >= 20
        assert {"solvent_engine", "llama_cpp", "ik_llama"} <= {arm.peer for arm in case.arms}
        assert all((repo / f"benchmarks/peers/{arm.peer}.py").is_file() for arm in case.arms)


@pytest.mark.parametrize("arm", [{}, {"step": "greedy"}, {"step": "greedy", "text": True}, {"cache": "q8_0"}])
def test_the_engine_decodes_behind_random_tokens_and_behind_text(repo: Path, speed: Path, arm: dict[str, Any]) -> None:
    from benchmarks.peers import solvent_engine

    from solvent.machine import native

    if not native.available():
        pytest.skip("the native extension isn't built here")
    model = repo / "examples/shakespeare/ternary.gguf"
    job = {"model": str(model), "threads": 1, "kind": "decode", "depth": 40, "n_tokens": 3, "repetitions": 2, **arm}
    outcome = solvent_engine.run(job)
    assert len(outcome["rates"]) == 2 and outcome["model_bytes"] > 100_000


def test_random_weights_are_the_same_in_every_format(speed: Path) -> None:
    import numpy as np
    from benchmarks.random_model import TERNARY, _packed, _random

    from solvent.machine.engine.model_file import Tensor
    from solvent.machine.engine.quants import dequantise

    plus_one = TERNARY[_random("blk.0.attn_q.weight", 4 * 512)]
    values = {}
    for kind in ("f16", "tq2_0", "i2_s"):
        values[kind] = dequantise(Tensor("blk.0.attn_q.weight", kind, (4, 512), _packed(kind, plus_one, 512)))
    scale = np.float32(np.float16(1.3 / np.sqrt(512)))
    expected = (plus_one.reshape(4, 512).astype(np.float32) - 1) * scale
    assert all(np.array_equal(found, expected) for found in values.values())
    assert np.bincount(plus_one, minlength=3).min() > 400

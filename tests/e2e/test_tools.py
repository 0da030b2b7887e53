"""Tools that print published figures still run: small sizes, every figure there."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from solvent.machine import native


@pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")
def test_attention_over_filled_caches_is_timed(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--tokens", "1024", "--layers", "8", "--rounds", "1", "f16", "tq4", "tq3s"]
    monkeypatch.setattr(sys, "argv", ["cache_attention.py", *small])
    tool = runpy.run_path(str(repo / "tools" / "cache_attention.py"))
    main = tool["main"]
    main.__globals__["LARGE_BYTES"] = 1 << 22
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["bandwidth", "f16", "tq4", "tq3s"]
    assert all(re.search(r"[1-9]\d* MB.*filled at \d+\.\d\d GB/s", line) for line in lines[1:]), lines


@pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")
def test_ternary_kernels_are_timed_and_compared(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ternary_kernels.py"])
    benchmark = runpy.run_path(str(repo / "benchmarks" / "ternary_kernels.py"))
    main = benchmark["main"]
    main.__globals__.update(ROUNDS=1, PASSES=1, PREFILL_ROWS=160, DECODE_ROWS=160)
    main()
    table = capsys.readouterr().out
    assert all(table.count(f"| {name} |") == 2 for name in native.kernels() if name != "scalar"), table

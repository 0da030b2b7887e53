"""The benchmark runner on a tiny log: it measures, checks totals, keeps raw samples, refuses. No timings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def benchmarks(repo: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repo))
    import benchmarks.measure

    return benchmarks.measure


def bench(repo: Path, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repo / "benchmarks/run.py"), *arguments, "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_case_runs_on_a_tiny_log(repo: Path, tmp_path: Path) -> None:
    done = bench(repo, tmp_path, "audit-parquet", "--rows", "2000", "--samples", "1")
    assert done.returncode == 0, done.stderr
    assert "| solvent_audit |" in done.stdout and "equal to the last digit" in done.stdout
    result = json.loads((tmp_path / "results/audit-parquet.json").read_text("utf-8"))
    assert result["schema"] == "solvent.benchmark/1"
    arms = {arm["peer"]: arm for arm in result["arms"]}
    assert len(arms["solvent_audit"]["samples"]) == 1 and len(arms["solvent_audit"]["warm_ups"]) == 1
    assert {"solvent_audit", "duckdb_join", "genai_loop"} <= {check["arm"] for check in result["checks"]}
    assert {sample["rows"] for arm in arms.values() for sample in arm["samples"]} == {2000}


def test_duplicates_are_dropped_by_us_and_by_the_peer(repo: Path, tmp_path: Path) -> None:
    done = bench(repo, tmp_path, "scale-duplicates", "--rows", "2000", "--samples", "1")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "results/scale-duplicates.json").read_text("utf-8"))
    assert 100 < result["arms"][0]["samples"][0]["duplicates"] < 400


def test_an_unknown_case_lists_those_that_exist(repo: Path, tmp_path: Path) -> None:
    done = bench(repo, tmp_path, "nothing")
    assert done.returncode == 1 and "audit-parquet" in done.stderr


def test_a_peer_with_another_total_fails(repo: Path, tmp_path: Path, benchmarks: ModuleType) -> None:
    from benchmarks.case import Arm, Case
    from benchmarks.synthetic import Shape

    shape = Shape(500, ids=False)
    case = Case("t", "t", "t", 1, 0, (Arm("solvent_audit", shape), Arm("duckdb_join", shape)))
    blank = benchmarks._blank(case.arms[0])
    ours = {**blank, "samples": [{"total_usd": "1.5", "exact": True}]}
    near = {**blank, "samples": [{"total_usd": repr(1.5 * (1 + 2**-50)), "exact": False}]}
    far = {**blank, "samples": [{"total_usd": repr(1.5 * (1 + 1e-12)), "exact": False}]}
    exact = {**blank, "samples": [{"total_usd": "1.50000000000001", "exact": True}]}
    assert benchmarks._check(case, [ours, near], tmp_path, 1)[1]["off"] > 0
    for wrong in (far, exact):
        with pytest.raises(SystemExit, match="another total"):
            benchmarks._check(case, [ours, wrong], tmp_path, 1)


def test_two_machines_are_not_compared(benchmarks: ModuleType) -> None:
    from benchmarks.machine import fingerprint, refuse_other_machine

    machine = fingerprint()
    refuse_other_machine(machine, machine)
    with pytest.raises(SystemExit, match="two machines"):
        refuse_other_machine({**machine, "id": "another", "cpu": "another"}, machine)


def test_the_summary_is_median_and_deciles(benchmarks: ModuleType) -> None:
    assert benchmarks.summary([float(n) for n in range(1, 12)]) == {"median": 6.0, "p10": 2.0, "p90": 10.0}

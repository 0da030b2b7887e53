"""A report appears whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from solvent.errors import ReportError
from solvent.report.write import read_report, write_report, write_whole


@pytest.mark.parametrize(
    ("name", "start"), [("r.html", "<!DOCTYPE html>"), ("r.json", "{"), ("r.md", "# Redline"), ("r.CSV", '"customer"')]
)
def test_the_suffix_chooses(name: str, start: str, statement: dict[str, Any], tmp_path: Path) -> None:
    write_report(statement, tmp_path / name)
    assert (tmp_path / name).read_text("utf-8").startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_json_and_html_read_back(statement: dict[str, Any], tmp_path: Path) -> None:
    for name in ("r.json", "r.html"):
        write_report(statement, tmp_path / name)
        assert read_report(tmp_path / name) == statement


def test_a_folder_gets_every_table(statement: dict[str, Any], tmp_path: Path) -> None:
    names = {"figures.csv", *(f"{name}.csv" for name in statement["tables"])}
    target = tmp_path / "out"
    write_report(statement, target)
    assert {path.name for path in target.iterdir()} == names
    (target / "mine.txt").write_text("stays")
    (target / "days.csv").write_text("old")
    write_report(statement, target)
    assert {path.name for path in target.iterdir()} == {*names, "mine.txt"}
    assert (target / "days.csv").read_text("utf-8").startswith('"day"')


def test_a_table_cannot_name_a_path(statement: dict[str, Any], tmp_path: Path) -> None:
    statement["tables"]["../../evil"] = statement["tables"]["days"]
    write_report(statement, tmp_path / "out")
    assert (tmp_path / "out" / "______evil.csv").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["r.pdf", "none/r.json", "none/out", "file.txt"])
def test_what_cannot_be_written_is_said_in_one_line(name: str, statement: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ReportError) as error:
        write_report(statement, tmp_path / name)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_csv_without_customers_is_refused(statement: dict[str, Any], tmp_path: Path) -> None:
    del statement["tables"]["customers"]
    with pytest.raises(ReportError, match="customers"):
        write_report(statement, tmp_path / "r.csv")


def test_what_stands_there_keeps_its_place_and_mode(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_whole(link, b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    write_whole(tmp_path / "fresh", b"x")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o666 & ~mask


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "r.json"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError, match="No space left"):
        write_whole(target, b"new")
    assert target.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_lone_surrogate_can_be_written_in_every_form(statement: dict[str, Any], tmp_path: Path) -> None:
    statement["basis"] = ["\ud800 and 東京"]
    for name in ("r.html", "r.json", "r.md", "r.csv", "out"):
        write_report(statement, tmp_path / name)
    assert read_report(tmp_path / "r.json") == read_report(tmp_path / "r.html") == statement


# One process starts children that write two reports in turn without end, and kills each at a random moment.
# argv: target, how to write, kills. It prints how the target was found.
KILLS = """
import json, os, random, signal, sys, time
from collections import Counter
from pathlib import Path
from solvent.report.write import write_whole, write_report
target, how, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
old, new = b"old" * 200_000, b"new!" * 250_000
write = write_whole if how == "whole" else lambda path, content: path.write_bytes(content)
found, dice = Counter(), random.Random(11)
for i in range(kills):
    if i % 10 == 0:
        target.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            while True:
                write(target, old)
                write(target, new)
        finally:
            os._exit(1)
    time.sleep(dice.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    content = target.read_bytes() if target.exists() else None
    found["absent" if content is None else "old" if content == old else "new" if content == new else "torn"] += 1
print(json.dumps(found))
"""


def _kill(tmp_path: Path, repo: Path, how: str, kills: int) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path / "r.html"), how, str(kills)],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(repo / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_hundred_kills_leave_no_torn_report(tmp_path: Path, repo: Path) -> None:
    found = _kill(tmp_path, repo, "whole", 100)
    assert sum(found.values()) == 100 and "torn" not in found, found
    assert found.get("old", 0) + found.get("new", 0) > 20, found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_kills_would_tear_a_plain_write(tmp_path: Path, repo: Path) -> None:
    assert _kill(tmp_path, repo, "plain", 100).get("torn", 0) > 0

"""Progress on a terminal: shown when a wait is long, with what was told last; a short wait costs nothing."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import solvent
from solvent.cli import progress as module
from solvent.cli.progress import progress

LIMIT_S = 20.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch: pytest.MonkeyPatch, patience_s: float) -> Terminal:
    """Standard error as a terminal. No fixture: pytest puts its own in place when a test begins."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(module, "PATIENCE_S", patience_s)
    return made


def until(true: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + LIMIT_S
    while not true() and time.monotonic() < end_s:
        time.sleep(0.01)
    return true()


def test_a_long_wait_shows_what_was_told_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch, 0.05)
    with progress() as tell:
        tell("reading", 0.25)
        assert until(lambda: "reading" in terminal.getvalue())
        tell("pricing", None)
        assert until(lambda: "pricing" in terminal.getvalue())
    # Taken away at the end: the cursor is shown again and the line erased.
    assert terminal.getvalue().endswith("\x1b[2K")


def test_a_name_is_shown_harmless_and_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch, 0.05)
    with progress() as tell:
        tell("a[/b]\x1b[31m\udcff", None)
        assert until(lambda: "a[/b]\\x1b[31m\\xff" in terminal.getvalue())


def test_the_time_counts_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = iter([1000.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(now_s, 1075.0))
    terminal = terminal_of(monkeypatch, 0.05)
    with progress():
        assert until(lambda: "0:01:15" in terminal.getvalue())


def test_a_fault_ends_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch, 0.0)
    with pytest.raises(ZeroDivisionError), progress() as tell:
        tell("dividing")
        assert until(lambda: "dividing" in terminal.getvalue())
        raise ZeroDivisionError
    assert terminal.getvalue().endswith("\x1b[2K")


def test_no_terminal_is_told_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    with progress() as tell:
        tell("reading", 0.5)
        time.sleep(0.05)
    assert capsys.readouterr() == ("", "")


def test_a_short_wait_imports_no_rich() -> None:
    code = (
        "import sys; sys.stderr.isatty = lambda: True; from solvent.cli.progress import progress\n"
        "with progress() as tell: tell('loading')\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] == 'rich'))"
    )
    source = str(Path(solvent.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={"PYTHONPATH": source}
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")

"""Writes docs/reference/cli.md from `--help`: every command, its arguments and options, as the program prints them.

Enter at `page`; tests/e2e/test_docs.py compares. As a script it writes the page.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "cli.md"
COLUMNS = "110"

HEAD = """# Commands

Made from `--help` by `make docs`; a test compares it with the program.

Results go to stdout; notes, progress and faults to stderr. `--json` prints one JSON document with a `schema` field.
`--debug`, anywhere on the line, shows the traceback of a fault.

| exit code | means |
|---|---|
| 0 | done |
| 1 | the check failed: the policy (`audit --check`), or the claims (`claims --check`) |
| 2 | bad input: one line says where, what was found, what was expected, what to do |
| 70 | a fault of solvent's own; please report it |
| 130 | interrupted |
| 141 | the reader of a pipe went away |
| 143 | terminated (SIGTERM); what was begun is cleaned up, as after Ctrl-C |
"""


def page() -> str:
    """The page's text."""
    from solvent.cli.main import COMMANDS

    parts = [HEAD, section("solvent", help_of())]
    parts += [section(f"solvent {name}", help_of(name)) for name in COMMANDS]
    return "\n".join(parts)


def section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```\n"


def help_of(*words: str) -> str:
    """What `solvent WORDS --help` prints, at a fixed width."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": COLUMNS, "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "solvent", *words, "--help"],
        env=env, capture_output=True, text=True, check=True, encoding="utf-8",
    )  # fmt: skip
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def main() -> None:
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()

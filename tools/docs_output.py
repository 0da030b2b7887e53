"""Runs the code blocks of the docs, and writes what the commands print back into the pages.

A page is run from top to bottom in one fresh folder that holds `examples/`; `home/` is the home folder there.

  ```sh        runs, and must exit 0
  ```console   lines that start with `$ ` run; what stands below each is what it prints, stdout and stderr
  ```toml      a project file or a part of one; after `<!-- claims -->` a claims file, after `<!-- prices -->` prices
  ```text      shown, never run; so are csv and json unless a file name stands above

`<!-- file: NAME -->` above a block writes it to that file; `<!-- first: COMMAND -->` runs a command that
the page doesn't show, `<!-- not run: why -->` leaves a block out.
Enter at `run_page`; tests/e2e/test_docs.py compares. As a script it brings every page up to date, and a page
that is named also where it shows no output yet.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (file|first|claims|prices|not run)(?:: ([^\n]+?))? -->\n\Z")
KINDS = ("sh", "console", "toml", "csv", "json", "text")
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. mark, detail: what the comment above it says.   start, end: where its text lies in the page."""

    kind: str
    text: str
    mark: str
    detail: str
    line: int
    start: int
    end: int


class BlockFault(Exception):
    """A block that doesn't run, or doesn't parse."""


def pages() -> list[Path]:
    """Every page whose blocks run."""
    folders = ("tutorial", "how-to", "explanation")
    return [ROOT / "README.md", *(p for folder in folders for p in sorted((ROOT / "docs" / folder).glob("*.md")))]


def blocks(page: str) -> Iterator[Block]:
    for match in _FENCE.finditer(page):
        mark = _MARK.search(page, 0, match.start())
        line = page.count("\n", 0, match.start()) + 1
        kind, detail = (mark[1], mark[2] or "") if mark else ("", "")
        yield Block(match[1], match[2], kind, detail, line, match.start(2), match.end(2))


def run_page(path: Path, folder: Path, fill: bool = False) -> str:
    """Runs a page in `folder` and returns its text with the outputs that the commands print now.

    fill: also below the commands of a transcript that shows no output at all; else these only run, and must exit 0.

    Raises: BlockFault (a command that fails, a block that doesn't parse or is of no known kind).
    """
    prepare(folder)
    page = path.read_text("utf-8")
    parts, done = [], 0
    for block in blocks(page):
        parts.append(page[done : block.start])
        try:
            parts.append(_run_block(block, folder, fill))
        except BlockFault as fault:
            raise BlockFault(f"{path.name}:{block.line}: {fault}") from None
        done = block.end
    return "".join([*parts, page[done:]])


def prepare(folder: Path) -> None:
    """The folder as a reader of the docs has it: the examples, a coding agent's sessions, `solvent` on the path."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    session = folder / "home" / ".claude" / "projects" / "shop" / "session.jsonl"
    session.parent.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "golden" / "usage" / "claude_code.jsonl", session)
    command = folder / ".bin" / "solvent"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m solvent "$@"\n')
    command.chmod(0o755)


def _run_block(block: Block, folder: Path, fill: bool) -> str:
    if block.kind not in KINDS:
        raise BlockFault(f"a block of the kind {block.kind!r}; one of {', '.join(KINDS)} is expected")
    if block.mark == "not run":
        if not block.detail:
            raise BlockFault("`not run` without a reason")
        return block.text
    if block.mark == "first" and shell(block.detail, folder).returncode:
        raise BlockFault(f"`{block.detail}` fails")
    if block.mark == "file":
        path = folder / block.detail
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")
    if block.kind == "toml":
        _parse(block, folder)
    elif block.kind == "console":
        return _transcript(block.text, folder, fill)
    elif block.kind == "sh":
        _succeed(block.text, folder)
    return block.text


def _succeed(command: str, folder: Path) -> None:
    done = shell(command, folder)
    if done.returncode:
        raise BlockFault(f"exits {done.returncode}: {done.stdout[-2000:]}")


def _parse(block: Block, folder: Path) -> None:
    from solvent.errors import SolventError
    from solvent.money.claims.file import load as load_claims
    from solvent.money.prices.own import read_files
    from solvent.money.project import parse

    path = folder / (block.detail if block.mark == "file" else ".block.toml")
    path.write_text(block.text, "utf-8")
    raw = tomllib.loads(block.text, parse_float=Decimal)
    try:
        if block.mark == "claims" or "claims" in raw:
            load_claims(path)
        elif block.mark == "prices" or set(raw) == {"rates"}:
            read_files([path])
        else:
            parse(raw, path)
    except SolventError as fault:
        raise BlockFault(str(fault)) from None


def _transcript(text: str, folder: Path, fill: bool) -> str:
    """The transcript with each command's output as it is now."""
    parts: list[str] = []
    lines = text.splitlines()
    if lines and not fill and all(line.startswith("$ ") for line in lines):
        for line in lines:
            _succeed(line[2:], folder)
        return text
    for line in lines:
        if line.startswith("$ "):
            output = shell(line[2:], folder).stdout
            printed = "\n".join(part.rstrip() for part in output.splitlines()).rstrip("\n")
            if "solvent: a bug:" in printed:
                raise BlockFault(f"`{line[2:]}` meets a bug: {printed}")
            parts += [line, *printed.splitlines()]
    if not parts:
        raise BlockFault("a transcript without a line that starts with `$ `")
    return "\n".join(parts) + "\n"


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as a reader would; stdout and stderr come together, colour and width are a plain pipe's."""
    keep = {name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")}
    path = f"{folder / '.bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    env = {**keep, "PATH": path, "HOME": str(folder / "home"), "PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1"}
    return subprocess.run(
        ["bash", "-eu", "-c", command],
        cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S,
        encoding="utf-8",
    )  # fmt: skip


def main() -> None:
    named = [Path(name).resolve() for name in sys.argv[1:]]
    for path in named or pages():
        with tempfile.TemporaryDirectory(prefix="solvent-docs-") as folder:
            new = run_page(path, Path(folder), fill=bool(named))
        if new != path.read_text("utf-8"):
            path.write_text(new, "utf-8")
            print(f"{path.relative_to(ROOT)}: outputs brought up to date")


if __name__ == "__main__":
    main()

"""Writes a statement as a report: .html, .json, .md, .csv, or a folder of CSV files.

A report appears whole or not at all: it is written beside its target, flushed to the disk, and renamed over it.
A path that ends in .csv gets the table of customers; a path without suffix becomes a folder with every table.
Enter at `write_report`; `read_report` reads JSON and HTML back.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from solvent.errors import ReportError
from solvent.report.read import read_report
from solvent.report.schema import checked

__all__ = ["read_report", "write_report"]

SUFFIXES = (".html", ".json", ".md", ".csv")


def write_report(statement: Mapping[str, Any], path: Path) -> None:
    """Writes the report that the path's suffix asks for; an existing one is replaced in one step.

    A folder that exists keeps its other files; each of its tables is replaced whole, one after the other.
    Raises: ReportError (unknown suffix, no such folder, nothing writable there, not a statement).
    """
    checked(dict(statement), "statement")
    suffix = path.suffix.lower()
    if not suffix or path.is_dir():
        _write_folder(statement, path)
    elif suffix in SUFFIXES:
        write_whole(path, render(statement, suffix).encode("utf-8"))
    else:
        raise ReportError(
            str(path), f"unknown suffix {path.suffix!r}", ", ".join((*SUFFIXES, "or none for a folder of tables"))
        )


def render(statement: Mapping[str, Any], suffix: str) -> str:
    """The text of a report in one of `SUFFIXES`."""
    if suffix == ".html":
        from solvent.report.html import page

        return page(statement)
    if suffix == ".md":
        from solvent.report.markdown import markdown

        return markdown(statement)
    if suffix == ".csv":
        from solvent.report.csv_tables import customers_csv

        return customers_csv(statement)
    # A lone surrogate can stand in a statement that was read from JSON, but in no UTF-8 file.
    text = json.dumps(statement, indent=1, ensure_ascii=False, allow_nan=False)
    return (text if text.isascii() or _is_utf8(text) else json.dumps(statement, indent=1, allow_nan=False)) + "\n"


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def write_whole(path: Path, content: bytes) -> None:
    """The file appears with this content or stays as it was; a link is followed, not replaced.

    Raises: ReportError (no such folder, not a file, not writable).
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise ReportError(str(path), "not a file", "a path for a report")
    if not target.parent.is_dir():
        raise ReportError(
            str(path), f"no folder {str(path.parent)!r}", "a folder that exists", f"mkdir -p {path.parent}"
        )
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), _mode(target))
            os.fsync(file.fileno())
        os.replace(temporary, target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        raise ReportError(
            str(path), f"can't be written ({error.strerror})", "a writable place with room for it"
        ) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _mode(target: Path) -> int:
    """The mode of the file that is replaced, or what an ordinary new file would get."""
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0o022)
        os.umask(mask)
        return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Without this the rename itself may be lost with the power; some file systems don't offer it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_folder(statement: Mapping[str, Any], path: Path) -> None:
    from solvent.report.csv_tables import all_csv

    files = all_csv(statement)
    target = Path(os.path.realpath(path))
    if target.is_dir():
        for name, text in files.items():
            write_whole(target / name, text.encode("utf-8"))
        return
    if target.exists() or not target.parent.is_dir():
        found = "a file stands there" if target.exists() else f"no folder {str(target.parent)!r}"
        raise ReportError(str(path), found, "a new folder, or one that exists")
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".tmp"))
    try:
        for name, text in files.items():
            write_whole(temporary / name, text.encode("utf-8"))
        temporary.chmod(0o755)
        os.rename(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise ReportError(
            str(path), f"can't be written ({error.strerror})", "a writable place with room for it"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

"""Reads a report back: a statement from a JSON report, or the one embedded in an HTML report.

A report may come from anywhere: its size is bounded and its shape checked before anything uses it.
Enter at `read_report`.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NoReturn

from solvent.errors import ReportError
from solvent.report.embedded import unpack
from solvent.report.schema import checked

MAX_BYTES = 256 << 20
DATA_ID = "solvent-statement"
_DATA = re.compile(rf'<script type="application/json" id="{DATA_ID}">([^<]*)</script>')


def read_report(path: Path) -> dict[str, Any]:
    """The statement in a report; one from HTML holds the rows that the page holds.

    Raises: ReportError (missing, too large, neither JSON nor an HTML report, not a statement).
    """
    text = _text(path)
    if text.lstrip("\ufeff \t\r\n")[:1] == "<":
        found = _DATA.search(text)
        if found is None:
            raise ReportError(
                str(path), "a page without a statement in it", "an HTML report that `solvent audit` wrote"
            )
        text = found[1]
    try:
        document = json.loads(text.lstrip("\ufeff"), parse_constant=_no_constant)
    except RecursionError:
        raise ReportError(str(path), "nested too deeply", "a JSON or HTML report") from None
    except ValueError as error:
        # Integers of many thousand digits are a ValueError too; both say what they are in one line.
        raise ReportError(str(path), f"not JSON: {str(error)[:200]}", "a JSON or HTML report") from None
    try:
        statement = unpack(document) if isinstance(document, dict) else document
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ReportError(
            str(path), "tables that don't fit their columns", "a report that `solvent audit` wrote"
        ) from None
    return checked(statement, str(path))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if not path.is_file():
                raise ReportError(str(path), "not a file", "a JSON or HTML report")
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise ReportError(str(path), "too large", f"a report of at most {MAX_BYTES >> 20} MiB")
            return file.read(MAX_BYTES + 1).decode("utf-8")
    except UnicodeDecodeError:
        raise ReportError(str(path), "not UTF-8 text", "a JSON or HTML report") from None
    except OSError as error:
        raise ReportError(str(path), f"can't be read ({error.strerror})", "a JSON or HTML report") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")

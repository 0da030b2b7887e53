"""The text of a CSV file, record by record: on which line each starts, and a copy that any parser can read.

DuckDB reads the rows of CSV files. Here is what it can't do: one line with a broken quote, or with another line
ending, makes it lose the lines after it or give up. `tidy` copies the file with one kind of line ending and a blank
line in the place of each broken one, so that lines keep their numbers; `line_numbers` turns rows into lines.
A clean log is never read by this file. Enter at `tidy`, `line_numbers`. Source: RFC 4180 §2.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import BinaryIO

_BOM = b"\xef\xbb\xbf"


@cache
def _record(delimiter: str) -> re.Pattern[bytes]:
    """One record up to its line ending. Possessive throughout: linear in the length, however hostile the text."""
    cut = re.escape(delimiter.encode())
    quoted = rb' *+"(?:[^"]++|"")*+" *+'
    plain = rb'(?! *+")[^\r\n' + cut + rb"]*+"
    field = rb"(?:" + quoted + rb"|" + plain + rb")"
    return re.compile(field + rb"(?:" + cut + field + rb")*+(?=\r?\n|\Z)")


def _records(text: mmap.mmap, delimiter: str) -> Iterator[tuple[int, int, int, bool]]:
    """(start, end without the line ending, start of the next, whether it is a record) over the whole file.

    A line that breaks the quoting ends at its own line ending, so that it takes no other with it.
    """
    match = _record(delimiter).match
    position = 3 if text[:3] == _BOM else 0
    size = len(text)
    while position < size:
        found = match(text, position)
        if found is not None:
            end = found.end()
            after = end + (2 if text[end : end + 1] == b"\r" else 1)
        else:
            newline = text.find(b"\n", position)
            end = after = size if newline < 0 else newline
            after += 1
        yield position, end, min(after, size), found is not None
        position = after


def _mapped(file: BinaryIO) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def tidy(source: Path, target: Path, delimiter: str) -> list[int]:
    """Copies a CSV file with `\\n` after every record and a blank line in place of every broken one.

    → the numbers (from 1) of the lines that were broken. Text inside quotes stays as it is.
    """
    broken: list[int] = []
    line = 1
    with source.open("rb") as file, target.open("wb") as out, _mapped(file) as text:
        for start, end, after, whole in _records(text, delimiter):
            if whole:
                out.write(text[start:end])
            else:
                broken.append(line)
            out.write(b"\n")
            line += text[start:after].count(b"\n")
    return broken


def is_tidy(path: Path, delimiter: str) -> bool:
    """Whether no record of a CSV file breaks the quoting, and all end alike."""
    endings: set[bytes] = set()
    with path.open("rb") as file, _mapped(file) as text:
        for _, end, after, whole in _records(text, delimiter):
            if after > end:
                endings.add(text[end:after])
            if not whole or len(endings) > 1:
                return False
    return True


def line_numbers(path: Path, delimiter: str, skipped: Collection[int], rows: Sequence[int]) -> dict[int, int]:
    """Row (from 1, without header, blank lines and the records whose numbers are in `skipped`) → its line."""
    wanted = set(rows)
    found: dict[int, int] = {}
    row = -1
    for number, line, blank in _numbered(path, delimiter):
        if not blank and number not in skipped:
            row += 1
            if row in wanted:
                found[row] = line
                if len(found) == len(wanted):
                    break
    return found


def lines_of_records(path: Path, delimiter: str, numbers: Sequence[int]) -> dict[int, int]:
    """Number of a record (from 1, header and blank lines counted) → the line that it starts on."""
    wanted, found = set(numbers), {}
    for number, line, _ in _numbered(path, delimiter):
        if number in wanted:
            found[number] = line
            if len(found) == len(wanted):
                break
    return found


def _numbered(path: Path, delimiter: str) -> Iterator[tuple[int, int, bool]]:
    """(number of the record, line on which it starts, whether it is blank)."""
    line = 1
    with path.open("rb") as file, _mapped(file) as text:
        for number, (start, end, after, _) in enumerate(_records(text, delimiter), 1):
            yield number, line, start == end
            line += text[start:after].count(b"\n")

"""The rows of a CSV file whose cells hold nested JSON, as records for a reader: column → text.

Flat tables are read in SQL (`tabular`); this is for the few that need a reader's knowledge of usage.
Enter at `table_records`. Source: RFC 4180 §2.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from solvent.money.usage.sources import Malformed, SourceFile, lines

MAX_CELL_CHARS = 4 << 20
MAX_COLUMNS = 1_000


class _Text:
    """The lines of a file as text; a line that is cut off or no UTF-8 is kept aside as a fault."""

    def __init__(self, file: SourceFile) -> None:
        self._lines = lines(file)
        self.faults: list[tuple[int, Malformed]] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for number, line in self._lines:
            self.number = number
            if isinstance(line, Malformed):
                self.faults.append((number, line))
                continue
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError:
                self.faults.append((number, Malformed("malformed", "not UTF-8 text")))


def table_records(file: SourceFile) -> Iterator[tuple[int, dict[str, Any] | Malformed]]:
    """Every row under the header with the line it ends on; a row of another width is a `Malformed`."""
    csv.field_size_limit(MAX_CELL_CHARS)
    text = _Text(file)
    rows = csv.reader(iter(text), strict=True)
    names: list[str] | None = None
    while True:
        try:
            row = next(rows, None)
        except csv.Error:
            yield text.number, Malformed("malformed", "quotes that don't close, or a cell that is too long")
            row = []
        yield from text.faults
        text.faults.clear()
        if row is None:
            return
        if names is None and row:
            names = row[:MAX_COLUMNS]
        elif row and names is not None:
            if len(row) != len(names):
                yield text.number, Malformed("malformed", "a row with more or fewer cells than the header")
            else:
                yield text.number, dict(zip(names, row, strict=True))

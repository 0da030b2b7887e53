"""Traces of real traffic: when each request came, and how many tokens it read and made.

Two formats, told apart by their first line: CSV with TIMESTAMP,ContextTokens,GeneratedTokens (Azure) and JSONL with
timestamp (ms), input_length, output_length (Mooncake). Rows are put in order of arrival; a row that can't be read is
an error that names its line, never left out.
Enter at `read_trace`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec

from solvent.errors import MeasureError

MAX_BYTES = 256 << 20
MAX_LINE_CHARS = 1 << 20
MAX_TOK = 10_000_000
MAX_S = 10 * 366 * 86_400.0
CSV_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


@dataclass(frozen=True, slots=True)
class Row:
    """One request of a trace; at_s counts from whatever the trace counts from."""

    at_s: float
    input_tok: int
    output_tok: int


def read_trace(path: Path, limit: int | None = None) -> list[Row]:
    """The first `limit` requests by arrival.

    Raises: MeasureError (unreadable, too large, of neither format, a bad row, no row)"""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise MeasureError(str(path), f"{path.stat().st_size:,} bytes", f"at most {MAX_BYTES:,}", "cut it")
        with path.open("r", encoding="utf-8-sig", newline="") as stream:
            rows = list(_rows(stream, path))
    except OSError as fault:
        raise MeasureError(str(path), f"can't be read ({fault.strerror})", "a trace") from None
    except UnicodeDecodeError as fault:
        raise MeasureError(str(path), f"byte {fault.start} isn't UTF-8", "text") from None
    if not rows:
        raise MeasureError(str(path), "no request", "at least one row")
    rows.sort(key=lambda row: row.at_s)
    return rows[:limit]


def _rows(stream: IO[str], path: Path) -> Iterator[Row]:
    first = stream.readline(MAX_LINE_CHARS)
    if first.lstrip().startswith("{"):
        number = 1
        line = first
        while line:
            if line.strip():
                yield _mooncake(line, f"{path}:{number}")
            line = stream.readline(MAX_LINE_CHARS)
            number += 1
        return
    names = [name.strip() for name in first.split(",")]
    if any(name not in names for name in CSV_COLUMNS):
        found = first.strip()[:80] or "nothing"
        raise MeasureError(f"{path}:1", repr(found), "a header with " + ",".join(CSV_COLUMNS) + ", or JSON lines")
    places = [names.index(name) for name in CSV_COLUMNS]
    reader = csv.reader(stream)
    try:
        for cells in reader:
            if cells:
                yield _azure(cells, places, f"{path}:{reader.line_num + 1}")
    except csv.Error as fault:
        raise MeasureError(f"{path}:{reader.line_num + 1}", str(fault), "a row of CSV") from None


def _azure(cells: list[str], places: list[int], where: str) -> Row:
    if len(cells) <= max(places):
        raise MeasureError(where, f"{len(cells)} columns", f"at least {max(places) + 1}")
    at, read, made = (cells[place] for place in places)
    try:
        moment = datetime.fromisoformat(_microseconds(at.strip()))
    except ValueError:
        raise MeasureError(where, f"TIMESTAMP {at[:40]!r}", "a time such as 2023-11-16 18:17:03.9799600") from None
    return Row(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp(), _tok(read, where), _tok(made, where))


def _microseconds(text: str) -> str:
    """Azure writes seven places of a second; Python reads six."""
    head, dot, places = text.partition(".")
    return f"{head}.{places[:6]}" if dot and places.isdecimal() else text


def _mooncake(line: str, where: str) -> Row:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        found = None
    if not isinstance(found, dict):
        raise MeasureError(where, repr(line[:60]), "a JSON object")
    at_ms = found.get("timestamp")
    if isinstance(at_ms, bool) or not isinstance(at_ms, int | float) or not 0 <= at_ms <= 1e3 * MAX_S:
        raise MeasureError(f"{where}: timestamp", repr(at_ms)[:60], "milliseconds")
    return Row(at_ms / 1e3, _tok(found.get("input_length"), where), _tok(found.get("output_length"), where))


def _tok(found: Any, where: str) -> int:
    """A count of tokens, at least 1: nothing can be asked of no token."""
    if isinstance(found, str) and found.strip().isdecimal() and len(found) <= 12:
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= MAX_TOK:
        raise MeasureError(where, f"{str(found)[:40]!r} tokens", f"a whole number from 1 to {MAX_TOK:,}")
    return found

"""Stages a nested log: every record through its reader, every row into a DuckDB table of canonical requests.

Rows go in by batches of NumPy columns, the fastest way that needs no further library; memory is bounded by a batch.
Rows in = n_rows + n_rejected, always; records that aren't requests are counted apart.
What it doesn't do: drop duplicates (`cells`), price. Enter at `stage`.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from solvent.errors import LogError
from solvent.money.usage.problems import Problems
from solvent.money.usage.readers.outcome import NotARequest, Outcome, Reading, RecordReader, Reject, Row
from solvent.money.usage.recognise import FORMATS, SPENDLOGS_TABLE
from solvent.money.usage.relation import identifier
from solvent.money.usage.sources import Malformed, SourceFile, records
from solvent.money.usage.table import table_records
from solvent.records import REQUEST_COLUMNS

if TYPE_CHECKING:
    import duckdb

BATCH_ROWS = 1 << 15
# Distinct unknown keys that are told apart; a hostile log can't grow the table further.
MAX_UNKNOWN_KEYS = 1_000
MAPPABLE = ("at", "request_id", "output_id", "customer", "feature", "provider", "model", "service")
STATABLE = (*MAPPABLE, "cached", "reasoning")

Progress = Callable[[int], None]
Source = Callable[[SourceFile], Iterator[tuple[int, dict[str, Any] | Malformed]]]


@dataclass(slots=True)
class Staged:
    """What staging a log came to.   unknown_keys: usage key → how many records hold it, all but ignored ones.

    not_requests: why a record was no request → how many.
    """

    n_rows: int = 0
    n_rejected: int = 0
    n_not_requests: int = 0
    problems: Problems = field(default_factory=Problems)
    unknown_keys: Counter[str] = field(default_factory=Counter)
    not_requests: Counter[str] = field(default_factory=Counter)

    @property
    def rows_in(self) -> int:
        return self.n_rows + self.n_rejected


def stage(
    con: duckdb.DuckDBPyConnection,
    files: Sequence[SourceFile],
    reader_name: str,
    table: str,
    reading: Reading | None = None,
    progress: Progress | None = None,
) -> Staged:
    """Reads all files through one reader into `table` (made anew, exactly REQUEST_COLUMNS).

    progress: called with the bytes of each file, as on disk, once it is read.
    Exactness: every record is a row, a rejection or not a request; counts are exact.
    Raises: LogError (unknown reader, a column or constant that nested logs don't have, a file that went away).
    """
    reading = _checked(reading or Reading(), reader_name)
    columns = ", ".join(f"{identifier(name)} {kind}" for name, kind in REQUEST_COLUMNS.items())
    con.execute(f"CREATE OR REPLACE TEMP TABLE {identifier(table)} ({columns})")
    sink = _Sink(con, table, Staged())
    source = table_records if reader_name == SPENDLOGS_TABLE else records
    # Records make no reference cycles, and looking for some costs a tenth of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for file in files:
            try:
                _read(file, source, FORMATS[reader_name](file.label, reading), sink, reading.ignore_keys)
            except OSError as error:
                raise LogError(str(file.path), f"can't be read ({error.strerror or type(error).__name__})") from None
            if progress is not None:
                progress(file.size_bytes)
        sink.flush()
    finally:
        if collecting:
            gc.enable()
    return sink.staged


def _checked(reading: Reading, reader_name: str) -> Reading:
    if reader_name not in FORMATS:
        raise LogError("--format", repr(reader_name), "one of " + ", ".join(FORMATS))
    for where, names, allowed in (("columns", reading.columns, MAPPABLE), ("constants", reading.constants, STATABLE)):
        for name in names:
            if name not in allowed:
                raise LogError(f"[log.{where}]", f"{name!r}; {reader_name} knows its usage", " ".join(allowed))
    for name in ("cached", "reasoning"):
        if reading.constants.get(name, "inside") not in ("inside", "beside"):
            raise LogError(f"[log.constants] {name}", repr(reading.constants[name]), '"inside" or "beside"')
    return reading


class _Sink:
    """Rows on their way into the table, and the count of everything else."""

    def __init__(self, con: duckdb.DuckDBPyConnection, table: str, staged: Staged) -> None:
        self.con = con
        self.table = table
        self.staged = staged
        self.rows: list[Row] = []

    def refuse(self, reject: Reject | Malformed, label: str, line: int) -> None:
        self.staged.n_rejected += 1
        self.staged.problems.add(reject.kind, reject.detail, label, line, getattr(reject, "fix", ""))

    def unknown(self, keys: Iterable[str], label: str, line: int) -> None:
        """Counts a record's unknown keys, each once."""
        for key in set(keys):
            found = self.staged.unknown_keys
            if key not in found and len(found) >= MAX_UNKNOWN_KEYS:
                key = "(further keys)"
            found[key] += 1
            detail = f"usage key `{key}` isn't known, so its cost isn't either"
            fix = f'if it costs nothing: [log] ignore_keys = ["{key}"]'
            self.staged.problems.add("unknown_key", detail, label, line, fix)

    def flush(self) -> None:
        """Writes the batch: `at` from microseconds, texts as objects, buckets as 64-bit integers."""
        if not self.rows:
            return
        self.staged.n_rows += len(self.rows)
        batch: dict[str, Any] = {}
        for (name, kind), values in zip(REQUEST_COLUMNS.items(), zip(*self.rows, strict=True), strict=True):
            if kind == "BIGINT":
                batch[name] = np.array(values, np.int64) if any(values) else np.zeros(len(values), np.int64)
            elif kind == "TIMESTAMP":
                batch[name] = np.array(values, np.int64).view("datetime64[us]")
            else:
                batch[name] = np.array(values, object)
        self.con.register("staged_batch", batch)
        try:
            names = ", ".join(map(identifier, REQUEST_COLUMNS))
            self.con.execute(f"INSERT INTO {identifier(self.table)} SELECT {names} FROM staged_batch")
        finally:
            self.con.unregister("staged_batch")
        self.rows.clear()


def _read(file: SourceFile, source: Source, reader: RecordReader, sink: _Sink, ignored: frozenset[str]) -> None:
    """One file through one reader. source: what yields its records."""
    feed, label, unknown, rows = reader.feed, file.label, reader.unknown_keys, sink.rows
    line = 0
    for line, record in source(file):
        if isinstance(record, Malformed):
            sink.refuse(record, label, line)
            continue
        for outcome in feed(record, line):
            if isinstance(outcome, tuple):
                rows.append(outcome)
            else:
                _count(outcome, sink, label, line)
        if unknown:
            sink.unknown((key for key in unknown if key not in ignored), label, line)
            unknown.clear()
        if len(rows) >= BATCH_ROWS:
            sink.flush()
    for outcome in reader.finish():
        if isinstance(outcome, tuple):
            rows.append(outcome)
        else:
            _count(outcome, sink, label, line)
    sink.unknown((key for key in unknown if key not in ignored), label, line)
    unknown.clear()


def _count(outcome: Outcome, sink: _Sink, label: str, line: int) -> None:
    if isinstance(outcome, Reject):
        sink.refuse(outcome, label, line)
    elif isinstance(outcome, NotARequest):
        sink.staged.n_not_requests += 1
        sink.staged.not_requests[outcome.why] += 1

"""Takes in a log of any format: recognise, map or stage, and give the parts that `cells` sums.

Rows in = accepted + duplicates + rejected, whatever the format; what isn't understood is collected in `Problems`,
never dropped. Enter at `take_in`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from solvent.errors import LogError
from solvent.money.project import Log, Output
from solvent.money.usage.cells import Grid, Grouping, Part, Partial, contested_hashes, full_relation, merge, settle
from solvent.money.usage.columns import ColumnMap, column_map
from solvent.money.usage.locate import locate
from solvent.money.usage.problems import Problems
from solvent.money.usage.recognise import recognise
from solvent.money.usage.relation import identifier, literal, one_row
from solvent.money.usage.sources import SourceFile, find, head
from solvent.money.usage.tabular import FlatLog
from solvent.records import BUCKET_NAMES

if TYPE_CHECKING:
    import duckdb

HEAD_BYTES = 1 << 20
# The shortest row that a log can have, for an upper bound on rows; compressed text shrinks at most so far.
BYTES_PER_ROW, COMPRESSION = 12, 40
# Up to this many rows, cells are kept by the hour.
HOURLY_ROWS = 2_000_000
Progress = Callable[[str, float | None], None]


@dataclass(slots=True)
class Intake:
    """A log that was taken in. rows_in counts every record that reports a request; `partial` holds the accepted."""

    format: str
    files: list[SourceFile]
    partial: Partial
    rows_in: int
    duplicates: int
    rejected: int
    not_requests: int
    problems: Problems
    grid: Grid
    notes: list[str] = field(default_factory=list)
    map: ColumnMap | None = None

    @property
    def accepted(self) -> int:
        return self.rows_in - self.duplicates - self.rejected


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read: the project's [log] and [output], the grid of prices, a forced format."""

    log: Log
    output: Output
    grid: Grid
    format: str | None = None


def _grid(reading: Reading, n_rows_at_most: int) -> Grid:
    """The grid of prices, hour by hour where the log is small enough for that many cells."""
    return reading.grid.hourly() if n_rows_at_most <= HOURLY_ROWS else reading.grid


def grouping_of(output: Output) -> Grouping:
    return Grouping(output.by is not None, output.gap_minutes * 60 if output.gap_minutes else None)


def take_in(con: duckdb.DuckDBPyConnection, paths: Sequence[str | Path], reading: Reading, progress: Progress) -> Intake:
    """Reads everything under `paths` (files, globs, directories) in one format.

    Raises: LogError where nothing is there, nothing is recognised, or a column map can't hold.
    """
    con.execute(f"SET TimeZone={literal(reading.log.zone or 'UTC')}")
    files = find(paths)
    found = recognise(files[0], reading.format or reading.log.format)
    if found.kind == "flat":
        return _take_flat(con, files, found.format_name, reading, progress)
    return _take_staged(con, files, found.format_name, reading, progress)


# ---------------------------------------------------------------------- flat logs


def _take_flat(
    con: duckdb.DuckDBPyConnection, files: list[SourceFile], format_name: str, reading: Reading, progress: Progress
) -> Intake:
    log = flat_log(con, files, reading)
    problems = Problems()
    structural = _structural_rejects(con, log, problems)
    n_at_most = _rows_at_most(con, log, files)
    grid, grouping = _grid(reading, n_at_most), grouping_of(reading.output)
    part = Part(con, log.relation(), grid, grouping, n_at_most)
    progress("looking for duplicates", None)
    contested = contested_hashes([part])
    progress("reading", None)
    partial = merge(con, "log", [part.partial("part", contested)])
    rejected = dict(partial.rejected)
    partial, duplicates = settle(con, partial, grid, grouping)
    n_rejected = sum(rejected.values())
    if n_rejected:
        locate(con, log, rejected, problems)
    intake = Intake(
        format_name, files, partial, partial.n_accepted + duplicates + n_rejected + structural, duplicates,
        n_rejected + structural, 0, problems, grid, list(log.map.notes), log.map)
    for name in log.map.not_understood:
        problems.add("unknown_key", name, log.paths[0], 0, f'map it under [log.columns] or list it in [log] ignore_keys = ["{name}"]', 1)
    return intake


def flat_log(con: duckdb.DuckDBPyConnection, files: Sequence[SourceFile], reading: Reading) -> FlatLog:
    """The flat log with its columns found and mapped."""
    log, output = reading.log, reading.output
    first = files[0]
    kind = _kind(first)
    columns = dict(log.columns)
    if output.by is not None:
        columns["output_id"] = output.by
    delimiter, header = ",", ()
    if kind == "parquet":
        rows = con.execute(f"DESCRIBE SELECT * FROM read_parquet({literal(str(first.path))})").fetchall()
        types = {row[0]: row[1] for row in rows}
    elif kind == "csv":
        delimiter, header = csv_header(first)
        types = dict.fromkeys(header, "VARCHAR")
    else:
        types = dict.fromkeys(_jsonl_keys(con, first), "VARCHAR")
    if {"timestamp", "input_length", "hash_ids"} <= types.keys() and "at" not in columns:
        columns.setdefault("at_offset_ms", "timestamp")
        if "at" not in log.constants:
            raise LogError(str(first.path), "times counted from the start of the trace", "the day that it started",
                           'state it: [log.constants] at = "2026-01-05T00:00:00Z"')
    mapped = column_map(list(types), columns, log.constants, log.ignore_keys, str(first.path))
    if "at" not in mapped.columns and "at" not in mapped.constants and "at_offset_ms" not in mapped.columns:
        raise LogError(str(first.path), "no column holds the time of a request", 'map one, [log.columns] at = "…", or state a day, [log.constants] at = "2026-01-05"')
    return FlatLog(
        tuple(str(f.path) for f in files), kind, mapped, types, log.zone, delimiter, header, log.start, log.end)


def _kind(file: SourceFile) -> str:
    data = head(file, 4096)
    if data.startswith(b"PAR1"):
        return "parquet"
    return "jsonl" if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"{", b"[")) else "csv"


def csv_header(file: SourceFile) -> tuple[str, tuple[str, ...]]:
    """Delimiter and column names of a CSV file. Raises: LogError for an empty file or repeated names."""
    text = head(file, HEAD_BYTES).decode("utf-8-sig", "replace")
    first = text.splitlines()[0] if text.strip() else ""
    if not first:
        raise LogError(str(file.path), "an empty file", "a header and at least one row")
    delimiter = max(",;\t|", key=first.count)
    header = tuple(next(csv.reader(io.StringIO(text), delimiter=delimiter)))
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise LogError(f"{file.path}:1", f"the column {repeated[0]!r} twice", "different names")
    if any(not name for name in header):
        raise LogError(f"{file.path}:1", "a column without a name", "a header with a name for every column")
    return delimiter, header


def _jsonl_keys(con: duckdb.DuckDBPyConnection, file: SourceFile) -> list[str]:
    """The top-level keys of the first records."""
    import msgspec

    keys: dict[str, None] = {}
    for line in head(file, HEAD_BYTES).splitlines()[:2000]:
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(record, dict):
            keys.update(dict.fromkeys(record))
    if not keys:
        raise LogError(str(file.path), "no JSON object in its first lines", "one JSON object a line")
    return list(keys)


def _rows_at_most(con: duckdb.DuckDBPyConnection, log: FlatLog, files: Sequence[SourceFile]) -> int:
    if log.kind == "parquet":
        names = ", ".join(literal(p) for p in log.paths)
        (n_rows,) = one_row(con, f"SELECT sum(num_rows) FROM parquet_file_metadata([{names}])")
        return int(n_rows or 0)
    return sum(f.size_bytes * (COMPRESSION if f.compression else 1) for f in files) // BYTES_PER_ROW


def _structural_rejects(con: duckdb.DuckDBPyConnection, log: FlatLog, problems: Problems) -> int:
    """Lines of a CSV file that aren't rows (too few or many cells, an open quote): counted and placed."""
    if log.kind != "csv":
        return 0
    one_row(con, log.structure_check())
    rows = con.execute(
        "SELECT s.file_path, e.line, min(e.error_type) FROM reject_errors e JOIN reject_scans s USING (scan_id, file_id)"
        " GROUP BY 1, 2 ORDER BY 1, 2").fetchall()
    for path, line, kind in rows:
        problems.add("malformed", str(kind).lower(), path, int(line), "repair or remove the line", 1)
    return len(rows)


# ---------------------------------------------------------------------- nested logs


def _take_staged(
    con: duckdb.DuckDBPyConnection, files: list[SourceFile], format_name: str, reading: Reading, progress: Progress
) -> Intake:
    from solvent.money.usage.staging import stage

    log = reading.log
    if log.columns:
        raise LogError("[log.columns]", f"a column map for a {format_name} log", "none: the reader knows the format")
    default_at = log.constants.get("at")
    staged = stage(con, files, format_name, "staged", log, progress)
    rows = "SELECT * FROM staged"
    if log.constants:
        replaced = ", ".join(
            f"coalesce({identifier(k)}, {literal(str(v))}) AS {identifier(k)}" for k, v in log.constants.items() if k != "at")
        rows = f"SELECT * REPLACE ({replaced}) FROM staged" if replaced else rows
    assert default_at is None or isinstance(default_at, str | int)
    sums = one_row(con, f"SELECT {', '.join(f'sum({b})' for b in BUCKET_NAMES)} FROM staged")
    buckets = tuple(b for b, total in zip(BUCKET_NAMES, sums, strict=True) if total) or ("input_tok", "output_tok")
    grid, grouping = _grid(reading, staged.n_rows), grouping_of(reading.output)
    part = Part(con, full_relation(rows, buckets, prefixes=False), grid, grouping, staged.n_rows)
    partial = part.partial("part", contested_hashes([part]))
    partial, duplicates = settle(con, merge(con, "log", [partial]), grid, grouping)
    return Intake(
        format_name, files, partial, staged.n_rows + staged.n_rejected, duplicates, staged.n_rejected,
        staged.n_not_requests, staged.problems, grid)

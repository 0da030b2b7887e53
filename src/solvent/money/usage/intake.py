"""Takes in a log of any format: recognise, map or stage, and give the parts that `cells` sums.

Rows in = accepted + duplicates + rejected, whatever the format; what isn't understood is collected in `Problems`,
never dropped. Enter at `take_in`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from solvent.errors import LogError
from solvent.money.project import Log, Output
from solvent.money.usage.cells import Grid, Grouping, Part, Partial, contested_hashes, full_relation, merge, settle
from solvent.money.usage.columns import ColumnMap
from solvent.money.usage.flat import flat_log, unpack
from solvent.money.usage.locate import locate
from solvent.money.usage.problems import Problems
from solvent.money.usage.readers.outcome import Reading as RecordReading
from solvent.money.usage.recognise import FLAT, FORMATS, recognise
from solvent.money.usage.relation import literal, one_row
from solvent.money.usage.sources import SourceFile, find
from solvent.money.usage.tabular import FlatLog
from solvent.money.usage.watch import watched
from solvent.records import BUCKET_NAMES

if TYPE_CHECKING:
    import duckdb

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


def take_in(
    con: duckdb.DuckDBPyConnection, paths: Sequence[str | Path], reading: Reading, progress: Progress
) -> Intake:
    """Reads everything under `paths` (files, globs, directories) in one format.

    Raises: LogError where nothing is there, nothing is recognised, or a column map can't hold.
    """
    con.execute(f"SET TimeZone={literal(reading.log.zone or 'UTC')}")
    files = find(paths)
    name = reading.format or reading.log.format or recognise(files[0]).format_name
    if name in FORMATS:
        return _take_staged(con, files, name, reading, progress)
    if name not in FLAT:
        raise LogError("--format", repr(name), "one of " + ", ".join((*FORMATS, *FLAT)))
    return _take_flat(con, files, name, reading, progress)


# ---------------------------------------------------------------------- flat logs


def _take_flat(
    con: duckdb.DuckDBPyConnection, files: list[SourceFile], format_name: str, reading: Reading, progress: Progress
) -> Intake:
    import duckdb as duck

    problems = Problems()
    try:
        return _sum_flat(con, files, format_name, reading, problems, progress)
    except duck.IOException as error:
        if all(file.compression == "none" for file in files):
            raise LogError(files[0].label, str(error).splitlines()[0], "a file that can be read") from None
    with tempfile.TemporaryDirectory(prefix="solvent-") as folder:
        problems = Problems()
        unpacked = unpack(files, Path(folder), problems)
        intake = _sum_flat(con, unpacked, format_name, reading, problems, progress)
    intake.files = files
    return intake


def _sum_flat(
    con: duckdb.DuckDBPyConnection,
    files: list[SourceFile],
    format_name: str,
    reading: Reading,
    problems: Problems,
    progress: Progress,
) -> Intake:
    """Sums the files; those packed alike are read as one part."""
    n_at_most = 0
    structural = 0
    logs = []
    for compression in sorted({file.compression for file in files}):
        alike = [file for file in files if file.compression == compression]
        log = flat_log(con, alike, reading.log, reading.output)
        logs.append(log)
        structural += _structural_rejects(con, log, problems)
        n_at_most += _rows_at_most(con, log, alike)
    grid, grouping = _grid(reading, n_at_most), grouping_of(reading.output)
    parts = [Part(con, log.relation(), grid, grouping, n_at_most) for log in logs]
    with watched(con, "looking for duplicates", progress):
        contested = contested_hashes(parts)
    with watched(con, "reading", progress):
        partials = [part.partial(f"part{i}", contested) for i, part in enumerate(parts)]
    for log, one in zip(logs, partials, strict=True):
        if one.rejected:
            locate(con, log, one.rejected, problems)
    partial = merge(con, "log", partials)
    n_rejected = sum(partial.rejected.values())
    partial, duplicates = settle(con, partial, grid, grouping)
    first = logs[0]
    for name in first.map.not_understood:
        problems.add(
            "unknown_key",
            name,
            files[0].label,
            0,
            f"map it under [log.columns] or list it: [log] ignore_keys = [{json.dumps(name)}]",
        )
    return Intake(
        format_name,
        files,
        partial,
        partial.n_accepted + duplicates + n_rejected + structural,
        duplicates,
        n_rejected + structural,
        0,
        problems,
        grid,
        list(first.map.notes),
        first.map,
    )


def _rows_at_most(con: duckdb.DuckDBPyConnection, log: FlatLog, files: Sequence[SourceFile]) -> int:
    if log.kind == "parquet":
        names = ", ".join(literal(p) for p in log.paths)
        (n_rows,) = one_row(con, f"SELECT sum(num_rows) FROM parquet_file_metadata([{names}])")
        return int(n_rows or 0)
    return sum(f.size_bytes * (COMPRESSION if f.compression != "none" else 1) for f in files) // BYTES_PER_ROW


def _structural_rejects(con: duckdb.DuckDBPyConnection, log: FlatLog, problems: Problems) -> int:
    """Lines of a CSV file that aren't rows (too few or many cells, an open quote): counted and placed."""
    if log.kind != "csv":
        return 0
    one_row(con, log.structure_check())
    rows = con.execute(
        "SELECT s.file_path, e.line, min(e.error_type) FROM reject_errors e JOIN reject_scans s USING (scan_id, file_id)"
        " GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    for path, line, kind in rows:
        problems.add("malformed", str(kind).lower(), path, int(line), "repair or remove the line", 1)
    return len(rows)


# ---------------------------------------------------------------------- nested logs


def _take_staged(
    con: duckdb.DuckDBPyConnection, files: list[SourceFile], format_name: str, reading: Reading, progress: Progress
) -> Intake:
    from solvent.money.usage.staging import stage

    n_bytes = sum(file.size_bytes for file in files) or 1
    done = 0

    def read(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        progress("reading", done / n_bytes)

    staged = stage(con, files, format_name, "staged", record_reading(reading.log, reading.output), read)
    sums = one_row(con, f"SELECT {', '.join(f'sum({b})' for b in BUCKET_NAMES)} FROM staged")
    buckets = tuple(b for b, total in zip(BUCKET_NAMES, sums, strict=True) if total) or ("input_tok", "output_tok")
    grid, grouping = _grid(reading, staged.n_rows), grouping_of(reading.output)
    part = Part(con, full_relation("SELECT * FROM staged", buckets, prefixes=False), grid, grouping, staged.n_rows)
    partial = part.partial("part", contested_hashes([part]))
    partial, duplicates = settle(con, merge(con, "log", [partial]), grid, grouping)
    return Intake(
        format_name,
        files,
        partial,
        staged.rows_in,
        duplicates,
        staged.n_rejected,
        staged.n_not_requests,
        staged.problems,
        grid,
    )


def record_reading(log: Log, output: Output) -> RecordReading:
    """What the project file says to the readers of nested formats."""
    columns = dict(log.columns)
    if output.by is not None:
        columns["output_id"] = output.by
    constants = {name: value for name, value in log.constants.items() if name != "at"}
    at = log.constants.get("at")
    try:
        default_at = datetime.fromisoformat(str(at)) if at is not None else None
    except ValueError:
        raise LogError("[log.constants] at", repr(at), "a time such as 2026-11-01T00:00:00Z") from None
    if default_at is not None and default_at.tzinfo is None:
        default_at = default_at.replace(tzinfo=log.tz() or UTC)
    return RecordReading(log.tz(), default_at, columns, constants, frozenset(log.ignore_keys))

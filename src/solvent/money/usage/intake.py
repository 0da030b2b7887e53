"""Takes in a log of any format: recognise, map or stage, and give the parts that `cells` sums.

Rows in = accepted + duplicates + rejected, whatever the format; what isn't understood is collected in `Problems`,
never dropped. Enter at `take_in`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from solvent.errors import LogError
from solvent.money.project import Log, Output
from solvent.money.usage.cells import (
    AT_ODDS,
    SAME_REQUEST_S,
    Grid,
    Grouping,
    Hashes,
    Part,
    Partial,
    contested_hashes,
    full_relation,
    merge,
    settle,
)
from solvent.money.usage.columns import INCLUSIVE, SECONDS, ColumnMap
from solvent.money.usage.flat import flat_logs, is_whole, stand_ins
from solvent.money.usage.locate import (
    MEANING,
    NO_DAY,
    UNIQUE_IDS,
    BrokenQuotes,
    locate,
    locate_at_odds,
    structural_rejects,
)
from solvent.money.usage.problems import Group, Problems
from solvent.money.usage.readers.outcome import NO_TIME
from solvent.money.usage.readers.outcome import Reading as RecordReading
from solvent.money.usage.recognise import FLAT, FORMATS, recognise_all
from solvent.money.usage.relation import Relation, literal, one_row
from solvent.money.usage.sources import SourceFile, find
from solvent.money.usage.tabular import FlatLog, path_list
from solvent.money.usage.watch import watched
from solvent.records import BUCKET_NAMES

if TYPE_CHECKING:
    import duckdb

# The shortest row that a log can have, for an upper bound on rows; compressed text shrinks at most so far.
BYTES_PER_ROW, COMPRESSION = 12, 40
# Up to this many rows, cells are kept by the hour.
HOURLY_ROWS = 2_000_000
HOURLY_DAYS = 3
# Problems with times that one stated day would mend.
DAYLESS = (NO_DAY, NO_TIME)
# Formats whose ids are the vendor's own and whose copies carry the time at which they were copied.
COPIES_LATER = ("codex",)
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


def _grid(con: duckdb.DuckDBPyConnection, reading: Reading, relations: Sequence[Relation], n_rows_at_most: int) -> Grid:
    """The grid of prices, hour by hour where the log is small and of few days: else cells come near the rows."""
    if n_rows_at_most > HOURLY_ROWS:
        return reading.grid
    union = " UNION ALL ".join(f'SELECT "at" FROM ({relation.sql}) WHERE problem IS NULL' for relation in relations)
    first, last = one_row(con, f'SELECT min("at"), max("at") FROM ({union})')
    short = first is None or last - first <= timedelta(days=HOURLY_DAYS)
    return reading.grid.hourly() if short else reading.grid


def _maps_counts(log: Log) -> bool:
    return any(log.columns.get(target) for target in (*BUCKET_NAMES, *INCLUSIVE, *SECONDS))


def without_day_or_zone(problems: Problems) -> list[Group]:
    """The problems that hide all others of their rows: times that name no zone, or no day."""
    return [group for group in problems if group.kind == "missing_zone" or group.detail in DAYLESS]


def as_if_in_utc(reading: Reading, timeless: Sequence[Group]) -> Reading:
    """The same reading with a zone, and with a day where the log names none: to look the rest over."""
    constants = dict(reading.log.constants)
    if any(group.detail in DAYLESS for group in timeless):
        constants.setdefault("at", "2026-01-01T00:00:00Z")
    return replace(reading, log=reading.log.model_copy(update={"zone": "UTC", "constants": constants}))


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
    name = reading.format or reading.log.format or recognise_all(files, mapped=_maps_counts(reading.log))
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

    sums = _Sums(con, files, format_name, reading, progress)
    try:
        if all(map(is_whole, files)):
            return sums.of(files, Problems(), {}, 0)
    except duck.BinderException as error:
        found = str(error).splitlines()[0].removeprefix("Binder Error: ")
        raise LogError("[log.columns]", found, "paths that lead to a value") from None
    except (duck.IOException, duck.InvalidInputException, BrokenQuotes):
        pass
    # Something is cut off, damaged or broken: what can be read is read from copies.
    with tempfile.TemporaryDirectory(prefix="solvent-") as folder:
        problems = Problems()
        copies, names, n_lost = stand_ins(files, Path(folder), problems)
        try:
            return sums.of(copies, problems, names, n_lost)
        except (duck.IOException, duck.InvalidInputException) as error:
            raise LogError(files[0].label, str(error).splitlines()[0], "a file that can be read") from None


@dataclass(slots=True)
class _Sums:
    """Sums flat files; those laid out alike are read as one part."""

    con: duckdb.DuckDBPyConnection
    files: list[SourceFile]
    format_name: str
    reading: Reading
    progress: Progress

    def of(self, files: Sequence[SourceFile], problems: Problems, names: dict[str, str], n_lost: int) -> Intake:
        """names: path of a copy → its original.   n_lost: records that the copies don't have."""
        con, reading = self.con, self.reading
        logs = [replace(log, names=names) for log in flat_logs(con, files, reading.log, reading.output)]
        sizes = {str(file.path): file for file in files}
        n_at_most = sum(_rows_at_most(con, log, [sizes[path] for path in log.paths]) for log in logs)
        grid = _grid(con, reading, [log.relation() for log in logs], n_at_most)
        grouping = grouping_of(reading.output)
        parts = [Part(con, log.relation(), grid, grouping, n_at_most) for log in logs]
        with watched(con, "looking for duplicates", self.progress):
            contested = contested_hashes(parts)
        partials = []
        for i, (log, part) in enumerate(zip(logs, parts, strict=True)):
            partials.append(self._one(log, part, f"part{i}", contested, problems))
            n_lost += partials[-1][1]
        partial = merge(con, "log", [one for one, _ in partials])
        contested_name = partial.name
        partial, duplicates = settle(con, partial, grid, grouping)
        if n_at_odds := partial.rejected.get(AT_ODDS, 0):
            locate_at_odds(con, logs, contested_name, n_at_odds, problems)
        n_rejected = sum(partial.rejected.values()) + n_lost
        for log in logs:
            for name in log.map.not_understood:
                fix = f"map it under [log.columns] or list it: [log] ignore_keys = [{json.dumps(name)}]"
                problems.add("unknown_key", name, log.name(log.paths[0]), 0, fix)
        return Intake(
            self.format_name,
            self.files,
            partial,
            partial.n_accepted + duplicates + n_rejected,
            duplicates,
            n_rejected,
            0,
            problems,
            grid,
            list(dict.fromkeys(note for log in logs for note in log.map.notes)),
            logs[0].map,
        )

    def _one(self, log: FlatLog, part: Part, name: str, contested: Hashes, problems: Problems) -> tuple[Partial, int]:
        """A part's partial, and its lines that aren't rows."""
        n_rows, n_lost = structural_rejects(self.con, log, problems) if log.kind == "csv" else (None, 0)
        with watched(self.con, "reading", self.progress):
            partial = part.partial(name, contested)
        (n_contested,) = one_row(self.con, f"SELECT count(*) FROM {name}_contested")
        n_read = partial.n_accepted + n_contested + sum(partial.rejected.values())
        assert n_rows in (None, n_read), f"{n_rows} rows, of which {n_read} were read"
        if partial.rejected:
            locate(self.con, log, partial.rejected, problems)
        return partial, n_lost


def _rows_at_most(con: duckdb.DuckDBPyConnection, log: FlatLog, files: Sequence[SourceFile]) -> int:
    if log.kind == "parquet":
        (n_rows,) = one_row(con, f"SELECT sum(num_rows) FROM parquet_file_metadata({path_list(log.paths)})")
        return int(n_rows or 0)
    return sum(f.size_bytes * (COMPRESSION if f.compression != "none" else 1) for f in files) // BYTES_PER_ROW


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
    relation = full_relation("SELECT * FROM staged", buckets, prefixes=False)
    grid, grouping = _grid(con, reading, [relation], staged.n_rows), grouping_of(reading.output)
    part = Part(con, relation, grid, grouping, staged.n_rows)
    partial = part.partial("part", contested_hashes([part]))
    within_s = None if format_name in COPIES_LATER else SAME_REQUEST_S
    partial, duplicates = settle(con, merge(con, "log", [partial]), grid, grouping, within_s)
    if n_at_odds := partial.rejected.get(AT_ODDS, 0):
        kind, detail, _ = MEANING[AT_ODDS]
        where = files[0].label if len(files) == 1 else ""
        staged.problems.add(kind, detail, where, 0, UNIQUE_IDS, n_at_odds)
    return Intake(
        format_name,
        files,
        partial,
        staged.rows_in,
        duplicates,
        staged.n_rejected + n_at_odds,
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

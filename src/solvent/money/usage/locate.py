"""Says where the rejected rows of a flat log are: file, line, and what to paste into solvent.toml.

The count of every kind comes from the scan itself; here only the first few rows of each kind are looked up,
file by file, after the fact: a clean log never pays for it.
Enter at `locate`, `locate_at_odds` and `structural_rejects`; `MEANING` says what each problem is and what mends it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from solvent.money.usage.cells import AT_ODDS
from solvent.money.usage.csv_text import is_tidy, line_numbers, lines_of_records
from solvent.money.usage.problems import Kind, Problems
from solvent.money.usage.relation import literal, one_row
from solvent.money.usage.sources import SourceFile, open_bytes
from solvent.money.usage.tabular import FlatLog

if TYPE_CHECKING:
    import duckdb

EXAMPLES = 5
MAX_FILES = 200

NO_DAY = "times that name no day"
UNIQUE_IDS = (
    'name a column whose ids are unique: [log.columns] request_id = "…", or say that every row is a request of its'
    ' own: request_id = ""'
)

# Problem in the query → kind for the user, what it means, what mends it.
MEANING: dict[str, tuple[Kind, str, str]] = {
    "malformed": ("malformed", "not a row with the mapped columns", "repair or remove the line"),
    "no_time": ("bad_time", "no time", 'map the column: [log.columns] at = "…"'),
    "no_day": ("bad_time", NO_DAY, 'state it: [log.constants] at = "2026-01-05T00:00:00Z"'),
    "bad_time": ("bad_time", "a time that can't be read", "write times as ISO 8601, such as 2026-11-01T09:30:00Z"),
    "missing_zone": ("missing_zone", "a time without a zone", 'state it: [log] zone = "UTC"'),
    "absurd_time": ("bad_time", "a time before 2015 or after 2099", "correct the clock or the column"),
    "outside_span": ("bad_time", "a time outside [log] start and end", "widen the span or leave the rows out"),
    "no_model": ("no_model", "no model", 'state it: [log.constants] model = "…"'),
    "unknown_service": ("malformed", "a service tier that isn't known", "standard, batch, flex and priority are"),
    "no_usage": ("no_usage", "no count", "leave rows without usage out of the log"),
    "not_a_count": ("malformed", "not a whole number", "write counts as whole numbers"),
    "negative": ("negative", "a negative count", "counts are at least 0"),
    "absurd": ("absurd", "more than any request uses", "the counter is broken, or the unit is wrong"),
    "contradiction": ("contradiction", "a part larger than its whole", "check [log.columns]"),
    "ambiguous_cache": (
        "ambiguous",
        "cached tokens of Anthropic's beside or inside the input",
        "state which: [log.columns] prompt_tok = {column} (inside, as OpenAI counts) or input_tok = {column}"
        " (beside, as Anthropic counts)",
    ),
    AT_ODDS: (
        "contradiction",
        "the same request id with another customer, model or day",
        UNIQUE_IDS,
    ),
}


def _meaning(problem: str) -> tuple[Kind, str, str]:
    """Kind, detail and fix of a problem such as "negative: prompt_tok"."""
    name, _, column = problem.partition(": ")
    kind, text, fix = MEANING[name]
    return kind, f"{text} ({column})" if column else text, fix.replace("{column}", json.dumps(column))


def locate(con: duckdb.DuckDBPyConnection, log: FlatLog, rejected: dict[str, int], problems: Problems) -> None:
    """Adds every rejected row to `problems`: exact counts, the first examples with file and line."""
    wanted = dict(rejected)
    con.execute("SET preserve_insertion_order=true")
    try:
        for path in log.paths[:MAX_FILES]:
            if not wanted:
                break
            _one_file(con, log, path, wanted, problems)
    finally:
        con.execute("SET preserve_insertion_order=false")
    for problem, n in wanted.items():
        kind, detail, fix = _meaning(problem)
        problems.add(kind, detail, log.name(log.paths[-1]), 0, fix, n)


def locate_at_odds(
    con: duckdb.DuckDBPyConnection, logs: Sequence[FlatLog], partial_name: str, n: int, problems: Problems
) -> None:
    """Adds the rows whose id is that of several requests: their count, and where the first id stands."""
    kind, detail, fix = _meaning(AT_ODDS)
    (first,) = one_row(con, f"SELECT min(request_id) FROM {partial_name}_odd")
    n_placed = 0
    con.execute("SET preserve_insertion_order=true")
    try:
        places = [(log, path) for log in logs if log.relation().has_request_id for path in log.paths]
        for log, path in places[:MAX_FILES]:
            if n_placed == EXAMPLES:
                break
            rows = con.execute(
                f"SELECT row_no FROM ({log.located(path)}) WHERE problem IS NULL AND request_id = {literal(first)}"
                f" ORDER BY 1 LIMIT {EXAMPLES - n_placed}"
            ).fetchall()
            lines = _lines(con, log, path, [row for (row,) in rows]) if rows else {}
            for (row,) in rows:
                problems.add(kind, detail, log.name(path), lines.get(row, 0), fix)
            n_placed += len(rows)
    finally:
        con.execute("SET preserve_insertion_order=false")
    if n > n_placed:
        problems.add(kind, detail, "", 0, fix, n - n_placed)


def structural_rejects(con: duckdb.DuckDBPyConnection, log: FlatLog, problems: Problems) -> tuple[int, int]:
    """Lines of a CSV log that aren't rows (too few or many cells, text that isn't UTF-8): counted and placed.

    → (rows that it has, lines that aren't rows).
    Raises: BrokenQuotes, where how many rows there are depends on who reads them.
    """
    con.execute("DROP TABLE IF EXISTS reject_errors")
    con.execute("DROP TABLE IF EXISTS reject_scans")
    n_rows = int(one_row(con, log.structure_check())[0])
    rows = con.execute(
        f"SELECT s.file_path, kind, count(*), list(line ORDER BY line)[1:{EXAMPLES}] FROM"
        " (SELECT scan_id, file_id, line, min(error_type) AS kind FROM reject_errors"
        " GROUP BY ALL) JOIN reject_scans s USING (scan_id, file_id) GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    for path in {path for path, _, _, _ in rows}:
        with _plain(log, path) as plain:
            # DuckDB may call it "too many columns" when a quote that never closes took the next lines with it.
            if not is_tidy(plain, log.delimiter):
                raise BrokenQuotes
    for path, kind, n, numbers in rows:
        # DuckDB's `line` is the number of the record; its byte positions are off where there are blank lines.
        with _plain(log, path) as plain:
            lines = lines_of_records(plain, log.delimiter, numbers)
        detail, fix = str(kind).lower(), "repair or remove the line"
        for number in numbers:
            problems.add("malformed", detail, log.name(path), lines.get(number, 0), fix)
        if n > len(numbers):
            problems.add("malformed", detail, log.name(path), 0, fix, n - len(numbers))
    return n_rows, sum(n for _, _, n, _ in rows)


class BrokenQuotes(Exception):
    """A CSV file has a quote that never closes, or text after one that does."""


def _one_file(
    con: duckdb.DuckDBPyConnection, log: FlatLog, path: str, wanted: dict[str, int], problems: Problems
) -> None:
    names = ", ".join(literal(problem) for problem in wanted)
    rows = con.execute(
        f"SELECT problem, min(row_no), list(row_no ORDER BY row_no)[1:{EXAMPLES}], count(*) FROM ({log.located(path)})"
        f" WHERE problem IN ({names}) GROUP BY problem ORDER BY 2"
    ).fetchall()
    if not rows:
        return
    wanted_rows = [row_no for _, _, row_nos, _ in rows for row_no in row_nos]
    lines = _lines(con, log, path, wanted_rows)
    for problem, _, row_nos, n in rows:
        kind, detail, fix = _meaning(problem)
        counted = min(n, wanted[problem])
        for row_no in row_nos[:counted]:
            problems.add(kind, detail, log.name(path), lines.get(row_no, 0), fix)
        if counted > len(row_nos):
            problems.add(kind, detail, log.name(path), 0, fix, counted - len(row_nos))
        wanted[problem] -= counted
        if not wanted[problem]:
            del wanted[problem]


def _lines(con: duckdb.DuckDBPyConnection, log: FlatLog, path: str, rows: Sequence[int]) -> dict[int, int]:
    """Row, as DuckDB counts it → line of the file; a row of Parquet stays what it is."""
    if log.kind == "parquet":
        return {row: row for row in rows}
    with _plain(log, path) as plain:
        if log.kind == "jsonl":
            return _lines_of_objects(plain, rows)
        rejected = con.execute(
            "SELECT DISTINCT line FROM reject_errors JOIN reject_scans s USING (scan_id, file_id)"
            f" WHERE s.file_path = {literal(path)}"
        ).fetchall()
        return line_numbers(plain, log.delimiter, {number for (number,) in rejected}, rows)


def _lines_of_objects(path: Path, rows: Sequence[int]) -> dict[int, int]:
    """The row-th line that isn't blank → its number."""
    wanted, found, row = set(rows), {}, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            row += not line.isspace()
            if row in wanted and row not in found:
                found[row] = number
                if len(found) == len(wanted):
                    break
    return found


@contextmanager
def _plain(log: FlatLog, path: str) -> Iterator[Path]:
    """The file, unpacked for as long as it is looked at."""
    if log.compression == "none":
        yield Path(path)
        return
    with tempfile.NamedTemporaryFile(prefix="solvent-") as copy:
        with open_bytes(SourceFile(Path(path), log.compression, 0)) as packed:
            shutil.copyfileobj(packed, copy, 1 << 20)
        copy.flush()
        yield Path(copy.name)

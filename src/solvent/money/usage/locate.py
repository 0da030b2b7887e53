"""Says where the rejected rows of a flat log are: file, line, and what to paste into solvent.toml.

The count of every kind comes from the scan itself; here only the first few rows of each kind are looked up,
file by file, after the fact: a clean log never pays for it.
Enter at `locate`; `MEANING` says what each problem is and what mends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvent.money.usage.problems import Kind, Problems
from solvent.money.usage.relation import literal
from solvent.money.usage.tabular import FlatLog

if TYPE_CHECKING:
    import duckdb

EXAMPLES = 5
MAX_FILES = 200

NO_DAY = "times that name no day"

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
}


def _meaning(problem: str) -> tuple[Kind, str, str]:
    """Kind, detail and fix of a problem such as "negative: prompt_tok"."""
    name, _, column = problem.partition(": ")
    kind, text, fix = MEANING[name]
    return kind, f"{text} ({column})" if column else text, fix


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
        problems.add(kind, detail, log.paths[-1], 0, fix, n)


def _one_file(
    con: duckdb.DuckDBPyConnection, log: FlatLog, path: str, wanted: dict[str, int], problems: Problems
) -> None:
    names = ", ".join(literal(problem) for problem in wanted)
    rows = con.execute(
        f"SELECT problem, min(row_no), list(row_no ORDER BY row_no)[1:{EXAMPLES}], count(*) FROM ({log.located(path)})"
        f" WHERE problem IN ({names}) GROUP BY problem ORDER BY 2"
    ).fetchall()
    offset = 1 if log.kind == "csv" else 0
    for problem, _, row_nos, n in rows:
        kind, detail, fix = _meaning(problem)
        counted = min(n, wanted[problem])
        for row_no in row_nos[:counted]:
            problems.add(kind, detail, path, int(row_no) + offset, fix)
        if counted > len(row_nos):
            problems.add(kind, detail, path, 0, fix, counted - len(row_nos))
        wanted[problem] -= counted
        if not wanted[problem]:
            del wanted[problem]

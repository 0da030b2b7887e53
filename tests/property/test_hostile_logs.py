"""Logs by an enemy: names, paths, columns and values that mean something to SQL, globs or Python come out as they are.

No input may crash, hang, count for something else or reach another file: every log ends in an intake that adds up
or in a `LogError`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from solvent.errors import SolventError
from solvent.money.audit.survey import survey
from solvent.money.project import Log, Output, load
from solvent.money.usage.cells import Grid
from solvent.money.usage.intake import Intake, Reading, take_in

HEADER = "at,customer,model,prompt_tok,completion_tok\n"
GOOD = "2026-01-01T00:00:00Z,c,m,100,10\n"
NAMES = (
    "'",
    '"',
    "'; DROP TABLE log_cells; --",
    "$$",
    "\\",
    "%s",
    "{x}",
    "*",
    "a.b",
    "$[0]",
    "problem",
    "row_no",
    "n",
    "c0",
    "raw_model",
    "customer)",
    "\u202e",
    "\U0001f600",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "NULL",
    "(none)",
    "x" * 500,
    "a\tb",
    "\x7f",
    "\x00x",
    "..",
    "🏴\u200d☠",
    "ﷺ",
    "select",
)


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def take(con: duckdb.DuckDBPyConnection, path: Path, **log: Any) -> Intake:
    return take_in(con, [path], Reading(Log(**log), Output(), Grid()), lambda text, share: None)


def customers(con: duckdb.DuckDBPyConnection, intake: Intake) -> list[str | None]:
    return [row[0] for row in con.execute(f"SELECT DISTINCT customer FROM {intake.partial.name}_cells").fetchall()]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_customer_may_be_called_anything(con: duckdb.DuckDBPyConnection, tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text(HEADER + f"2026-01-01T00:00:00Z,{quoted(name)},m,1,1\n")
    record = {"at": "2026-01-01T00:00:00Z", "customer": name, "model": "m", "prompt_tok": 1, "completion_tok": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    for file in ("a.csv", "a.jsonl"):
        assert customers(con, take(con, tmp_path / file)) == [name]


@pytest.mark.parametrize("name", [n for n in NAMES if "\x00" not in n], ids=str)
def test_a_column_may_be_called_anything(con: duckdb.DuckDBPyConnection, tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text(
        f"{quoted(name)},at,model,prompt_tok,completion_tok\nK,2026-01-01T00:00:00Z,m,1,1\n"
    )
    record = {name: "K", "at": "2026-01-01T00:00:00Z", "model": "m", "prompt_tok": 1, "completion_tok": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    for file in ("a.csv", "a.jsonl"):
        assert customers(con, take(con, tmp_path / file, columns={"customer": name})) == ["K"]


PATHS = (
    "a[1].csv",
    "a*.csv",
    "?.csv",
    "it's.csv",
    'q"q.csv',
    "new\nline.csv",
    "{a,b}.csv",
    "[!a].csv",
    "x;--.csv",
    "customer=evil/l.csv",
    "-x.csv",
    "a\\b.csv",
    "$HOME.csv",
    "%41.csv",
    "ü\u202e.csv",
    "a.parquet",
    "a.gz",
)


@pytest.mark.parametrize("name", PATHS, ids=range(len(PATHS)))
def test_a_file_may_be_called_anything(con: duckdb.DuckDBPyConnection, tmp_path: Path, name: str) -> None:
    (tmp_path / "ab.csv").write_text("not,this\n1,2\n")
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEADER + GOOD + "short\n" + GOOD)
    intake = take(con, path)
    assert (intake.rows_in, intake.accepted) == (3, 2)
    (group,) = intake.problems
    assert group.examples == [f"{path}:3"]


TIMES = (
    "infinity",
    "-infinity",
    "epoch",
    "now",
    "today",
    "290309-12-22 (BC) 00:00:00Z",
    "294247-01-10T04:00:54Z",
    "1e400",
    "-9e12",
    "9e16",
    "nan",
    "1e20",
    "2026-01-01T10:00:00 Mars/Base",
    "2026-13-01T00:00:00Z",
    "5000-01-01T00:00:00Z",
    "2026-01-01",
    "2026-01-01T10:00",
    "0",
    "  ",
    "'",
    "10:00:00Z",
    "9" * 400,
    "2026-01-01T24:61:00Z",
)


@pytest.mark.parametrize("value", TIMES, ids=str)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_time_that_is_none_is_rejected(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, value: str, zone: str | None
) -> None:
    if zone and value in ("2026-01-01", "2026-01-01T10:00"):
        return
    (tmp_path / "a.csv").write_text(HEADER + GOOD + f"{quoted(value)},c,m,1,1\n")
    record = {"at": value, "customer": "c", "model": "m", "prompt_tok": 1, "completion_tok": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    assert take(con, tmp_path / "a.csv", zone=zone).rejected == 1
    assert take(con, tmp_path / "a.jsonl", zone=zone).rejected == 1


KINDS = (
    "BOOLEAN",
    "TINYINT",
    "UBIGINT",
    "HUGEINT",
    "UHUGEINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL(20,3)",
    "VARCHAR",
    "BLOB",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_S",
    "TIMESTAMP_NS",
    "TIMESTAMPTZ",
    "INTERVAL",
    "UUID",
    "INTEGER[]",
    "STRUCT(a INTEGER)",
    "MAP(VARCHAR, INTEGER)",
    "ENUM('1', 'm')",
)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("target", ["at", "customer", "model", "request_id", "prompt_tok", "service_tier", "hash_ids"])
def test_a_parquet_column_may_have_any_type(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, kind: str, target: str
) -> None:
    columns = {
        "at": "TIMESTAMPTZ '2026-01-01 00:00:00Z'",
        "customer": "'c'",
        "model": "'m'",
        "prompt_tok": "1",
        "completion_tok": "1",
    }
    columns[target] = f"CAST(NULL AS {kind})"
    rows = [columns, {**columns, target: f"TRY_CAST('1' AS {kind})"}]
    sql = " UNION ALL ".join("SELECT " + ", ".join(f"{v} AS {k}" for k, v in row.items()) for row in rows)
    con.execute(f"COPY ({sql}) TO '{tmp_path}/a.parquet' (FORMAT parquet)")
    for log in ({}, {"zone": "Europe/Berlin"}) if target == "at" else ({},):
        intake = take(con, tmp_path / "a.parquet", **log)
        assert intake.rows_in == 2


@given(data=st.binary(max_size=400))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize(
    "start", [b"", HEADER.encode() + GOOD.encode(), b'{"at":"2026-01-01T00:00:00Z","model":"m","prompt_tok":1}\n']
)
def test_bytes_of_any_kind_end_in_an_intake_or_a_log_error(
    con: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory, start: bytes, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes(start + data)
    try:
        intake = take(con, path)
    except SolventError:
        return
    assert intake.rows_in == intake.accepted + intake.duplicates + intake.rejected
    assert sum(g.n for g in intake.problems if g.kind != "unknown_key") == intake.rejected


lines = st.lists(st.text(alphabet='12,";\n\r\t a-Z:T.\x00é', max_size=40), max_size=6)


@given(rows=lines)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_of_any_kind_loses_no_good_row(
    con: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory, rows: list[str]
) -> None:
    """Whatever stands between, a row before it counts, and where no quote is left open a row after it does."""
    path = tmp_path_factory.getbasetemp() / "hostile.csv"
    path.write_bytes((HEADER + GOOD + "".join(row + "\n" for row in rows) + GOOD).encode())
    intake = take(con, path)
    n = con.execute(f"SELECT sum(n) FROM {intake.partial.name}_cells WHERE model = 'm' AND customer = 'c'").fetchone()
    assert n is not None and n[0] >= (1 if any('"' in row for row in rows) else 2)


@pytest.mark.parametrize("name", NAMES[1::4], ids=range(len(NAMES[1::4])))
def test_the_project_that_init_writes_is_valid_whatever_the_log_says(tmp_path: Path, name: str) -> None:
    from solvent.money.audit.project_text import project_text

    record = {
        "at": "2026-01-01T00:00:00",
        name: "x",
        "customer": name,
        "feature": name,
        "model": name,
        "provider": name,
        "prompt_tok": 1,
        "completion_tok": 1,
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    try:
        found = survey([tmp_path / "a.jsonl"], load(None), None, lambda text, share: None)
    except SolventError:
        return
    (tmp_path / "solvent.toml").write_text(project_text(found))
    load(tmp_path / "solvent.toml")


def test_the_check_can_fail(con: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the escapes the same names are no longer safe: the tests above see what they look for."""
    from solvent.money.usage import tabular

    plain: Callable[[str], str] = lambda name: '"' + name + '"'  # noqa: E731
    monkeypatch.setattr(tabular, "identifier", plain)
    (tmp_path / "a.jsonl").write_text(
        json.dumps({'"': "K", "at": "2026-01-01T00:00:00Z", "model": "m", "prompt_tok": 1}) + "\n"
    )
    with pytest.raises(duckdb.Error):
        take(con, tmp_path / "a.jsonl", columns={"customer": '"'})

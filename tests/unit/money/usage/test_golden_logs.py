"""Every format's small log against buckets computed by hand (tests/golden/usage/expected.json).

The logs hold a sentinel in every prompt, answer, key and path: it must never come out.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest

from solvent.money.usage.readers.outcome import Reading
from solvent.money.usage.recognise import FORMATS, SPENDLOGS_TABLE, recognise
from solvent.money.usage.sources import find
from solvent.money.usage.staging import Staged, stage
from solvent.records import REQUEST_COLUMNS

SENTINEL = "SENTINEL-SECRET"
# The CSV form of SpendLogs is held to the same rows in test_table.py.
NAMES = sorted(FORMATS.keys() - {SPENDLOGS_TABLE})


def golden(repo: Path, name: str) -> Path:
    return repo / "tests" / "golden" / "usage" / f"{name}.jsonl"


def staged(path: Path, name: str, reading: Reading | None = None) -> tuple[Staged, list[dict[str, Any]]]:
    """The staging and its rows: text columns, `at` as text, and the buckets that aren't zero."""
    con = duckdb.connect()
    result = stage(con, find([path]), name, "requests", reading)
    cursor = con.execute('SELECT * REPLACE (CAST("at" AS VARCHAR) AS "at") FROM requests')
    columns = [column[0] for column in cursor.description]
    rows = [{k: v for k, v in zip(columns, row, strict=True) if v not in (None, 0)} for row in cursor.fetchall()]
    return result, rows


@pytest.fixture(scope="module")
def expected(repo: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((repo / "tests/golden/usage/expected.json").read_text("utf-8"))
    return document


def test_every_format_has_a_golden_log(repo: Path, expected: dict[str, Any]) -> None:
    assert set(NAMES) == set(expected) - {"_computed_by"}
    assert all(golden(repo, name).exists() for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_buckets_are_those_computed_by_hand(name: str, repo: Path, expected: dict[str, Any]) -> None:
    result, rows = staged(golden(repo, name), name)
    want = [{k: v for k, v in row.items() if k != "why"} for row in expected[name]["rows"]]
    assert rows == want
    rejected = Counter({group.kind: group.n for group in result.problems if group.kind != "unknown_key"})
    assert rejected == Counter(expected[name]["rejected"])
    assert result.n_not_requests == expected[name]["not_requests"]
    assert result.rows_in == len(rows) + sum(rejected.values()) == result.n_rows + result.n_rejected
    assert not result.unknown_keys


@pytest.mark.parametrize("name", NAMES)
def test_the_format_is_recognised_by_content(name: str, repo: Path, tmp_path: Path) -> None:
    anonymous = tmp_path / "log.txt"
    anonymous.write_bytes(golden(repo, name).read_bytes())
    found = recognise(find([anonymous])[0])
    assert (found.format_name, found.kind) == (name, "nested")


@pytest.mark.parametrize("name", NAMES)
def test_no_prompt_or_answer_comes_out(name: str, repo: Path) -> None:
    assert SENTINEL in golden(repo, name).read_text("utf-8")
    result, rows = staged(golden(repo, name), name)
    told = json.dumps(rows) + json.dumps(result.problems.document()) + "".join(result.problems.lines())
    told += "".join(result.unknown_keys) + "".join(result.not_requests)
    assert SENTINEL not in told


def test_the_table_has_exactly_the_canonical_columns(repo: Path) -> None:
    con = duckdb.connect()
    stage(con, find([golden(repo, "openai")]), "openai", "requests")
    described = {row[0]: row[1] for row in con.execute("DESCRIBE requests").fetchall()}
    assert described == REQUEST_COLUMNS

"""Staging: rows in = rows + rejected, whatever the log; batches, several files, unknown keys, progress."""

from __future__ import annotations

import gc
import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from solvent.errors import LogError
from solvent.money.usage import staging
from solvent.money.usage.readers.outcome import Reading
from solvent.money.usage.sources import find
from solvent.money.usage.staging import stage


def chat(i: int, **usage: Any) -> dict[str, Any]:
    counts = {"prompt_tokens": 10 + i, "completion_tokens": 5, **usage}
    return {"id": f"c{i}", "object": "chat.completion", "created": 1768816800 + i, "model": "gpt-4o", "usage": counts}


def write(path: Path, documents: list[Any]) -> Path:
    path.write_text("".join(json.dumps(d) + "\n" for d in documents))
    return path


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def rows(con: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return con.execute(sql).fetchall()


def test_batches_hold_every_row_once(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "BATCH_ROWS", 7)
    files = [write(tmp_path / f"{k}.jsonl", [chat(i) for i in range(k * 10, k * 10 + 10)]) for k in range(5)]
    result = stage(con, find(files), "openai", "t")
    assert (result.n_rows, result.n_rejected, result.rows_in) == (50, 0, 50)
    assert rows(con, 'SELECT count(DISTINCT request_id), sum(input_tok), min(epoch_us("at")) FROM t') == [
        (50, sum(10 + i for i in range(50)), 1768816800_000000)
    ]


def test_every_fault_is_counted_where_it_is(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good, negative, old = (
        json.dumps(chat(1)),
        json.dumps(chat(2, prompt_tokens=-1)),
        json.dumps(chat(3) | {"created": 5}),
    )
    path.write_text("\n".join([good, "{broken", negative, old, good, json.dumps({"object": "response"}), "7", good]))
    result = stage(con, find([path]), "openai", "t")
    assert (result.n_rows, result.n_rejected) == (3, 5)
    assert result.rows_in == 8
    examples = {(group.kind, tuple(group.examples)) for group in result.problems}
    label = "/".join(path.parts[-2:])
    assert ("negative", (f"{label}:3",)) in examples and ("bad_time", (f"{label}:4",)) in examples
    assert sum(group.n for group in result.problems) == 5


def test_a_truncated_archive_counts_one_rejection(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    packed = gzip.compress("".join(json.dumps(chat(i)) + "\n" for i in range(2000)).encode())
    path = tmp_path / "a.gz"
    path.write_bytes(packed[: len(packed) // 2])
    result = stage(con, find([path]), "openai", "t")
    assert result.n_rejected == 1 == result.problems.n("truncated")
    assert result.n_rows > 500


def test_unknown_keys_are_counted_by_record_and_ignored_ones_arent(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", [chat(1, odd=1), chat(2, odd=2, even=3), chat(3, odd=0)])
    result = stage(con, find([path]), "openai", "t")
    assert result.unknown_keys == {"usage.odd": 2, "usage.even": 1}
    assert result.problems.n("unknown_key") == 3 and result.n_rows == 3 and result.n_rejected == 0
    result = stage(con, find([path]), "openai", "t", Reading(ignore_keys=frozenset({"usage.odd"})))
    assert result.unknown_keys == {"usage.even": 1}


def test_unknown_keys_are_bounded(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    documents = [chat(i, **{f"key{i}{'x' * 300}": 1}) for i in range(staging.MAX_UNKNOWN_KEYS + 50)]
    result = stage(con, find([write(tmp_path / "a.jsonl", documents)]), "openai", "t")
    assert len(result.unknown_keys) == staging.MAX_UNKNOWN_KEYS + 1
    assert sum(result.unknown_keys.values()) == len(documents)
    assert max(map(len, result.unknown_keys)) <= 80


def test_odd_text_reaches_the_table_as_it_is(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    names = ["O'Brien", 'a"b', "=1+1", "ü €", "<b>", "x\ty", "a\x00b"]
    path = write(tmp_path / "a.jsonl", [{"customer": name, "response": chat(i)} for i, name in enumerate(names)])
    stage(con, find([path]), "openai", 't"; DROP TABLE x; --')
    assert {row[0] for row in rows(con, 'SELECT customer FROM "t""; DROP TABLE x; --"')} == set(names)


def test_progress_adds_up_to_the_size_on_disk(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    files = find([write(tmp_path / f"{i}.jsonl", [chat(i)]) for i in range(3)])
    seen: list[int] = []
    stage(con, files, "openai", "t", None, seen.append)
    assert sum(seen) == sum(file.size_bytes for file in files)


def test_what_the_project_cant_state_is_refused(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    files = find([write(tmp_path / "a.jsonl", [chat(1)])])
    for reading in (
        Reading(columns={"input_tok": "x"}),
        Reading(constants={"input_tok": 1}),
        Reading(constants={"cached": "maybe"}),
    ):
        with pytest.raises(LogError):
            stage(con, files, "openai", "t", reading)
    with pytest.raises(LogError, match="one of"):
        stage(con, files, "nonsense", "t")
    files[0].path.unlink()
    with pytest.raises(LogError, match="can't be read"):
        stage(con, files, "openai", "t")
    assert gc.isenabled()


def test_a_log_without_requests_gives_an_empty_table(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    result = stage(con, find([write(tmp_path / "a.jsonl", [{"type": "user", "uuid": "u"}])]), "claude_code", "t")
    assert (result.rows_in, result.n_not_requests) == (0, 1)
    assert rows(con, "SELECT count(*) FROM t") == [(0,)]

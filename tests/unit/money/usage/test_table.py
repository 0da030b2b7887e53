"""A CSV of SpendLogs goes through the LiteLLM reader: nested JSON cells, quoted newlines, broken rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import duckdb

from solvent.money.usage.readers.outcome import Reading
from solvent.money.usage.recognise import recognise
from solvent.money.usage.sources import find
from solvent.money.usage.staging import stage

HEADER = (
    "request_id,call_type,startTime,model,custom_llm_provider,end_user,"
    "prompt_tokens,completion_tokens,total_tokens,metadata\n"
)
DETAILS = '""prompt_tokens_details"": {""cached_tokens"": 60}'
USAGE = '"{""usage_object"": {""prompt_tokens"": 100, ""completion_tokens"": 20, ' + DETAILS + '}}"'


def test_the_same_rows_come_of_json_lines_and_of_csv(tmp_path: Path, repo: Path) -> None:
    """The golden SpendLogs written as CSV, nested values as JSON cells."""
    golden = repo / "tests/golden/usage/litellm.jsonl"
    records = [json.loads(line) for line in golden.read_text("utf-8").splitlines()]
    names = list(dict.fromkeys(name for record in records for name in record))
    table = tmp_path / "spend.csv"
    with table.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(names)
        writer.writerows([[_cell(record.get(name)) for name in names] for record in records])
    with duckdb.connect() as con:
        lines = stage(con, find([golden]), "litellm", "a", Reading())
        cells = stage(con, find([table]), "litellm-csv", "b", Reading())
        assert (
            con.execute("SELECT * FROM a ORDER BY ALL").fetchall()
            == con.execute("SELECT * FROM b ORDER BY ALL").fetchall()
        )
    assert (lines.n_rows, lines.n_rejected, lines.n_not_requests) == (
        cells.n_rows,
        cells.n_rejected,
        cells.n_not_requests,
    )
    assert lines.n_rows > 0


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | list) else value


def test_spendlogs_csv_has_the_buckets_of_its_metadata(tmp_path: Path) -> None:
    """100 prompt tokens of which 60 cached → 40 uncached + 60 read; the broken row is rejected, with its line."""
    log = tmp_path / "spend.csv"
    log.write_text(
        HEADER
        + f"r1,acompletion,2026-01-19T10:00:00Z,gpt-4o,openai,ann,100,20,120,{USAGE}\n"
        + 'r2,acompletion,2026-01-19T10:00:00Z,gpt-4o,openai,"bob\nand co",10,5,15,\n'
        + "r3,acompletion,2026-01-19T10:00:00Z,gpt-4o\n"
    )
    (file,) = find([log])
    found = recognise(file)
    assert (found.format_name, found.kind) == ("litellm-csv", "nested")
    with duckdb.connect() as con:
        staged = stage(con, [file], "litellm-csv", "t", Reading())
        rows = con.execute(
            "SELECT request_id, customer, input_tok, cache_read_tok, output_tok FROM t ORDER BY 1"
        ).fetchall()
    assert rows == [("litellm:r1", "ann", 40, 60, 20), ("litellm:r2", "bob\nand co", 10, 0, 5)]
    assert staged.n_rejected == 1
    (problem,) = staged.problems
    assert problem.kind == "malformed" and problem.examples[0].endswith("spend.csv:5")


def test_a_quote_that_never_closes_is_a_fault_not_a_crash(tmp_path: Path) -> None:
    log = tmp_path / "spend.csv"
    log.write_text(HEADER + 'r1,acompletion,2026-01-19T10:00:00Z,gpt-4o,openai,"ann,100,20,120,\n')
    with duckdb.connect() as con:
        staged = stage(con, find([log]), "litellm-csv", "t", Reading())
    assert (staged.n_rows, staged.n_rejected) == (0, 1)

"""A service is read alike from every kind of flat log, though Parquet's is looked up by its dictionary."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from solvent.money.usage.columns import column_map
from solvent.money.usage.tabular import FlatLog

NAMES = [
    None,
    "",
    "default",
    "auto",
    "on-demand",
    "STANDARD",
    "Batch",
    "batches",
    "flex",
    "priority",
    "fast",
    "gold",
    "'",
]
EXPECTED = ["standard"] * 6 + ["batch", "batch", "flex", "priority", "priority", None, None]
COLUMNS = ("at", "model", "service", "input_tok", "output_tok")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_services_by_name(kind: str, tmp_path: Path) -> None:
    rows = [
        {"at": "2026-06-01T00:00:00Z", "model": "m", "service": s, "input_tok": i, "output_tok": 1}
        for i, s in enumerate(NAMES)
    ]
    lines = tmp_path / "log.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / f"log.{kind}"
    with duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        types = dict.fromkeys(COLUMNS, "VARCHAR")
        if kind != "jsonl":
            kinds = {**dict.fromkeys(COLUMNS, "VARCHAR"), "input_tok": "BIGINT", "output_tok": "BIGINT"}
            columns = ", ".join(f"'{name}': '{kind_of}'" for name, kind_of in kinds.items())
            read = f"read_json('{lines}', columns={{{columns}}})"
            con.execute(f"COPY (FROM {read}) TO '{path}'")
        if kind == "parquet":
            types = {row[0]: row[1] for row in con.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()}
        log = FlatLog((str(path),), kind, column_map(list(COLUMNS), {}, {}), types, header=COLUMNS)
        found = con.execute(f"SELECT service, problem FROM ({log.relation().sql}) ORDER BY input_tok").fetchall()
    assert [service for service, _ in found] == EXPECTED
    assert [problem for _, problem in found] == [None] * 11 + ["unknown_service"] * 2

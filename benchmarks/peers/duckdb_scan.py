"""The measured limit: DuckDB reads every column that the audit needs and does nothing with it but a sum or maximum."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.duckdb_join import version as version
from benchmarks.peers.sql_log import COUNTS, TEXTS, source


def run(job: dict[str, Any]) -> dict[str, Any]:
    import duckdb

    texts = (*TEXTS, "request_id") if job["ids"] else TEXTS
    # Of a text its hash is taken: a maximum of it would be answered from the file's statistics.
    sums = [f"bit_xor(hash({name}))" for name in texts] + [f"sum({name})" for name in COUNTS]
    with duckdb.connect(config={"threads": job["threads"]}) as con:
        con.execute("SET TimeZone='UTC'")
        row = con.execute(
            f'SELECT count(*), bit_xor(epoch_us("timestamp")), {", ".join(sums)} FROM {source(job)}'
        ).fetchall()[0]
    return {"rows": int(row[0])}

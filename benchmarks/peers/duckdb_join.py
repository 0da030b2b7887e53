"""A plain DuckDB join, as a competent user would write it: read, join dated prices, multiply, group by customer.

kind="double" adds doubles; kind="decimal" adds DECIMAL(38, 12), exact, and is the independent check of our totals.
deduplicate: keeps one row a request id by a window. No validation, no revenue, no statement.
"""

from __future__ import annotations

from typing import Any

from benchmarks.peers.sql_log import cost_sql, load_prices, source


def version() -> str | None:
    try:
        import duckdb
    except ImportError:
        return None
    return f"DuckDB {duckdb.__version__}"


def run(job: dict[str, Any]) -> dict[str, Any]:
    import duckdb

    exact = job.get("kind_of_sum", "double") == "decimal"
    with duckdb.connect(config={"threads": job["threads"]}) as con:
        con.execute("SET TimeZone='UTC'")
        load_prices(con, job, "DECIMAL(20, 12)" if exact else "DOUBLE")
        token = "::DECIMAL(18, 0)" if exact else ""
        rows = con.execute(cost_sql(job, source(job), token)).fetchall()
    total = sum(row[2] for row in rows)
    return {"rows": sum(row[1] for row in rows), "exact": exact, "n_customers": len(rows),
            "total_usd": str(total)}  # fmt: skip

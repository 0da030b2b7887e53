"""How the SQL peers read a log and its prices: the same rows, prices and threads for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COUNTS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
TEXTS = ("customer", "feature", "provider", "model", "service_tier")


def source(job: dict[str, Any]) -> str:
    """The log as a table function with typed columns."""
    path = "'" + job["log"].replace("'", "''") + "'"
    if job["kind"] == "parquet":
        return f"read_parquet({path})"
    types = {"timestamp": "TIMESTAMPTZ", **dict.fromkeys(TEXTS, "VARCHAR"), **dict.fromkeys(COUNTS, "BIGINT")}
    if job["ids"]:
        types["request_id"] = "VARCHAR"
    if job["kind"] == "csv":
        with Path(job["log"]).open(encoding="utf-8") as file:
            names = file.readline().strip().split(",")
        columns = ", ".join(f"'{name}': '{types[name]}'" for name in names)
        return f"read_csv({path}, header=true, auto_detect=false, columns={{{columns}}})"
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in types.items())
    return f"read_json({path}, format='newline_delimited', columns={{{columns}}})"


def load_prices(con: Any, job: dict[str, Any], kind: str) -> None:
    """Table `prices`: USD per token as `kind`, by model, service, span of days and context tier."""
    rows = json.loads(Path(job["prices"]).read_text("utf-8"))
    con.execute(
        "CREATE TABLE prices (model VARCHAR, service_tier VARCHAR, valid_from TIMESTAMP, valid_to TIMESTAMP,"
        f" above BIGINT, upto BIGINT, input {kind}, cached {kind}, output {kind}, reasoning {kind})"
    )
    names = ("input_tok", "cache_read_tok", "output_tok", "reasoning_tok")
    for r in rows:
        # The file holds trillionths of a dollar: an integer, so that both kinds start from the same price.
        usd = ", ".join(f"CAST('{int(r[n]) // 10**12}.{int(r[n]) % 10**12:012d}' AS {kind})" for n in names)
        con.execute(
            f"INSERT INTO prices VALUES ('{r['model']}', '{r['service_tier']}', '{r['valid_from']}', '{r['valid_to']}',"
            f" {r['above']}, {r['upto']}, {usd})"
        )


def cost_sql(job: dict[str, Any], log: str, token: str = "") -> str:
    """SUM of the four products by customer. token: a cast for the counts."""
    once = " QUALIFY row_number() OVER (PARTITION BY request_id ORDER BY completion_tokens DESC) = 1"
    rows = f"(SELECT * FROM {log}{once})" if job.get("deduplicate") else log
    at = 'CAST(l."timestamp" AS TIMESTAMP)' if job["kind"] != "parquet" else 'l."timestamp"'
    return (
        f"SELECT l.customer, count(*) AS n, sum((l.prompt_tokens - l.cached_tokens){token} * p.input"
        f" + l.cached_tokens{token} * p.cached + (l.completion_tokens - l.reasoning_tokens){token} * p.output"
        f" + l.reasoning_tokens{token} * p.reasoning) AS usd FROM {rows} l JOIN prices p ON l.model = p.model"
        f" AND l.service_tier = p.service_tier AND {at} >= p.valid_from AND {at} < p.valid_to"
        " AND l.prompt_tokens > p.above AND l.prompt_tokens <= p.upto GROUP BY l.customer"
    )

"""Polars, lazy and streaming: scan, join prices, keep the row's span and tier, sum doubles by customer.

Not a dependency: give an interpreter that has it in SOLVENT_BENCH_PYTHON_POLARS_JOIN. POLARS_MAX_THREADS is set.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def version() -> str | None:
    try:
        from importlib.metadata import version as of

        return f"Polars {of('polars')}"
    except ImportError:
        return None


def run(job: dict[str, Any]) -> dict[str, Any]:
    os.environ["POLARS_MAX_THREADS"] = str(job["threads"])
    import polars as pl

    names = {"input_tok": "input", "cache_read_tok": "cached", "output_tok": "output", "reasoning_tok": "reasoning"}
    rows = json.loads(Path(job["prices"]).read_text("utf-8"))
    prices = pl.DataFrame(
        [
            {**{k: v for k, v in row.items() if k not in names}, **{names[k]: int(row[k]) / 1e12 for k in names}}
            for row in rows
        ]
    )
    prices = prices.with_columns(pl.col("valid_from", "valid_to").str.to_datetime("%Y-%m-%d"))
    scan = pl.scan_parquet if job["kind"] == "parquet" else pl.scan_ndjson
    log = scan(job["log"])
    if job["kind"] != "parquet":
        log = log.with_columns(pl.col("timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ"))
    joined = log.join(prices.lazy(), on=["model", "service_tier"]).filter(
        pl.col("timestamp").ge(pl.col("valid_from")) & pl.col("timestamp").lt(pl.col("valid_to"))
        & pl.col("prompt_tokens").gt(pl.col("above")) & pl.col("prompt_tokens").le(pl.col("upto"))
    )  # fmt: skip
    usd = ((pl.col("prompt_tokens") - pl.col("cached_tokens")) * pl.col("input")
           + pl.col("cached_tokens") * pl.col("cached")
           + (pl.col("completion_tokens") - pl.col("reasoning_tokens")) * pl.col("output")
           + pl.col("reasoning_tokens") * pl.col("reasoning"))  # fmt: skip
    found = joined.group_by("customer").agg(pl.len().alias("n"), usd.sum().alias("usd")).collect(engine="streaming")
    return {
        "rows": int(found["n"].sum()),
        "exact": False,
        "total_usd": repr(float(found["usd"].sum())),
        "n_customers": found.height,
    }

"""The loop that the genai-prices documentation suggests: one `calc_price` a request. Exact decimals, one thread."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from typing import Any


def version() -> str | None:
    try:
        import genai_prices
    except ImportError:
        return None
    return f"genai-prices {genai_prices.__version__}"


def run(job: dict[str, Any]) -> dict[str, Any]:
    import duckdb
    from genai_prices import Usage, calc_price

    names = 'provider, model, "timestamp", prompt_tokens, cached_tokens, completion_tokens'
    with duckdb.connect(config={"threads": job["threads"]}) as con:
        rows = con.execute(f"SELECT {names} FROM '{job['log']}'").fetchall()
    total = Decimal(0)
    for provider, model, at, prompt, cached, completion in rows:
        usage = Usage(input_tokens=prompt, cache_read_tokens=cached, output_tokens=completion)
        at_utc = at.replace(tzinfo=UTC)
        total += calc_price(usage, model, provider_id=provider, genai_request_timestamp=at_utc).total_price
    return {"rows": len(rows), "exact": True, "total_usd": str(total)}

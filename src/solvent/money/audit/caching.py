"""What caching saved, and what an unbounded prefix cache could still save.

saved = Σ cache reads × (input price − cache-read price) − Σ cache writes × (write price − input price).
could save = Σ repeated prefix blocks × tokens of a block × (input price − cache-read price), by model, at the rate
that priced most of its requests; a bound from above: no cache is unbounded, and the last block may be short.
Unknown where a rate has no cache price. Enter at `cache_saved_usd`, `cache_could_save_usd`.
Source of the block size: Mooncake trace, 512 tokens a block (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

from solvent.money.audit.pricing import Pricing, UsedRate
from solvent.money.audit.totals import Key, Total
from solvent.money.usage.cells import Partial
from solvent.money.usage.relation import one_row

if TYPE_CHECKING:
    import duckdb

BLOCK_TOK = 512
_READS = (("cache_read_tok", "input_tok"), ("cache_read_audio_tok", "input_audio_tok"))
_WRITES = ("cache_write_5m_tok", "cache_write_1h_tok")


def cache_saved_usd(pricing: Pricing, by_rate: Mapping[Key, Total]) -> Fraction | None:
    """USD that the cache saved against sending everything uncached; None where the log shows no cache at all,
    or where a rate has no price for uncached input to set it against."""
    saved, seen = Fraction(0), False
    for (rate_no,), total in by_rate.items():
        if rate_no is None or rate_no < 0 or pricing.rates[rate_no].rate is None:
            continue
        prices = pricing.rates[rate_no].usd_per_unit
        for read, full in _READS:
            if total.buckets.get(read):
                if full not in prices:
                    return None
                seen = True
                saved += total.buckets[read] * (prices[full] - prices[read])
        for write in _WRITES:
            if total.buckets.get(write):
                if "input_tok" not in prices:
                    return None
                seen = True
                saved -= total.buckets[write] * (prices[write] - prices["input_tok"])
    return saved if seen else None


def cache_could_save_usd(
    con: duckdb.DuckDBPyConnection, partial: Partial, pricing: Pricing, by_model_rate: Mapping[Key, Total]
) -> Fraction | None:
    """USD for prompt blocks that had been read before; None where the log has no prefix hashes or a price is unknown.

    by_model_rate: totals by (model, rate_no).
    """
    rows = con.execute(f"SELECT model, sum(n) - count(*) FROM {partial.name}_prefixes GROUP BY 1").fetchall()
    if not rows:
        return None
    saved = Fraction(0)
    for model, repeats in rows:
        used = _main_rate(pricing, by_model_rate, model)
        if used is None or "cache_read_tok" in used.fallbacks or "cache_read_tok" not in used.usd_per_unit:
            return None
        saved += int(repeats) * BLOCK_TOK * (used.usd_per_unit["input_tok"] - used.usd_per_unit["cache_read_tok"])
    return saved


def repeated_blocks_share(con: duckdb.DuckDBPyConnection, partial: Partial) -> Fraction | None:
    """Blocks that had been read before ÷ all blocks read; None without prefix hashes."""
    read, distinct = one_row(con, f"SELECT sum(n), count(*) FROM {partial.name}_prefixes")
    return 1 - Fraction(int(distinct), int(read)) if read else None


def _main_rate(pricing: Pricing, by_model_rate: Mapping[Key, Total], model: str | None) -> UsedRate | None:
    numbers = [
        (total.n_requests, rate_no)
        for (name, rate_no), total in by_model_rate.items()
        if name == model and rate_no is not None and rate_no >= 0
    ]
    used = pricing.rates[max(numbers)[1]] if numbers else None
    return used if used is not None and used.rate is not None and "input_tok" in used.usd_per_unit else None

"""Totals of priced cells by any dimensions: requests, buckets, exact cost; and outputs by the project's rule.

Sums are 128-bit integers until here and `Fraction` from here on. Enter at `totals`, `count_outputs`, `reserve`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from solvent.errors import PriceError
from solvent.money.audit.pricing import Pricing, work_weights
from solvent.money.prices.card import Unpriced
from solvent.money.prices.offer import reserved_cost_usd, utilisation
from solvent.money.usage.cells import Partial
from solvent.money.usage.relation import one_row
from solvent.records import BUCKET_BY_NAME, BUCKET_NAMES, MAX_COUNT, bucket_limit

if TYPE_CHECKING:
    import duckdb

Key = tuple[Any, ...]
# Totals that follow from finer ones which a statement needs too: a scan of the cells each that isn't made.
_ALSO_ASKED: dict[tuple[str, ...], tuple[str, ...]] = {
    (): ("model", "rate_no"),
    ("rate_no",): ("model", "rate_no"),
    **{(column,): (column, "rate_no") for column in ("feature", "model", "day")},
}


@dataclass(slots=True)
class Total:
    """What a group of requests comes to. cost_usd covers the priced requests only."""

    n_priced: int = 0
    n_unpriced: int = 0
    cost_usd: Fraction = Fraction(0)
    buckets: dict[str, int] = field(default_factory=dict)
    n_outputs: Fraction = Fraction(0)

    @property
    def n_requests(self) -> int:
        return self.n_priced + self.n_unpriced

    @property
    def whole_cost_usd(self) -> Fraction | None:
        """cost_usd where every request has a price, else None: part of a cost is no cost to set revenue against."""
        return None if self.n_unpriced else self.cost_usd

    @property
    def n_priced_outputs(self) -> Fraction:
        """The outputs that cost_usd stands for: all, or in proportion where some requests have no price."""
        return self.n_outputs * self.n_priced / self.n_requests if self.n_unpriced else self.n_outputs

    @property
    def known_cost_usd(self) -> Fraction | None:
        """cost_usd, or None where nothing of what was asked could be priced: unknown, not zero."""
        return None if self.n_unpriced and not self.n_priced else self.cost_usd


def totals(con: duckdb.DuckDBPyConnection, pricing: Pricing, by: tuple[str, ...]) -> dict[Key, Total]:
    """Totals per value of the columns `by`; an empty `by` gives one total under the key ().

    cost_usd = Σ cost ÷ scale + Σ work × USD per work of its machine. Exact.
    """
    found: dict[Key, Total] = {}
    n_by = len(by)
    for row in _sums(con, pricing, by):
        total = found.setdefault(tuple(row[:n_by]), Total())
        machine, priced, unpriced, cost, work = row[n_by : n_by + 5]
        total.n_priced += priced
        total.n_unpriced += unpriced
        total.cost_usd += Fraction(cost, pricing.scale)
        if machine >= 0:
            total.cost_usd += work * pricing.offer_usd_per_work[machine]
        for name, count in zip(pricing.used_buckets, row[n_by + 5 :], strict=True):
            total.buckets[name] = total.buckets.get(name, 0) + count
    if not found and not by:
        found[()] = Total()
    return found


def _sums(con: duckdb.DuckDBPyConnection, pricing: Pricing, by: tuple[str, ...]) -> list[Key]:
    """Rows of `by`, machine, then integer sums; remembered, since a statement asks for most of them twice."""
    if by not in pricing.sums:
        finer = _ALSO_ASKED.get(by)
        pricing.sums[by] = _added(_sums(con, pricing, finer), finer, by) if finer else _scanned(con, pricing, by)
    return pricing.sums[by]


def _scanned(con: duckdb.DuckDBPyConnection, pricing: Pricing, by: tuple[str, ...]) -> list[Key]:
    counts = ["sum(n) FILTER (rate_no >= 0)", "sum(n) FILTER (rate_no < 0)", "sum(cost)", "sum(work)"]
    kinds = ["BIGINT", "BIGINT", "VARCHAR", "VARCHAR"]
    for bucket in pricing.used_buckets:
        counts.append(f"sum({bucket})")
        kinds.append("BIGINT" if bucket_limit(bucket) <= MAX_COUNT else "VARCHAR")
    # 128-bit numbers reach Python twice as fast as text, and three times as 64 bits where they fit.
    sums = ", ".join(f"CAST(coalesce({count}, 0) AS {kind})" for count, kind in zip(counts, kinds, strict=True))
    columns = "".join(f"{column}, " for column in by)
    group = ", ".join(str(i + 1) for i in range(len(by) + 1))
    rows = con.execute(
        f"SELECT {columns}CASE WHEN work > 0 THEN rate_no ELSE -1 END AS machine, {sums}"
        f" FROM {pricing.table} GROUP BY {group}"
    ).fetchall()
    n_keys = len(by) + 1
    return [(*row[:n_keys], *map(int, row[n_keys:])) for row in rows]


def _added(rows: Sequence[Key], finer: tuple[str, ...], by: tuple[str, ...]) -> list[Key]:
    """Rows by `finer`, added up by fewer columns."""
    kept = (*(finer.index(column) for column in by), len(finer))
    found: dict[Key, list[int]] = {}
    for row in rows:
        counts = row[len(finer) + 1 :]
        key = tuple(row[i] for i in kept)
        sums = found.get(key)
        found[key] = [a + b for a, b in zip(sums, counts, strict=True)] if sums else list(counts)
    return [(*key, *sums) for key, sums in found.items()]


def unpriced_requests(con: duckdb.DuckDBPyConnection, pricing: Pricing) -> list[tuple[Unpriced, int]]:
    """Why requests have no price, and how many each, most first. Needs no machine to be reserved yet."""
    rows = con.execute(
        f"SELECT reason_no, sum(n) AS n FROM {pricing.table} WHERE reason_no >= 0 GROUP BY 1 ORDER BY n DESC, 1"
    ).fetchall()
    return [(pricing.reasons[reason_no], int(n)) for reason_no, n in rows]


def reserve(con: duckdb.DuckDBPyConnection, pricing: Pricing, hours: Fraction) -> None:
    """Spreads the reserved cost of every machine over the work it did, idle hours included.

    usd_per_work = hours × USD per hour ÷ total work; utilisation is kept beside it.
    Raises: PriceError where the work is more than the machines can do in the span.
    """
    for number, used in enumerate(pricing.rates):
        if used.offer is None:
            continue
        prompt = " + ".join(f"sum({b})" for b in BUCKET_NAMES if BUCKET_BY_NAME[b].prompt)
        row = one_row(
            con,
            f"SELECT {prompt}, sum(output_tok) + sum(reasoning_tok), sum(work) FROM {pricing.table}"
            f" WHERE rate_no = {number}",
        )
        input_tok, output_tok, work = (int(value or 0) for value in row)
        per_input, per_output = work_weights(used.offer)
        assert work == input_tok * per_input + output_tok * per_output
        if not work:
            raise PriceError(f"offer {used.offer.name}", "no tokens at all on this machine", "a log with usage")
        busy = utilisation(used.offer, input_tok, output_tok, hours)
        cost = reserved_cost_usd(used.offer, hours)
        pricing.offer_usd_per_work[number] = cost / work
        pricing.offer_usage[number] = (busy, cost)


@dataclass(frozen=True, slots=True)
class OutputRule:
    """How requests make outputs: by id, by a gap in seconds, or `requests_per_output` (1 by default)."""

    by_id: bool = False
    gap_s: int | None = None
    requests_per_output: Decimal = Decimal(1)


def count_outputs(
    con: duckdb.DuckDBPyConnection, pricing: Pricing, partial: Partial, rule: OutputRule, by: tuple[str, ...]
) -> dict[Key, Fraction]:
    """Outputs per value of `by`. An output that touches several values counts once in each, once in the whole."""
    columns = "".join(f"{column}, " for column in by)
    group = f"GROUP BY {', '.join(str(i + 1) for i in range(len(by)))}" if by else ""
    if rule.by_id:
        sql = (
            f"SELECT {columns}count(DISTINCT CASE WHEN output_id IS NOT NULL"
            f" THEN {{'c': coalesce(customer, ''), 'o': output_id}} END)"
            f" + coalesce(sum(n) FILTER (output_id IS NULL), 0) FROM {partial.name}_outputs {group}"
        )
    elif rule.gap_s is not None:
        sql = (
            f"SELECT {columns}count(DISTINCT (customer, feature, turn)) FROM (SELECT *, sum(starts) OVER w AS turn FROM"
            f' (SELECT *, CAST("at" AS DATE) AS day,'
            f' CASE WHEN epoch_us("at") - epoch_us(lag("at") OVER w) <= {rule.gap_s * 1_000_000}'
            f" THEN 0 ELSE 1 END AS starts"
            f' FROM {partial.name}_times WINDOW w AS (PARTITION BY customer, feature ORDER BY "at"))'
            f' WINDOW w AS (PARTITION BY customer, feature ORDER BY "at" ROWS UNBOUNDED PRECEDING)) {group}'
        )
    else:
        per_request = 1 / Fraction(rule.requests_per_output)
        return {key: total.n_requests * per_request for key, total in totals(con, pricing, by).items()}
    return {tuple(row[: len(by)]): Fraction(int(row[-1] or 0)) for row in con.execute(sql).fetchall()}

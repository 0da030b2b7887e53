"""Prices the cells of a log: one exact product per cell, whatever the number of requests in it.

cost = Σ over cells, over buckets: count × price ÷ units per price.  All prices become integers over one common
denominator, so DuckDB adds 128-bit integers and every sum equals the Decimal arithmetic to the last digit.
A machine offer has no price per token: its reserved cost is shared by work (machine-seconds), exactly.
What it doesn't do: choose the rate (`money.prices.catalogue`). Enter at `price_cells`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from solvent.errors import PriceError
from solvent.money.prices.card import Rate, Unpriced
from solvent.money.prices.offer import Offer
from solvent.money.usage.cells import KEYS, MASKED, Grid
from solvent.money.usage.relation import one_row
from solvent.records import BUCKET_BY_NAME, BUCKET_NAMES, REQUEST_PRICE

if TYPE_CHECKING:
    import duckdb

# Work of a token in integers: 10¹⁸ tokens of this weight still fit 127 bits.
MAX_WORK_WEIGHT = 10**18
Numbers = npt.NDArray[np.int32]
PRICE_KEYS = ("provider", "model", "service", "day", "slot", "tier", "mask")


class RateSource(Protocol):
    """Whatever answers what a request pays: the catalogue, or one catalogue's cards alone."""

    def rate(
        self, provider: str | None, model: str, day: date, minute: int, service: str, prompt_tok: int
    ) -> Rate | Unpriced: ...


@dataclass(frozen=True, slots=True)
class PriceKey:
    """What decides a price: the same for every request of a cell."""

    provider: str | None
    model: str | None
    service: str | None
    day: date
    slot: int
    tier: int
    mask: int


@dataclass(slots=True)
class UsedRate:
    """A rate that priced something, with the price of one unit of every bucket. offer: a machine instead."""

    rate: Rate | None
    offer: Offer | None
    usd_per_unit: Mapping[str, Fraction]
    usd_per_request: Fraction
    fallbacks: tuple[str, ...] = ()


@dataclass(slots=True)
class Pricing:
    """The priced cells, in view `table`: keys, n, buckets, rate_no, reason_no, cost (over `scale`), work.

    scale: cost ÷ scale = USD.   work: integer work of cells on offers; `offer_usd_per_work` turns it into USD.
    sums: totals asked for so far.
    """

    table: str
    scale: int
    rates: list[UsedRate]
    reasons: list[Unpriced]
    used_buckets: tuple[str, ...]
    offer_usd_per_work: dict[int, Fraction] = field(default_factory=dict)
    offer_usage: dict[int, tuple[Fraction, Fraction]] = field(default_factory=dict)
    sums: dict[tuple[str, ...], list[tuple[Any, ...]]] = field(default_factory=dict, repr=False)


def unit_prices(rate: Rate) -> tuple[dict[str, Fraction], tuple[str, ...]]:
    """USD per unit of every bucket that the rate can price, and which prices are another bucket's (fallbacks)."""
    prices: dict[str, Fraction] = {}
    fallbacks = []
    for name in BUCKET_NAMES:
        bucket, borrowed = BUCKET_BY_NAME[name], False
        while bucket.price not in rate.prices and bucket.falls_back_to:
            bucket, borrowed = BUCKET_BY_NAME[bucket.falls_back_to], True
        if bucket.price in rate.prices:
            prices[name] = Fraction(rate.prices[bucket.price]) / bucket.units_per_price
            if borrowed:
                fallbacks.append(name)
    return prices, tuple(fallbacks)


def price_cells(
    con: duckdb.DuckDBPyConnection, cells: str, source: RateSource, grid: Grid, offers: Sequence[Offer] = ()
) -> Pricing:
    """Gives every cell of table `cells` its rate and exact cost.

    Raises: PriceError when a total can't be held in 127 bits (a price with absurdly many digits).
    """
    table = f"{cells}_priced"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {table}_keys AS SELECT row_number() OVER () - 1 AS k, * FROM"
        f" (SELECT DISTINCT {', '.join(PRICE_KEYS)} FROM {cells})"
    )
    keys = [
        PriceKey(*row) for row in con.execute(f"SELECT {', '.join(PRICE_KEYS)} FROM {table}_keys ORDER BY k").fetchall()
    ]
    used = _used_buckets(con, cells)
    book = _Book(offers)
    rate_nos, reason_nos = book.look_up(keys, source, grid)
    scale = _scale(book.rates)
    con.register("key_rates", {"k": np.arange(len(keys), dtype=np.int64), "rate_no": rate_nos, "reason_no": reason_nos})
    con.execute(f"CREATE OR REPLACE TEMP TABLE {table}_rates AS SELECT * FROM key_rates")
    con.unregister("key_rates")
    _unit_table(con, f"{table}_units", book.rates, scale, used)
    terms = ["c.n * u.per_request", *(f"c.{b} * u.{b}" for b in used)]
    same = " AND ".join(f"c.{k} IS NOT DISTINCT FROM keys.{k}" for k in PRICE_KEYS)
    picked = ", ".join(f"c.{column}" for column in (*KEYS, "n", *used))
    import duckdb as duck

    try:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE {table}_used AS SELECT {picked}, r.rate_no, r.reason_no,"
            f" {' + '.join(terms)} AS cost, {_work_sql(book.offers_by_rate)} AS work"
            f" FROM {cells} c JOIN {table}_keys keys ON {same} JOIN {table}_rates r ON r.k = keys.k"
            f" LEFT JOIN {table}_units u ON u.rate_no = r.rate_no"
        )
    except duck.OutOfRangeException as error:
        raise PriceError("prices", f"a total beyond 38 digits ({error})", "prices of at most 12 decimals") from None
    every = ", ".join(b if b in used else f"CAST(0 AS HUGEINT) AS {b}" for b in BUCKET_NAMES)
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT {', '.join(KEYS)}, n, {every}, rate_no, reason_no, cost, work"
        f" FROM {table}_used"
    )
    return Pricing(table, scale, book.rates, book.reasons, used)


class _Book:
    """Collects the distinct rates and reasons that the price keys lead to."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        self.rates: list[UsedRate] = []
        self.reasons: list[Unpriced] = []
        self.offers_by_rate: dict[int, Offer] = {}
        self._rate_no: dict[object, int] = {}
        self._reason_no: dict[object, int] = {}
        self._offer_of = {model.casefold(): offer for offer in offers for model in offer.serves}

    def look_up(self, keys: Sequence[PriceKey], source: RateSource, grid: Grid) -> tuple[Numbers, Numbers]:
        rate_nos = np.full(len(keys), -1, np.int32)
        reason_nos = np.full(len(keys), -1, np.int32)
        for i, key in enumerate(keys):
            found = self._one(key, source, grid)
            if isinstance(found, Unpriced):
                reason_nos[i] = self._number(self._reason_no, self.reasons, found, found)
            else:
                rate_nos[i] = found
        return rate_nos, reason_nos

    def _one(self, key: PriceKey, source: RateSource, grid: Grid) -> int | Unpriced:
        if key.model is None:
            return Unpriced("no_model", "the log has no model", 'say it: [log.constants] model = "…"')
        if key.service is None:
            return Unpriced(
                "no_service_price",
                f"{key.model}: a service tier that isn't known",
                'say it: [log.constants] service = "standard"',
            )
        offer = self._offer_of.get(key.model.casefold())
        if offer is not None:
            return self._offer_rate(offer, key)
        minute, prompt_tok = grid.minute(key.slot), grid.prompt(key.tier)
        rate = source.rate(key.provider, key.model, key.day, minute, key.service, prompt_tok)
        if isinstance(rate, Unpriced):
            return rate
        identity = (rate.card.id, rate.card.source, rate.service, tuple(sorted(rate.prices.items())))
        number = self._rate_no.get(identity)
        if number is None:
            prices, fallbacks = unit_prices(rate)
            per_request = Fraction(rate.prices.get(REQUEST_PRICE, Decimal(0))) / 1000
            number = self._number(
                self._rate_no, self.rates, identity, UsedRate(rate, None, prices, per_request, fallbacks)
            )
        missing = [b for i, b in enumerate(MASKED) if key.mask >> i & 1 and b not in self.rates[number].usd_per_unit]
        if missing:
            names = ", ".join(BUCKET_BY_NAME[b].label for b in missing)
            keys = ", ".join(BUCKET_BY_NAME[b].price for b in missing)
            return Unpriced(
                "no_price",
                f"{key.provider or '?'}/{key.model}: {rate.card.source} has no price for {names}",
                f"add [[rates]] with {keys}",
            )
        return number

    def _offer_rate(self, offer: Offer, key: PriceKey) -> int | Unpriced:
        other = [
            b
            for i, b in enumerate(MASKED)
            if key.mask >> i & 1 and b not in ("input_tok", "output_tok", "cache_write_1h_tok")
        ]
        if other:
            return Unpriced(
                "no_price", f"offer {offer.name} states no throughput for {', '.join(other)}", "serve them elsewhere"
            )
        number = self._rate_no.get(offer.name)
        if number is None:
            number = self._number(self._rate_no, self.rates, offer.name, UsedRate(None, offer, {}, Fraction(0)))
            self.offers_by_rate[number] = offer
        return number

    @staticmethod
    def _number(numbers: dict[object, int], items: list[Any], identity: object, item: object) -> int:
        if identity not in numbers:
            numbers[identity] = len(items)
            items.append(item)
        return numbers[identity]


def work_weights(offer: Offer) -> tuple[int, int]:
    """Integer work of one input token and one output token: 1/input_tok_per_s : 1/output_tok_per_s."""
    per_input, per_output = 1 / Fraction(offer.input_tok_per_s), 1 / Fraction(offer.output_tok_per_s)
    whole = math.lcm(per_input.denominator, per_output.denominator)
    weights = int(per_input * whole), int(per_output * whole)
    if max(weights) > MAX_WORK_WEIGHT:
        found = f"{offer.input_tok_per_s} and {offer.output_tok_per_s} tokens a second"
        raise PriceError(f"offer {offer.name}", found, "throughputs of a few digits", "round them")
    return weights


def _work_sql(offers: Mapping[int, Offer]) -> str:
    """Work of a cell on its machine. Every prompt token counts as input: caching on one's own machine isn't assumed."""
    if not offers:
        return "CAST(0 AS HUGEINT)"
    prompt = " + ".join(f"c.{b}" for b in BUCKET_NAMES if BUCKET_BY_NAME[b].prompt)
    cases = []
    for number, offer in offers.items():
        per_input, per_output = work_weights(offer)
        cases.append(
            f"WHEN r.rate_no = {number} THEN ({prompt}) * {per_input} + (c.output_tok + c.reasoning_tok) * {per_output}"
        )
    return f"CAST(CASE {' '.join(cases)} ELSE 0 END AS HUGEINT)"


def _used_buckets(con: duckdb.DuckDBPyConnection, cells: str) -> tuple[str, ...]:
    sums = one_row(con, f"SELECT {', '.join(f'sum({b})' for b in BUCKET_NAMES)} FROM {cells}")
    return tuple(b for b, total in zip(BUCKET_NAMES, sums, strict=True) if total)


def _scale(rates: Sequence[UsedRate]) -> int:
    """The least common denominator of every unit price, so that each becomes an integer."""
    scale = 1
    for used in rates:
        for price in (*used.usd_per_unit.values(), used.usd_per_request):
            scale = math.lcm(scale, price.denominator)
    if scale > 10**30:
        raise PriceError(
            "prices", f"prices with a common denominator of {len(str(scale))} digits", "prices of at most 12 decimals"
        )
    return scale


def _unit_table(
    con: duckdb.DuckDBPyConnection, table: str, rates: Sequence[UsedRate], scale: int, used: Sequence[str]
) -> None:
    columns = ", ".join(f"{b} HUGEINT" for b in used)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} (rate_no INTEGER, per_request HUGEINT{', ' if used else ''}{columns})"
    )
    rows = [
        (i, int(u.usd_per_request * scale), *(int(u.usd_per_unit.get(b, Fraction(0)) * scale) for b in used))
        for i, u in enumerate(rates)
    ]
    for start in range(0, len(rows), 500):
        values = ", ".join("(" + ", ".join(map(str, row)) + ")" for row in rows[start : start + 500])
        con.execute(f"INSERT INTO {table} VALUES {values}")

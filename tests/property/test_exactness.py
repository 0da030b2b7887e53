"""Every total equals a plain Decimal oracle to the last digit, and any split of a log gives the same totals.

The oracle is a loop over rows with `decimal` arithmetic; it shares no code with the cells, the grid or the SQL.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from solvent.money.audit.pricing import price_cells
from solvent.money.audit.totals import totals
from solvent.money.prices.card import Rate, RateCard, Tier, Unpriced
from solvent.money.usage.cells import Grid, Grouping, Part, contested_hashes, merge, settle
from solvent.money.usage.columns import column_map
from solvent.money.usage.tabular import FlatLog

THRESHOLDS = (1_000, 200_000)
OFF_PEAK = (990, 1410)
CHANGE = date(2026, 6, 3)
START = datetime(2026, 6, 1, tzinfo=UTC)
SERVICES = {"standard": Decimal(1), "batch": Decimal("0.5")}
MODELS = {"small": Decimal("0.0375"), "large": Decimal("3.3333333"), "reasoner": Decimal("0.55")}


def price(model: str, day: date, minute: int, service: str, prompt_tok: int) -> dict[str, Decimal]:
    """Prices that depend on everything: date, off-peak hours, service, context length."""
    base = MODELS[model] * SERVICES[service]
    if day >= CHANGE:
        base *= Decimal("1.1")
    if OFF_PEAK[0] <= minute < OFF_PEAK[1]:
        base *= Decimal("0.25")
    base *= 1 + sum(prompt_tok > t for t in THRESHOLDS)
    return {
        "input_usd_per_mtok": base,
        "cache_read_usd_per_mtok": base / 10,
        "output_usd_per_mtok": base * 5,
        "input_audio_usd_per_hour": base * 7,
        "usd_per_1k_requests": base,
    }


class Rates:
    """A price source over `price`; one card a day, so that every combination is its own rate."""

    def rate(
        self, provider: str | None, model: str, day: date, minute: int, service: str, prompt_tok: int
    ) -> Rate | Unpriced:
        if model not in MODELS:
            return Unpriced("unknown_model", model, "")
        prices = price(model, day, minute, service, prompt_tok)
        card = RateCard("test", "p", model, "test", (Tier(0, prices),), service)
        return Rate(card, prices, service, True, "", "priced")


def row_cost(row: dict) -> Decimal:
    """The oracle: one row, straight from its counts."""
    at = START + timedelta(seconds=row["s"])
    with localcontext() as context:
        context.prec = 60
        p = price(row["model"], at.date(), at.hour * 60 + at.minute, row["service"], row["prompt"] + 0)
        cached, reasoning = row["cached"], row["reasoning"]
        return (
            (row["prompt"] - cached) * p["input_usd_per_mtok"] / 10**6
            + cached * p["cache_read_usd_per_mtok"] / 10**6
            + (row["completion"] - reasoning) * p["output_usd_per_mtok"] / 10**6
            + reasoning * p["output_usd_per_mtok"] / 10**6
            + p["usd_per_1k_requests"] / 1000
        )


any_rows = st.fixed_dictionaries(
    {
        "id": st.integers(0, 40),
        "s": st.integers(0, 5 * 86_400),
        "customer": st.sampled_from(["a", "b", "ç'\"", "d;--"]),
        "model": st.sampled_from(sorted(MODELS)),
        "service": st.sampled_from(sorted(SERVICES)),
        "prompt": st.sampled_from([0, 1, 999, 1_000, 1_001, 200_000, 200_001, 7_654_321]) | st.integers(0, 10**7),
        "cached": st.integers(0, 10**7),
        "completion": st.integers(0, 10**6),
        "reasoning": st.integers(0, 10**6),
    }
).map(lambda r: {**r, "cached": min(r["cached"], r["prompt"]), "reasoning": min(r["reasoning"], r["completion"])})


def as_one_request(r: dict, alike: bool) -> dict:
    """The row with customer, model and day that follow from its id, so that rows of one id are mostly one request."""
    if not alike:
        return r
    day_s = 86_400 * (r["id"] % 6)
    return {**r, "customer": "abç"[r["id"] % 3], "model": sorted(MODELS)[r["id"] % 3], "s": day_s + r["s"] % 86_400}


rows = st.builds(as_one_request, any_rows, st.integers(0, 9).map(bool))

MAP = {
    "at": "at",
    "request_id": "id",
    "customer": "customer",
    "model": "model",
    "service": "service",
    "prompt_tok": "prompt",
    "cache_read_tok": "cached",
    "completion_tok": "completion",
    "reasoning_tok": "reasoning",
}
NAMES = ("at", "id", "customer", "model", "service", "prompt", "cached", "completion", "reasoning")
GRID = Grid(THRESHOLDS, OFF_PEAK)


def write(path: Path, kind: str, log: list[dict], con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    records = [
        {
            **{k: r[k] for k in NAMES if k != "at"},
            "id": f"r{r['id']}",
            "at": (START + timedelta(seconds=r["s"])).isoformat(),
        }
        for r in log
    ]
    lines = path.with_suffix(".lines")
    lines.write_text("".join(json.dumps(r) + "\n" for r in records))
    if kind == "jsonl":
        lines.rename(path)
        return dict.fromkeys(NAMES, "VARCHAR")
    source = (
        f"read_json('{lines}', format='newline_delimited', columns={{'at':'TIMESTAMPTZ',id:'VARCHAR',"
        "customer:'VARCHAR',model:'VARCHAR',"
        "service:'VARCHAR',prompt:'BIGINT',cached:'INTEGER',completion:'UBIGINT',reasoning:'BIGINT'})"
    )
    con.execute(f"COPY (SELECT * FROM {source}) TO '{path}' (FORMAT {'parquet' if kind == 'parquet' else 'csv'})")
    if kind == "csv":
        return dict.fromkeys(NAMES, "VARCHAR")
    return {r[0]: r[1] for r in con.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()}


def part_of(con: duckdb.DuckDBPyConnection, path: Path, kind: str, types: dict[str, str]) -> Part:
    log = FlatLog(
        (str(path),),
        kind,
        column_map(list(types), MAP, {}),
        types,
        None,
        ",",
        ("at", *list(types)[1:]) if kind != "csv" else csv_names(path),
    )
    return Part(con, log.relation(), GRID, Grouping(), 1_000)


def csv_names(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text().splitlines()[0].split(","))


def at_odds(log: list[dict]) -> set[int]:
    """Ids of several requests: of two customers, of two models, or more than a day apart."""
    odd = set()
    for ident in {r["id"] for r in log}:
        same = [r for r in log if r["id"] == ident]
        spread_s = max(r["s"] for r in same) - min(r["s"] for r in same)
        if spread_s > 86_400 or len({r["customer"] for r in same}) > 1 or len({r["model"] for r in same}) > 1:
            odd.add(ident)
    return odd


def n_dropped(log: list[dict]) -> int:
    return sum(r["id"] not in at_odds(log) for r in log) - len(kept(log))


def kept(log: list[dict]) -> list[dict]:
    """Of the rows with one id, the one with the most output, then tokens, then by every other column.

    Rows of an id that names several requests are all left out."""
    best: dict[int, tuple] = {}
    odd = at_odds(log)
    for r in log:
        if r["id"] in odd:
            continue
        order = (
            -r["completion"],
            -(r["prompt"] + r["completion"]),
            r["s"],
            r["customer"].encode(),
            r["model"],
            r["service"],
            r["prompt"] - r["cached"],
            r["cached"],
            r["completion"] - r["reasoning"],
        )
        if r["id"] not in best or order < best[r["id"]][0]:
            best[r["id"]] = (order, r)
    return [r for _, r in best.values()]


def summed(log: list[dict]) -> dict[tuple, tuple[int, Decimal]]:
    with localcontext() as context:
        context.prec = 60
        result: dict[tuple, tuple[int, Decimal]] = {}
        for r in log:
            key = (r["customer"], r["model"])
            n, cost = result.get(key, (0, Decimal(0)))
            result[key] = (n + 1, cost + row_cost(r))
        return result


def audited(con: duckdb.DuckDBPyConnection, parts: list[Part]) -> tuple[dict[tuple, tuple[int, Decimal]], int]:
    contested = contested_hashes(parts)
    partial = merge(con, "log", [part.partial(f"p{i}", contested) for i, part in enumerate(parts)])
    partial, duplicates = settle(con, partial, GRID, Grouping())
    pricing = price_cells(con, f"{partial.name}_cells", Rates(), GRID)
    with localcontext() as context:
        context.prec = 60
        found = totals(con, pricing, ("customer", "model"))
        return {
            k: (t.n_priced, Decimal(t.cost_usd.numerator) / Decimal(t.cost_usd.denominator)) for k, t in found.items()
        }, duplicates


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@given(log=st.lists(rows, min_size=1, max_size=30))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_totals_equal_the_decimal_oracle(kind: str, log: list[dict], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("log")
    with duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        path = folder / f"log.{kind}"
        types = write(path, kind, log, con)
        found, duplicates = audited(con, [part_of(con, path, kind, types)])
    assert found == summed(kept(log))
    assert duplicates == n_dropped(log)


@given(log=st.lists(rows, min_size=2, max_size=30), data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_split_of_a_log_gives_the_same_totals(
    log: list[dict], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    where = data.draw(st.lists(st.integers(0, 3), min_size=len(log), max_size=len(log)))
    pieces = [[r for r, w in zip(log, where, strict=True) if w == i] for i in range(4)]
    with duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        parts = []
        for i, piece in enumerate(p for p in pieces if p):
            path = folder / f"part{i}.jsonl"
            parts.append(part_of(con, path, "jsonl", write(path, "jsonl", piece, con)))
        found, duplicates = audited(con, parts)
    assert found == summed(kept(log))
    assert duplicates == n_dropped(log)

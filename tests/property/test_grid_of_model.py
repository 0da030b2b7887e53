"""A model's own grid gives the totals of the whole grid, whether its models are all known or only those of a sample."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from solvent.money.audit.pricing import price_cells
from solvent.money.audit.totals import Total, totals
from solvent.money.prices.card import Rate, RateCard, Tier, Unpriced
from solvent.money.usage import cells
from solvent.money.usage.cells import Grid, Grouping, Part, merge
from solvent.money.usage.columns import column_map
from solvent.money.usage.tabular import FlatLog

START = datetime(2026, 6, 1, tzinfo=UTC)
TIERS, SLOTS = (1_000, 32_000, 200_000), (0, 600, 990, 1410)
# The edges at which each model's price really changes.
EDGES = {
    "flat": ((), ()),
    "tiered": ((200_000,), ()),
    "hourly": ((), (600, 990)),
    "both": ((1_000, 200_000), (0, 1410)),
}
NAMES = ("at", "id", "customer", "provider", "model", "prompt", "completion")
MAP = {"at": "at", "request_id": "id", "customer": "customer", "provider": "provider", "model": "model",
       "prompt_tok": "prompt", "completion_tok": "completion"}  # fmt: skip


class Rates:
    """One price for every step of a model's own edges."""

    def rate(
        self, provider: str | None, model: str, day: date, minute: int, service: str, prompt_tok: int
    ) -> Rate | Unpriced:
        tiers, slots = EDGES[model]
        step = 1 + sum(prompt_tok > t for t in tiers) + 7 * sum(minute >= m for m in slots)
        prices = {"input_usd_per_mtok": Decimal(step), "output_usd_per_mtok": Decimal(3 * step)}
        return Rate(RateCard("t", "p", model, "t", (Tier(0, prices),)), prices, service, True, "", "priced")


rows = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "s": st.integers(0, 2 * 86_400),
        "customer": st.sampled_from("ab"),
        "provider": st.sampled_from(["p", "q", None]),
        "model": st.sampled_from(sorted(EDGES)),
        "prompt": st.sampled_from([0, 1_000, 1_001, 32_001, 200_000, 200_001]) | st.integers(0, 300_000),
        "completion": st.integers(0, 1_000),
    }
)


def summed(folder: Path, kind: str, log: list[dict], grid: Grid) -> tuple[dict[tuple, Total], int]:
    """Totals by customer and model, and how many cells it took."""
    path = folder / f"log.{kind}"
    lines = folder / "log.jsonl"
    records = [{**r, "at": (START + timedelta(seconds=r["s"])).isoformat()} for r in log]
    lines.write_text("".join(json.dumps({k: r[k] for k in NAMES}) + "\n" for r in records))
    types = dict.fromkeys(NAMES, "VARCHAR")
    with duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        if kind == "parquet":
            read = (
                f"read_json('{lines}', columns={{'at':'TIMESTAMPTZ',id:'VARCHAR',customer:'VARCHAR',provider:'VARCHAR',"
            )
            con.execute(f"COPY (FROM {read}model:'VARCHAR',prompt:'BIGINT',completion:'BIGINT'}})) TO '{path}'")
            types = {row[0]: row[1] for row in con.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()}
        flat = FlatLog((str(path),), kind, column_map(list(types), MAP, {}), types)
        part = Part(con, flat.relation(), grid, Grouping(), 1_000)
        partial = merge(con, "log", [part.partial("p0", part.hashes()[:0])])
        assert partial.n_accepted == len(log)
        pricing = price_cells(con, "log_cells", Rates(), grid)
        (n_cells,) = con.execute("SELECT count(*) FROM log_cells").fetchall()[0]
        return totals(con, pricing, ("customer", "provider", "model")), n_cells


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@given(log=st.lists(rows, min_size=1, max_size=25), n_sampled=st.sampled_from([1, 5, 100]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_models_own_grid_changes_no_total(
    kind: str, log: list[dict], n_sampled: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "ROWS_SAMPLED", n_sampled)
        own, n_own = summed(folder, kind, log, Grid(TIERS, SLOTS, lambda provider, model: EDGES[model]))
    whole, n_whole = summed(folder, kind, log, Grid(TIERS, SLOTS))
    assert own == whole
    assert n_own <= n_whole


def test_a_price_that_never_changes_takes_one_cell(tmp_path: Path) -> None:
    log = [{"id": str(i), "s": 3_600 * i, "customer": "a", "provider": "p", "model": "flat", "prompt": 20_000 * i + 1,
            "completion": 1} for i in range(20)]  # fmt: skip
    for kind in ("jsonl", "parquet"):
        assert summed(tmp_path, kind, log, Grid(TIERS, SLOTS, lambda provider, model: EDGES[model]))[1] == 1
        assert summed(tmp_path, kind, log, Grid(TIERS, SLOTS))[1] > 3


def test_models_whose_prices_change_off_the_grid_take_all_of_it(tmp_path: Path) -> None:
    log = [{"id": str(i), "s": 3_600 * i, "customer": "a", "provider": "p", "model": "tiered", "prompt": 20_000 * i + 1,
            "completion": 1} for i in range(20)]  # fmt: skip
    off = Grid(TIERS, SLOTS, lambda provider, model: ((77,), (5,)))
    for kind in ("jsonl", "parquet"):
        assert summed(tmp_path, kind, log, off) == summed(tmp_path, kind, log, Grid(TIERS, SLOTS))

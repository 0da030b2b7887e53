"""The economics of a product: what a statement says, and a verdict that agrees with the audit's own."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.choose.economics import (
    Economics,
    compute_per_value,
    from_statement,
    gross_margin,
    margin_usd,
    resampled,
    verdict,
)
from solvent.choose.offers.record import Range
from solvent.errors import ReportError
from solvent.figure import Figure
from solvent.money.audit.verdict import LeftOut, decide
from solvent.money.project import Policy


@pytest.fixture(scope="module")
def statement(repo: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((repo / "tests/golden/report/statement.json").read_text("utf-8"))
    return document


def sure(value: float) -> Range:
    return Range(value, value, value, "assumed", "test")


def economics(**changes: Any) -> Economics:
    plain = Economics(
        sure(1000.0), sure(90.0), sure(50.0), sure(1000.0), sure(10.0), sure(2.0),
        ((600.0, 30.0, 4.0), (400.0, 60.0, 6.0)), 0.1,
    )  # fmt: skip
    return replace(plain, **changes)


def test_a_statement_read_as_a_month(statement: dict[str, Any]) -> None:
    read, figures = from_statement(statement), statement["figures"]
    assert read.per == "month" and read.compute_usd is not None and read.revenue_usd is not None
    months = float(statement["span"]["days"]) / (365.25 / 12)
    # The statement rounds once, at 18 places; a float keeps 15 digits.
    assert read.compute_usd.value * months == pytest.approx(float(figures["cost_usd"]["value"]), rel=1e-12)
    margin = margin_usd(read)
    assert margin is not None
    assert margin * months == pytest.approx(float(figures["margin_usd"]["value"]), rel=1e-9)
    assert gross_margin(read) == pytest.approx(float(figures["gross_margin"]["value"]), rel=1e-9)
    assert compute_per_value(read) == pytest.approx(float(figures["cost_per_value"]["value"]), rel=1e-12)
    assert verdict(read) == statement["verdict"]["state"]


def test_customers_add_up_to_the_whole(statement: dict[str, Any]) -> None:
    read = from_statement(statement)
    assert read.compute_usd is not None
    total = sum(compute or 0.0 for _, compute, _ in read.by_customer)
    assert total == pytest.approx(read.compute_usd.value, rel=1e-9)


def test_intervals_hold_the_value(statement: dict[str, Any]) -> None:
    read = from_statement(statement)
    for part in (read.revenue_usd, read.compute_usd, read.n_outputs):
        assert part is not None and part.low < part.value < part.high


def test_a_cut_table_of_customers_is_no_table(statement: dict[str, Any]) -> None:
    table = statement["tables"]["customers"]
    cut = {**statement, "tables": {"customers": {**table, "rows": table["rows"][:-1]}}}
    read = from_statement(cut)
    assert read.by_customer == ()
    assert read.compute_usd is not None and read.compute_usd.low == read.compute_usd.value


def test_what_is_unknown_stays_unknown(statement: dict[str, Any]) -> None:
    figures = {**statement["figures"], "revenue_usd": {**statement["figures"]["revenue_usd"], "value": None}}
    read = from_statement({**statement, "figures": figures})
    assert read.revenue_usd is None and read.other_cost_usd is None
    assert margin_usd(read) is None and gross_margin(read) is None


def test_a_document_that_is_no_statement_is_refused() -> None:
    with pytest.raises(ReportError, match=r"solvent\.statement/1"):
        from_statement({"schema": "solvent.path/1"})


numbers = st.floats(0.0, 5.0).map(lambda x: round(x, 3))


@given(
    compute=numbers, value=st.none() | numbers, other=numbers, limit=st.floats(0.05, 2.0).map(lambda x: round(x, 2)),
    floor=st.none() | st.floats(-0.5, 0.9).map(lambda x: round(x, 2)), spread=st.none() | st.floats(1.0, 3.0),
    n_out=st.integers(0, 10), n_unknown=st.integers(0, 1),
)  # fmt: skip
def test_the_verdict_is_the_audits(
    compute: float, value: float | None, other: float, limit: float, floor: float | None, spread: float | None,
    n_out: int, n_unknown: int,
) -> None:  # fmt: skip
    """Both rules over the same numbers; ratios that fall on the limit itself are left to the exact one."""
    here = economics(
        revenue_usd=None if value is None else sure(value), compute_usd=sure(compute), other_cost_usd=sure(other),
        customer_value_usd=None if value is None else sure(value), policy_max_compute_per_value=limit,
        policy_min_gross_margin=floor, ratio_spread=None if spread is None else (0.5, spread),
        covered_share=(10 - n_out) / 10, revenue_is_whole=not n_unknown,
        left_out=LeftOut(n_out, 0, 10, n_unknown).text(),
    )  # fmt: skip
    ratio, margin = compute_per_value(here), gross_margin(here)
    edges = [limit, limit * (10 - n_out) / 10, *([limit / spread] if spread else [])]
    if ratio is not None and any(abs(ratio - edge) < 1e-9 for edge in edges):
        return
    high = None if ratio is None or spread is None else ratio * spread
    of_cost = Figure("cost_per_value", "", ratio, "usd/usd", "priced", "", low=high and 0.0, high=high)
    of_margin = Figure("gross_margin", "", margin, "share", "priced", "")
    policy = Policy(
        max_compute_per_value=Decimal(str(limit)), min_gross_margin=None if floor is None else Decimal(str(floor))
    )
    nothing = value == 0 and compute > 0
    theirs = decide(policy, of_cost, of_margin, LeftOut(n_out, 0, 10, n_unknown), brings_nothing=nothing)
    assert verdict(here) == theirs["state"]


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "solvent"),
        ({"compute_usd": sure(101.0)}, "insolvent"),
        ({"ratio_spread": (0.5, 1.2)}, "thin"),
        ({"other_cost_usd": sure(950.0)}, "thin"),
        ({"policy_min_gross_margin": 0.9}, "thin"),
        ({"customer_value_usd": None}, "unknown"),
        ({"covered_share": 0.5}, "unknown"),
        ({"customer_value_usd": sure(0.0)}, "insolvent"),
        ({"compute_usd": sure(101.0), "revenue_is_whole": False}, "unknown"),
    ],
)
def test_each_state_has_its_reason(changes: dict[str, Any], state: str) -> None:
    assert verdict(economics(**changes)) == state


def test_resampling_keeps_the_mean_and_repeats() -> None:
    customers = np.array([[1.0, 10.0], [3.0, 0.0], [8.0, 2.0]])
    sums = resampled(customers, 4000)
    assert np.array_equal(sums, resampled(customers, 4000))
    # The mean of 4,000 sums of 3 draws has a standard error of sd·√3/√4000: 0.081 for sd 2.94; five of them.
    assert sums[:, 0].mean() == pytest.approx(12.0, abs=0.41)
    assert abs(sums[:, 0].mean() * 1.05 - 12.0) > 0.41

"""The examples of the revenue pages: each parses, and each that states an amount earns just that."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from solvent.figure import exact_text
from solvent.money.project import LoadedProject, parse
from solvent.money.revenue.attribute import CustomerUsage, Span, attribute
from solvent.money.revenue.customers import read_customers

ROOT = Path(__file__).resolve().parents[4]
REFERENCE = (ROOT / "docs/reference/revenue.md").read_text("utf-8")
HOW_TO = (ROOT / "docs/how-to/describe-your-revenue.md").read_text("utf-8")
BLOCK = re.compile(r"```(\w+)\n(.*?)```\n(?:\nRevenue: ([^\n]*)\n)?", re.DOTALL)
MONTH = Span(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, 10, 30, tzinfo=UTC), Fraction("30.4375"))
TOKENS = {"input_tok": 1_000_000, "cache_write_1h_tok": 500_000, "cache_read_tok": 2_000_000, "output_tok": 400_000}
ACME = CustomerUsage("acme", 250, 100, TOKENS)


def blocks(page: str, language: str) -> list[tuple[str, str]]:
    return [(text, amounts) for name, text, amounts in BLOCK.findall(page) if name == language]


def project(text: str) -> LoadedProject:
    return parse(tomllib.loads(text, parse_float=Decimal), Path("solvent.toml"))


def nine(value: Fraction | None) -> str | None:
    return exact_text(value, 9)


@pytest.mark.parametrize(("text", "stated"), blocks(REFERENCE, "toml"))
def test_an_example_of_the_reference_earns_what_it_says(text: str, stated: str) -> None:
    told = project(text).project
    result = attribute(told.revenue, told.costs, {"acme": ACME}, MONTH, Path())
    line = result.lines["acme"]
    amounts = re.findall(r"[0-9.]+(?=[ ,])", stated + " ")
    assert stated.startswith(f"{nine(line.revenue_usd)} USD"), nine(line.revenue_usd)
    if "between" in stated:
        assert amounts[1:] == [exact_text(line.low_usd, 2), exact_text(line.high_usd, 2)]
    elif "refunds" in stated:
        assert amounts[1:] == [nine(line.refunds_usd), nine(line.fees_usd), nine(line.other_cost_usd)]
    else:
        assert len(amounts) == 1


def test_every_example_of_the_reference_states_an_amount() -> None:
    examples = blocks(REFERENCE, "toml")
    assert len(examples) == 12
    assert all(stated for _, stated in examples)


@pytest.mark.parametrize("text", [text for text, _ in blocks(HOW_TO, "toml")])
def test_an_example_of_the_how_to_is_a_project(text: str, tmp_path: Path) -> None:
    told = project(text).project
    (tmp_path / "customers.csv").write_text(blocks(HOW_TO, "csv")[0][0])
    result = attribute(told.revenue, told.costs, {"": CustomerUsage(None, 1, 1, {})}, MONTH, tmp_path)
    assert told.revenue.plans or told.costs.other_usd_per_month
    assert result.unallocated_other_cost_usd == told.costs.other_usd_per_month


def test_the_customers_file_of_the_how_to_reads(tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text(blocks(HOW_TO, "csv")[0][0])
    rows = read_customers(tmp_path / "customers.csv", ["team", "pro", "free"])
    assert list(rows) == ["acme", "beta-labs", "northwind"] and rows["acme"].seats == 12


def test_the_reference_names_every_key() -> None:
    from solvent.money.revenue import model
    from solvent.money.revenue.customers import COLUMNS

    tables = (model.Plan, model.Allowance, model.Tokens, model.Credits, model.Sample, model.Ads, model.Costs)
    more = (model.Outcome, model.Conversion, model.FreeTier, model.Segment, model.RevenueModel)
    keys = {key for table in (*tables, *more) for key in table.model_fields} | set(COLUMNS)
    missing = sorted(key for key in keys if not re.search(rf"\b{key}\b", REFERENCE))
    assert missing == []

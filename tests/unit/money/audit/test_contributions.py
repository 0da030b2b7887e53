"""What cost_usd, revenue_usd and a customer's cells are made of: the lines add up to the number."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from fractions import Fraction
from typing import Any

import pytest

Audit = Callable[..., Any]
MTOK = 1_000_000


def amounts(lines: list[str]) -> list[Fraction]:
    return [Fraction(re.findall(r"= ([0-9.]+) USD", line)[-1]) for line in lines]


def many_rates(n: int) -> list[dict[str, Any]]:
    return [{"model": f"m{i}", "input_usd_per_mtok": i + 1, "output_usd_per_mtok": 0} for i in range(n)]


def test_compute_is_the_sum_of_its_rates_largest_first(audit: Audit, month: dict[str, str]) -> None:
    rows = [{"model": f"m{i}", "prompt_tok": MTOK} for i in range(13) for _ in range(i % 2 + 1)]
    found = audit(rows, {"log": month, "rates": many_rates(13)})
    lines = found["figures"]["cost_usd"]["lines"]
    assert len(lines) == 11 and lines[-1] == "3 more rates = 8 USD"
    assert lines[0].startswith("2 requests at ") and "/m11 (" in lines[0] and lines[0].endswith("= 24 USD")
    assert amounts(lines[:-1]) == sorted(amounts(lines[:-1]), reverse=True)
    assert sum(amounts(lines)) == found.value("cost_usd") == sum((i + 1) * (i % 2 + 1) for i in range(13))


def test_a_machine_is_a_contribution(audit: Audit, month: dict[str, str]) -> None:
    machine = {
        "name": "two H100",
        "kind": "rented",
        "serves": ["llama"],
        "n_machines": 2,
        "usd_per_hour": 1,
        "input_tok_per_s": 1000,
        "output_tok_per_s": 100,
        "source": "test",
        "date": date(2026, 1, 1),
    }
    rows = [{"model": model, "prompt_tok": MTOK} for model in ("llama", "m")]
    found = audit(rows, {"log": month, "offers": [machine]})
    # 30.4375 days × 24 h × 2 USD
    assert found["figures"]["cost_usd"]["lines"] == [
        "1 request at machine two H100, reserved = 1461 USD",
        "1 request at */m (standard, the project's own prices) = 1 USD",
    ]


COSTS = {"payment_fee_share": "0.1", "refund_share": "0.05", "other_usd_per_customer_month": 1}
REVENUE = {
    "customers": "customers.csv",
    "plans": {"pro": {"usd_per_month": 10, "usd_per_output": 2}, "free": {"usd_per_month": 0}},
}
CUSTOMERS = "customer,plan\na,pro\nb,pro\nfreddy,free\n"


@pytest.fixture(params=[None, b"key"], ids=["named", "hashed"])
def statement(request: pytest.FixtureRequest, audit: Audit, month: dict[str, str]) -> Any:
    rows = [{"customer": name, "prompt_tok": MTOK} for name in ("a", "a", "freddy")]
    project = {"log": month, "revenue": REVENUE, "costs": COSTS}
    return audit(rows, project, {"customers.csv": CUSTOMERS}, hash_key=request.param)


def test_revenue_is_the_sum_of_its_plans(statement: Any) -> None:
    lines = statement["figures"]["revenue_usd"]["lines"]
    assert lines == ["2 customers on plan pro = 24 USD", "1 customer on plan free = 0 USD"]
    assert sum(amounts(lines)) == statement.value("revenue_usd")


def test_a_customers_revenue_shows_its_parts_and_its_margin_what_is_taken(statement: Any) -> None:
    rows = statement["tables"]["customers"]["rows"]
    (row,) = [row for row in rows if row["n_requests"] == "2"]
    assert row["_revenue_lineage"] == [
        "subscription: 10 USD/month × 1 months = 10 USD",
        "outputs: 2 outputs × 2 USD = 4 USD",
    ]
    taken = ["− 0.7 USD refunds", "− 1.4 USD payment fees and cuts", "− 1 USD other cost of goods"]
    assert row["_margin_lineage"] == taken
    assert sum(amounts(row["_revenue_lineage"])) == Fraction(row["revenue_usd"])
    assert Fraction(row["margin_usd"]) == 14 - Fraction("0.7") - Fraction("1.4") - 1 - Fraction(row["cost_usd"])
    (free,) = [row for row in rows if row["plan"] == "free"]
    assert free["_revenue_lineage"] == ["subscription: 0 USD/month × 1 months = 0 USD"]


def test_lines_name_no_customer(audit: Audit, month: dict[str, str]) -> None:
    rows = [{"customer": "freddy", "prompt_tok": MTOK}]
    project = {"log": month, "revenue": REVENUE, "costs": COSTS}
    found = audit(rows, project, {"customers.csv": CUSTOMERS}, hash_key=b"key")
    assert found["tables"]["customers"]["rows"][0]["customer"].startswith("c-") and "freddy" not in json.dumps(found)


def test_unknown_revenue_has_no_parts(audit: Audit, month: dict[str, str]) -> None:
    found = audit([{"prompt_tok": MTOK}], {"log": month})
    assert found["figures"]["revenue_usd"]["value"] is None and "lines" not in found["figures"]["revenue_usd"]

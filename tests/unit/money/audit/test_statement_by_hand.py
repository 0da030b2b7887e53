"""A statement against hand computation: revenue join, margins, the tail, break-even, outputs, what is left out."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction as F
from typing import Any

import pytest

from solvent.errors import LogError
from solvent.money.audit.run import Incomplete

Audit = Callable[..., Any]
MTOK = 1_000_000
# A value is printed at 18 places, rounded once.
HALF_A_PLACE = F(1, 2 * 10**18)
CUSTOMERS = "customer,plan\na,pro\nb,pro\nidle,pro\n"


def usd(customer: str, n: int, **more: Any) -> list[dict[str, Any]]:
    """n requests of one dollar each."""
    return [{"customer": customer, "prompt_tok": MTOK, **more} for _ in range(n)]


LOG = [*usd("a", 3), *usd("b", 20), *usd("z", 1)]


def project(month: dict[str, str], **more: Any) -> dict[str, Any]:
    revenue = {"customers": "customers.csv", "plans": {"pro": {"usd_per_month": 10}}}
    return {"log": month, "revenue": revenue, **more}


COSTS = {"payment_fee_share": "0.1", "refund_share": "0.05", "other_usd_per_customer_month": 1}


@pytest.fixture
def statement(audit: Audit, month: dict[str, str]) -> Any:
    return audit(LOG, project(month, costs=COSTS), {"customers.csv": CUSTOMERS})


def test_totals(statement: Any) -> None:
    assert statement["span"]["days"] == "30.4375"
    expected = {
        "cost_usd": F(24),
        "revenue_usd": F(30),
        "refunds_usd": F(3, 2),
        "fees_usd": F(3),
        "other_cost_usd": F(4),
        "margin_usd": F(-5, 2),
        "gross_margin": F(-5, 2) / F(57, 2),
        "customer_value_usd": F(30),
        "cost_per_value": F(24, 30),
        "n_requests": F(24),
        "n_outputs": F(24),
        "n_customers": F(3),
        "cost_per_output_usd": F(1),
        "revenue_per_output_usd": F(30, 24),
        "margin_per_output_usd": F(-5, 48),
    }
    for name, value in expected.items():
        assert abs(statement.value(name) - value) <= HALF_A_PLACE, name


def test_margin_per_customer_with_idle_and_unknown(statement: Any) -> None:
    margins = {name: statement.cell("customers", name, "margin_usd") for name in ("a", "b", "idle", "z")}
    assert margins == {"a": F(9, 2), "b": F(-25, 2), "idle": F(15, 2), "z": None}
    assert statement.cell("customers", "z", "revenue_usd") is None
    assert statement.cell("customers", "idle", "cost_usd") == 0
    assert "revenue of 1 customer, unknown" in statement["verdict"]["line"]


def test_the_tail(statement: Any) -> None:
    assert abs(statement.value("losing_customers_share") - F(1, 3)) <= HALF_A_PLACE
    assert statement.value("cvar_loss_usd") == F(25, 2)
    # 10% of three customers is three tenths of the costliest.
    assert statement.value("top_10_percent_cost_share") == F(3, 10) * 20 / 24
    assert statement.value("top_1_percent_cost_share") == F(3, 100) * 20 / 24
    costs = [3, 20, 1]
    pairs = sum(abs(x - y) for x in costs for y in costs)
    assert abs(statement.value("cost_gini") - F(pairs, 2 * 9 * 8)) <= HALF_A_PLACE
    assert statement["tail"]["lorenz"] == [["0", "0"], ["0.333333", "0.041667"], ["0.666667", "0.166667"], ["1", "1"]]


def test_every_row_of_a_table_adds_up_to_the_whole(statement: Any) -> None:
    for table in ("customers", "models", "days", "hours"):
        if table in statement["tables"]:
            rows = statement["tables"][table]["rows"]
            assert sum(F(r["cost_usd"]) for r in rows) == 24, table
            assert sum(int(r["n_requests"]) for r in rows) == 24, table


# ---------------------------------------------------------------------- break-even, by doing it


def test_the_price_that_breaks_even_does(audit: Audit, month: dict[str, str], statement: Any) -> None:
    for figure, check in (
        ("price_factor_for_zero_margin", ("margin_usd", F(0))),
        ("price_factor_for_policy", ("cost_per_value", F(1, 10))),
    ):
        factor = statement.value(figure)
        changed = project(month, costs=COSTS)
        changed["revenue"]["plans"] = {"pro": {"usd_per_month": str(round(10 * float(factor), 12))}}
        again = audit(LOG, changed, {"customers.csv": CUSTOMERS})
        assert float(again.value(check[0])) == pytest.approx(float(check[1]), abs=1e-9)


def test_the_allowance_that_meets_the_policy_does(audit: Audit, month: dict[str, str], statement: Any) -> None:
    cap = statement.value("allowance_for_policy")
    assert cap == 1  # z and two others at one output each are three dollars, which is a tenth of thirty
    capped = [*usd("a", 1), *usd("b", 1), *usd("z", 1)]
    again = audit(capped, project(month, costs=COSTS), {"customers.csv": CUSTOMERS})
    assert again.value("cost_per_value") == F(1, 10)


def test_the_cost_per_output_that_breaks_even_does(audit: Audit, month: dict[str, str], statement: Any) -> None:
    for figure, name, target in (
        ("cost_per_output_for_zero_margin", "margin_usd", 0.0),
        ("cost_per_output_for_policy", "cost_per_value", 0.1),
    ):
        price = round(float(statement.value(figure)), 12)
        rates = [{"model": "m", "input_usd_per_mtok": str(price), "output_usd_per_mtok": 2}]
        again = audit(LOG, project(month, costs=COSTS, rates=rates), {"customers.csv": CUSTOMERS})
        assert float(again.value(name)) == pytest.approx(target, abs=1e-9)


# ---------------------------------------------------------------------- unknown is never zero


def test_nothing_priced_is_no_cost_of_zero(audit: Audit, month: dict[str, str]) -> None:
    rows = [{"prompt_tok": 5, "model": "nobody-sells-this"}, {"prompt_tok": -5}]
    found = audit(rows, project(month), {"customers.csv": CUSTOMERS}, allow_missing=True)
    assert found.value("cost_usd") is None
    assert found["verdict"]["state"] == "unknown"
    assert found["verdict"]["passed"] is None
    only_bad = audit([{"prompt_tok": -5}], project(month), {"customers.csv": CUSTOMERS}, allow_missing=True)
    assert only_bad.value("cost_usd") is None
    assert only_bad["verdict"]["state"] == "unknown"


def test_a_customer_without_a_priced_request_neither_earns_nor_spreads_cost(
    audit: Audit, month: dict[str, str]
) -> None:
    rows = [*usd("a", 3), *usd("idle", 3), *usd("b", 5, model="nobody-sells-this")]
    found = audit(rows, project(month), {"customers.csv": CUSTOMERS}, allow_missing=True)
    assert found.cell("customers", "b", "cost_usd") is None
    assert found.cell("customers", "b", "margin_usd") is None
    assert found.value("cost_gini") == 0
    assert found.value("n_customers") == 3
    assert found.value("losing_customers_share") == 0


def test_what_is_left_out_stands_in_the_verdict(audit: Audit, month: dict[str, str]) -> None:
    rows = [*usd("a", 2), *usd("a", 1, model="nobody-sells-this"), {"prompt_tok": "1.5"}]
    rows = [{**row, "new_tokens": 7} for row in rows]
    with pytest.raises(Incomplete) as refused:
        audit(rows, project(month), {"customers.csv": CUSTOMERS})
    assert len(refused.value.lines) == 3
    found = audit(rows, project(month), {"customers.csv": CUSTOMERS}, allow_missing=True)
    line = found["verdict"]["line"]
    assert "1 unpriced and 1 rejected of 4 rows (50.0%)" in line
    assert "usage under keys that aren't known, 1 times" in line
    assert {row["kind"] for row in found["left_out"]} == {"unpriced", "rejected", "unknown key"}
    assert found["accounting"] == {
        "rows_in": 4,
        "priced": 2,
        "unpriced": 1,
        "duplicates": 0,
        "rejected": 1,
        "not_requests": 0,
        "balanced": True,
    }


def test_customers_who_bring_nothing_are_known_to(audit: Audit, month: dict[str, str]) -> None:
    found = audit(
        usd("a", 1), {"log": month, "revenue": {"default_plan": "free", "plans": {"free": {"usd_per_month": 0}}}}
    )
    assert found.value("customer_value_usd") == 0
    assert (found["verdict"]["state"], found["verdict"]["passed"]) == ("insolvent", False)
    assert "bring nothing" in found["verdict"]["line"]


def test_a_log_without_a_request_is_refused(audit: Audit) -> None:
    with pytest.raises(LogError, match="no request in it"):
        audit("at,customer,model,prompt_tok,completion_tok\n")


# ---------------------------------------------------------------------- outputs


@pytest.mark.parametrize(
    ("rule", "n"),
    [
        ({}, F(6)),
        ({"by": "job"}, F(4)),
        ({"gap_minutes": 10}, F(3)),
        ({"requests_per_output": "1.5"}, F(4)),
    ],
)
def test_outputs_by_rule(audit: Audit, month: dict[str, str], rule: dict[str, Any], n: F) -> None:
    # a: 10:00, 10:10, 10:20:01; b: 10:00, 10:05, 10:15.  Jobs: a has 1, 1 and none; b has 1, 2, 2.
    rows = [
        {"customer": c, "at": f"2026-01-02T10:{t}Z", "job": job, "prompt_tok": MTOK}
        for c, t, job in (
            ("a", "00:00", "1"),
            ("a", "10:00", "1"),
            ("a", "20:01", ""),
            ("b", "00:00", "1"),
            ("b", "05:00", "2"),
            ("b", "15:00", "2"),
        )
    ]
    found = audit(rows, {"log": month, "output": rule})
    assert found.value("n_outputs") == n
    assert found.value("cost_per_output_usd") == 6 / n
    assert sum(F(r["n_outputs"]) for r in found["tables"]["customers"]["rows"]) == n


def test_features_and_days(audit: Audit) -> None:
    rows = [
        {"feature": "chat", "prompt_tok": MTOK},
        {"feature": "", "prompt_tok": 2 * MTOK, "at": "2026-01-03T23:59:59Z"},
    ]
    found = audit(rows)
    assert found.cell("features", "chat", "cost_usd") == 1
    assert found.cell("features", "(none)", "cost_usd") == 2
    assert found.cell("days", "2026-01-03", "cost_usd") == 2
    assert found.cell("hours", "2026-01-03 23:00", "cost_usd") == 2


def test_profit_and_parts_of_customers_are_said_to_be(audit: Audit, month: dict[str, str]) -> None:
    earning = audit(LOG[:3], project(month), {"customers.csv": CUSTOMERS})["figures"]
    assert earning["cvar_loss_usd"]["value"].startswith("-")
    assert earning["cvar_loss_usd"]["label"] == "Mean loss on the worst 5% of customers; below zero: they earn"
    losing = audit(LOG, project(month), {"customers.csv": CUSTOMERS})["figures"]
    assert losing["cvar_loss_usd"]["label"] == "Mean loss on the worst 5% of customers"
    for share, part in ((1, "0.03"), (10, "0.3")):
        figure = losing[f"top_{share}_percent_cost_share"]
        assert figure["label"].endswith(f"top {share}% of customers ({part} of one customer)")
        assert "boundary customer counted by its part" in figure["formula"]


@pytest.mark.parametrize(("seats", "said"), [("1", "customer and month"), ("4", "customer (not per seat) and month")])
def test_an_allowance_of_many_seats_is_a_customers(audit: Audit, month: dict[str, str], seats: str, said: str) -> None:
    customers = f"customer,plan,seats\na,pro,{seats}\nb,pro,1\nz,pro,1\n"
    found = audit(LOG, project(month), {"customers.csv": customers})
    assert said in found["figures"]["allowance_for_policy"]["label"]

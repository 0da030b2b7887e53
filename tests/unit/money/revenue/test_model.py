"""What the revenue tables of a project file accept, and what they refuse."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from solvent.money.revenue.model import Costs, Plan, RevenueModel, Segment, single_subscription


def refusal(table: type, fields: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        table.model_validate(fields)
    return str(caught.value)


def test_an_empty_section_has_no_plans() -> None:
    model = RevenueModel.model_validate({})
    assert model.plans == {} and model.default_plan is None


@pytest.mark.parametrize(
    ("amount", "why"),
    [
        (-1, "at least 0"),
        (True, "not true or false"),
        (Decimal("NaN"), "finite"),
        (Decimal("Infinity"), "finite"),
        (Decimal("1e999999999"), "at most 1,000,000,000,000"),
        (Decimal("1e-999999999"), "decimal places"),
        ("nineteen", "decimal"),
        ([1], "decimal"),
    ],
)
def test_an_amount_that_is_none_is_refused(amount: Any, why: str) -> None:
    assert why in refusal(Plan, {"usd_per_month": amount})


def test_an_amount_at_the_limit_is_accepted() -> None:
    assert Plan(usd_per_month=Decimal(10) ** 12).usd_per_month == 10**12
    assert Plan(usd_per_month=Decimal("1e-60")).usd_per_month == Decimal("1e-60")


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ({}, "no price"),
        ({"usd_per_moth": 3}, "Extra inputs"),
        ({"usd_per_month": 1, "cut_share": Decimal("1.01")}, "from 0 to 1"),
        ({"outcome": {"usd_per_outcome": 1, "successes": 3}}, "go together"),
        ({"outcome": {"usd_per_outcome": 1, "successes": 4, "trials": 3}}, "4 successes among 3"),
        ({"conversion": {"usd_per_conversion": 1, "successes": 0, "trials": 0}}, "no trials"),
        ({"conversion": {"usd_per_conversion": 1, "share": 0, "successes": 1, "trials": 3}}, "either share"),
        ({"conversion": {"usd_per_conversion": 1}}, "give share"),
        ({"credits": {"usd_per_credit": 1}}, "nothing uses credits"),
        ({"tokens": {"usd_per_mtok_input": 1}}, "usd_per_mtok_output"),
        ({"usd_per_month": 1, "seats": -1}, "greater than or equal to 0"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(plan: dict[str, Any], why: str) -> None:
    assert why in refusal(Plan, plan)


@pytest.mark.parametrize(
    ("allowance", "why"),
    [
        ({"of": "outputs", "per_month": 5, "beyond": "charge"}, "go together"),
        ({"of": "outputs", "per_month": 5, "beyond": "stop", "overage_usd_per_unit": 1}, "go together"),
        ({"of": "tokens", "per_month": 5, "beyond": "charge", "overage_usd_per_unit": 1}, "overage_usd_per_mtok"),
        ({"of": "outputs", "per_month": 5, "beyond": "charge", "overage_usd_per_mtok": 1}, "overage_usd_per_unit"),
        ({"of": "joules", "per_month": 5, "beyond": "stop"}, "outputs"),
    ],
)
def test_an_allowance_says_what_happens_beyond_it(allowance: dict[str, Any], why: str) -> None:
    assert why in refusal(Plan, {"usd_per_month": 1, "allowances": [allowance]})


def test_two_allowances_of_one_thing_are_refused() -> None:
    allowance = {"of": "outputs", "per_month": 5, "beyond": "stop"}
    assert "two allowances" in refusal(Plan, {"usd_per_month": 1, "allowances": [allowance, allowance]})


def test_a_free_plan_is_written_as_zero() -> None:
    assert Plan(usd_per_month=Decimal(0)).recurs()


@pytest.mark.parametrize(
    ("segment", "why"),
    [
        ({"customers": "a", "plan": "p", "mix": {"p": 1}}, "either plan or mix"),
        ({"customers": "a"}, "either plan or mix"),
        ({"customers": "a", "mix": {"p": Decimal("0.5"), "q": Decimal("0.4")}}, "add up to 0.9"),
        ({"customers": [], "plan": "p"}, "at least 1"),
        ({"customers": "a", "plan": "p", "started": 5}, "a date such as"),
        ({"customers": "a", "plan": "p", "started": "2026-02-30"}, "date"),
        ({"customers": "a", "plan": "p", "started": "2026-02-02", "ended": "2026-02-01"}, "before started"),
    ],
)
def test_a_segment_that_makes_no_sense_is_refused(segment: dict[str, Any], why: str) -> None:
    assert why in refusal(Segment, segment)


def test_a_segment_takes_one_name_or_many() -> None:
    assert Segment.model_validate({"customers": "a*", "plan": "p"}).customers == ("a*",)
    segment = Segment.model_validate({"customers": ["a", "b"], "plan": "p", "started": date(2026, 1, 2)})
    assert segment.customers == ("a", "b")


def test_plans_that_do_not_exist_are_all_named_with_those_that_do() -> None:
    text = refusal(
        RevenueModel,
        {
            "default_plan": "gold",
            "plans": {"pro": {"usd_per_month": 1}, "free": {"free_tier": {"paid_plan": "silver", "share": 0}}},
            "segments": [{"customers": "a", "plan": "bronze"}],
        },
    )
    assert all(name in text for name in ("'gold'", "'silver'", "'bronze'", "pro, free"))


def test_a_free_tier_leads_to_a_plan_with_a_recurring_price() -> None:
    plans = {"free": {"free_tier": {"paid_plan": "api", "share": 0}}, "api": {"usd_per_request": 1}}
    assert "no recurring price" in refusal(RevenueModel, {"plans": plans})
    assert "no recurring price" in refusal(
        RevenueModel, {"plans": {"free": {"free_tier": {"paid_plan": "free", "share": 0}}}}
    )


@pytest.mark.parametrize("path", ["", ".", "..", "../c.csv", "a/../../c.csv", "/etc/passwd", "C:\\c.csv", "a\nb.csv"])
def test_a_customers_file_lies_beside_the_project(path: str) -> None:
    assert "beside or below" in refusal(RevenueModel, {"customers": path, "plans": {"p": {"usd_per_month": 1}}})


def test_costs_are_shares_and_amounts() -> None:
    assert "from 0 to 1" in refusal(Costs, {"payment_fee_share": 3})
    assert "at least 0" in refusal(Costs, {"other_usd_per_output": -1})
    assert Costs.model_validate({"refund_share": Decimal("0.02")}).refund_share == Decimal("0.02")


def test_one_subscription_serves_every_request() -> None:
    model = single_subscription(Decimal(200))
    assert model.default_plan is not None and model.unnamed_customer is not None
    assert model.plans[model.default_plan].usd_per_month == 200

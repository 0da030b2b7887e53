"""Revenue by customer: every component by hand, who is on which plan, and what is taken off."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from solvent.errors import RevenueError
from solvent.money.revenue.attribute import Attribution, CustomerUsage, RevenueLine, Span, attribute
from solvent.money.revenue.interval import jeffreys
from solvent.money.revenue.model import Costs, RevenueModel, single_subscription

# 30.4375 days: one month, so that a monthly price is the revenue.
START = datetime(2026, 11, 1, tzinfo=UTC)
MONTH = Span(START, datetime(2026, 12, 1, 10, 30, tzinfo=UTC), Fraction("30.4375"))
DAY = Span(START, datetime(2026, 11, 2, tzinfo=UTC), Fraction(1))
USE = {
    "input_tok": 1_000_000,
    "cache_write_5m_tok": 500_000,
    "cache_read_tok": 2_000_000,
    "output_tok": 300_000,
    "reasoning_tok": 100_000,
}


def used(name: str | None, n_outputs: int | Fraction = 100, n_requests: int = 250) -> CustomerUsage:
    return CustomerUsage(name, n_requests, n_outputs, USE)


def run(
    revenue: dict[str, Any],
    costs: dict[str, Any] | None = None,
    span: Span = MONTH,
    usage: dict[str, CustomerUsage] | None = None,
    folder: Path = Path(),
) -> Attribution:
    model, off = RevenueModel.model_validate(revenue), Costs.model_validate(costs or {})
    return attribute(model, off, {"a": used("a")} if usage is None else usage, span, folder)


def one(plan: dict[str, Any], costs: dict[str, Any] | None = None, span: Span = MONTH, **more: Any) -> RevenueLine:
    """The line of customer a, who is on this plan."""
    return run({"default_plan": "p", "plans": {"p": plan, **more}}, costs, span).lines["a"]


@pytest.mark.parametrize(
    ("plan", "usd"),
    [
        ({"usd_per_month": 20}, 20),
        ({"usd_per_year": 240}, 20),
        ({"usd_per_seat_month": 7, "seats": 3}, 21),
        ({"usd_per_seat_year": 84, "seats": 3}, 21),
        ({"usd_per_output": Decimal("0.1")}, 10),
        ({"usd_per_request": Decimal("0.01")}, Fraction(5, 2)),
        # 1.5M input × 2 + 2M cached × 0.5 + 0.4M output × 10
        ({"tokens": {"usd_per_mtok_input": 2, "usd_per_mtok_cached": Decimal("0.5"), "usd_per_mtok_output": 10}}, 8),
        # without a cached price, cached input costs as much as input: 3.5M × 2 + 4
        ({"tokens": {"usd_per_mtok_input": 2, "usd_per_mtok_output": 10}}, 11),
        # 100 × 2 + 250 × 1 + 3.5 × 4 + 0.4 × 10 = 468 credits, 68 beyond those included
        (
            {
                "credits": {
                    "usd_per_credit": Decimal("0.5"),
                    "credits_per_output": 2,
                    "credits_per_request": 1,
                    "credits_per_mtok_input": 4,
                    "credits_per_mtok_output": 10,
                    "included_per_month": 400,
                }
            },
            34,
        ),
        ({"outcome": {"usd_per_outcome": 2, "share": Decimal("0.25")}}, 50),
        ({"ads": {"impressions_per_output": 3, "fill_share": Decimal("0.5"), "cpm_usd": 4}}, Fraction(3, 5)),
        ({"conversion": {"usd_per_conversion": 9, "share": Decimal("0.02")}}, 18),
        ({"conversion": {"usd_per_conversion": 9, "share": Decimal("0.02"), "per": "request"}}, 45),
        ({"usd_per_output": Decimal("0.1"), "minimum_usd_per_month": 25}, 25),
        ({"usd_per_output": Decimal("0.1"), "minimum_usd_per_month": 5}, 10),
        ({"usd_per_month": 20, "usd_per_output": Decimal("0.1")}, 30),
        ({"usd_per_month": 0}, 0),
    ],
)
def test_each_component_over_one_month(plan: dict[str, Any], usd: Fraction | int) -> None:
    line = one(plan)
    assert line.revenue_usd == usd
    assert sum(part.usd for part in line.parts) == usd
    assert line.method == "assumed"


@pytest.mark.parametrize(
    ("allowance", "usd"),
    [
        ({"of": "outputs", "per_month": 60, "beyond": "charge", "overage_usd_per_unit": Decimal("0.5")}, 20),
        ({"of": "outputs", "per_month": 600, "beyond": "charge", "overage_usd_per_unit": Decimal("0.5")}, 0),
        ({"of": "outputs", "per_month": 20, "per": "seat", "beyond": "charge", "overage_usd_per_unit": 1}, 40),
        ({"of": "requests", "per_month": 200, "beyond": "charge", "overage_usd_per_unit": 1}, 50),
        ({"of": "tokens", "per_month": 1_900_000, "beyond": "charge", "overage_usd_per_mtok": 3}, 6),
        ({"of": "input_tokens", "per_month": 2_500_000, "beyond": "charge", "overage_usd_per_mtok": 3}, 3),
        ({"of": "output_tokens", "per_month": 0, "beyond": "charge", "overage_usd_per_mtok": 3}, Fraction(6, 5)),
        ({"of": "outputs", "per_month": 60, "beyond": "stop"}, 0),
        ({"of": "outputs", "per_month": 60, "beyond": "free"}, 0),
    ],
)
def test_allowances_over_one_month(allowance: dict[str, Any], usd: Fraction | int) -> None:
    line = one({"usd_per_month": 10, "seats": 3, "allowances": [allowance]})
    assert line.revenue_usd == 10 + usd
    assert line.low_usd is None
    assert line.past_stop == (("outputs",) if allowance["beyond"] == "stop" else ())


def test_a_day_is_a_part_of_a_month_of_30_4375_days() -> None:
    assert one({"usd_per_month": 20}, span=DAY).revenue_usd == Fraction(20 * 10000, 304375)
    allowance = {"of": "outputs", "per_month": 60, "beyond": "charge", "overage_usd_per_unit": 1}
    line = one({"usd_per_month": 0, "allowances": [allowance]}, span=DAY)
    assert line.revenue_usd == 100 - Fraction(60 * 10000, 304375)


@pytest.mark.parametrize(("rollover", "high"), [(False, 70), (True, None)])
def test_overage_over_two_months_depends_on_when_it_was_used(rollover: bool, high: int | None) -> None:
    two = Span(START, datetime(2026, 12, 31, 21, tzinfo=UTC), Fraction("60.875"))
    allowance = {"of": "outputs", "per_month": 30, "beyond": "charge", "overage_usd_per_unit": 1, "rollover": rollover}
    line = one({"usd_per_month": 0, "allowances": [allowance]}, span=two)
    assert line.revenue_usd == 40
    assert (line.low_usd, line.high_usd) == ((40, high) if high else (None, None))


def test_a_conversion_carries_the_interval_of_its_sample_and_no_payment_fee() -> None:
    conversion = {"usd_per_conversion": 8, "successes": 3, "trials": 40}
    line = one({"conversion": conversion}, {"payment_fee_share": Decimal("0.5"), "refund_share": Decimal("0.5")})
    low, high = jeffreys(3, 40, Decimal("0.95"))
    assert (line.revenue_usd, line.low_usd, line.high_usd) == (60, 800 * low, 800 * high)
    assert (line.fees_usd, line.refunds_usd) == (0, 0)


def test_a_free_tier_is_worth_the_share_that_converts() -> None:
    free = {"free_tier": {"paid_plan": "pro", "successes": 1, "trials": 50}}
    line = one(free, {"payment_fee_usd_per_charge": Decimal("0.3")}, pro={"usd_per_seat_month": 30, "seats": 2})
    low, high = jeffreys(1, 50, Decimal("0.95"))
    assert (line.revenue_usd, line.low_usd, line.high_usd) == (Fraction(60, 50), 60 * low, 60 * high)
    assert line.fees_usd == Fraction(3, 10) / 50


def test_a_minimum_holds_at_the_ends_of_the_interval_too() -> None:
    outcome = {"usd_per_outcome": 1, "successes": 3, "trials": 40}
    line = one({"outcome": outcome, "minimum_usd_per_month": 5})
    _, high = jeffreys(3, 40, Decimal("0.95"))
    assert line.revenue_usd == Fraction(300, 40)
    assert (line.low_usd, line.high_usd) == (5, 100 * high)


def test_refunds_fees_and_cuts_by_hand() -> None:
    plan = {"usd_per_month": 100, "cut_share": Decimal("0.3")}
    costs = {"payment_fee_share": Decimal("0.03"), "payment_fee_usd_per_charge": Decimal("0.5")}
    line = one(plan, {**costs, "refund_share": Decimal("0.1"), "charges_per_month": 2})
    assert line.refunds_usd == 10
    # 3% of 100, two charges, 30% of the 90 that stay
    assert line.fees_usd == 3 + 1 + 27
    assert line.net_usd == 100 - 10 - 31 == line.net_scaling_usd + line.net_fixed_usd
    assert one({**plan, "payment_fees": False}, {**costs, "refund_share": Decimal("0.1")}).fees_usd == 27


def test_a_yearly_plan_is_charged_once_a_year_and_a_free_one_never() -> None:
    costs = {"payment_fee_usd_per_charge": 12}
    assert one({"usd_per_year": 240}, costs).fees_usd == 1
    assert one({"usd_per_month": 20}, costs).fees_usd == 12
    assert one({"usd_per_month": 0}, costs).fees_usd == 0


def test_other_costs_by_output_request_customer_and_month() -> None:
    costs = {"other_usd_per_output": 1, "other_usd_per_request": 2, "other_usd_per_customer_month": 3}
    result = run(
        {"plans": {"p": {"usd_per_month": 1}}, "segments": [{"customers": "a", "plan": "p"}]},
        {**costs, "other_usd_per_month": 1000},
        usage={"a": used("a"), "b": used("b", 1, 1), "": used(None, 2, 2)},
    )
    assert result.lines["a"].other_cost_usd == 100 + 500 + 3
    assert result.unknown == ["b", ""]
    # nobody knows how many customers the unnamed requests come from: no cost per customer
    assert result.unknown_other_cost_usd == (1 + 2 + 3) + (2 + 4)
    assert result.unallocated_other_cost_usd == 1000
    assert result.other_cost_usd == 603 + 12 + 1000


def test_without_plans_every_customer_is_unknown_and_revenue_is_not_zero() -> None:
    result = run({}, usage={"a": used("a"), "": used(None)})
    assert result.unknown == ["a", ""] and not result.complete
    assert result.revenue_usd is None and result.low_usd is None
    assert "default_plan" in result.unknown_why["a"] and "unnamed_customer" in result.unknown_why[""]
    assert result.assumptions == []


PLANS = {"free": {"usd_per_month": 0}, "pro": {"usd_per_month": 20}, "team": {"usd_per_seat_month": 5}}


def test_the_file_comes_before_the_segments_and_those_before_the_default(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("customer,plan,seats,usd_per_month\nacme-1,team,4,\nbig,pro,,999.5\nidle,pro,,\n")
    result = run(
        {
            "customers": "c.csv",
            "default_plan": "free",
            "plans": PLANS,
            "segments": [
                {"customers": ["acme-9", "other"], "plan": "free"},
                {"customers": "acme-*", "plan": "pro"},
                {"customers": ["acme-2", "asleep"], "plan": "team", "seats": 2},
            ],
        },
        usage={name: used(name) for name in ("acme-1", "acme-2", "acme-9", "big", "new")},
        folder=tmp_path,
    )
    assert {name: (line.plan, line.revenue_usd) for name, line in result.lines.items()} == {
        "acme-1": ("team", 20),
        "acme-2": ("pro", 20),
        "acme-9": ("free", 0),
        "big": ("pro", Fraction(1999, 2)),
        "new": ("free", 0),
    }
    assert {name: line.revenue_usd for name, line in result.idle.items()} == {"idle": 20, "other": 0, "asleep": 10}
    assert all(line.idle for line in result.idle.values())
    assert result.revenue_usd == 20 + 20 + Fraction(1999, 2) + 30
    assert result.lines["acme-1"].source == "c.csv:2" and result.lines["new"].source == "default_plan"
    assert any("c" in text and "no rule names them: 1 customer" in text for text, _ in result.assumptions)


def test_a_mix_is_the_shares_of_its_plans() -> None:
    mix = {"free": Decimal("0.9"), "pro": Decimal("0.1")}
    result = run({"plans": PLANS, "segments": [{"customers": "*", "mix": mix}]}, {"payment_fee_usd_per_charge": 1})
    line = result.lines["a"]
    assert (line.revenue_usd, line.fees_usd, line.plan) == (2, Fraction(1, 10), "90% free + 10% pro")
    assert line.plan_names == ("free", "pro")


@pytest.mark.parametrize(
    ("started", "ended", "share"),
    [
        (None, None, Fraction(1)),
        ("2026-11-02", None, Fraction(9, 10)),
        (None, "2026-11-01", Fraction(1, 10)),
        ("2026-11-03", "2026-11-04", Fraction(2, 10)),
        ("2026-10-01", "2026-12-31", Fraction(1)),
        ("2026-11-12", None, Fraction(0)),
        (None, "2026-10-31", Fraction(0)),
        ("0001-01-01", "9999-12-31", Fraction(1)),
    ],
)
def test_start_and_end_cut_the_span(started: str | None, ended: str | None, share: Fraction) -> None:
    ten_days = Span(START, datetime(2026, 11, 11, tzinfo=UTC), Fraction(10))
    segment = {"customers": "a", "plan": "pro", "started": started, "ended": ended}
    line = run({"plans": PLANS, "segments": [segment]}, span=ten_days).lines["a"]
    assert line.revenue_usd == 20 * ten_days.months * share


def test_who_left_before_the_span_is_not_idle() -> None:
    segment = {"customers": "gone", "plan": "pro", "ended": "2026-10-31"}
    result = run({"plans": PLANS, "segments": [segment]}, usage={})
    assert result.idle == {} and result.revenue_usd is None


def test_requests_without_a_customer() -> None:
    nobody = {"?": used(None)}
    by_use = run({"default_plan": "p", "plans": {"p": {"usd_per_request": 1}}}, usage=nobody)
    assert by_use.lines["?"].revenue_usd == 250 and by_use.lines["?"].customer is None
    monthly = run({"default_plan": "pro", "plans": PLANS}, usage=nobody)
    assert monthly.unknown == ["?"]
    named = run({"default_plan": "pro", "unnamed_customer": "app", "plans": PLANS}, usage=nobody)
    assert named.lines["?"].revenue_usd == 20
    with pytest.raises(RevenueError, match="also the name of a customer"):
        run({"default_plan": "pro", "unnamed_customer": "a", "plans": PLANS}, usage={**nobody, "a": used("a")})


def test_one_developer_on_one_subscription() -> None:
    result = attribute(single_subscription(Decimal(200)), Costs(), {"": used(None)}, MONTH, Path())
    assert result.revenue_usd == 200 and result.complete and not result.idle


def test_outcomes_are_counted_where_the_file_counts_them(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("customer,plan,outcomes\na,p,7\n")
    plan = {"outcome": {"usd_per_outcome": 2, "share": 1}}
    assert run({"customers": "c.csv", "plans": {"p": plan}}, folder=tmp_path).lines["a"].revenue_usd == 14


def test_what_a_plan_needs_and_nothing_states_is_told_at_once() -> None:
    plans = {"team": {"usd_per_seat_month": 5}, "won": {"outcome": {"usd_per_outcome": 2}}}
    segments = [{"customers": "won-*", "plan": "won"}, {"customers": "*", "plan": "team"}]
    names = ["won-1", *(f"t{i}" for i in range(8))]
    with pytest.raises(RevenueError) as caught:
        run({"plans": plans, "segments": segments}, usage={name: used(name) for name in names})
    text = str(caught.value)
    assert "'team'" in text and "t0, t1, t2, t3, t4 and 3 more" in text and "won-1" in text
    assert "outcomes and seats" in text


def test_the_assumptions_say_what_the_lines_rest_on() -> None:
    stop = {"of": "outputs", "per_month": 1, "beyond": "stop"}
    result = run(
        {
            "default_plan": "p",
            "plans": {"p": {"usd_per_month": 20, "source": "price list, 1 November", "allowances": [stop]}},
            "segments": [{"customers": ["quiet", "late"], "plan": "p", "started": "2026-11-20"}],
        },
        usage={"a": used("a"), "late": used("late")},
    )
    told = dict(result.assumptions)
    assert any("usd_per_month 20" in text and "3 customers" in text for text in told)
    assert "price list, 1 November" in told.values()
    assert any("prorated" in text and "1 months" in text for text in told)
    assert any("paying all the same: 1 customer" in text for text in told)
    assert any("served without pay: 2 customers" in text for text in told)
    assert any("No payment fee" in text for text in told)


def test_globs_match_whole_names_and_case() -> None:
    segments = [{"customers": ["A*", "b[12]", "c?"], "plan": "pro"}]
    names = ["Acme", "acme", "b1", "b3", "cc", "ccc", "xA"]
    result = run({"plans": PLANS, "segments": segments}, usage={name: used(name) for name in names})
    assert set(result.lines) == {"Acme", "b1", "cc"}


def test_every_token_bucket_is_resold_as_exactly_one_kind() -> None:
    from solvent.money.revenue.components import CACHED_BUCKETS, INPUT_BUCKETS, OUTPUT_BUCKETS
    from solvent.records import BUCKET_NAMES

    sold = [*INPUT_BUCKETS, *CACHED_BUCKETS, *OUTPUT_BUCKETS]
    assert sorted(sold) == sorted(name for name in BUCKET_NAMES if name.endswith("_tok"))

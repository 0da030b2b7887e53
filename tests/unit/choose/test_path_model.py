"""Steps combined: factors multiply on what they act on, customers are the same in every set, nothing counts twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.choose.economics import Economics
from solvent.choose.offers.record import Range, exactly
from solvent.choose.path.model import Model, build, cost_parts
from solvent.choose.path.screen import screen
from solvent.choose.path.step import Step, Tail, Terms

TERMS = Terms(n_draws=400)
PARTS = {"input": 0.3, "output": 0.5, "reasoning": 0.2}
CUSTOMERS = ((100.0, 400.0, 4000.0), (200.0, 50.0, 500.0), (300.0, 30.0, 300.0), (400.0, 20.0, 200.0))


def sure(value: float) -> Range:
    return exactly(value, "assumed", "test")


def economics(**changes: Any) -> Economics:
    sums = [sum(row[i] for row in CUSTOMERS) for i in range(3)]
    plain = Economics(
        sure(sums[0]), sure(sums[1]), sure(50.0), sure(sums[0]), sure(sums[2]), sure(4.0), CUSTOMERS, 0.1,
        follows_revenue=0.5,
    )  # fmt: skip
    return replace(plain, **changes)


def step(name: str, **fields: Any) -> Step:
    return Step(name, fields.pop("kind", "other"), name, "test", **({"quality": sure(1.0)} | fields))


def model(*steps: Step, **changes: Any) -> Model:
    return build(economics(**changes), PARTS, steps, TERMS)


def test_today_is_the_statement() -> None:
    today = model().outcome(())
    assert today.compute_usd[0] == pytest.approx(500.0)
    assert today.margin_usd[0] == pytest.approx(1000.0 - 50.0 - 500.0)
    assert today.shortfall_usd[0] == pytest.approx(500.0 - 0.1 * 1000.0)


def test_factors_act_on_their_part_and_multiply() -> None:
    made = model(step("a", cost={"input": sure(0.5)}), step("b", cost={"output": sure(0.4)}),
                 step("c", cost={"all": sure(0.5)}), step("d", cost={"reasoning": sure(0.1)}))  # fmt: skip
    # reasoning follows output in b; d has one of its own. By hand, of 500:
    assert made.outcome(("a",)).compute_usd[0] == pytest.approx(500 * (0.15 + 0.5 + 0.2))
    assert made.outcome(("b",)).compute_usd[0] == pytest.approx(500 * (0.3 + 0.2 + 0.08))
    assert made.outcome(("a", "b", "c", "d")).compute_usd[0] == pytest.approx(500 * 0.5 * (0.15 + 0.2 + 0.008))


def test_two_steps_of_half_save_three_quarters_and_not_everything() -> None:
    """The fault that multiplying avoids: added up, two halves would be all of it."""
    made = model(step("a", cost={"all": sure(0.5)}), step("b", cost={"all": sure(0.5)}))
    assert made.outcome(("a", "b")).compute_usd[0] == pytest.approx(125.0)


def test_a_share_of_the_traffic() -> None:
    made = model(step("route", cost={"all": sure(0.2)}, share=sure(0.25), quality=sure(0.8)))
    after = made.outcome(("route",))
    assert after.compute_usd[0] == pytest.approx(500 * (0.75 + 0.25 * 0.2))
    assert after.quality[0] == pytest.approx(0.95)


def test_an_allowance_by_hand() -> None:
    made = model(step("cap", tail=Tail(400.0, sure(0.5))))
    after = made.outcome(("cap",))
    # Two customers use more than 400: half of each leave, the rest are served 400 of 4000 and 400 of 500.
    assert after.compute_usd[0] == pytest.approx(30 + 20 + 0.5 * (400 * 0.1 + 50 * 0.8))
    assert after.revenue_usd[0] == pytest.approx(700 + 0.5 * 300)
    assert after.outputs[0] == pytest.approx(500 + 0.5 * 800)
    assert made.given_up["cap"] == pytest.approx(300 / 1000 * (1 - 0.5 * 800 / 4500))


def test_paid_overage_by_hand() -> None:
    made = model(step("pay", tail=Tail(400.0, sure(0.0), 0.2, sure(0.5))))
    after = made.outcome(("pay",))
    assert after.compute_usd[0] == pytest.approx(30 + 20 + 40 + 40 + 0.5 * (360 + 10))
    assert after.revenue_usd[0] == pytest.approx(1000 + 0.5 * 0.2 * (3600 + 100))


def test_a_price_rise_by_hand() -> None:
    made = model(step("up", price_factor=sure(2.0), leave_share=sure(0.25)))
    after = made.outcome(("up",))
    assert after.revenue_usd[0] == pytest.approx(1500.0)
    assert after.compute_usd[0] == pytest.approx(375.0)
    # Of the other cost of 50, half follows revenue.
    assert after.margin_usd[0] == pytest.approx(1500 - 375 - (25 * 1.5 + 25))
    assert made.given_up["up"] == pytest.approx(0.25 + 0.75 * 0.5)


def test_machines_are_paid_for_where_use_falls() -> None:
    plan, cap = step("plan", cost={"all": sure(0.4)}, fixed_share=0.75), step("cap", tail=Tail(400.0, sure(0.0)))
    made = model(plan, cap)
    used = 30 + 20 + 40 + 40
    assert made.outcome(("plan",)).compute_usd[0] == pytest.approx(200.0)
    assert made.outcome(("plan", "cap")).compute_usd[0] == pytest.approx(0.4 * (0.25 * used + 0.75 * 500))
    # Where more is asked for than today, more of them are needed.
    drawn = made.outcome(("plan",)).compute_usd
    assert drawn.min() == pytest.approx(0.4 * (0.25 * made.base[0].min() + 0.75 * 500))
    assert drawn.max() == pytest.approx(0.4 * made.base[0].max())


def test_value_that_is_not_revenue_falls_with_the_outputs() -> None:
    made = model(step("cap", tail=Tail(400.0, sure(0.0))), value_is_revenue=False, customer_value_usd=sure(2000.0))
    assert made.outcome(()).value_usd[0] == pytest.approx(2000.0)
    assert made.outcome(("cap",)).value_usd[0] == pytest.approx(2000.0 * 1300 / 5000)


def test_draws_repeat_and_another_step_leaves_them_alone() -> None:
    wide = step("a", cost={"all": Range(0.5, 0.3, 0.9, "assumed", "test")})
    other = step("b", cost={"input": Range(0.5, 0.4, 0.6, "assumed", "test")}, tail=Tail(400.0, sure(0.1)))
    alone, together = model(wide), model(other, wide)
    assert np.array_equal(alone.outcome(("a",)).compute_usd, together.outcome(("a",)).compute_usd)
    assert not np.array_equal(alone.factors["a"]["input"], together.factors["b"]["input"])


def test_drawn_ends_are_the_ranges_ends() -> None:
    terms = Terms(n_draws=20_000)
    cost = build(economics(), PARTS, [step("a", cost={"all": Range(0.5, 0.3, 0.9, "assumed", "t")})], terms)
    part = step("a", cost={"all": sure(1e-12)}, share=Range(0.4, 0.2, 0.9, "assumed", "t"))
    share = 1 - build(economics(), PARTS, [part], terms).factors["a"]["input"]
    assert share[0] == pytest.approx(0.4) and share.min() > 0 and share.max() < 1
    for drawn, low, high in ((cost.factors["a"]["input"], 0.3, 0.9), (share, 0.2, 0.9)):
        ends = np.quantile(drawn[1:], [0.05, 0.95])
        # A 5% point of 20,000 draws has a standard error of √(0.05·0.95/20000) ÷ density, here under 0.7% of it.
        assert ends == pytest.approx([low, high], rel=0.02)
        assert ends * 1.05 != pytest.approx([low, high], rel=0.02)


def test_wider_ranges_make_wider_margins() -> None:
    narrow = model(step("a", cost={"all": Range(0.5, 0.49, 0.51, "assumed", "t")})).outcome(("a",)).margin_usd
    wide = model(step("a", cost={"all": Range(0.5, 0.2, 1.5, "assumed", "t")})).outcome(("a",)).margin_usd
    assert np.ptp(wide) > np.ptp(narrow)


@given(first=st.floats(0.05, 1.0), second=st.floats(0.05, 1.0))
def test_a_smaller_factor_never_costs_margin(first: float, second: float) -> None:
    low, high = sorted((first, second))
    made = model(step("low", cost={"output": sure(low)}), step("high", cost={"output": sure(high)}))
    assert made.outcome(("low",)).margin_usd[0] >= made.outcome(("high",)).margin_usd[0] - 1e-9


def test_cost_parts_of_a_basis() -> None:
    basis = {"models": {"m": {"usd": {"input_tok": "1/2", "reasoning_tok": "1", "machine": "0.5"}}}}
    assert cost_parts({"basis": basis}) == {"input": 0.25, "cache": 0, "output": 0, "reasoning": 0.5, "other": 0.25}
    assert cost_parts({}) is None


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (step("x", cost={"all": sure(0.5)}, quality=None), "quality isn't known"),
        (
            step("x", cost={"all": sure(0.5)}, quality=sure(0.36)),
            "keeps 36% of today's quality, where at least 90% is asked for",
        ),
        (step("x", cost={"cache": sure(0.5)}), "changes nothing here"),
    ],
)
def test_a_step_that_may_not_be_taken_says_why(bad: Step, why: str) -> None:
    good, child = step("good", cost={"all": sure(0.9)}), step("child", cost={"all": sure(0.9)}, needs=("x",))
    screened = screen(economics(), PARTS, [bad, good, child], TERMS)
    assert why in screened.barred["x"]
    assert screened.barred["child"] == "needs x, which can't be taken"
    assert [s.id for s in screened.may] == ["good"]


def test_quality_just_above_the_floor_passes_and_just_below_fails() -> None:
    above, below = step("above", cost={"all": sure(0.5)}, quality=sure(0.9)), step("below", cost={"all": sure(0.5)},
                                                                                  quality=sure(0.8999))  # fmt: skip
    screened = screen(economics(), PARTS, [above, below], TERMS)
    assert list(screened.barred) == ["below"]


def test_a_tail_without_customers_cannot_be_valued() -> None:
    screened = screen(economics(by_customer=()), PARTS, [step("cap", tail=Tail(1.0, sure(0.1)))], TERMS)
    assert "every customer's use" in screened.barred["cap"] and screened.shown == ()

"""New plans under a scenario, against arithmetic by hand on two APIs and two machines."""

from __future__ import annotations

from datetime import date

import pytest

from solvent.choose.economics import DAYS_PER_MONTH
from solvent.choose.offers.demand import Demand, Hour
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer, exactly
from solvent.choose.stress.replan import Replanner, changed, merged
from solvent.choose.stress.scenario_file import Power, Scenario

# A day of 24M tokens of output, one million an hour.
DEMAND = Demand(tuple(Hour(100, 0, 0, 1_000_000) for _ in range(24)), "assumed", "test")
POWER = Power(kwh_per_usd=0.34, low=0.34, high=0.87, usd_per_kwh=0.10, source="s")


def api(name: str, vendor: str, usd: float, region: str | None = "eu") -> Offer:
    return Offer(name, "api", vendor, region, "m", "", "", 1, None, "2026-03-01", "test",
                 price_usd_per_mtok={"input": usd, "output": usd})  # fmt: skip


def machine(name: str, kind: str = "rented", usd: float = 2.0, **more: object) -> Offer:
    """A machine that does exactly an hour's demand: 1M tokens ÷ 3600 s."""
    speed = exactly(1_000_000 / 3_600 * 1.0001, "measured", "test")
    return Offer(name, kind, "own", "eu", "m", "", "", 1, None, "2026-03-01", "test", input_tok_per_s=speed,
                 output_tok_per_s=speed, usd_per_hour=exactly(usd, "claimed", "test"), **more)  # type: ignore[arg-type]  # fmt: skip


def scenario(**fields: object) -> Scenario:
    whole = {"name": "x", "title": "x", "date": date(2026, 3, 1), "source": "s", "confidence": 0.5, **fields}
    return Scenario.model_validate(whole)


CHEAP, DEAR = api("cheap", "a", 1.0, "us"), api("dear", "b", 3.0)
MOVING = {"person_days": 10, "low": 3, "high": 40, "usd_per_person_day": 800}


def test_a_barred_vendor_is_planned_around_and_moving_is_priced() -> None:
    planner = Replanner((CHEAP, DEAR), DEMAND, Needs())
    assert planner.base().compute_usd == pytest.approx(24 * DAYS_PER_MONTH)
    found = planner.under(scenario(bars=["largest"], migration=MOVING), ["a"])
    assert found is not None and found.feasible and found.lost == "a"
    assert found.compute_usd == pytest.approx(72 * DAYS_PER_MONTH) and found.uses == (("dear", 1.0),)
    assert found.migration_usd == (8_000, 2_400, 32_000)


def test_no_way_out_says_what_would_have_to_relax() -> None:
    found = Replanner((CHEAP, DEAR), DEMAND, Needs(budget_usd_per_day=50)).under(scenario(bars=["largest"]), ["a"])
    assert found is not None and not found.feasible and found.compute_usd is None
    assert any("72" in line for line in found.lines) and any("let in a" in line for line in found.lines)


def test_the_region_that_plans_spend_most_in_is_lost_and_so_is_one_nobody_states() -> None:
    nowhere = api("nowhere", "c", 0.5, None)
    planner = Replanner((CHEAP, DEAR, nowhere), DEMAND, Needs())
    found = planner.under(scenario(loses_regions=["us"]), ["a"])
    assert found is not None and found.uses == (("dear", 1.0),) and found.lost == "us"
    only = Replanner((CHEAP,), DEMAND, Needs()).under(scenario(loses_regions=["largest"]), ["a"])
    assert only is not None and not only.feasible and only.lines == ("none of the offers is left",)


def test_frozen_capacity_sends_what_grows_to_an_api() -> None:
    own = machine("own", usd=0.5)
    planner = Replanner((own, CHEAP), DEMAND, Needs())
    assert planner.base().compute_usd == pytest.approx(12 * DAYS_PER_MONTH)
    doubled = {"changes": [{"assumption": "usage", "times": 2}]}
    free = planner.under(scenario(**doubled), ["own"])
    frozen = planner.under(scenario(freezes_capacity=True, **doubled), ["own"])
    assert free is not None and free.compute_usd == pytest.approx(24 * DAYS_PER_MONTH)
    # One machine's hour is served by it (to 1.0001), the other million by the API at $1.
    assert frozen is not None and frozen.compute_usd == pytest.approx((12 + 24) * DAYS_PER_MONTH, rel=2e-4)


def test_a_power_cap_is_a_share_of_what_todays_plan_draws() -> None:
    own = machine("own", usd=0.5, watts=exactly(1_000, "claimed", "test"))
    planner = Replanner((own, CHEAP), DEMAND, Needs())
    capped = planner.under(scenario(power_cap_share=0.5), ["own"])
    assert capped is not None and capped.uses == (("cheap", 1.0),)
    assert Replanner((CHEAP,), DEMAND, Needs()).under(scenario(power_cap_share=0.5), ["a"]) is None


def test_what_moves_nothing_that_a_plan_rests_on_makes_no_new_plan() -> None:
    planner = Replanner((CHEAP, DEAR), DEMAND, Needs())
    assert planner.under(scenario(changes=[{"assumption": "seats", "times": 0.5}]), ["a"]) is None
    assert planner.under(scenario(changes=[{"assumption": "rental_price", "times": 0.5}]), ["a"]) is None


def test_one_vendors_price_moves_its_offers_alone() -> None:
    found = changed((CHEAP, DEAR), {"api_price[a]": 4.0})
    assert [o.price_usd_per_mtok["output"] for o in found if o.price_usd_per_mtok] == [4.0, 3.0]
    plan = Replanner((CHEAP, DEAR), DEMAND, Needs()).under(
        scenario(changes=[{"assumption": "api_price", "vendor": "a", "times": 4}]), ["a"]
    )
    assert plan is not None and plan.uses == (("dear", 1.0),)


def test_rent_that_halves_is_good_for_who_rents_and_bad_for_who_owns() -> None:
    owned = machine("owned", "owned", 3.0, capital_usd=30_000.0, life_years=4.0, residual_usd=8_766.0)
    rented, own = changed((machine("rented"), owned), {"rental_price": 0.5, "residual_value": 0.5})
    assert rented.usd_per_hour is not None and rented.usd_per_hour.value == 1.0
    # 4,383 less at the end, over 4 · 8,766 hours.
    assert own.usd_per_hour is not None and own.usd_per_hour.value == pytest.approx(3.0 + 4_383 / (4 * 8_766))


def test_electricity_is_paid_by_the_watt_by_owners_and_by_its_share_by_renters() -> None:
    owned = machine("owned", "owned", 3.0, watts=exactly(2_000, "claimed", "t"), usd_per_kwh=0.10)
    metered = machine("metered", watts=exactly(1_000, "claimed", "t"))
    own, meter, flat = changed((owned, metered, machine("flat")), {"power_price": 3.0}, POWER)
    assert own.usd_per_hour and meter.usd_per_hour and flat.usd_per_hour
    assert own.usd_per_hour.value == pytest.approx(3.0 + 2 * 0.20)
    assert meter.usd_per_hour.value == flat.usd_per_hour.value == pytest.approx(2.0 * (1 + 2 * 0.034))


def test_a_machine_that_does_more_is_asked_for_fewer_hours() -> None:
    [own] = changed((machine("own"),), {"machine_output": 2.0})
    assert own.output_tok_per_s is not None
    assert own.output_tok_per_s.value == pytest.approx(2 * 1_000_000 / 3_600 * 1.0001)


def test_scenarios_together_lose_all_that_each_loses_and_move_once() -> None:
    barred = scenario(bars=["a"], migration=MOVING, changes=[{"assumption": "usage", "times": 2}])
    frozen = scenario(
        freezes_capacity=True, power_cap_share=0.5, loses_regions=["us"], migration={**MOVING, "person_days": 20},
        changes=[{"assumption": "usage", "times": 3}],
    )  # fmt: skip
    both = merged([barred, frozen])
    assert (both.bars, both.loses_regions, both.freezes_capacity, both.power_cap_share) == (("a",), ("us",), True, 0.5)
    assert both.migration is not None and both.migration.person_days == 20
    found = Replanner((DEAR, CHEAP), DEMAND, Needs()).under(both, ["a"])
    # Six times the use, all of it at the dear one.
    assert found is not None and found.compute_usd == pytest.approx(6 * 72 * DAYS_PER_MONTH)


def test_two_that_each_leave_a_way_out_may_leave_none_together() -> None:
    own = machine("own", usd=0.5)
    planner = Replanner((own, CHEAP), DEMAND, Needs())
    barred = scenario(bars=["a"])
    frozen = scenario(freezes_capacity=True, changes=[{"assumption": "usage", "times": 2}])
    alone = [planner.under(s, ["a"]) for s in (barred, frozen)]
    assert all(plan is not None and plan.feasible for plan in alone)
    both = planner.under(merged([barred, frozen]), ["a"])
    assert both is not None and not both.feasible and any("let in a" in line for line in both.lines)

"""The plan at the bad ends, what it costs and how often it holds; and frontiers that cost more as they get stricter."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from solvent.choose.mix.document import Chosen, choice_document
from solvent.choose.mix.draws import share_that_holds
from solvent.choose.mix.frontier import AXES, frontier
from solvent.choose.mix.plan import Plan
from solvent.choose.mix.rank import ranked
from solvent.choose.mix.robust import robust_mix
from solvent.choose.mix.solve import plan_or_none
from solvent.choose.offers.demand import Demand, Hour
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer, Range, exactly
from solvent.choose.offers.screen import at_bad_ends

# Every hour is 3,600 machine-seconds of a machine that reads a token a second.
DAY = Demand((Hour(10, 3600.0 * 2, 0, 0),) * 24, "measured", "test", output="reply")


def machine(name: str, usd: float, speed: Range, **more: object) -> Offer:
    offer = Offer(name, "rented", "v", "eu", "m", "fp8", "fp8", 8, 1000, "2026-11-01", "test")
    base = replace(
        offer,
        usd_per_hour=exactly(usd, "priced", "t"),
        input_tok_per_s=speed,
        output_tok_per_s=exactly(1e9, "measured", "t"),
        ttft_s=exactly(0.1, "measured", "t"),
        watts=exactly(500.0, "claimed", "t"),
    )
    return replace(base, **more)  # type: ignore[arg-type]


def speed(value: float, low: float, high: float) -> Range:
    return Range(value, low, high, "predicted", "t")


def api(usd: float, **more: object) -> Offer:
    offer = Offer("api", "api", "w", "us", "m", "", "", 1, 1000, "2026-11-01", "test", {"input": usd, "output": usd})
    return replace(offer, ttft_s=exactly(1.0, "claimed", "t"), **more)  # type: ignore[arg-type]


def test_without_intervals_robustness_costs_nothing() -> None:
    robust = robust_mix([machine("m", 1.0, exactly(1.0, "measured", "t"))], DAY, Needs())
    assert robust.point is robust.bad and robust.price_usd_per_day == 0
    assert robust.bad_holds == 1.0


def test_the_robust_plan_takes_the_machines_that_the_bad_end_needs() -> None:
    # Two at the point value serve exactly; at 0.8 of it three are needed.
    offers = [machine("m", 1.0, speed(1.0, 0.8, 1.2))]
    robust = robust_mix(offers, DAY, Needs(), gap=0.0)
    assert isinstance(robust.point, Plan) and isinstance(robust.bad, Plan)
    assert (robust.point.usd_per_day, robust.bad.usd_per_day) == pytest.approx((48.0, 72.0))
    assert robust.price_usd_per_day == pytest.approx(24.0)
    # The point plan holds where the draw isn't below the middle: half of them. 1,000 draws: 4 σ are 0.063.
    assert robust.point_holds == pytest.approx(0.5, abs=0.063)
    # Three machines hold down to 2/3 of the speed, 2.74 σ below: 99.7%.
    assert robust.bad_holds is not None and robust.bad_holds > 0.985


def test_a_plan_at_its_low_end_holds_as_often_as_the_interval_says() -> None:
    # Two machines whose speed needed lies at the 5% end of the interval: 95% of the draws.
    offer = machine("m", 1.0, speed(1.25, 1.0, 1.5))
    plan = plan_or_none([at_bad_ends(offer)], DAY, Needs(), gap=0.0)
    assert plan is not None and max(plan.uses[0].machines) == 2
    held = share_that_holds(plan, {"m": offer}, DAY, Needs())
    assert held == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 1000))
    assert held != pytest.approx(0.90, abs=4 * math.sqrt(0.95 * 0.05 / 1000))


def test_a_latency_that_may_be_late_fails_the_robust_plan_only() -> None:
    offers = [machine("m", 1.0, exactly(1.0, "measured", "t"), ttft_s=Range(0.4, 0.2, 0.7, "predicted", "t"))]
    robust = robust_mix(offers, DAY, Needs(ttft_s=0.5))
    assert isinstance(robust.point, Plan) and not isinstance(robust.bad, Plan)
    assert [(r.need, r.enough) for r in robust.bad.relaxations] == [("ttft_s", 0.7)]
    assert robust.price_usd_per_day is None


def test_a_stricter_need_never_costs_less() -> None:
    scores = {"fast": (0.5, 0.1), "slow": (0.9, 2.0), "middle": (0.7, 0.5)}
    offers = [
        machine(name, usd, exactly(1.0, "measured", "t"), ttft_s=exactly(late, "measured", "t"),
                quality=exactly(score, "claimed", "t"), quality_metric="q", billed="hour")
        for usd, (name, (score, late)) in zip((3.0, 1.0, 2.0), scores.items(), strict=True)
    ]  # fmt: skip
    found = frontier("ttft_s", offers, DAY, Needs(quality_metric="q"))
    assert [(point.at, round(point.plan.usd_per_day, 9)) for point in found] == [(2.0, 48), (0.5, 96), (0.1, 144)]
    # Quality 0.5 and 0.7 cost as much as 0.9 does: only the strictest stays.
    found = frontier("quality_floor", offers, DAY, Needs(quality_metric="q"))
    assert [point.at for point in found] == [0.9]


def test_the_frontier_of_watts_ends_where_machines_do() -> None:
    offers = [machine("m", 0.5, exactly(1.0, "measured", "t")), api(1000.0)]
    points = frontier("power_cap_w", offers, DAY, Needs())
    assert [point.at for point in points] == [1000.0, 500.0, 0.0]
    costs = [point.plan.usd_per_day for point in points]
    assert costs == sorted(costs)


def test_offers_are_ranked_by_what_they_cost_alone() -> None:
    offers = [
        machine("dear", 2.0, exactly(1.0, "measured", "t")),
        machine("cheap", 1.0, exactly(1.0, "measured", "t")),
        machine("few", 0.1, exactly(1.0, "measured", "t"), n_machines_max=1),
        api(100.0),
    ]
    found = ranked(offers, DAY, Needs())
    assert [(one.offer.id, one.usd_per_day, one.share) for one in found] == [
        ("api", pytest.approx(24 * 0.72), 1.0),
        ("cheap", 48.0, 1.0),
        ("dear", 96.0, 1.0),
        ("few", pytest.approx(2.4), 0.5),
    ]


def test_every_figure_of_the_document_has_its_lineage() -> None:
    offers = [machine("m", 1.0, speed(1.0, 0.8, 1.2)), api(50.0), api(60.0, id="us", region="us")]
    needs = Needs(regions=("eu", "us"), ttft_s=3)
    robust = robust_mix(offers, DAY, needs)
    frontiers = {axis: frontier(axis, offers, DAY, needs) for axis in AXES}
    chosen = Chosen(offers, DAY, needs, robust, ranked(offers, DAY, needs), [], frontiers)
    document = choice_document(chosen, "test")
    assert document["schema"] == "solvent.choice/1"
    figures = document["figures"]
    for name, figure in figures.items():
        assert figure["source"] and figure["method"], name
        assert set(figure.get("inputs", [])) <= set(figures)
    plan = document["plan"]
    total = sum(float(figures[use["usd_per_day"]]["value"]) for use in plan["uses"])
    assert float(figures[plan["usd_per_day"]]["value"]) == pytest.approx(total)
    # A cost that leans on a predicted speed is predicted, however well its price is known.
    assert figures["ranked.m.usd_per_day"]["method"] == "predicted"
    assert figures["ranked.api.usd_per_day"]["method"] == "priced"

"""Plans that hold with any Γ offers at their bad ends: against exhaustive search, and against draws."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from solvent.choose.mix import budgeted
from solvent.choose.mix.draws import chance_beyond, share_that_holds
from solvent.choose.mix.plan import Plan
from solvent.choose.mix.robust import robust_mix
from solvent.choose.mix.solve import plan_or_none
from solvent.choose.offers.demand import Demand, Hour
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer, Range, exactly
from solvent.choose.offers.screen import at_bad_ends

NOTHING = Hour(0, 0, 0, 0)
# The solver's tolerance on constraints, which may save this share of a cost; rounding is far below it.
SOLVER = 1e-7


def around(value: float, share: float) -> Range:
    return Range(value, value * (1 - share), value * (1 + share), "predicted", "t")


def machine(name: str, usd: Range, speed: Range, **more: object) -> Offer:
    offer = Offer(name, "rented", "v", "eu", "m", "fp8", "fp8", 8, 1000, "2026-11-01", "test")
    base = replace(
        offer, usd_per_hour=usd, input_tok_per_s=speed, output_tok_per_s=exactly(1e9, "measured", "t"),
        watts=exactly(500.0, "claimed", "t"),
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def api(usd: float) -> Offer:
    return Offer("api", "api", "w", "us", "m", "", "", 1, 1000, "2026-11-01", "t", {"input": usd, "output": usd})


def day(*machine_hours: float) -> Demand:
    """Hours that ask for so many hours of a machine that reads a token a second."""
    hours = [Hour(10, 3600.0 * n, 0, 0) for n in machine_hours]
    return Demand((*hours, *[NOTHING] * (24 - len(hours))), "assumed", "test")


def exhaustive_usd(offers: Sequence[Offer], demand: Demand, n_bad: int, cap_w: float | None) -> float:
    """The least worst-case cost by trying every count and, for each, every set of offers at their bad ends."""
    machines = [offer for offer in offers if not offer.is_api]
    busy = [h for h in range(24) if demand.hours[h] != NOTHING]
    price = min((o.price_usd_per_mtok["input"] for o in offers if o.is_api), default=math.inf)  # type: ignore[index]
    lucks = sorted({offer.luck() for offer in machines})
    chosen_lucks = itertools.combinations(lucks, min(n_bad, len(lucks)))
    sets = [tuple(j for j, offer in enumerate(machines) if offer.luck() in some) for some in chosen_lucks]
    bad = [at_bad_ends(offer) for offer in machines]

    def speed(o: Offer) -> float:
        return o.input_tok_per_s.value  # type: ignore[union-attr]

    def usd(o: Offer) -> float:
        hours = len(o.paid_hours()) if o.billed == "day" else 1
        return o.usd_per_hour.value * hours  # type: ignore[union-attr]

    axes, slots = [], []
    for j, offer in enumerate(machines):
        most = [math.ceil(demand.hours[h].input_tok / 3600 / speed(bad[j])) for h in busy]
        for hours in [busy] if offer.billed == "day" else [[h] for h in busy]:
            needed = max(n for n, h in zip(most, busy, strict=True) if h in hours)
            axes.append(range(min(needed, offer.n_machines_max or needed) + 1))
            slots.append((j, hours))
    best = math.inf
    for counts in itertools.product(*axes):
        total = sum(usd(machines[j]) * n for n, (j, _) in zip(counts, slots, strict=True))
        rises = [0.0] * len(machines)
        for n, (j, _) in zip(counts, slots, strict=True):
            rises[j] += (usd(bad[j]) - usd(machines[j])) * n
        total += max(sum(rises[j] for j in chosen) for chosen in sets)
        for h in busy:
            here = [(n, j) for n, (j, hours) in zip(counts, slots, strict=True) if h in hours]
            worst = min(
                sum(n * speed(bad[j] if j in chosen else machines[j]) for n, j in here) for chosen in sets
            )  # fmt: skip
            asked = demand.hours[h].input_tok / 3600
            short = max(0.0, asked - worst) / asked
            if short > 1e-9:
                total += short * price * demand.hours[h].input_tok / 1e6
            hot = max(
                sum(n * (bad[j] if j in chosen else machines[j]).watts.value for n, j in here)  # type: ignore[union-attr]
                for chosen in sets
            )
            if cap_w is not None and hot > cap_w:
                total = math.inf
        best = min(best, total)
    return best


def small_case(seed: int) -> tuple[list[Offer], Demand, int, float | None]:
    rng = random.Random(seed)
    offers = [
        machine(
            f"m{i}", around(rng.uniform(0.8, 1.3), rng.choice([0, 0.1, 0.3])),
            around(rng.uniform(0.6, 1.2), rng.choice([0, 0.2, 0.4])),
            watts=around(500.0, rng.choice([0, 0.2])), billed=rng.choice(["hour", "day"]), hours=(0, 1),
            n_machines_max=rng.choice([1, 2, 3]), family=rng.choice(["", "", "shared"]),
        )
        for i in range(3)
    ]  # fmt: skip
    if rng.random() < 0.6:
        offers.append(api(rng.uniform(200, 1500)))
    demand = day(rng.uniform(0.8, 2.2), rng.uniform(0.3, 1.2))
    return offers, demand, rng.choice([1, 1, 2, 3]), rng.choice([None, None, 1100.0])


@pytest.mark.parametrize("block", range(4))
def test_a_budget_of_bad_ends_is_the_exhaustive_optimum(block: int) -> None:
    found = 0
    for seed in range(block * 25, block * 25 + 25):
        offers, demand, n_bad, cap_w = small_case(seed)
        expected = exhaustive_usd(offers, demand, n_bad, cap_w)
        plan = plan_or_none(offers, demand, Needs(power_cap_w=cap_w, n_bad_ends=n_bad), gap=0.0)
        assert (plan is None) == math.isinf(expected), seed
        if plan is not None:
            assert plan.usd_per_day == pytest.approx(expected, rel=SOLVER), seed
            assert plan.bound_usd_per_day <= expected * (1 + SOLVER)
            found += 1
    assert found > 8


def test_the_exhaustive_check_sees_one_bad_end_too_few() -> None:
    seen = 0
    for seed in range(40):
        offers, demand, n_bad, cap_w = small_case(seed)
        expected = exhaustive_usd(offers, demand, n_bad, cap_w)
        plan = plan_or_none(offers, demand, Needs(power_cap_w=cap_w, n_bad_ends=n_bad - 1), gap=0.0)
        seen += plan is not None and plan.usd_per_day < expected * (1 - 3 * SOLVER)
    assert seen > 10


def test_as_many_bad_ends_as_offers_are_all_bad_ends() -> None:
    for seed in range(20):
        offers, demand, _, cap_w = small_case(seed)
        needs = Needs(power_cap_w=cap_w)
        worst = plan_or_none([at_bad_ends(offer) for offer in offers], demand, needs, gap=0.0)
        every = plan_or_none(offers, demand, replace(needs, n_bad_ends=3), gap=0.0)
        assert (worst is None) == (every is None)
        if worst and every:
            assert every.usd_per_day == pytest.approx(worst.usd_per_day, rel=SOLVER)
            assert every.watts_peak <= (cap_w or math.inf)


def test_a_plan_costs_more_the_more_offers_may_be_bad_and_its_shares_add_up() -> None:
    for seed in range(20):
        offers, demand, _, cap_w = small_case(seed)
        plans = [
            plan_or_none(offers, demand, Needs(power_cap_w=cap_w, n_bad_ends=n), gap=0.0) for n in (0, 1, 2, 3)
        ]  # fmt: skip
        costs = [math.inf if plan is None else plan.usd_per_day for plan in plans]
        assert all(a <= b * (1 + SOLVER) for a, b in itertools.pairwise(costs))
        for plan in plans:
            if plan is not None:
                for h in (0, 1):
                    assert math.fsum(use.share[h] for use in plan.uses) == pytest.approx(1.0, abs=1e-8)


def test_two_different_machines_are_cheaper_insurance_than_one_kind() -> None:
    # Two of one kind at 0.75 of their speed serve 1.5; one of each with one of them bad serves 1.75: enough for 1.7.
    kinds = [machine(name, exactly(usd, "priced", "t"), around(1.0, 0.25), hours=(0,))
             for name, usd in (("a", 1.0), ("b", 1.01))]  # fmt: skip
    one = plan_or_none(kinds, day(1.7), Needs(n_bad_ends=1), gap=0.0)
    assert one is not None and sorted(use.offer.id for use in one.uses) == ["a", "b"]
    assert one.usd_per_day == pytest.approx(2.01)
    every = plan_or_none(kinds, day(1.7), Needs(n_bad_ends=2), gap=0.0)
    assert every is not None and every.usd_per_day == pytest.approx(3.0)
    # Two identical offers are two offers: each has its own luck.
    twins = [replace(kinds[0], id="a1", n_machines_max=1), replace(kinds[0], id="a2", n_machines_max=1)]
    assert plan_or_none(twins, day(1.7), Needs(n_bad_ends=1), gap=0.0) is not None


def test_whoever_may_be_at_a_bad_end_must_meet_latency_there() -> None:
    late = Range(0.4, 0.2, 0.7, "predicted", "t")
    offers = [machine("m", exactly(1.0, "priced", "t"), exactly(1.0, "measured", "t"), ttft_s=late, hours=(0,))]
    found = robust_mix(offers, day(1.0), Needs(ttft_s=0.5, n_bad_ends=1))
    assert isinstance(found.point, Plan) and not isinstance(found.bad, Plan)
    assert [(one.need, one.enough) for one in found.bad.relaxations] == [("ttft_s", 0.7)]
    assert isinstance(robust_mix(offers, day(1.0), Needs(ttft_s=0.5, n_bad_ends=0)).bad, Plan)


def test_the_needs_that_must_relax_are_those_of_the_budget() -> None:
    # Two machines, one of them 25% slower, cost 2; both slower needs a third: the budget of 2.5 allows the first.
    kinds = [machine(name, exactly(1.0, "priced", "t"), around(1.0, 0.25), hours=(0,)) for name in "ab"]
    assert isinstance(robust_mix(kinds, day(1.7), Needs(budget_usd_per_day=2.5, n_bad_ends=1)).bad, Plan)
    tight = robust_mix(kinds, day(1.7), Needs(budget_usd_per_day=1.5, n_bad_ends=1)).bad
    assert not isinstance(tight, Plan)
    assert [(one.need, one.enough) for one in tight.relaxations] == [("budget_usd_per_day", pytest.approx(2.0))]


def test_budgets_are_told_with_their_price_and_how_often_they_hold() -> None:
    kinds = [machine(name, exactly(1.0, "priced", "t"), around(1.0, 0.25), hours=(0,)) for name in "abcd"]
    found = robust_mix([replace(one, n_machines_max=1) for one in kinds], day(1.7), Needs(), gap=0.0)
    told = {one.n_bad: (one.usd_per_day, one.n_uncertain) for one in found.budgets}
    assert told == {0: (2, 2), 1: (2, 2), 2: (3, 3), 3: (3, 3), None: (3, 3)}
    holds = [one.holds for one in found.budgets]
    assert holds == sorted(holds) and holds[-1] > 0.99
    # Two draws whose sum is 0.3 below: 0.3/(√2 · 0.25/1.645) = 1.396 σ: 91.9%. 1,000 draws: 4 σ are 3.5%.
    assert holds[0] == pytest.approx(0.919, abs=0.035)


@pytest.mark.parametrize(("n", "n_bad"), [(1, 0), (2, 1), (5, 2), (8, 3), (9, 9), (12, 4)])
def test_the_promised_chance_is_at_least_that_of_two_point_deviations(n: int, n_bad: int) -> None:
    # The hardest case of the theorem: each offer at one end or the other, all of one size. Every sign is tried.
    fails = sum(sum(signs) > n_bad for signs in itertools.product((-1, 1), repeat=n)) / 2**n
    promised = chance_beyond(n, n_bad)
    assert fails <= promised <= 1
    # The theorem's bound is the tail from (Γ + n)/2 on: with nothing protected it says little, with Γ = √n·2.4 < 5%.
    assert promised < 0.55 + 0.5 * (n_bad == 0)
    assert chance_beyond(100, 18) < 0.05 < chance_beyond(100, 15)


def test_draws_see_every_need() -> None:
    sure = exactly(2.0, "measured", "t")
    offer = machine("m", around(1.0, 0.2), sure, hours=(0,), watts=around(500.0, 0.2),
                    ttft_s=around(1.0, 0.2), itl_s=around(1.0, 0.2), quality=around(0.5, 0.2))  # fmt: skip
    demand = day(1.0)
    plan = plan_or_none([offer], demand, Needs())
    assert plan is not None
    by_id = {"m": offer}
    assert share_that_holds(plan, by_id, demand, Needs()) == 1.0
    # Each need at its point value fails in half of the draws (4 σ of 1,000: 0.063), 20% off in 5% (0.028).
    for needs, more in (
        (Needs(ttft_s=1.0), Needs(ttft_s=1.2)),
        (Needs(itl_s=1.0), Needs(itl_s=1.2)),
        (Needs(quality_floor=0.5), Needs(quality_floor=0.4)),
        (Needs(power_cap_w=500.0), Needs(power_cap_w=600.0)),
        (Needs(budget_usd_per_day=1.0), Needs(budget_usd_per_day=1.2)),
    ):
        assert share_that_holds(plan, by_id, demand, needs) == pytest.approx(0.5, abs=0.063), needs
        assert share_that_holds(plan, by_id, demand, more) == pytest.approx(0.95, abs=0.028), more


def test_of_many_offers_some_are_asked_and_the_bound_holds_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = 0
    for seed in range(30):
        offers, demand, n_bad, cap_w = small_case(seed)
        needs = Needs(power_cap_w=cap_w, n_bad_ends=n_bad)
        best = plan_or_none(offers, demand, needs, gap=0.0)
        with monkeypatch.context() as patch:
            patch.setattr(budgeted, "MAX_OFFERS", 2)
            some = plan_or_none(offers, demand, needs, gap=0.0)
        if best and some:
            assert some.bound_usd_per_day <= best.usd_per_day * (1 + SOLVER)
            assert best.usd_per_day <= some.usd_per_day * (1 + SOLVER)
            checked += 1
    assert checked > 8


def test_variants_of_one_choice_share_their_luck() -> None:
    kinds = [machine(name, exactly(1.0, "priced", "t"), around(1.0, 0.25), hours=(0,), n_machines_max=1)
             for name in "abc"]  # fmt: skip
    apart = plan_or_none(kinds, day(1.7), Needs(n_bad_ends=1), gap=0.0)
    kin = [replace(one, family="f") for one in kinds]
    together = plan_or_none(kin, day(1.7), Needs(n_bad_ends=1), gap=0.0)
    assert apart is not None and together is not None
    assert (apart.usd_per_day, together.usd_per_day) == pytest.approx((2.0, 3.0))
    # Two that move together are 0.3 below at 0.15 each: 0.15/(0.25/1.645) = 0.987 σ: 83.8%. 1,000 draws: 4 σ are 4.7%.
    held = share_that_holds(apart, {one.id: one for one in kin}, day(1.7), Needs())
    assert held == pytest.approx(0.838, abs=0.047)
    assert share_that_holds(apart, {one.id: one for one in kinds}, day(1.7), Needs()) > held + 0.03


def test_shortfall_takes_the_worst_offers_of_each_hour() -> None:
    offers = [machine(f"m{i}", exactly(1.0, "priced", "t"), around(0.5, share), billed="hour")
              for i, share in enumerate((0.2, 0.4, 0.0))]  # fmt: skip
    some = budgeted.uncertain(offers, day(2.0), Needs())
    by_hour = np.zeros((3, 24), np.int64)
    by_hour[:, 0] = (2, 1, 1)
    counts = budgeted.Counts(np.zeros(3, np.int64), by_hour, 0.0)
    # Four of 0.25 of the hour serve it; the first two lose 0.1 together, the third 0.1 alone.
    short = [budgeted.shortfall(some, counts, n)[0] for n in range(4)]
    assert short == pytest.approx([0.0, 0.1, 0.2, 0.2])

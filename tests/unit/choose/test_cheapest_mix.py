"""The mix against exhaustive search on small cases, its pruning, its bounds, and what has to relax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
from choice_cases import NOTHING, api, day, exhaustive_usd, is_small, machine, small_case, tied_case

from solvent.choose.mix import branch, generate, program, reduce, search
from solvent.choose.mix.columns import Columns, columns_of
from solvent.choose.mix.crowd import crowded_out
from solvent.choose.mix.decompose import dealt, rests, usd_of
from solvent.choose.mix.greedy import greedy
from solvent.choose.mix.plan import Infeasible, Plan
from solvent.choose.mix.prune import pruned
from solvent.choose.mix.solve import cheapest_mix, plan_or_none
from solvent.choose.offers.demand import Demand, Hour
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer, exactly
from solvent.errors import ChoiceError

# Costs are sums of at most some hundred products of doubles: each rounds to 2^-53 of its size.
RELATIVE = 1e-12
# The solver's own tolerance on the constraints, which may save this share of a cost.
SOLVER = 1e-8


def assert_optimal(offers: Sequence[Offer], demand: Demand, needs: Needs) -> None:
    plan = plan_or_none(offers, demand, needs, gap=0.0)
    expected = exhaustive_usd(offers, demand, needs)
    if expected is None:
        assert plan is None
    else:
        assert plan is not None
        assert plan.usd_per_day == pytest.approx(expected, rel=RELATIVE + SOLVER, abs=1e-12)
        assert plan.bound_usd_per_day <= plan.usd_per_day


@pytest.mark.parametrize("block", range(8))
def test_the_mix_is_the_exhaustive_optimum(block: int) -> None:
    checked = 0
    for seed in range(block * 50, block * 50 + 50):
        case = small_case(seed)
        if is_small(*case):
            assert_optimal(*case)
            checked += 1
    assert checked >= 35  # the generator makes cases that are small enough


def test_the_exhaustive_check_sees_a_plan_that_is_a_little_too_dear() -> None:
    offers, demand, needs = small_case(3)
    plan = plan_or_none(offers, demand, needs, gap=0.0)
    assert plan is not None
    expected = exhaustive_usd(offers, demand, needs)
    assert plan.usd_per_day * (1 + 3 * SOLVER) != pytest.approx(expected, rel=RELATIVE + SOLVER, abs=1e-12)


def without_first(monkeypatch: pytest.MonkeyPatch, dear: float = np.inf) -> None:
    """No first plan, or one that stops at once, and no ladders: the ranges of machine-days have all the work to do."""
    real = search.solve

    def lazy(columns: Columns, picked: program.Picked, gap: float, limit_s: float) -> object:
        return real(columns, picked, dear, limit_s) if np.isfinite(dear) else None

    monkeypatch.setattr(search, "solve", lazy)
    monkeypatch.setattr(search, "carried", lambda *words: words[-1])


@pytest.mark.parametrize("dear", [np.inf, 0.9])
def test_a_plan_within_its_gap_and_its_bound_hold_the_optimum_between_them(
    dear: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the ranges find no plan, all columns as one program say that there is none: with a plan they aren't asked.
    real = search.together
    monkeypatch.setattr(search, "together", lambda *words: None if real(*words) is None else pytest.fail("not needed"))
    without_first(monkeypatch, dear)
    checked = proved = 0
    for seed in range(4000, 4150):
        offers, demand, needs = small_case(seed)
        columns = columns_of(offers, demand, needs.headroom, needs.power_cap_w)
        if not columns.machines.by_day.any() or not is_small(offers, demand, needs):
            continue
        found = search.minimise(columns, 1e-3, 60)
        expected = exhaustive_usd(offers, demand, needs)
        assert (found is None) == (expected is None)
        if found is None or expected is None:
            continue
        usd = usd_of(columns, found)
        assert found.bound_usd <= expected * (1 + SOLVER) + 1e-12
        assert expected <= usd * (1 + SOLVER) + 1e-12
        checked += 1
        proved += usd - found.bound_usd <= 1e-3 * usd
    assert checked > 60 and proved == checked


def split_against_exhaustive(monkeypatch: pytest.MonkeyPatch, dear: float) -> tuple[int, int, int]:
    """(cases, cuts, faults) of ranges without a first plan, machine-days dealt evenly whatever the hours are worth (a
    bound that holds, but that needs many ranges) at `dear` times their price.
    """
    without_first(monkeypatch)

    def evenly(columns: Columns, _: object, low: np.ndarray) -> object:
        machines = columns.machines
        dearer = replace(machines, usd=np.where(machines.by_day, machines.usd * dear, machines.usd))
        return dealt(replace(columns, machines=dearer), np.zeros(24), low)

    monkeypatch.setattr(branch, "dealt", evenly)
    cuts: list[tuple[float, tuple[int, int] | None]] = []
    real = branch._bounded
    monkeypatch.setattr(branch, "_bounded", lambda *words: cuts.append(real(*words)) or cuts[-1])
    checked = faults = 0
    for seed in range(16):
        offers, demand, needs = tied_case(seed)
        columns = columns_of(offers, demand, needs.headroom, needs.power_cap_w)
        found, expected = search.minimise(columns, 1e-5, 60), exhaustive_usd(offers, demand, needs)
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            is_low = found.bound_usd <= expected * (1 + SOLVER) + 1e-12
            faults += not (is_low and usd_of(columns, found) == pytest.approx(expected, rel=1.1e-5))
            checked += 1
    return checked, sum(cut is not None for _, cut in cuts), faults


def test_ranges_of_machine_days_prove_the_optimum_where_the_first_bound_is_weak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked, cuts, faults = split_against_exhaustive(monkeypatch, 1.0)
    assert checked > 12 and cuts > 20 and faults == 0


def test_ranges_bounded_by_machine_days_that_are_too_dear_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_against_exhaustive(monkeypatch, 1.2)[2] > 0


def test_time_that_ends_at_once_leaves_a_bound_that_holds() -> None:
    checked = 0
    for seed in range(4200, 4260):
        offers, demand, needs = small_case(seed)
        columns = columns_of(offers, demand, needs.headroom, needs.power_cap_w)
        best = search.minimise(columns, 0.0, 60)
        if best is None or not columns.machines.by_day.any():
            continue
        work = branch.Branch(columns, generate.candidates(columns), 1e-9, perf_counter() - 1)
        found = branch.split_days(work, replace(best, bound_usd=best.bound_usd / 2))
        assert found is not None and found.bound_usd == best.bound_usd / 2
        start = branch.split_days(work, None)
        assert start is None or (start.bound_usd == 0.0 and usd_of(columns, start) >= best.bound_usd * (1 - SOLVER))
        checked += 1
    assert checked > 20


def bounds_beside_a_solver_that_gives_up(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """(cases, bounds above the optimum) of ranges whose plan is too dear and whose hours the solver gives up on."""

    def gives_up(*_: object) -> None:
        raise ChoiceError("offers", "no plan found in 1 s")

    checked = faults = 0
    for seed in range(8):
        offers, demand, needs = tied_case(seed)
        columns = columns_of(offers, demand, needs.headroom, needs.power_cap_w)
        best = search.minimise(columns, 0.0, 60)
        if best is None:
            continue
        dear = replace(best, by_day=best.by_day + 1, bound_usd=0.0)
        work = branch.Branch(columns, generate.candidates(columns), 1e-9, perf_counter() + 60)
        with monkeypatch.context() as patch:
            patch.setattr(branch, "together", gives_up)
            found = branch.split_days(work, dear)
        assert found is not None
        faults += found.bound_usd > best.bound_usd * (1 + SOLVER)
        checked += 1
    return checked, faults


def test_an_hour_that_the_solver_gave_up_on_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    checked, faults = bounds_beside_a_solver_that_gives_up(monkeypatch)
    assert checked > 4 and faults == 0


def test_an_hour_that_was_given_up_on_and_taken_for_one_without_plans_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch, "one_hour", lambda *_: None)
    assert bounds_beside_a_solver_that_gives_up(monkeypatch)[1] > 0


def test_a_greedy_plan_keeps_pools_caps_and_numbers() -> None:
    found = 0
    for seed in range(6000, 6200):
        offers, demand, needs = small_case(seed)
        columns = columns_of(offers, demand, needs.headroom, needs.power_cap_w)
        counts = greedy(columns)
        if counts is None:
            continue
        machines = columns.machines
        n = counts.by_hour + counts.by_day[:, None]
        assert (n <= machines.n_max[:, None]).all()
        watts = (n * (machines.cover > 0) * machines.watts[:, None]).sum(axis=0)[columns.busy]
        assert (watts <= columns.cap_w * (1 + RELATIVE)).all()
        for pool in set(machines.pool.tolist()) - {-1}:
            members = machines.pool == pool
            assert (n[members].sum(axis=0) <= machines.pool_max[members][0]).all()
        best = search.minimise(columns, 0.0, 60)
        assert best is not None and usd_of(columns, counts) >= usd_of(columns, best) * (1 - SOLVER)
        found += 1
    assert found > 80


def test_the_hours_bound_the_day_however_machine_days_are_dealt() -> None:
    checked = tight = 0
    for seed in range(5000, 5100):
        offers, demand, needs = small_case(seed)
        columns = columns_of(offers, demand, needs.headroom, needs.power_cap_w)
        whole = search.minimise(columns, 0.0, 60)
        if whole is None or not columns.machines.by_day.any():
            continue
        rng = np.random.default_rng(seed)
        # Some of the machine-days of the optimum are bought already: it stays within what is bounded.
        low = rng.integers(0, whole.by_day + 1)
        bound = float((columns.machines.usd * low).sum())
        for _, hour in dealt(columns, rng.uniform(0, 3, 24), low):
            counts = branch.one_hour(hour, 1e-6, perf_counter() + 60)
            assert counts is not None
            bound += counts.bound_usd
        assert bound <= whole.bound_usd * (1 + SOLVER) + 1e-12
        checked += 1
        tight += bound > whole.bound_usd * 0.9
    assert checked > 30 and tight > 10


def test_a_pool_of_which_days_were_bought_has_so_many_fewer_and_a_cut_member_replaces_no_other() -> None:
    demand = day([Hour(1, 3600.0, 0, 0)])
    pool = {"pool": "p", "n_machines_max": 3}
    offers = [machine("a", 1.0, 0.4, 1e9, **pool), machine("b", 2.0, 0.35, 1e9, **pool)]
    columns = columns_of(offers, demand, 0.0, None)
    ((_, hour),) = dealt(columns, np.ones(24), np.array([1, 0]))
    assert list(hour.machines.n_max) == [2, 2] and list(hour.machines.pool_max) == [2, 2]
    assert len(pruned(columns).machines) == 1
    cut = replace(columns, machines=replace(columns.machines, n_max=np.array([1, 3])))
    assert len(pruned(cut).machines) == 2


def test_column_generation_finds_the_same_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = 0
    for seed in range(1000, 1080):
        offers, demand, needs = small_case(seed)
        direct = plan_or_none(offers, demand, needs, gap=0.0)
        with monkeypatch.context() as patch:
            patch.setattr(reduce, "DIRECT_COLUMNS", 0)
            patch.setattr(generate, "lowest", lambda values, among, n: _lowest_one(values, among))
            priced = plan_or_none(offers, demand, needs, gap=0.0)
        assert (direct is None) == (priced is None)
        if direct and priced:
            assert priced.usd_per_day == pytest.approx(direct.usd_per_day, rel=2 * SOLVER)
            checked += 1
    assert checked > 40


def _lowest_one(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    counted = np.where(among, values, np.inf)
    return among & (counted <= counted.min(axis=0))


def test_pruning_keeps_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    removed = 0
    for seed in range(2000, 2080):
        offers, demand, needs = small_case(seed)
        columns = columns_of(offers, demand, needs.headroom, needs.power_cap_w)
        whole = search.minimise(columns, 0.0, 60)
        less = pruned(columns)
        removed += len(columns.machines) - len(less.machines)
        rest = search.minimise(less, 0.0, 60)
        assert (whole is None) == (rest is None)
        if whole and rest:
            assert rest.bound_usd == pytest.approx(whole.bound_usd, rel=2 * SOLVER, abs=1e-9)
    assert removed > 20


def test_the_optimum_may_lie_outside_the_columns_that_the_linear_program_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    # One hour of 1.0 machine-shares. Per share: big 12.5, small 24, decoy 44 USD. big + 2 small = 14.8 is the best;
    # the linear program takes 1.25 big, and the decoys are the cheapest at all.
    demand = day([Hour(1, 3600.0, 0, 0)])
    offers = [
        machine("big", 10.0, 0.8, 1e9, billed="hour"),
        machine("small", 2.4, 0.1, 1e9, billed="hour"),
        machine("decoy", 2.2, 0.05, 1e9, billed="hour"),
    ]
    monkeypatch.setattr(reduce, "DIRECT_COLUMNS", 0)
    monkeypatch.setattr(generate, "lowest", lambda values, among, n: _lowest_one(values, among))
    plan = plan_or_none(offers, demand, Needs(), gap=0.0)
    assert plan is not None and plan.usd_per_day == pytest.approx(14.8, rel=RELATIVE)


def test_free_machines_that_are_there_at_night_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduce, "DIRECT_COLUMNS", 0)
    demand = day([Hour(1, 3600.0, 0, 0)] * 4)
    offers = [machine("idle", 0.0, 0.5, 1e9, billed="hour", hours=(0, 1)), machine("m", 1.0, 1.0, 1e9)]
    offers.append(machine("h", 3.0, 1.0, 1e9, billed="hour"))
    plan = plan_or_none(offers, demand, Needs(), gap=0.0)
    assert plan is not None and plan.usd_per_day == pytest.approx(6.0)


def test_machines_of_one_pool_don_t_replace_one_another_two_for_one() -> None:
    demand = day([Hour(1, 3600.0, 0, 0)])
    pool = {"pool": "p", "n_machines_max": 1, "billed": "hour"}
    offers = [machine("slow", 1.0, 0.6, 1e9, **pool), machine("fast", 5.0, 1.0, 1e9, **pool)]
    plan = plan_or_none(offers, demand, Needs(), gap=0.0)
    assert plan is not None and [use.offer.id for use in plan.uses] == ["fast"]


def test_what_better_machines_crowd_out_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    removed = 0
    for seed in range(3000, 3060):
        offers, demand, needs = small_case(seed)
        columns = columns_of(offers, demand, needs.headroom, needs.power_cap_w)
        whole = search.minimise(columns, 0.0, 60)
        if whole is None:
            continue
        every = generate.candidates(columns)
        left = program.Picked(*crowded_out(columns, every.day, every.hour, whole.bound_usd * (1 + 1e-6)))
        removed += every.n_columns() - left.n_columns()
        rest = program.solve(columns, left, 0.0, 60)
        assert rest is not None
        assert rest.usd == pytest.approx(whole.bound_usd, rel=2 * SOLVER, abs=1e-9)
    assert removed > 20


def test_machines_that_are_all_needed_don_t_crowd_one_another_out() -> None:
    demand = day([Hour(1, 3600.0, 0, 0)])
    limited = {"n_machines_max": 1, "billed": "hour"}
    offers = [machine("a", 1.0, 0.5, 1e9, **limited), machine("b", 1.1, 0.5, 1e9, **limited)]
    offers.append(machine("c", 1.2, 0.5, 1e9, **limited))
    columns = columns_of(offers, demand, 0.0, None)
    every = generate.candidates(columns)
    _, hour = crowded_out(columns, every.day, every.hour, 2.1)
    # Two run at once: the third is never needed, the second is.
    left = [columns.machines.offers[j] for j in np.flatnonzero(hour[:, 0])]
    assert sorted(left) == [(0,), (1,)]


def test_the_rest_of_an_hour_has_what_the_day_left_of_pool_and_power() -> None:
    demand = day([Hour(1, 3600.0, 0, 0)])
    pool = {"pool": "p", "n_machines_max": 2}
    offers = [machine("day", 1.0, 0.4, 1e9, **pool), machine("hour", 1.0, 0.4, 1e9, billed="hour", **pool)]
    columns = columns_of(offers, demand, 0.0, 250.0)
    by_day = np.where(columns.machines.by_day, 1, 0)
    ((h, rest),) = rests(columns, by_day)
    assert h == 0 and list(rest.machines.n_max) == [1] and rest.cap_w == 150.0
    assert rest.machines.cover[0, 0] == pytest.approx(0.4 / 0.6)
    assert list(rests(columns, np.where(columns.machines.by_day, 3, 0))) == []


@pytest.mark.parametrize("billed", ["day", "hour"])
def test_idle_time_is_paid_for(billed: str) -> None:
    hours = [Hour(1, 1800.0, 0, 0)] + [NOTHING] * 23
    plan = plan_or_none([machine("m", 2.0, 1.0, 1e9, billed=billed)], day(hours), Needs())
    assert plan is not None
    assert plan.usd_per_day == pytest.approx(48.0 if billed == "day" else 2.0)
    assert plan.idle_share == pytest.approx(0.5)  # of the hours that ask for anything


def test_identical_offers_are_one_group_and_each_keeps_its_own_limit() -> None:
    demand = day([Hour(1, 3600.0 * 4, 0, 0)])
    offers = [machine(f"m{i}", 1.0, 1.0, 1e9, n_machines_max=2, billed="hour") for i in range(3)]
    plan = plan_or_none(offers, demand, Needs(), gap=0.0)
    assert plan is not None and plan.usd_per_day == pytest.approx(4.0)
    assert all(max(use.machines) <= 2 for use in plan.uses)
    assert sum(max(use.machines) for use in plan.uses) == 4


def test_shares_of_every_hour_add_up_and_cost_adds_up() -> None:
    for seed in range(40):
        offers, demand, needs = small_case(seed)
        plan = plan_or_none(offers, demand, needs)
        if plan is None:
            continue
        for h, hour in enumerate(demand.hours):
            served = math.fsum(use.share[h] for use in plan.uses)
            assert served == pytest.approx(1.0 if hour != NOTHING else 0.0, abs=1e-8)
        assert plan.usd_per_day == pytest.approx(math.fsum(use.usd_per_day for use in plan.uses))


DAY = day([Hour(100, 1e5, 0, 4e4)] * 24)


def relaxed(result: Plan | Infeasible) -> dict[str, object]:
    assert isinstance(result, Infeasible)
    return {relaxation.need: relaxation.enough for relaxation in result.relaxations}


def test_needs_that_nothing_meets_say_which_and_by_how_much() -> None:
    scored = {"quality": exactly(0.7, "claimed", "test"), "quality_metric": "mmlu"}
    offers = [
        api("near", ttft_s=exactly(0.5, "claimed", "t"), **scored),
        api("far", usd_in=0.1, usd_out=0.1, ttft_s=exactly(2.0, "claimed", "t"), **scored),
        api("unknown"),
    ]
    result = cheapest_mix(offers, DAY, Needs(ttft_s=0.4))
    assert relaxed(result) == {"ttft_s": 0.5}
    assert "0.4 s: at most 0.5 (+25.0%)" in result.relaxations[0].line  # type: ignore[union-attr]
    assert relaxed(cheapest_mix(offers, DAY, Needs(quality_floor=0.8, quality_metric="mmlu"))) == {"quality_floor": 0.7}
    cheapest = plan_or_none(offers, DAY, Needs())
    assert cheapest is not None
    found = cheapest_mix(offers, DAY, Needs(budget_usd_per_day=cheapest.usd_per_day / 2))
    assert relaxed(found) == {"budget_usd_per_day": cheapest.usd_per_day}
    assert relaxed(cheapest_mix(offers, DAY, Needs(regions=("us",)))) == {"regions": "eu"}
    barred = Needs(barred_vendors=("v-near", "v-far", "v-unknown"))
    assert relaxed(cheapest_mix(offers, DAY, barred)) == {"barred_vendors": "v-far"}


@pytest.mark.parametrize("enough", range(6))
def test_the_least_change_of_a_need_is_found_among_many(enough: int) -> None:
    # Later is cheaper: the first that the budget allows is the least change.
    offers = [api(f"a{k}", 6.0 - k, 6.0 - k, ttft_s=exactly(0.5 + 0.1 * k, "claimed", "t")) for k in range(6)]
    costs = [plan_or_none([offer], DAY, Needs()).usd_per_day for offer in offers]  # type: ignore[union-attr]
    needs = Needs(ttft_s=0.4, budget_usd_per_day=costs[enough] * 1.001)
    assert relaxed(cheapest_mix(offers, DAY, needs))["ttft_s"] == pytest.approx(0.5 + 0.1 * enough)


def test_two_needs_that_must_relax_together_are_told_together() -> None:
    offers = [api("a", ttft_s=exactly(1.0, "claimed", "t"), quality=exactly(0.5, "claimed", "t"))]
    result = cheapest_mix(offers, DAY, Needs(ttft_s=0.5, quality_floor=0.9))
    assert isinstance(result, Infeasible)
    assert not result.relaxations
    assert {r.need: r.enough for r in result.together} == {"ttft_s": 1.0, "quality_floor": 0.5}


def test_a_power_cap_that_is_too_low_says_what_is_needed() -> None:
    demand = day([Hour(1, 3600.0 * 3, 0, 0)])
    result = cheapest_mix([machine("m", 1.0, 1.0, 1e9)], demand, Needs(power_cap_w=150.0))
    assert relaxed(result)["power_cap_w"] == pytest.approx(300.0, rel=0.2)


def test_demand_above_all_capacity_says_the_share_that_fits() -> None:
    demand = day([Hour(1, 3600.0 * 4, 0, 0)])
    result = cheapest_mix([machine("m", 1.0, 1.0, 1e9, n_machines_max=3)], demand, Needs())
    assert isinstance(result, Infeasible)
    assert "above all capacity" in result.line and "75.0%" in result.line


def test_no_offers_and_no_demand_are_told() -> None:
    with pytest.raises(ChoiceError, match="at least one offer"):
        cheapest_mix([], DAY, Needs())
    with pytest.raises(ChoiceError, match="no tokens in any hour"):
        cheapest_mix([api()], day([NOTHING]), Needs())

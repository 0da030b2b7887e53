"""Ladders against trying every count, units that bound, and the plans and bounds of both against exhaustive search."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from choice_cases import day, exhaustive_usd, is_small, machine, small_case, tied_case

from solvent.choose.mix import baseload, others, spare, units
from solvent.choose.mix.columns import Columns, columns_of
from solvent.choose.mix.decompose import fits, usd_of
from solvent.choose.mix.generate import candidates, priced_out
from solvent.choose.mix.ladder import Ladders, Pieces, without_pieces
from solvent.choose.mix.mend import mended
from solvent.choose.mix.others import Ranges
from solvent.choose.mix.program import Counts
from solvent.choose.mix.rounded import Rounded, parted
from solvent.choose.mix.search import minimise
from solvent.choose.mix.spare import needed, needed_days
from solvent.choose.offers.demand import Demand, Hour
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer

Case = tuple[list[Offer], Demand, Needs]
# The solver's tolerance on the constraints, which may save this share of a cost, and what doubles lose, far below it.
SOLVER = 1e-8


def some_pieces(seed: int) -> tuple[Pieces, np.ndarray]:
    """Up to 5 pieces over 3 hours, of which some are alike in all hours, some are missing in one, some differ."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 6))
    usd = np.repeat(rng.integers(1, 9, (n, 1)) / 4.0, 3, axis=1)
    covers = np.repeat(rng.integers(0, 9, (n, 1)), 3, axis=1)
    differs = rng.random((n, 3)) < 0.2
    usd[differs] = rng.choice([np.inf, 0.5, 3.0], int(differs.sum()))
    return Pieces(usd, covers, rng.integers(0, 5, n)), rng.choice([0.4, np.inf], 3)


def cheapest(pieces: Pieces, unit_usd: float, h: int, asked: int) -> float:
    """By trying every count."""
    best = np.inf
    for counts in itertools.product(*(range(int(n) + 1) for n in pieces.n_max)):
        used = [(n, k) for k, n in enumerate(counts) if n]
        rest = max(0, asked - sum(n * int(pieces.units[k, h]) for n, k in used))
        usd = sum(n * float(pieces.usd[k, h]) for n, k in used)
        best = min(best, usd + (rest * unit_usd if rest else 0.0))
    return best


def ladder_faults(more: int = 0) -> tuple[int, int]:
    """(numbers compared, those that differ), with `more` of every piece than the ladders are told of."""
    checked = faults = 0
    for seed in range(60):
        pieces, unit_usd = some_pieces(seed)
        ladders = Ladders(pieces, without_pieces(unit_usd, 20))
        costs = ladders.costs()
        asked = np.tile(np.arange(0, 21, 4), (3, 1))
        counts = ladders.picked(asked)
        told = replace(pieces, n_max=pieces.n_max + more)
        for h, (t, r) in itertools.product(range(3), enumerate(asked[0].tolist())):
            expected = cheapest(told, float(unit_usd[h]), h, r)
            # Sums of quarters and of 0.4: equal to a few 2^-53.
            faults += costs[h][r] != pytest.approx(expected, rel=1e-12)
            taken = counts[:, h, t]
            rest = max(0, r - int((taken * pieces.units[:, h]).sum()))
            paid = float((taken * np.where(taken > 0, pieces.usd[:, h], 0.0)).sum())
            paid += rest * float(unit_usd[h]) if rest and np.isfinite(costs[h][r]) else 0.0
            if np.isfinite(costs[h][r]):
                faults += paid != pytest.approx(costs[h][r], rel=1e-12) or (taken > pieces.n_max).any()
            checked += 1
    return checked, faults


def test_a_ladder_is_the_least_cost_of_every_number_of_units_and_its_picks_cost_that() -> None:
    checked, faults = ladder_faults()
    assert checked == 60 * 18 and faults == 0


def test_a_piece_more_than_there_is_would_be_seen() -> None:
    assert ladder_faults(more=1)[1] > 0


def test_hours_that_are_alike_share_their_ladder() -> None:
    pieces = Pieces(
        np.array([[1.0] * 4, [2.0] * 4, [1.0, 1.0, np.inf, np.inf]]), np.full((3, 4), 2), np.array([3, 3, 1])
    )
    costs = Ladders(pieces, without_pieces(np.full(4, np.inf), 9)).costs()
    assert costs[0] is costs[1] and costs[2] is costs[3] and costs[0] is not costs[2]


@functools.cache
def optimum(make: Callable[[int], Case], seed: int) -> float | None:
    """None where there is no plan, or the case is too large to try every count."""
    return exhaustive_usd(*make(seed)) if is_small(*make(seed)) else None


def many_pieces(seed: int) -> tuple[Pieces, np.ndarray, np.ndarray]:
    """20 pieces over 3 hours, alike in the first two, what the hours ask for, and what a unit costs without them."""
    rng = np.random.default_rng(seed)
    usd = rng.integers(1, 12, (20, 1)) / 4.0 * np.ones(3)
    usd[rng.random(20) < 0.2, 2] = np.inf
    covers = np.repeat(rng.integers(1, 9, (20, 1)), 3, axis=1)
    return Pieces(usd, covers, rng.integers(1, 4, 20)), np.array([30, 30, 17]), rng.choice([0.4, np.inf], 3)


def spare_faults(fewer: float = 0.0) -> tuple[int, int]:
    """(pieces left out, ladders that this changed), when the most pieces of a cover are reckoned `fewer`."""
    out = faults = 0
    for seed in range(40):
        pieces, asked, unit_usd = many_pieces(seed)
        starts = without_pieces(unit_usd, 30)
        whole = Ladders(pieces, starts).costs()
        with pytest.MonkeyPatch.context() as patch:
            real = spare._at_most
            patch.setattr(spare, "_at_most", lambda *words: real(*words) - fewer)  # noqa: B023
            less = needed(pieces, asked, unit_usd, np.inf)
            useful = np.minimum(pieces.units[:, :1], 30).astype(float)
            days = needed_days(pieces.usd[:, 0], useful, pieces.n_max, float(whole[0][30]))
        out += int((np.isfinite(pieces.usd) & ~np.isfinite(less.usd)).sum()) + int((~days).sum())
        left = Ladders(less, starts).costs()
        faults += any(
            left[h][r] != pytest.approx(whole[h][r], rel=1e-12) for h in range(3) for r in range(asked[h] + 1)
        )
        # Pieces that are needed for the day serve the hour in which all are there as cheaply.
        kept = Ladders(Pieces(pieces.usd[days], pieces.units[days], pieces.n_max[days]), starts).costs()
        faults += kept[0][30] != pytest.approx(whole[0][30], rel=1e-12)
    return out, faults


def test_pieces_left_out_leave_the_ladders_as_they_are() -> None:
    out, faults = spare_faults()
    assert out > 200 and faults == 0


def test_a_piece_left_out_too_soon_is_seen() -> None:
    assert spare_faults(fewer=6.0)[1] > 0


def columns_of_case(case: Case) -> Columns:
    offers, demand, needs = case
    return columns_of(offers, demand, needs.headroom, needs.power_cap_w)


def windows_case(seed: int) -> Case:
    """Machine-days of three sets of hours, none of which is base load for all, and machine-hours in between."""
    rng = random.Random(seed)
    demand = day([Hour(1, 3600.0 * rng.uniform(1.0, 3.0), 0, 0) for _ in range(4)])
    offers = [
        machine(f"d{i}", rng.uniform(0.8, 1.2) * speed, speed, 1e9, n_machines_max=rng.choice([1, 2, 3]), hours=hours)
        for i, (speed, hours) in enumerate(((0.9, None), (0.7, (0, 1, 2)), (0.8, (1, 2, 3)), (0.6, None)))
    ]
    offers.append(machine("hour", rng.uniform(3, 5), 0.45, 1e9, billed="hour", n_machines_max=8))
    return offers, demand, Needs(power_cap_w=rng.choice([None, None, 900.0]))


def wide_case(seed: int) -> Case:
    """Too many machines for exhaustive search: enough of them for some to be spare, some pooled, some in windows."""
    rng = random.Random(seed)
    demand = day([Hour(1, 3600.0 * rng.uniform(2.0, 6.0), 0, 0) for _ in range(4)])
    offers = []
    for i in range(80):
        speed = rng.uniform(0.3, 0.9)
        more = {"billed": rng.choice(["day", "hour"]), "n_machines_max": 1}
        if rng.random() < 0.4:
            more |= {"pool": f"p{i % 6}", "n_machines_max": 2}
        hours = rng.choice([(0, 1, 2, 3), (0, 1, 2, 3), (0, 1), (1, 2, 3)])
        usd = speed * rng.uniform(0.8, 3.0) * (1.0 if more["billed"] == "day" else 1.4)
        offers.append(machine(f"m{i}", usd, speed, 1e9, hours=hours, **more))
    return offers, demand, Needs(power_cap_w=rng.choice([None, None, 1500.0]))


def uncapped_case(seed: int) -> Case:
    offers, demand, needs = windows_case(seed)
    return offers, demand, replace(needs, power_cap_w=None)


def bounds_too_high(make: Callable[[int], Case], seeds: range, n_units: int) -> tuple[int, int, float]:
    """(cases, bounds above the optimum, sum of the relative distances) at so many units."""
    checked = faults = 0
    apart = 0.0
    for seed in seeds:
        case = make(seed)
        expected = optimum(make, seed)
        columns = columns_of_case(case)
        every = candidates(columns)
        priced = priced_out(columns, every) if every.n_columns() else None
        if expected is None or priced is None:
            continue
        rounded = Rounded(parted(columns, every, priced[1], np.inf, np.inf), n_units, np.inf, up=True)
        bound = Ranges(columns).bounded(rounded, np.inf, np.inf)
        faults += bound > expected * (1 + SOLVER) + 1e-12
        apart += (expected - bound) / max(expected, 1e-9)
        checked += 1
    return checked, faults, apart


@pytest.mark.parametrize("n_units", [7, 50, 3_000])
@pytest.mark.parametrize("make", [small_case, tied_case, windows_case])
def test_the_bound_holds_at_any_number_of_units(make: Callable[[int], Case], n_units: int) -> None:
    checked, faults, _ = bounds_too_high(make, range(8000, 8060), n_units)
    assert checked > 30 and faults == 0


def test_ranges_of_the_other_machine_days_close_the_bound_where_hours_ask_for_one_mix() -> None:
    # Without a cap and with pools left out nothing is relaxed but the rounding, at most a machine's unit of 100,000.
    checked, faults, apart = bounds_too_high(uncapped_case, range(30), 100_000)
    assert checked > 20 and faults == 0 and apart < 1e-3 * checked


def bounds_of_wide_cases_too_high(seeds: range) -> tuple[int, int, int]:
    """(cases, bounds above the solver's own optimum, machine-days left out), the same ranges in ever finer units."""
    checked = faults = left_out = 0
    for seed in seeds:
        columns = columns_of_case(wide_case(seed))
        best = minimise(columns, 0.0, 60)
        priced = priced_out(columns, candidates(columns))
        if best is None or priced is None:
            continue
        usd = usd_of(columns, best)
        ranges = Ranges(columns)
        whole = parted(columns, candidates(columns), priced[1], np.inf, np.inf)
        for n_units, share in ((20, 0.95), (200, 1.0), (2_000, 1.01)):
            rounded = Rounded(whole, n_units, usd * 1.02, up=True)
            faults += ranges.bounded(rounded, usd * share, np.inf) > usd * (1 + SOLVER)
            left_out += int((whole.other | whole.base).sum() - (rounded.other | rounded.base_rows).sum())
            checked += 1
    return checked, faults, left_out


def test_the_bound_holds_where_machines_are_spare_and_ranges_outlast_their_units() -> None:
    checked, faults, left_out = bounds_of_wide_cases_too_high(range(5))
    assert checked >= 12 and left_out > 5 and faults == 0


def test_machine_days_left_out_too_soon_raise_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "_at_most", lambda *words: 0.5)
    assert bounds_of_wide_cases_too_high(range(5))[1] > 0


@pytest.mark.parametrize("fault", ["rounded down", "days too dear", "half a range"])
def test_a_bound_that_does_not_hold_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "rounded down":
        real = units.in_units
        monkeypatch.setattr("solvent.choose.mix.rounded.in_units", lambda *words, up: real(*words, up=False))
    elif fault == "days too dear":
        monkeypatch.setattr(others, "shares", lambda *words: _shares(*words) * 1.3)
    else:
        pop = others.heapq.heappush
        monkeypatch.setattr(others.heapq, "heappush", lambda heap, node: pop(heap, node) if node[1] % 2 else None)
    faults = sum(bounds_too_high(make, range(8000, 8060), 50)[1] for make in (tied_case, windows_case))
    assert faults > 0


_shares = others.shares


def carried_against_exhaustive(make: Callable[[int], Case], seeds: range, gap: float) -> tuple[int, int, int]:
    """(cases, proved, faults) of plans by ladders alone."""
    checked = proved = faults = 0
    for seed in seeds:
        case = make(seed)
        expected = optimum(make, seed)
        columns = columns_of_case(case)
        found = baseload.carried(columns, candidates(columns), gap, np.inf, None)
        if expected is None or found is None:
            faults += found is not None and expected is None and is_small(*case)
            continue
        usd = usd_of(columns, found)
        faults += found.bound_usd > expected * (1 + SOLVER) + 1e-12 or usd * (1 + SOLVER) + 1e-12 < expected
        faults += not _is_allowed(columns, found)
        proved += usd - found.bound_usd <= gap * usd
        checked += 1
    return checked, proved, faults


def _is_allowed(columns: Columns, counts: Counts) -> bool:
    machines = columns.machines
    n = counts.by_hour + counts.by_day[:, None]
    watts = (n * (machines.cover > 0) * machines.watts[:, None]).sum(axis=0)[columns.busy]
    allowed = (n <= machines.n_max[:, None]).all() and (watts <= columns.cap_w * (1 + 1e-9)).all()
    for pool in set(machines.pool.tolist()) - {-1}:
        members = machines.pool == pool
        allowed &= (n[members][:, columns.busy].sum(axis=0) <= machines.pool_max[members][0]).all()
    return bool(allowed) and fits(columns, counts.by_day)


@pytest.mark.parametrize(("make", "enough"), [(small_case, 0.6), (tied_case, 0.5), (windows_case, 0.8)])
def test_plans_by_ladders_hold_and_lie_about_the_optimum(make: Callable[[int], Case], enough: float) -> None:
    checked, proved, faults = carried_against_exhaustive(make, range(8000, 8060), 1e-3)
    assert faults == 0 and checked > 25 and proved >= enough * checked


def test_the_room_of_the_first_columns_grows_until_it_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[float] = []
    real = baseload.parted

    def seen(*words: Any) -> Any:
        rooms.append(words[3])
        return real(*words)

    monkeypatch.setattr(baseload, "parted", seen)
    monkeypatch.setattr(baseload, "FIRST_ROOM", 1e-6)
    checked, proved, faults = carried_against_exhaustive(windows_case, range(8000, 8020), 1e-3)
    assert faults == 0 and proved >= 0.8 * checked and max(rooms) > 1e3 * min(room for room in rooms if room > 0)


def test_a_time_that_ended_leaves_what_was_known() -> None:
    columns = columns_of_case(windows_case(8000))
    best = minimise(columns, 1e-3, 60)
    assert best is not None
    first = replace(best, bound_usd=best.bound_usd / 2)
    priced = priced_out(columns, candidates(columns))
    found = baseload.carried(columns, candidates(columns), 1e-3, -1.0, first)
    assert priced is not None and found is not None
    assert usd_of(columns, found) == usd_of(columns, best)
    assert found.bound_usd == pytest.approx(max(priced[1].usd, first.bound_usd))


def test_an_hour_that_asks_a_pool_for_too_much_is_mended() -> None:
    # Two uses of one machine, of which the ladder would take both; and a dear one that is plentiful.
    pool = {"pool": "p", "n_machines_max": 2, "billed": "hour"}
    offers = [machine("a", 1.0, 1.0, 1e9, **pool), machine("b", 1.1, 1.0, 1e9, **pool)]
    offers.append(machine("c", 2.0, 1.0, 1e9, billed="hour", n_machines_max=9))
    columns = columns_of(offers, day([Hour(1, 3600.0 * 4, 0, 0)]), 0.0, 1_000.0)
    every = candidates(columns)
    priced = priced_out(columns, every)
    assert priced is not None
    solved = replace(priced[1], charged_usd=np.zeros((3, 24)), limits_usd=0.0)
    rounded = Rounded(parted(columns, every, solved, np.inf, np.inf), 100, np.inf, up=False)
    none = np.zeros(3, np.int64)
    asked = rounded.hours.picked(rounded.asked(none)[:, None])[:, 0, 0]
    by_name = np.argsort([group[0] for group in columns.machines.offers])
    assert asked[by_name].tolist() == [2, 2, 0]
    found = mended(rounded, none, 0, (0, 1, 2))
    assert found is not None and found[by_name].tolist() == [2, 0, 2]
    # A machine-day takes one of the pool and leaves less of the hour; a cap below all machines leaves none.
    taken = np.zeros(3, np.int64)
    taken[by_name[1]] = 1
    found = mended(rounded, taken, 0, (0, 1, 2))
    assert found is not None and found[by_name].tolist() == [1, 0, 2]
    cold = replace(rounded.day, columns=replace(columns, cap_w=350.0))
    assert mended(Rounded(cold, 100, np.inf, up=False), none, 0, (0, 1, 2)) is None


def test_an_hour_without_pools_is_mended_by_charging_watts() -> None:
    # One cheap machine of 300 W or two of 100 W; 250 W are left.
    offers = [machine("hot", 1.0, 1.0, 1e9, billed="hour"), machine("cool", 0.9, 0.5, 1e9, billed="hour")]
    columns = columns_of(offers, day([Hour(1, 3600.0, 0, 0)]), 0.0, 250.0)
    hot = int(np.argmax(columns.machines.cover[:, 0]))
    watts = np.where(np.arange(2) == hot, 300.0, 100.0)
    columns = replace(columns, machines=replace(columns.machines, watts=watts))
    every = candidates(columns)
    priced = priced_out(columns, every)
    assert priced is not None
    solved = replace(priced[1], charged_usd=np.zeros((2, 24)), limits_usd=0.0)
    rounded = Rounded(parted(columns, every, solved, np.inf, np.inf), 100, np.inf, up=False)
    found = mended(rounded, np.zeros(2, np.int64), 0, (0,))
    assert found is not None and found[hot] == 0 and found.sum() == 2

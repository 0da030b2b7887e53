"""A proved plan of a day by ladders: the least cost of every speed, for the base load and for each hour's rest.

The base load enters each hour by its speed alone (`rounded`). So one ladder of the base load and one of each hour add
up to the least cost of the day, speed by speed: in units rounded up a bound (`others`), rounded to the nearest about
a plan. Units are made finer until the two are near enough. Enter at `carried`.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.branch import one_hour
from solvent.choose.mix.columns import Columns
from solvent.choose.mix.decompose import fits, rests, usd_of
from solvent.choose.mix.generate import priced_out
from solvent.choose.mix.ladder import Late
from solvent.choose.mix.mend import mended
from solvent.choose.mix.others import Ranges
from solvent.choose.mix.program import SHORT, Counts, Picked
from solvent.choose.mix.rounded import Rounded, parted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Units of the hardest hour: for each of its machines and each gap this part of one, within these ends; then so many
# times as many. Rounded to the nearest, a part of them is fine enough.
FIRST_UNITS, FEWEST_UNITS, MOST_UNITS, FINER, PLAN_SHARE = 0.25, 1 << 10, 1 << 18, 4, 2
# Of the time, what the bound may take before the next plan.
BOUND_SHARE = 0.9
# An hour's cover is looked for at so many units more than it asks for, until the rounding leaves it served.
MORE_UNITS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55)
# The first columns are those within so many gaps of the linear program; where they hold no plan, so many times that.
FIRST_ROOM, WIDER = 4, 8
# Columns are priced out so far from the best plan that those left decide within the gap: this share of it.
ROOM_SHARE = 0.9
# The hours whose limits a ladder's plan breaks are covered anew, this share of the gap above the least.
HOUR_SHARE = 0.1
# Of the time left, what the solver may take for one of them.
SOLVER_SHARE = 0.1


def carried(columns: Columns, every: Picked, gap: float, ends_s: float, first: Counts | None) -> Counts | None:
    """The best plan found with a bound that holds for every plan, `first` or better; None where none was found.

    bound = the lower of the linear program + room (no plan with a column priced out by more costs less) and
    limits + min over the base load's speed S of (its ladder at S + Σ_h the hour's ladder at asked_h − S).
    """
    priced = priced_out(columns, every)
    if priced is None:
        return first
    relaxed = priced[1]
    assert relaxed.reduced_day is not None and relaxed.reduced_hour is not None
    usd = np.inf if first is None else usd_of(columns, first)
    bound_usd = relaxed.usd if first is None else max(relaxed.usd, first.bound_usd)
    best = first
    room_usd = min(max(usd * (1 - ROOM_SHARE * gap) - relaxed.usd, 0.0), FIRST_ROOM * gap * relaxed.usd)
    most_usd = max(relaxed.reduced_day.max(initial=0.0), relaxed.reduced_hour.max(initial=0.0))
    n_machines = (relaxed.day[:, None] + relaxed.hour).sum(axis=0).max(initial=1.0)
    n_units = int(np.clip(FIRST_UNITS * n_machines / max(gap, 1e-12), FEWEST_UNITS, MOST_UNITS))
    ranges, wanted = Ranges(columns), np.rint(relaxed.day).astype(np.int64)
    bound_ends_s = perf_counter() + BOUND_SHARE * (ends_s - perf_counter())
    try:
        while best is None or usd - bound_usd > gap * usd:
            day = parted(columns, every, relaxed, room_usd * (1 + 1e-9), ends_s)
            near = Rounded(day, max(n_units // PLAN_SHARE, FEWEST_UNITS), usd, up=False)
            best, usd = _better((best, usd), planned(near, wanted, gap), columns)
            decides_usd = usd * (1 - ROOM_SHARE * gap)
            if best is None and room_usd < most_usd:
                room_usd *= WIDER
                continue
            if np.isfinite(usd) and decides_usd - relaxed.usd > room_usd:
                room_usd = decides_usd - relaxed.usd
                day = parted(columns, every, relaxed, room_usd * (1 + 1e-9), ends_s)
            in_room_usd = ranges.bounded(Rounded(day, n_units, usd, up=True), decides_usd, bound_ends_s)
            bound_usd = max(bound_usd, min(relaxed.usd + room_usd, in_room_usd))
            if usd - bound_usd > gap * usd and (ranges.wanted != wanted).any():
                wanted = ranges.wanted
                best, usd = _better((best, usd), planned(near, wanted, gap), columns)
            if n_units == MOST_UNITS:
                break
            n_units = min(n_units * FINER, MOST_UNITS)
    except Late:
        pass
    return None if best is None else Counts(best.by_day, best.by_hour, min(bound_usd, usd))


def _better(known: tuple[Counts | None, float], found: Counts | None, columns: Columns) -> tuple[Counts | None, float]:
    usd = np.inf if found is None else usd_of(columns, found)
    return (found, usd) if usd < known[1] else known


def planned(rounded: Rounded, others: Ints, gap: float) -> Counts | None:
    """A plan of the day's columns, nearly the cheapest; None where it found none.   rounded: to the nearest.
    others: (J,) machine-days, other than base load, to begin with."""
    day = rounded.day
    columns, machines = day.columns, day.columns.machines
    by_day = _nudged(rounded, np.where(rounded.other, np.minimum(others, machines.n_max), 0))
    total = rounded.by_speed(rounded.asked(by_day))
    speed = int(np.argmin(total))
    if not np.isfinite(total[speed]):
        return None
    by_day[rounded.base_rows] = rounded.base.picked(np.array([[speed]]))[:, 0, 0]
    if not fits(columns, by_day):
        return None
    return _within_limits(rounded, Counts(by_day, _hours(rounded, by_day), 0.0), gap)


def _hours(rounded: Rounded, by_day: Ints) -> Ints:
    """(J, 24) machine-hours for what the machine-days leave: of the ladders' answers the cheapest in truth."""
    columns, machines, hourly = rounded.day.columns, rounded.day.columns.machines, rounded.day.hourly
    asked = rounded.asked(by_day)
    more = np.where(asked > 0, np.minimum(asked + np.array(MORE_UNITS)[:, None], rounded.n_units), 0).T
    answers = rounded.hours.picked(more)
    left = 1.0 - (by_day[:, None] * machines.cover).sum(axis=0)
    rest = left[:, None] - (answers * machines.cover[hourly][:, :, None]).sum(axis=0)
    api_usd = np.where(rest < SHORT, 0.0, rest * np.where(rest < SHORT, 0.0, columns.api_usd[:, None]))
    usd = (answers * machines.usd[hourly][:, None, None]).sum(axis=0) + api_usd
    by_hour = np.zeros((len(machines), len(asked)), np.int64)
    by_hour[hourly] = np.take_along_axis(answers, usd.argmin(axis=1)[None, :, None], axis=2)[:, :, 0]
    return by_hour


def _nudged(rounded: Rounded, by_day: Ints) -> Ints:
    """The other machine-days moved one at a time by one as long as that lowers the least cost of the day."""
    machines, ends_s = rounded.day.columns.machines, rounded.day.ends_s

    def usd_with(counts: Ints) -> float:
        return float((machines.usd * counts).sum() + rounded.by_speed(rounded.asked(counts)).min())

    best = usd_with(by_day)
    moved = True
    while moved and perf_counter() < ends_s:
        moved = False
        for j in np.flatnonzero(rounded.other).tolist():
            for step in (1, -1):
                trial = by_day.copy()
                trial[j] = np.clip(trial[j] + step, 0, machines.n_max[j])
                usd = usd_with(trial) if trial[j] != by_day[j] else np.inf
                if usd < best * (1 - 1e-9):
                    best, by_day, moved = usd, trial, True
    return by_day


def _within_limits(rounded: Rounded, counts: Counts, gap: float) -> Counts | None:
    """The plan with those hours mended, or covered anew, that aren't served, or in which it has more machines than a
    pool or draws more than the cap."""
    columns, machines = rounded.day.columns, rounded.day.columns.machines
    there = machines.cover > 0
    watts = ((counts.by_hour + counts.by_day[:, None]) * there * machines.watts[:, None]).sum(axis=0)
    short = ((counts.by_hour + counts.by_day[:, None]) * machines.cover).sum(axis=0) < 1.0 - SHORT
    broken = (watts > columns.cap_w * (1 + SHORT)) | (short & ~np.isfinite(columns.api_usd))
    pooled = machines.pool >= 0
    used = np.zeros((int(machines.pool.max(initial=-1)) + 1, len(watts)), np.int64)
    np.add.at(used, machines.pool[pooled], (counts.by_hour + counts.by_day[:, None])[pooled])
    limit = np.zeros(len(used), np.int64)
    limit[machines.pool[pooled]] = machines.pool_max[pooled]
    broken |= (used > limit[:, None]).any(axis=0)
    broken &= columns.busy
    if not broken.any():
        return counts
    by_hour = counts.by_hour.copy()
    by_hour[:, broken] = 0
    for h, rest in rests(replace(columns, busy=broken), counts.by_day):
        # The solver does better by a cap, mending is quicker.
        tries = (_mended, _solved) if watts[h] <= columns.cap_w * (1 + SHORT) else (_solved, _mended)
        answers = (do(rounded, counts.by_day, (h, rest), gap) for do in tries)
        found = next((answer for answer in answers if answer is not None), None)
        if found is None:
            return None
        by_hour[:, h] = found
    return Counts(counts.by_day, by_hour, 0.0)


def _mended(rounded: Rounded, by_day: Ints, hour: tuple[int, Columns], _: float) -> Ints | None:
    return mended(rounded, by_day, hour[0], MORE_UNITS)


def _solved(rounded: Rounded, by_day: Ints, hour: tuple[int, Columns], gap: float) -> Ints | None:
    """(J,) machine-hours of what the machine-days leave of the hour, by the solver."""
    h, rest = hour
    numbers = {group: j for j, group in enumerate(rounded.day.columns.machines.offers)}
    try:
        found = one_hour(rest, gap * HOUR_SHARE, perf_counter() + SOLVER_SHARE * (rounded.day.ends_s - perf_counter()))
    except Late:
        return None
    if found is None:
        return None
    result = np.zeros(len(by_day), np.int64)
    for group, n in zip(rest.machines.offers, found.by_hour[:, h], strict=True):
        result[numbers[group]] = n
    return result

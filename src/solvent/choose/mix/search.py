"""Finds the cheapest counts: the program as it stands where it is small, otherwise brought down without loss.

Many offers: the linear program's dual prices of the hours price every group out; a group whose reduced cost is more
than what lies between the best plan known and the bound can't be in a better plan (reduced-cost fixing), and neither
can one that better ones crowd out (`crowd`). Machine-days that tie hours together: the bound and the plan are made
better hour by hour (`decompose`). Enter at `minimise`.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.columns import Columns, Machines
from solvent.choose.mix.crowd import crowded_out
from solvent.choose.mix.decompose import dealt, rests, usd_of
from solvent.choose.mix.program import N_HOURS, Counts, Picked, Solved, solve
from solvent.choose.mix.prune import pruned, useful_cover
from solvent.errors import ChoiceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

# Up to this many integer columns the program is solved as it stands.
DIRECT_COLUMNS = 1_500
# What the first plan, which bounds the search for the best, may take of the time; and one hour of a day.
FIRST_SHARE, HOUR_SHARE = 0.25, 0.1
# Hours are solved closer than the day, so that their gaps don't add up to the day's.
HOUR_GAP = 1e-5


def minimise(columns: Columns, gap: float, time_limit_s: float) -> Counts | None:
    """The cheapest counts, at most `gap` (relative) above the least possible; None where no counts serve every hour.

    With gap 0 the optimum, up to the solver's feasibility tolerance of 1e-9. The bound says how near it came.
    """
    if not columns.machines.by_day.any():
        # Nothing ties the hours together: each is a small program of its own.
        return _hour_by_hour(columns, gap, time_limit_s)
    if gap == 0.0:
        return _together(columns, gap, time_limit_s)
    return _tied(columns, gap, time_limit_s)


def _hour_by_hour(columns: Columns, gap: float, time_limit_s: float) -> Counts | None:
    by_hour = np.zeros((len(columns.machines), N_HOURS), np.int64)
    bound = 0.0
    for h in map(int, np.flatnonzero(columns.busy)):
        alone = np.zeros(N_HOURS, bool)
        alone[h] = True
        one = Columns(columns.machines, columns.api_usd, columns.api, alone, columns.cap_w)
        counts = _together(one, gap, time_limit_s * HOUR_SHARE)
        if counts is None:
            return None
        by_hour += counts.by_hour
        bound += counts.bound_usd
    return Counts(np.zeros(len(columns.machines), np.int64), by_hour, bound)


def _tied(columns: Columns, gap: float, time_limit_s: float) -> Counts | None:
    """A first plan, made better by the hour, against the better of two bounds; where that isn't enough, all columns."""
    ends_s = perf_counter() + time_limit_s
    found = _first(columns, _candidates(columns), gap, time_limit_s * FIRST_SHARE)
    if found is None:
        return _together(columns, gap, max(time_limit_s * FIRST_SHARE, ends_s - perf_counter()))
    first, relaxed = found
    if _is_near(columns, first, gap):
        return first
    best = _by_the_hour(columns, first, ends_s)
    if not _is_near(columns, best, gap) and relaxed.hour_usd is not None:
        best = _with_bound(best, _dealt_bound(columns, relaxed.hour_usd, ends_s))
    left_s = ends_s - perf_counter()
    if _is_near(columns, best, gap) or left_s < time_limit_s * HOUR_SHARE:
        return best
    again = _together(columns, gap, left_s * (1 - HOUR_SHARE))
    if again is None:
        return best
    again = _by_the_hour(columns, again, ends_s)
    cheaper = min(best, again, key=lambda counts: usd_of(columns, counts))
    return _with_bound(cheaper, max(best.bound_usd, again.bound_usd))


def _first(columns: Columns, every: Picked, gap: float, time_limit_s: float) -> tuple[Counts, Solved] | None:
    """(a plan, the linear program's solution); None where none was found in the time, or there is none."""
    picked: Picked | None = every
    relaxed: Solved | None = None
    if every.n_columns() > DIRECT_COLUMNS:
        priced = _priced_out(columns, every)
        picked, relaxed = priced if priced is not None else (None, None)
    else:
        relaxed = solve(columns, every, 0.0, np.inf, relax=True)
    if relaxed is None or picked is None:
        return None
    try:
        solved = solve(columns, picked, gap, time_limit_s)
    except ChoiceError:
        return None
    if solved is None:
        return None
    bound = solved.bound_usd if picked is every else relaxed.usd
    return _counts(solved, max(bound, relaxed.usd)), relaxed


def _is_near(columns: Columns, counts: Counts, gap: float) -> bool:
    usd = usd_of(columns, counts)
    return usd - counts.bound_usd <= gap * usd


def _with_bound(counts: Counts, bound_usd: float) -> Counts:
    return Counts(counts.by_day, counts.by_hour, max(counts.bound_usd, bound_usd))


def _by_the_hour(columns: Columns, counts: Counts, ends_s: float) -> Counts:
    """The same machine-days, each hour's rest covered anew; the counts as they were where that isn't cheaper, or
    where the time ends first."""
    by_hour = np.zeros_like(counts.by_hour)
    numbers = {group: j for j, group in enumerate(columns.machines.offers)}
    for h, rest in rests(columns, counts.by_day):
        found = _one_hour(rest, ends_s)
        if found is None:
            return counts
        for group, n in zip(rest.machines.offers, found.by_hour[:, h], strict=True):
            by_hour[numbers[group], h] = n
    better = Counts(counts.by_day, by_hour, counts.bound_usd)
    return better if usd_of(columns, better) < usd_of(columns, counts) else counts


def _one_hour(columns: Columns, ends_s: float) -> Counts | None:
    """The counts of one hour alone; None where it can't be served, or not in the time."""
    left_s = ends_s - perf_counter()
    try:
        return _together(columns, HOUR_GAP, left_s / 4) if left_s > 0 else None
    except ChoiceError:
        return None


def _dealt_bound(columns: Columns, hour_usd: Floats, ends_s: float) -> float:
    """The sum of the hours' least costs, machine-days dealt to them; 0 where an hour wasn't solved in the time."""
    bound = 0.0
    for _, one in dealt(columns, hour_usd):
        counts = _one_hour(pruned(one), ends_s)
        if counts is None:
            return 0.0
        bound += counts.bound_usd
    return bound


def _together(columns: Columns, gap: float, time_limit_s: float) -> Counts | None:
    every = _candidates(columns)
    if every.n_columns() <= DIRECT_COLUMNS:
        solved = solve(columns, every, gap, time_limit_s)
        return None if solved is None else _counts(solved, solved.bound_usd)
    priced = _priced_out(columns, every)
    if priced is None:
        solved = solve(columns, every, gap, time_limit_s)
        return None if solved is None else _counts(solved, solved.bound_usd)
    chosen, relaxed = priced
    first = solve(columns, chosen, max(gap, 1e-4), time_limit_s * FIRST_SHARE)
    if first is not None and first.usd - relaxed.usd <= gap * first.usd:
        return _counts(first, relaxed.usd)
    room = np.inf if first is None else first.usd - relaxed.usd + 1e-7 * abs(first.usd)
    assert relaxed.reduced_day is not None and relaxed.reduced_hour is not None
    kept = Picked(every.day & (relaxed.reduced_day <= room), every.hour & (relaxed.reduced_hour <= room))
    if first is not None and kept.n_columns() > DIRECT_COLUMNS:
        kept = Picked(*crowded_out(columns, kept.day, kept.hour, first.usd))
    solved = solve(columns, kept, gap, time_limit_s * (1 - FIRST_SHARE))
    if solved is None or (first is not None and first.usd < solved.usd):
        solved = first
    return None if solved is None else _counts(solved, max(relaxed.usd, min(solved.bound_usd, solved.usd)))


def _candidates(columns: Columns) -> Picked:
    """Every column that can lower the cost: an hour's cover from the API must not cost less than the machine."""
    machines = columns.machines
    cover = useful_cover(machines, columns.busy)
    helps = cover > 0
    finite = np.isfinite(columns.api_usd)
    helps[:, finite] &= cover[:, finite] * columns.api_usd[finite] > machines.usd[:, None]
    day = machines.by_day & (cover > 0).any(axis=1)
    return Picked(day, helps & ~machines.by_day[:, None])


def _counts(solved: Solved, bound_usd: float) -> Counts:
    return Counts(np.rint(solved.day).astype(np.int64), np.rint(solved.hour).astype(np.int64), bound_usd)


def _priced_out(columns: Columns, every: Picked) -> tuple[Picked, Solved] | None:
    """The linear program's optimum over all columns, found on few: (those few, the solution with all reduced costs).

    None where the few can't serve the demand; then all columns are needed.
    """
    machines = columns.machines
    cover = useful_cover(machines, columns.busy)
    chosen = _starters(machines, cover, every)
    for _ in range(200):
        relaxed = solve(columns, chosen, 0.0, np.inf, relax=True)
        if relaxed is None:
            return None
        assert relaxed.reduced_day is not None and relaxed.reduced_hour is not None
        tolerance = 1e-9 * max(1.0, abs(relaxed.usd))
        day = every.day & ~chosen.day & (relaxed.reduced_day < -tolerance)
        hour = every.hour & ~chosen.hour & (relaxed.reduced_hour < -tolerance)
        if not (day.any() or hour.any()):
            return chosen, relaxed
        chosen = Picked(
            chosen.day | (day & _lowest(relaxed.reduced_day, day, 200)),
            chosen.hour | (hour & _lowest(relaxed.reduced_hour, hour, 30)),
        )
    return None


def _starters(machines: Machines, cover: Floats, every: Picked) -> Picked:
    """The cheapest per cover, and the cheapest at all, of each hour and of the day."""
    with np.errstate(divide="ignore", invalid="ignore"):
        per_day = machines.usd / cover.sum(axis=1)
        per_hour = machines.usd[:, None] / cover
    day = _lowest(per_day, every.day, 100) | _lowest(machines.usd, every.day, 20)
    usd = np.broadcast_to(machines.usd[:, None], per_hour.shape)
    hour = _lowest(per_hour, every.hour, 20) | _lowest(usd, every.hour, 5)
    return Picked(day & every.day, hour & every.hour)


def _lowest(values: Floats, among: Bools, n: int) -> Bools:
    """The n lowest of each column (or of the vector) among those that count."""
    counted = np.where(among, values, np.inf)
    if len(counted) <= n:
        return among.copy()
    limit = np.partition(counted, n - 1, axis=0)[n - 1]
    result: Bools = among & (counted <= limit)
    return result

"""Finds the cheapest counts: hour by hour where nothing ties the hours, else by splitting the machine-days.

A small program is solved as it stands first (`reduce` brings a large one down), a large one by ladders of least cost
(`baseload`). Where that proves no plan within the gap, machine-days are split into ranges and every range is bounded
hour by hour (`branch`). Enter at `minimise`.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np

from solvent.choose.mix.baseload import carried
from solvent.choose.mix.branch import Branch, split_days
from solvent.choose.mix.columns import Columns
from solvent.choose.mix.decompose import usd_of
from solvent.choose.mix.generate import candidates, priced_out
from solvent.choose.mix.program import N_HOURS, Counts, Picked, Solved, solve
from solvent.choose.mix.reduce import counts_of, together
from solvent.errors import ChoiceError

# Up to this many integer columns a day is solved as it stands first.
FIRST_COLUMNS = 1_500
# Of the time: what one hour of a day may take, the first plan of a day, its ladders, the splitting of its machine-days,
# and, where those found no plan at all, the last attempt.
HOUR_SHARE, FIRST_SHARE, BASE_SHARE, BRANCH_SHARE, LAST_SHARE = 0.1, 0.06, 0.8, 0.9, 0.25


def minimise(columns: Columns, gap: float, time_limit_s: float) -> Counts | None:
    """The cheapest counts, at most `gap` (relative) above the least possible; None where no counts serve every hour.

    With gap 0 the optimum, up to the solver's feasibility tolerance of 1e-9. The bound says how near it came.
    """
    if not columns.machines.by_day.any():
        # Nothing ties the hours together: each is a small program of its own.
        return _hour_by_hour(columns, gap, time_limit_s)
    if gap == 0.0:
        return together(columns, gap, time_limit_s)
    return _tied(columns, gap, time_limit_s)


def _hour_by_hour(columns: Columns, gap: float, time_limit_s: float) -> Counts | None:
    by_hour = np.zeros((len(columns.machines), N_HOURS), np.int64)
    bound = 0.0
    for h in map(int, np.flatnonzero(columns.busy)):
        alone = np.zeros(N_HOURS, bool)
        alone[h] = True
        one = Columns(columns.machines, columns.api_usd, columns.api, alone, columns.cap_w)
        counts = together(one, gap, time_limit_s * HOUR_SHARE)
        if counts is None:
            return None
        by_hour += counts.by_hour
        bound += counts.bound_usd
    return Counts(np.zeros(len(columns.machines), np.int64), by_hour, bound)


def _tied(columns: Columns, gap: float, time_limit_s: float) -> Counts | None:
    """A first plan, then ranges of machine-days against it; where the time for that isn't enough, all columns."""
    started_s = perf_counter()
    every = candidates(columns)
    base_ends_s = started_s + time_limit_s * BASE_SHARE
    first = None
    if every.n_columns() > FIRST_COLUMNS:
        first = carried(columns, every, gap, base_ends_s, None)
    if first is None:
        first = _first(columns, every, gap, time_limit_s * FIRST_SHARE)
        if first is None or not _is_near(columns, first, gap):
            first = carried(columns, every, gap, base_ends_s, first)
    if first is not None and _is_near(columns, first, gap):
        return first
    found = split_days(Branch(columns, every, gap, started_s + time_limit_s * BRANCH_SHARE), first)
    left_s = started_s + time_limit_s - perf_counter()
    if found is not None and (_is_near(columns, found, gap) or left_s <= time_limit_s * (1 - BRANCH_SHARE)):
        return found
    try:
        again = together(columns, gap, max(left_s, time_limit_s * LAST_SHARE))
    except ChoiceError:
        if found is None:
            raise
        return found
    if found is None or again is None:
        return found or again
    cheaper = min(found, again, key=lambda counts: usd_of(columns, counts))
    return Counts(cheaper.by_day, cheaper.by_hour, max(found.bound_usd, again.bound_usd))


def _first(columns: Columns, every: Picked, gap: float, time_limit_s: float) -> Counts | None:
    """A plan of the columns that the linear program wants, with its bound; None where none was found in the time."""
    picked: Picked = every
    relaxed: Solved | None = None
    if every.n_columns() > FIRST_COLUMNS:
        priced = priced_out(columns, every)
        if priced is None:
            return None
        picked, relaxed = priced
    try:
        solved = solve(columns, picked, gap, time_limit_s)
    except ChoiceError:
        return None
    if solved is None:
        return None
    return counts_of(solved, solved.bound_usd if relaxed is None else relaxed.usd)


def _is_near(columns: Columns, counts: Counts, gap: float) -> bool:
    usd = usd_of(columns, counts)
    return usd - counts.bound_usd <= gap * usd

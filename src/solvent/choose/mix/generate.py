"""Column generation: the linear program's optimum over all columns, found on few of them.

Its dual prices price every column out, chosen or not; a column whose reduced cost is more than what lies between a
plan and the bound can't be in a better plan. Enter at `candidates`, `priced_out`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.columns import Columns, Machines
from solvent.choose.mix.program import Picked, Solved, solve
from solvent.choose.mix.prune import useful_cover

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]


def candidates(columns: Columns) -> Picked:
    """Every column that can lower the cost: an hour's cover from the API must not cost less than the machine."""
    machines = columns.machines
    cover = useful_cover(machines, columns.busy)
    helps = cover > 0
    finite = np.isfinite(columns.api_usd)
    helps[:, finite] &= cover[:, finite] * columns.api_usd[finite] > machines.usd[:, None]
    day = machines.by_day & (cover > 0).any(axis=1)
    return Picked(day, helps & ~machines.by_day[:, None])


def priced_out(columns: Columns, every: Picked, at_least: Ints | None = None) -> tuple[Picked, Solved] | None:
    """(the columns that it took, the solution with all reduced costs); None where they can't serve the demand, which
    doesn't mean that all columns couldn't.   at_least: (J,) machine-days that are bought in any case."""
    machines = columns.machines
    chosen = _starters(machines, useful_cover(machines, columns.busy), every)
    if np.isfinite(columns.cap_w):
        cool = _starters(replace(machines, usd=machines.watts), useful_cover(machines, columns.busy), every)
        chosen = Picked(chosen.day | cool.day, chosen.hour | cool.hour)
    if at_least is not None:
        chosen = Picked(chosen.day | (at_least > 0), chosen.hour)
    for _ in range(200):
        relaxed = solve(columns, chosen, 0.0, np.inf, relax=True, at_least=at_least)
        if relaxed is None:
            return None
        assert relaxed.reduced_day is not None and relaxed.reduced_hour is not None
        tolerance = 1e-9 * max(1.0, abs(relaxed.usd))
        day = every.day & ~chosen.day & (relaxed.reduced_day < -tolerance)
        hour = every.hour & ~chosen.hour & (relaxed.reduced_hour < -tolerance)
        if not (day.any() or hour.any()):
            return chosen, relaxed
        chosen = Picked(
            chosen.day | (day & lowest(relaxed.reduced_day, day, 200)),
            chosen.hour | (hour & lowest(relaxed.reduced_hour, hour, 30)),
        )
    return None


def left_in(every: Picked, relaxed: Solved, room_usd: float) -> Picked:
    """Reduced-cost fixing: the columns that a plan less than `room_usd` above the linear program can have."""
    assert relaxed.reduced_day is not None and relaxed.reduced_hour is not None
    return Picked(every.day & (relaxed.reduced_day <= room_usd), every.hour & (relaxed.reduced_hour <= room_usd))


def _starters(machines: Machines, cover: Floats, every: Picked) -> Picked:
    """The cheapest per cover, and the cheapest at all, of each hour and of the day. Under a cap the coolest too."""
    with np.errstate(divide="ignore", invalid="ignore"):
        per_day = machines.usd / cover.sum(axis=1)
        per_hour = machines.usd[:, None] / cover
    day = lowest(per_day, every.day, 100) | lowest(machines.usd, every.day, 20)
    usd = np.broadcast_to(machines.usd[:, None], per_hour.shape)
    hour = lowest(per_hour, every.hour, 20) | lowest(usd, every.hour, 5)
    return Picked(day & every.day, hour & every.hour)


def lowest(values: Floats, among: Bools, n: int) -> Bools:
    """The n lowest of each column (or of the vector) among those that count."""
    counted = np.where(among, values, np.inf)
    if len(counted) <= n:
        return among.copy()
    limit = np.partition(counted, n - 1, axis=0)[n - 1]
    result: Bools = among & (counted <= limit)
    return result

"""Leaves out machine columns that can't be needed because enough better ones are there: same optimum.

An offer of limited machines can't replace another outright (`prune`), for it may be sold out. But where the better
ones (no dearer, covering no less, drawing no more) have more machines together than any cheapest plan runs at once,
one of them is always free, and swapping it in costs nothing.
Enter at `crowded_out`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.columns import Columns, Machines
from solvent.choose.mix.prune import useful_cover

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

# The comparison of all with all takes a byte a pair: 25 MB.
MAX_COMPARED = 5_000


def crowded_out(columns: Columns, day: Bools, hour: Bools, limit_usd: float) -> tuple[Bools, Bools]:
    """(day, hour) without the columns that aren't needed.

    limit_usd: the cost of some plan. A cheapest plan has at most limit_usd / (cheapest machine-day) machine-days, and
    in an hour at most (cost of covering it by machine-hours alone) / (cheapest machine-hour) machine-hours.
    """
    machines = columns.machines
    cover = useful_cover(machines, columns.busy)
    n_day = _at_most(limit_usd, machines.usd[day])
    hour = hour.copy()
    hourly_usd = [_cost_alone(machines, cover[:, h], hour[:, h], columns.api_usd[h]) for h in range(hour.shape[1])]
    n_hour = [_at_most(min(usd, limit_usd), machines.usd[hour[:, h]]) for h, usd in enumerate(hourly_usd)]
    for h in np.flatnonzero(columns.busy):
        numbers = np.flatnonzero(hour[:, h])
        out = _crowded(machines, cover[:, [h]], numbers, n_hour[h] + n_day, columns)
        hour[numbers[out], h] = False
    numbers = np.flatnonzero(day)
    out = _crowded(machines, cover, numbers, n_day + max(n_hour, default=0), columns)
    day = day.copy()
    day[numbers[out]] = False
    return day, hour


def _at_most(usd: float, prices: Floats) -> float:
    """How many machines a cost buys at most; inf where one costs nothing."""
    if not len(prices):
        return 0.0
    lowest = float(prices.min())
    return float(np.floor(usd / lowest * (1 + 1e-9))) if lowest > 0 else np.inf


def _cost_alone(machines: Machines, cover: Floats, which: Bools, api_usd: float) -> float:
    """What covering the hour by machine-hours (each pool once, by its first) or by the API costs at most, greedily."""
    numbers = np.flatnonzero(which & (cover > 0))
    numbers = numbers[np.argsort(machines.usd[numbers] / cover[numbers])]
    usd, left, seen = 0.0, 1.0, set[int]()
    for j in map(int, numbers):
        if machines.pool[j] >= 0 and int(machines.pool[j]) in seen:
            continue
        seen.add(int(machines.pool[j]))
        n = min(int(machines.n_max[j]), int(np.ceil(left / cover[j])))
        usd, left = usd + n * float(machines.usd[j]), left - n * float(cover[j])
        if left <= 0:
            return min(usd, api_usd)
    return api_usd


def _crowded(
    machines: Machines, cover: Floats, numbers: NDArray[np.int64], n_running: float, columns: Columns
) -> Bools:
    """Which of the groups have at least `n_running` machines of better groups beside them."""
    if not len(numbers) or len(numbers) > MAX_COMPARED or not np.isfinite(n_running):
        return np.zeros(len(numbers), bool)
    order = np.lexsort((-cover[numbers].sum(axis=1), machines.usd[numbers]))
    ranked = numbers[order]
    usd, watts, pool = machines.usd[ranked], machines.watts[ranked], machines.pool[ranked]
    better = usd[None, :] <= usd[:, None]
    for h in range(cover.shape[1]):
        better &= cover[ranked, h][None, :] >= cover[ranked, h][:, None]
    if np.isfinite(columns.cap_w):
        better &= watts[None, :] <= watts[:, None]
    # Of equals the one that stands first counts as better: otherwise each would send the other away.
    better &= ~(np.triu(np.ones_like(better)) & better.T) & ~np.eye(len(ranked), dtype=bool)
    free = better[:, pool < 0] @ machines.n_max[ranked][pool < 0].astype(float)
    for p in np.unique(pool[pool >= 0]):
        members = pool == p
        of_pool = better[:, members] @ machines.n_max[ranked][members].astype(float)
        free += np.minimum(of_pool, float(machines.pool_max[ranked][members][0]))
    out = np.zeros(len(numbers), bool)
    out[order] = free >= n_running
    return out

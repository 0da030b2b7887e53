"""Some plan in next to no time: hour by hour the machines that cover most for their price, the API for what is left.

It is a start, so that a search that is cut short has something to show; nothing is proved by it. Enter at `greedy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.columns import Columns, Machines
from solvent.choose.mix.decompose import fits, usd_of
from solvent.choose.mix.program import N_HOURS, SHORT, Counts
from solvent.choose.mix.prune import useful_cover

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]


def greedy(columns: Columns) -> Counts | None:
    """The cheaper of two plans: machine-hours alone, machine-days for the hardest hour; None where neither serves."""
    machines = columns.machines
    none = np.zeros(len(machines), np.int64)
    cover = useful_cover(machines, columns.busy)
    by_hour = np.zeros((len(machines), N_HOURS), np.int64)
    for h in map(int, np.flatnonzero(columns.busy)):
        worth = cover[:, h] * columns.api_usd[h] if np.isfinite(columns.api_usd[h]) else np.inf
        rented = ~machines.by_day & (worth > machines.usd)
        by_hour[:, h] = _taken(machines, cover[:, h], rented, columns.cap_w)
    plans = [Counts(none, by_hour, 0.0)]
    hardest = int(np.argmin(np.where(columns.busy, machines.cover.max(axis=0, initial=0.0), np.inf)))
    by_day = _taken(machines, cover[:, hardest], machines.by_day, columns.cap_w)
    if fits(columns, by_day):
        plans.append(Counts(by_day, np.zeros_like(by_hour), 0.0))
    best = min(plans, key=lambda counts: usd_of(columns, counts))
    return best if np.isfinite(usd_of(columns, best)) else None


def _taken(machines: Machines, cover: Floats, which: Bools, cap_w: float) -> Ints:
    """Counts of one hour, the cheapest for what they cover first, until it is served; pools and the cap are kept."""
    taken = np.zeros(len(machines), np.int64)
    numbers = np.flatnonzero(which & (cover > 0))
    left, watts, pools = 1.0, cap_w, dict[int, int]()
    for j in numbers[np.argsort(machines.usd[numbers] / cover[numbers])].tolist():
        pool = int(machines.pool[j])
        n = min(int(machines.n_max[j]), int(np.ceil(left / cover[j] - SHORT)))
        if pool >= 0:
            n = min(n, pools.setdefault(pool, int(machines.pool_max[j])))
        if np.isfinite(watts) and machines.watts[j] > 0:
            n = min(n, int(watts / machines.watts[j]))
        if n > 0:
            taken[j] = n
            left, watts = left - n * float(cover[j]), watts - n * float(machines.watts[j])
            pools[pool] = pools.get(pool, 0) - n
        if left <= SHORT:
            break
    return taken

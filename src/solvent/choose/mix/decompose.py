"""The day taken apart into its hours: a bound that whole machines give, and a plan made better hour by hour.

Machine-days tie the hours together. For a bound, what a machine-day costs is dealt to its hours in any way that adds
up (here by what the linear program says each hour is worth to it): the cheapest integer cover of each hour alone then
adds up to no more than any plan costs, and to more than the linear program says (Lagrangian decomposition). For a
plan, its machine-days are kept and every hour's rest is covered anew at the least cost.
Enter at `dealt`, `shares`, `rests`, `fits`, `usd_of`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.columns import Columns, Machines
from solvent.choose.mix.program import N_HOURS, SHORT, Counts
from solvent.choose.mix.prune import useful_cover

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def usd_of(columns: Columns, counts: Counts) -> float:
    """What the counts cost with the cheapest API for the rest; inf where an hour isn't served."""
    machines = columns.machines
    capacity = ((counts.by_hour + counts.by_day[:, None]) * machines.cover).sum(axis=0)
    rest = np.where(columns.busy, np.maximum(0.0, 1.0 - capacity), 0.0)
    rest[rest < SHORT] = 0.0
    bought = [float(r * usd) for r, usd in zip(rest, columns.api_usd, strict=True) if r > 0]
    paid = (machines.usd * (counts.by_day + counts.by_hour.sum(axis=1))).tolist()
    return math.fsum([*paid, *bought])


def shares(columns: Columns, hour_usd: Floats) -> Floats:
    """(J, 24) w_h/Σw, w_h = worth_h · cover_h: what an hour bears of a machine-day; even where it is worth nothing."""
    cover = useful_cover(columns.machines, columns.busy)
    worth = cover * np.maximum(hour_usd, 0.0)
    total = worth.sum(axis=1)
    even = (cover > 0) / np.maximum((cover > 0).sum(axis=1), 1)[:, None]
    result: Floats = np.where(total[:, None] > 0, worth / np.maximum(total, 1e-300)[:, None], even)
    return result


def dealt(columns: Columns, hour_usd: Floats, low: Ints) -> Iterator[tuple[int, Columns]]:
    """Each busy hour as a problem of its own, a machine-day of it priced at its share (`shares`).

    low: (J,) machine-days that are bought already; of the others there are n_max − low. The cost of `low` and the sum
    of the least costs of these problems bound every plan with those machine-days from below. Hours that `low` serves
    aren't there.
    """
    machines = columns.machines
    share = shares(columns, hour_usd)
    usd = np.where(machines.by_day[:, None], machines.usd[:, None] * share, machines.usd[:, None])
    return _hours(columns, low, machines.n_max - low, usd)


def rests(columns: Columns, by_day: Ints) -> Iterator[tuple[int, Columns]]:
    """What the machine-days leave of each hour as a problem of machine-hours and the API. Hours that are served
    already aren't there."""
    machines = columns.machines
    n_max = np.where(machines.by_day, 0, machines.n_max)
    return _hours(columns, by_day, n_max, np.broadcast_to(machines.usd[:, None], machines.cover.shape))


def _hours(columns: Columns, bought: Ints, n_max: Ints, usd: Floats) -> Iterator[tuple[int, Columns]]:
    """What the bought machine-days leave of each hour, of pools and of the cap, for n_max machines at usd (J, 24)."""
    machines = columns.machines
    pool_max = _left_of_pools(machines, bought)
    n_max = np.minimum(n_max, pool_max)
    there = np.flatnonzero(n_max > 0)
    left = 1.0 - (bought[:, None] * machines.cover).sum(axis=0)
    watts = (bought[:, None] * (machines.cover > 0) * machines.watts[:, None]).sum(axis=0)
    by_hour = np.zeros(len(machines), bool)
    hourly = replace(machines, n_max=n_max, pool_max=pool_max, by_day=by_hour).only(there)
    for h in map(int, np.flatnonzero(columns.busy & (left > SHORT))):
        busy = np.zeros(N_HOURS, bool)
        busy[h] = True
        group = replace(hourly, usd=usd[there, h], cover=hourly.cover / left[h])
        yield h, Columns(group, columns.api_usd * left[h], columns.api, busy, columns.cap_w - watts[h])


def fits(columns: Columns, by_day: Ints) -> bool:
    """Whether there are so many machine-days, in every pool too, under the cap of every busy hour."""
    machines = columns.machines
    running = by_day[:, None] * (machines.cover > 0)
    watts = (running * machines.watts[:, None]).sum(axis=0)[columns.busy]
    there = (by_day <= machines.n_max).all() and (_left_of_pools(machines, by_day) >= 0).all()
    return bool(there and (watts <= columns.cap_w * (1 + SHORT)).all())


def _left_of_pools(machines: Machines, bought: Ints) -> Ints:
    """(J,) pool_max without the machine-days that are bought of each pool."""
    used = np.zeros(int(machines.pool.max(initial=-1)) + 1, np.int64)
    pooled = machines.pool >= 0
    np.add.at(used, machines.pool[pooled], bought[pooled])
    left = machines.pool_max.copy()
    left[pooled] -= used[machines.pool[pooled]]
    return left

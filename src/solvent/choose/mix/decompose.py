"""The day taken apart into its hours: a bound that whole machines give, and a plan made better hour by hour.

Machine-days tie the hours together. For a bound, what a machine-day costs is dealt to its hours in any way that adds
up (here by what the linear program says each hour is worth to it): the cheapest integer cover of each hour alone then
adds up to no more than any plan costs, and to more than the linear program says (Lagrangian decomposition). For a
plan, its machine-days are kept and every hour's rest is covered anew at the least cost.
Enter at `dealt`, `rests`, `usd_of`.
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


def dealt(columns: Columns, hour_usd: Floats) -> Iterator[tuple[int, Columns]]:
    """Each busy hour as a problem of its own, a machine-day of it priced at usd · w_h/Σw, w_h = worth_h · cover_h.

    The sum of the least costs of these problems bounds every plan from below."""
    machines = columns.machines
    worth = useful_cover(machines, columns.busy) * np.maximum(hour_usd, 0.0)
    total = worth.sum(axis=1)
    open_hours = useful_cover(machines, columns.busy) > 0
    even = open_hours / np.maximum(open_hours.sum(axis=1), 1)[:, None]
    share = np.where(total[:, None] > 0, worth / np.maximum(total, 1e-300)[:, None], even)
    for h in map(int, np.flatnonzero(columns.busy)):
        usd = np.where(machines.by_day, machines.usd * share[:, h], machines.usd)
        yield h, _alone(columns, h, replace(machines, usd=usd, by_day=np.zeros(len(machines), bool)))


def rests(columns: Columns, by_day: Ints) -> Iterator[tuple[int, Columns]]:
    """What the machine-days leave of each hour as a problem of machine-hours and the API; its numbers are those of
    the groups. Hours that are served already aren't there."""
    machines = columns.machines
    running = by_day[:, None] * (machines.cover > 0)
    left = 1.0 - (by_day[:, None] * machines.cover).sum(axis=0)
    n_max = machines.n_max.copy()
    for pool in np.unique(machines.pool[(machines.pool >= 0) & (by_day > 0)]):
        members = machines.pool == pool
        n_max[members] -= by_day[members].sum()
    n_max[machines.by_day] = 0
    watts = (running * machines.watts[:, None]).sum(axis=0)
    for h in map(int, np.flatnonzero(columns.busy & (left > SHORT))):
        hourly = replace(machines, n_max=n_max, cover=machines.cover / left[h], by_day=np.zeros(len(machines), bool))
        hourly = hourly.only(np.flatnonzero(n_max > 0))
        api = columns.api_usd * left[h]
        cap = columns.cap_w - watts[h]
        yield h, replace(_alone(columns, h, hourly), api_usd=api, cap_w=cap)


def _alone(columns: Columns, h: int, machines: Machines) -> Columns:
    busy = np.zeros(N_HOURS, bool)
    busy[h] = True
    return replace(columns, machines=machines, busy=busy)

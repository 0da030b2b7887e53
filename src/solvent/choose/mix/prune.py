"""Leaves out machines that another offer replaces at no more cost, in every plan: the optimum stays what it was.

A replaces B: k machines of A, as many as cover all that one of B covers, cost no more than it and draw no more.
A must be unlimited (never more of it is needed than serve every hour alone), or be of the same pool with k = 1 and
have all of its machines.
An API replaces B where B's whole cover bought from the API costs no more than B.
Enter at `pruned`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.columns import Columns, Machines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

# Ratios of rounded numbers: 3.0000000000000004 machines are 3.
_ROUNDING = 1e-12


def pruned(columns: Columns) -> Columns:
    """The problem without replaceable machines; same optimum."""
    machines = columns.machines
    keep = ~_idle(columns) & ~_dearer_than_api(columns)
    machines = machines.only(keep)
    machines = machines.only(_undominated(machines, columns))
    return Columns(machines, columns.api_usd, columns.api, columns.busy, columns.cap_w)


def useful_cover(machines: Machines, busy: Bools) -> Floats:
    """(J, 24): the share of an hour's demand that one machine can take, at most all of it, 0 in hours without any."""
    return np.where(busy, np.minimum(machines.cover, 1.0), 0.0)


def _idle(columns: Columns) -> Bools:
    """Machines that cover nothing anyone asks for."""
    covers = np.asarray((useful_cover(columns.machines, columns.busy) > 0).any(axis=1))
    return ~covers


def _dearer_than_api(columns: Columns) -> Bools:
    """usd ≥ Σ_h api_usd_h · cover_h for a machine-day; for machine-hours, in every hour."""
    cover = useful_cover(columns.machines, columns.busy)
    finite = np.where(np.isfinite(columns.api_usd), columns.api_usd, 0.0)
    worth = cover * finite
    worth[:, ~np.isfinite(columns.api_usd)] = np.where(cover[:, ~np.isfinite(columns.api_usd)] > 0, np.inf, 0.0)
    machines = columns.machines
    by_day = np.asarray(worth.sum(axis=1) <= machines.usd)
    by_hour = np.asarray((worth <= machines.usd[:, None]).all(axis=1))
    dearer: Bools = np.where(machines.by_day, by_day, by_hour)
    return dearer


def _undominated(machines: Machines, columns: Columns) -> Bools:
    """From the cheapest cover to the dearest: whoever one that is kept replaces, goes."""
    n = len(machines)
    if not n:
        return np.zeros(0, bool)
    cover = useful_cover(machines, columns.busy)
    hours = np.where(machines.by_day, np.maximum((cover > 0).sum(axis=1), 1), 1)
    per_cover = machines.usd / hours / np.maximum(cover.max(axis=1), 1e-300)
    # More machines than serve the hardest hour alone are never needed; with several machines of several kinds
    # on, no plan needs that many more of one.
    smallest = np.where(cover > 0, cover, np.inf).min(axis=1)
    unlimited = (machines.n_max >= np.ceil(1.0 / smallest - _ROUNDING)) & (machines.pool < 0)
    capped = np.isfinite(columns.cap_w)
    order = np.lexsort((machines.usd, per_cover))
    keep = np.ones(n, bool)
    # First those that may replace anything, among themselves; then all others against the few that are left.
    kept: list[int] = []
    for b in map(int, order[unlimited[order]]):
        a = np.array(kept, np.int64)
        keep[b] = not (len(a) and _replaces(machines, cover, a, b, unlimited, capped).any())
        if keep[b]:
            kept.append(b)
    others = np.flatnonzero(~unlimited)
    for a_one in kept:
        others = others[~_is_replaced(machines, cover, a_one, others, capped)]
    keep[~unlimited] = False
    keep[others] = True
    # Last, members of a pool against those of the same pool.
    pools: dict[int, list[int]] = {}
    for b in (int(b) for b in order if machines.pool[b] >= 0 and keep[b]):
        a = np.array(pools.setdefault(int(machines.pool[b]), []), np.int64)
        keep[b] = not (len(a) and _replaces(machines, cover, a, b, unlimited, capped).any())
        if keep[b]:
            pools[int(machines.pool[b])].append(b)
    return keep


def _is_replaced(machines: Machines, cover: Floats, a: int, b: NDArray[np.int64], capped: bool) -> Bools:
    """Which of the groups `b` the unlimited group `a` replaces: `_replaces` the other way round."""
    wanted = cover[b] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(wanted, cover[b] / cover[a], 0.0)
        k = np.ceil(ratio.max(axis=1, initial=0.0) - _ROUNDING)
        billing = machines.by_day[b] | ~machines.by_day[a]
        n_hours = np.where(machines.by_day[b] & ~machines.by_day[a], wanted.sum(axis=1), 1.0)
        cheaper = k * machines.usd[a] * n_hours <= machines.usd[b]
        cooler = k * machines.watts[a] <= machines.watts[b] if capped else np.ones(len(b), bool)
    result: Bools = billing & np.isfinite(k) & cheaper & cooler
    return result


def _replaces(machines: Machines, cover: Floats, a: NDArray[np.int64], b: int, unlimited: Bools, capped: bool) -> Bools:
    """Which of the groups `a` replace group `b` machine by machine."""
    wanted = cover[b] > 0
    with np.errstate(divide="ignore"):
        k = np.ceil((cover[b, wanted] / cover[a][:, wanted]).max(axis=1) - _ROUNDING)
    whole = machines.n_max[a] >= machines.pool_max[a]
    same_pool = (machines.pool[a] >= 0) & (machines.pool[a] == machines.pool[b]) & (k <= 1) & whole
    # A machine paid by the day never replaces one that is paid by the hour.
    billing = machines.by_day[b] | ~machines.by_day[a]
    n_hours = np.where(machines.by_day[a], 1.0, wanted.sum() if machines.by_day[b] else 1.0)
    with np.errstate(invalid="ignore"):
        cheaper = k * machines.usd[a] * n_hours <= machines.usd[b]
        cooler = k * machines.watts[a] <= machines.watts[b] if capped else True
    result: Bools = (unlimited[a] | same_pool) & billing & np.isfinite(k) & cheaper & cooler
    return result

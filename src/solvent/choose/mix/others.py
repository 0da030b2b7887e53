"""A bound on every plan of a day in units: the machine-days that aren't base load in ranges, each cut until it counts.

Of each range they are dealt to the hours, as pieces of an hour like its machine-hours (Lagrangian decomposition). The
range with the lowest bound is cut in two at the machine-day of which its hours want different numbers; where they
agree, nothing is left to gain, nor where the bound is enough. Enter at `bounded`.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.branch import relaxed_within
from solvent.choose.mix.decompose import shares
from solvent.choose.mix.ladder import Ladders
from solvent.choose.mix.program import Picked
from solvent.choose.mix.rounded import Rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def bounded(rounded: Rounded, every: Picked, enough_usd: float) -> float:
    """What every plan of the day's columns costs at least, no further than `enough_usd`; inf where there is none."""
    machines, other = rounded.day.columns.machines, rounded.day.other
    low = np.zeros(len(machines), np.int64)
    high = np.where(other, machines.n_max, low)
    usd, cut = _of_range(rounded, rounded.day.relaxed.hour_usd, low, high)
    heap = [(usd, 0, low, high, cut)]
    n_made = 1
    while heap[0][0] < enough_usd and heap[0][4] is not None and perf_counter() < rounded.day.ends_s:
        known_usd, _, low, high, cut = heapq.heappop(heap)
        assert cut is not None
        below, above = high.copy(), low.copy()
        below[cut[0]], above[cut[0]] = cut[1], cut[1] + 1
        for ends in ((low, below), (above, high)):
            usd, cut = _of_part(rounded, every, known_usd, ends)
            heapq.heappush(heap, (usd, n_made, *ends, cut))
            n_made += 1
    return heap[0][0]


def _of_part(
    rounded: Rounded, every: Picked, known_usd: float, ends: tuple[Ints, Ints]
) -> tuple[float, tuple[int, int] | None]:
    """As `_of_range`, dealt by the linear program of this part alone; no less than is known of the whole."""
    columns, (low, high) = rounded.day.columns, ends
    n_max = np.where(rounded.day.other, high, columns.machines.n_max)
    relaxed = relaxed_within(replace(columns, machines=replace(columns.machines, n_max=n_max)), every, low)
    if relaxed is None:
        return np.inf, None
    usd, cut = _of_range(rounded, relaxed.hour_usd, low, high)
    return max(usd, relaxed.usd, known_usd), cut


def _of_range(rounded: Rounded, hour_usd: Floats | None, low: Ints, high: Ints) -> tuple[float, tuple[int, int] | None]:
    """(a bound of every plan with low … high of the others, where to cut: the last number of the lower part)."""
    day, machines = rounded.day, rounded.day.columns.machines
    assert hour_usd is not None and day.relaxed.charged_day_usd is not None
    day_usd = machines.usd + day.relaxed.charged_day_usd
    rows = day.other & (high > low)
    share = shares(day.columns, hour_usd)
    pieces = rounded.pieces(rows, day_usd[:, None] * share, high - low)
    ladders = Ladders(pieces, rounded.hour_costs, day.ends_s)
    asked = rounded.asked(low)
    total = rounded.by_speed(asked, ladders.costs())
    speed = int(np.argmin(total))
    usd = day.relaxed.limits_usd + float((day_usd * low).sum()) + float(total[speed])
    if not np.isfinite(usd) or not rows.any():
        return usd, None
    wanted = ladders.picked(np.where(day.carries(), np.maximum(asked - speed, 0), asked)[:, None])[:, :, 0]
    return usd, _cut(day_usd[rows], np.flatnonzero(rows), wanted, share[rows] > 0, (low, high))


def _cut(
    usd: Floats, rows: Ints, wanted: Ints, counts: NDArray[np.bool_], ends: tuple[Ints, Ints]
) -> tuple[int, int] | None:
    """The machine-day whose hours differ most in what they want, by its price, parted at their mean."""
    n = np.maximum(counts.sum(axis=1), 1)
    mean = (wanted * counts).sum(axis=1) / n
    differ = usd * np.where(counts, np.abs(wanted - mean[:, None]), 0.0).sum(axis=1) / n
    k = int(np.argmax(differ))
    if differ[k] <= 0.0:
        return None
    j, (low, high) = int(rows[k]), ends
    return j, int(np.clip(low[j] + np.floor(mean[k]), low[j], high[j] - 1))

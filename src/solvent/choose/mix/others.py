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


# (a bound, where to cut: a machine-day and its last number in the lower part, None where the hours agree;
# the machine-days that the hours want, about their mean).
_Range = tuple[float, tuple[int, int] | None, "Ints"]


def bounded(rounded: Rounded, every: Picked, enough_usd: float) -> tuple[float, Ints]:
    """(what every plan of the day's columns costs at least, no further than `enough_usd`, inf where there is none;
    the machine-days, other than base load, that the hours of that bound want)."""
    machines, other = rounded.day.columns.machines, rounded.other
    low = np.zeros(len(machines), np.int64)
    high = np.where(other, machines.n_max, low)
    usd, cut, want = _of_range(rounded, rounded.day.relaxed.hour_usd, low, high)
    heap = [(usd, 0, low, high, cut, want)]
    n_made = 1
    while heap[0][0] < enough_usd and heap[0][4] is not None and perf_counter() < rounded.day.ends_s:
        known_usd, _, low, high, cut, _ = heapq.heappop(heap)
        assert cut is not None
        below, above = high.copy(), low.copy()
        below[cut[0]], above[cut[0]] = cut[1], cut[1] + 1
        for ends in ((low, below), (above, high)):
            usd, cut, want = _of_part(rounded, every, known_usd, ends)
            heapq.heappush(heap, (usd, n_made, *ends, cut, want))
            n_made += 1
    return heap[0][0], heap[0][5]


def _of_part(rounded: Rounded, every: Picked, known_usd: float, ends: tuple[Ints, Ints]) -> _Range:
    """As `_of_range`, dealt by the linear program of this part alone; no less than is known of the whole."""
    columns, (low, high) = rounded.day.columns, ends
    n_max = np.where(rounded.other, high, columns.machines.n_max)
    relaxed = relaxed_within(replace(columns, machines=replace(columns.machines, n_max=n_max)), every, low)
    if relaxed is None:
        return np.inf, None, low
    usd, cut, want = _of_range(rounded, relaxed.hour_usd, low, high)
    return max(usd, relaxed.usd, known_usd), cut, want


def _of_range(rounded: Rounded, hour_usd: Floats | None, low: Ints, high: Ints) -> _Range:
    """Of every plan with low … high of the others."""
    day, machines = rounded.day, rounded.day.columns.machines
    assert hour_usd is not None and day.relaxed.charged_day_usd is not None
    day_usd = machines.usd + day.relaxed.charged_day_usd
    rows = rounded.other & (high > low)
    share = shares(day.columns, hour_usd)
    pieces = rounded.pieces(rows, day_usd[:, None] * share, high - low)
    ladders = Ladders(pieces, rounded.hour_costs, day.ends_s)
    asked = rounded.asked(low)
    total = rounded.by_speed(asked, ladders.costs())
    speed = int(np.argmin(total))
    usd = day.relaxed.limits_usd + float((day_usd * low).sum()) + float(total[speed])
    if not np.isfinite(usd) or not rows.any():
        return usd, None, low
    wanted = ladders.picked(np.where(day.carries(), np.maximum(asked - speed, 0), asked)[:, None])[:, :, 0]
    counts = pieces.units > 0
    mean = (wanted * counts).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    want = low.copy()
    want[rows] += np.rint(mean).astype(np.int64)
    differ = (day_usd[rows, None] * np.where(counts, np.abs(wanted - mean[:, None]), 0.0)).sum(axis=1)
    k = int(np.argmax(differ))
    if differ[k] <= 0.0:
        return usd, None, want
    j = int(np.flatnonzero(rows)[k])
    return usd, (j, int(np.clip(low[j] + np.floor(mean[k]), low[j], high[j] - 1))), want

"""A bound on every plan of a day in units: the machine-days that aren't base load in ranges, cut until that is enough.

Of each range they are dealt to the hours, as pieces of an hour like its machine-hours (Lagrangian decomposition). The
range with the lowest bound is cut in two at the machine-day of which its hours want different numbers; where they
agree, nothing is left to gain in these units. Enter at `Ranges`.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from solvent.choose.mix.branch import relaxed_within
from solvent.choose.mix.columns import Columns
from solvent.choose.mix.decompose import shares
from solvent.choose.mix.ladder import Ladders, Late
from solvent.choose.mix.program import Picked
from solvent.choose.mix.rounded import Rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]


# (a bound, where to cut: a machine-day and its last number in the lower part, None where the hours agree;
# the machine-days that the hours want, about their mean).
_Bounded = tuple[float, tuple[int, int] | None, "Ints"]


class Ranges:
    """Ranges of the machine-days that aren't base load, which together hold every plan, with what was found of them.

    Bounds outlast the units they were found in: `bounded` with finer ones looks again only at the ranges that matter.
    """

    def __init__(self, columns: Columns) -> None:
        n = len(columns.machines)
        self.wanted = np.zeros(n, np.int64)
        # (bound, number, low, high, where to cut, what is wanted, the units that this was found in).
        self._heap: list[Any] = [(-np.inf, 0, self.wanted, columns.machines.n_max, None, self.wanted, 0)]
        self._n_made = 1

    def bounded(self, rounded: Rounded, enough_usd: float, ends_s: float) -> float:
        """What every plan of the day's columns costs at least, no further than `enough_usd`; inf where there is none.

        `wanted` is then what the hours of that bound want. No later call may have columns that this one hasn't.
        """
        heap = self._heap
        while heap[0][0] < enough_usd and perf_counter() < min(ends_s, rounded.day.ends_s):
            known_usd, _, low, high, cut, _, n_units = heap[0]
            try:
                if n_units != rounded.n_units:
                    parts = [((low, high), _of_part(rounded, enough_usd, known_usd, (low, high)))]
                elif cut is None:
                    break
                else:
                    below, above = high.copy(), low.copy()
                    below[cut[0]], above[cut[0]] = cut[1], cut[1] + 1
                    ends = ((low, below), (above, high))
                    parts = [(one, _of_part(rounded, enough_usd, known_usd, one)) for one in ends]
            except Late:
                break
            heapq.heappop(heap)
            for one, found in parts:
                heapq.heappush(heap, (found[0], self._n_made, *one, *found[1:], rounded.n_units))
                self._n_made += 1
        self.wanted = heap[0][5]
        return float(heap[0][0])


def _of_part(rounded: Rounded, enough_usd: float, known_usd: float, ends: tuple[Ints, Ints]) -> _Bounded:
    """Of a range, dealt by the linear program of its plans alone; no less than is known of it.

    The program has what the ladders have: no pools and no cap. So where these cost nothing, it bounds what they do, and
    the machine-days that it prices out are in no plan that costs less than is enough.
    """
    day, machines, (low, high) = rounded.day, rounded.day.columns.machines, ends
    if low[~rounded.other].any():
        return np.inf, None, low
    rows = rounded.other
    if day.relaxed.limits_usd < 0.0:
        usd, cut, want = _of_range(rounded, day.relaxed.hour_usd, ends, rows)
        return max(usd, known_usd), cut, want
    n_max = np.where(rows, high, machines.n_max)
    free = replace(machines, n_max=n_max, pool=np.full(len(machines), -1), pool_max=n_max)
    every = Picked(rounded.base_rows | rows, rounded.every_hour)
    relaxed = relaxed_within(replace(day.columns, machines=free, cap_w=np.inf), every, low)
    if relaxed is None:
        return np.inf, None, low
    if relaxed.usd >= enough_usd:
        return relaxed.usd, None, low
    assert relaxed.reduced_day is not None
    # A machine-day more of these than the part has at least.
    rows = rows & (relaxed.usd + relaxed.reduced_day < enough_usd)
    usd, cut, want = _of_range(rounded, relaxed.hour_usd, ends, rows)
    return max(min(usd, enough_usd), relaxed.usd, known_usd), cut, want


def _of_range(rounded: Rounded, hour_usd: Floats | None, ends: tuple[Ints, Ints], rows: Bools) -> _Bounded:
    """Of every plan with low … high of these rows, and low of the others."""
    day, machines, (low, high) = rounded.day, rounded.day.columns.machines, ends
    assert hour_usd is not None and day.relaxed.charged_day_usd is not None
    day_usd = machines.usd + day.relaxed.charged_day_usd
    rows = rows & (high > low)
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

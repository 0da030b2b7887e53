"""A day's columns in units: the base load's machine-days, the other ones, and the machine-hours, each as pieces.

The base load are machine-days that are there in the same hours and keep their speed: they enter every hour by one
number, all their speed. Watts and pools are charged at the linear program's prices. Enter at `parted`, `Rounded`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.columns import Columns
from solvent.choose.mix.ladder import Ladders, Pieces, without_pieces
from solvent.choose.mix.program import SHORT, Picked, Solved
from solvent.choose.mix.prune import useful_cover
from solvent.choose.mix.spare import needed, needed_days
from solvent.choose.mix.units import asked_units, in_units, measure_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Day:
    """One problem. base: (J,) machine-days of the base load; other: (J,) the rest of them that may be needed;
    hourly: (J,).   ends_s: the clock's time to stop at."""

    columns: Columns
    relaxed: Solved
    measure: Floats
    base: Bools
    other: Bools
    hourly: Bools
    ends_s: float

    def carries(self) -> Bools:
        """(24,) the hours in which the base load is there."""
        there = self.columns.busy & (self.columns.machines.cover > 0)
        result: Bools = there[int(np.argmax(self.base))] if self.base.any() else np.zeros(len(self.measure), bool)
        return result


def parted(columns: Columns, every: Picked, relaxed: Solved, room_usd: float, ends_s: float) -> Day:
    """The columns that a plan less than `room_usd` above the linear program may have; of all sets of hours, that on
    whose even machine-days the linear program spends most is the base load's."""
    assert relaxed.reduced_day is not None and relaxed.reduced_hour is not None
    machines, measure = columns.machines, measure_of(columns)
    day = every.day & (relaxed.reduced_day <= room_usd)
    hourly = (every.hour & (relaxed.reduced_hour <= room_usd)).any(axis=1)
    even = np.flatnonzero(day & in_units(columns, measure, 1, up=True).even)
    base = np.zeros(len(machines), bool)
    if len(even):
        there = columns.busy & (machines.cover > 0)
        sets, member = np.unique(there[even], axis=0, return_inverse=True)
        usd = np.bincount(member.reshape(-1), (machines.usd * relaxed.day)[even], len(sets))
        size = np.bincount(member.reshape(-1), minlength=len(sets))
        base[even[member.reshape(-1) == int(np.lexsort((size, usd))[-1])]] = True
    other: Bools = day & ~base
    return Day(columns, relaxed, measure, base, other, np.asarray(hourly), ends_s)


class Rounded:
    """The ladders of a day in units, rounded `up` (a bound) or to the nearest; the other machine-days are in none."""

    def __init__(self, day: Day, n_units: int, limit_usd: float, *, up: bool) -> None:
        """limit_usd: no plan that costs more is asked about."""
        self.day, self.n_units, self.up = day, n_units, up
        machines, solved = day.columns.machines, day.relaxed
        assert solved.charged_usd is not None and solved.charged_day_usd is not None
        self.units = in_units(day.columns, day.measure, n_units, up=up)
        asked = self.asked(np.zeros(len(machines), np.int64))
        limit_usd -= solved.limits_usd
        day_usd = machines.usd + solved.charged_day_usd
        days = np.flatnonzero(day.base | day.other)
        kept = np.zeros(len(machines), bool)
        cover = useful_cover(machines, day.columns.busy)[days]
        kept[days] = needed_days(day_usd[days], cover, machines.n_max[days], limit_usd)
        self.other, self.base_rows = day.other & kept, day.base & kept
        units = self.units.units[self.base_rows].max(axis=1, initial=0)
        nothing = without_pieces(np.array([np.inf]), n_units)
        pieces = Pieces(day_usd[self.base_rows, None], units[:, None], machines.n_max[self.base_rows])
        self.base = Ladders(pieces, nothing, day.ends_s)
        self.every_hour = day.hourly[:, None] & (self.units.units > 0)
        self.hourly = self.pieces(day.hourly, machines.usd[:, None] + solved.charged_usd, machines.n_max)
        hourly = needed(self.hourly, asked, self.units.unit_usd, limit_usd)
        self.hours = Ladders(hourly, without_pieces(self.units.unit_usd, n_units), day.ends_s)
        self.base_costs = self.base.costs()[0]
        self.hour_costs = self.hours.costs()

    def pieces(self, rows: Bools, usd: Floats, n_max: Ints) -> Pieces:
        """The machines of `rows` at usd (J, 24) in the hours in which they are there."""
        units = self.units.units[rows]
        return Pieces(np.where(units > 0, usd[rows], np.inf), units, n_max[rows])

    def asked(self, by_day: Ints) -> Ints:
        """(24,) units that these machine-days leave of each hour."""
        bought = np.flatnonzero(by_day)
        left = 1.0 - (by_day[bought, None] * self.day.columns.machines.cover[bought]).sum(axis=0)
        left[left < SHORT] = 0.0
        return asked_units(self.day.columns, self.day.measure, self.n_units, up=self.up, left=left)

    def by_speed(self, asked: Ints, hour_costs: list[Floats] | None = None) -> Floats:
        """The least cost of base load and hours at each speed of the base load, in units, up to what is of use."""
        costs, carries = self.hour_costs if hour_costs is None else hour_costs, self.day.carries()
        most = int(asked[carries].max(initial=0))
        total = self.base_costs[: most + 1].copy()
        for h in np.flatnonzero(asked).tolist():
            if carries[h]:
                n = int(asked[h])
                total[: n + 1] += costs[h][n::-1]
                total[n + 1 :] += costs[h][0]
            else:
                total += costs[h][asked[h]]
        return total

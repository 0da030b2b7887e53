"""Machine-days split into ranges until every range is bounded: branch and bound on what ties the hours together.

Of each range the linear program is solved (it prices most columns out), its machine-days are rounded to a plan whose
hours are covered anew, and the hours bound it from below, machine-days dealt to them (`decompose`). A range that the
bound doesn't close is cut in two at the machine-day that is most in dispute. Enter at `split_days`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.columns import Columns
from solvent.choose.mix.decompose import dealt, fits, rests, usd_of
from solvent.choose.mix.generate import left_in, priced_out
from solvent.choose.mix.greedy import greedy
from solvent.choose.mix.ladder import Late
from solvent.choose.mix.program import Counts, Picked, Solved, solve
from solvent.choose.mix.prune import pruned
from solvent.choose.mix.reduce import together
from solvent.errors import ChoiceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Hours are solved so much closer than the day, for their gaps come on top of what machine-days leave open.
HOUR_SHARE = 0.1
# A machine-day count of the linear program this near to a whole one is whole; hours dispute one by more than this.
WHOLE = 1e-6


@dataclass(frozen=True, slots=True)
class Branch:
    """One problem: its columns, those that can lower the cost, the gap to reach, and the clock's time to stop at."""

    columns: Columns
    every: Picked
    gap: float
    ends_s: float

    def numbers(self) -> dict[tuple[int, ...], int]:
        """Group → its number: the hours leave groups out."""
        return {group: j for j, group in enumerate(self.columns.machines.offers)}

    def is_late(self) -> bool:
        return perf_counter() >= self.ends_s


@dataclass(slots=True)
class _Best:
    """The cheapest plan so far. tried: the machine-days whose hours were covered anew."""

    counts: Counts | None
    usd: float
    tried: set[bytes]

    def offer(self, columns: Columns, counts: Counts | None) -> None:
        usd = np.inf if counts is None else usd_of(columns, counts)
        if usd < self.usd:
            self.counts, self.usd = counts, usd


def split_days(branch: Branch, first: Counts | None) -> Counts | None:
    """The best plan found, with a bound that holds for every plan; None where none was found.

    bound = min over the ranges (of the larger of a range's linear program and its hours, or of the range it was cut
    from), at most the plan's own cost. A range is closed when its bound is within the gap of the best plan.
    """
    columns = branch.columns
    best = _Best(first, np.inf if first is None else usd_of(columns, first), set())
    if first is not None:
        _cover_anew(branch, best, first.by_day)
    else:
        best.offer(columns, greedy(columns))
    none = np.zeros(len(columns.machines), np.int64)
    everything = (none, np.where(columns.machines.by_day, columns.machines.n_max, none))
    heap: list[tuple[float, int, Ints, Ints]] = [(0.0 if first is None else first.bound_usd, 0, *everything)]
    closed_usd, n_made = np.inf, 1
    while heap and not branch.is_late() and heap[0][0] < best.usd * (1 - branch.gap):
        known_usd, number, low, high = heapq.heappop(heap)
        try:
            bound_usd, cut = _bounded(branch, best, low, high)
        except (Late, ChoiceError):
            heapq.heappush(heap, (known_usd, number, low, high))
            break
        bound_usd = max(bound_usd, known_usd)
        if cut is None:
            closed_usd = min(closed_usd, bound_usd)
            continue
        j, at = cut
        below, above = high.copy(), low.copy()
        below[j], above[j] = at, at + 1
        heapq.heappush(heap, (bound_usd, n_made, low, below))
        heapq.heappush(heap, (bound_usd, n_made + 1, above, high))
        n_made += 2
    if best.counts is None:
        return None
    bound_usd = min([closed_usd, best.usd, *(node[0] for node in heap)])
    return Counts(best.counts.by_day, best.counts.by_hour, bound_usd)


def _bounded(branch: Branch, best: _Best, low: Ints, high: Ints) -> tuple[float, tuple[int, int] | None]:
    """(a bound of every plan whose machine-days lie in the range, where to cut it; None: it is closed)."""
    machines = branch.columns.machines
    within = replace(branch.columns, machines=replace(machines, n_max=np.where(machines.by_day, high, machines.n_max)))
    relaxed = relaxed_within(within, branch.every, low)
    if relaxed is None:
        return np.inf, None
    enough_usd = best.usd * (1 - branch.gap)
    if relaxed.usd >= enough_usd:
        return relaxed.usd, None
    had_none = best.counts is None
    for rounded in (np.rint, np.ceil):
        _cover_anew(branch, best, np.clip(rounded(relaxed.day - WHOLE).astype(np.int64), low, high))
        if not had_none or best.counts is not None:
            break
    # Plans dearer than the best aren't asked about, so that columns that only they have may go.
    room_usd = best.usd - relaxed.usd + 1e-7 * abs(relaxed.usd)
    left = left_in(branch.every, relaxed, room_usd)
    hours_usd, disputed = _bound_of_hours(branch, within, relaxed, low, left)
    bound_usd = max(relaxed.usd, min(hours_usd, best.usd))
    if bound_usd >= best.usd * (1 - branch.gap):
        return bound_usd, None
    return bound_usd, _cut(machines.usd, relaxed.day, disputed, low, high)


def relaxed_within(columns: Columns, every: Picked, low: Ints) -> Solved | None:
    """The linear program over all columns; None where no plan at all is in the range."""
    priced = priced_out(columns, every, low)
    return priced[1] if priced is not None else solve(columns, every, 0.0, np.inf, relax=True, at_least=low)


def _cut(usd: Floats, day: Floats, disputed: Floats, low: Ints, high: Ints) -> tuple[int, int] | None:
    """(group, machine-days of the lower part): the dearest broken count of the linear program, else of the hours;
    None where all are whole, and what is left of the gap is the hours' own."""
    for counts in (day, disputed):
        broken = np.abs(counts - np.rint(counts))
        broken[(low >= high) | (broken <= WHOLE)] = 0.0
        if broken.any():
            j = int(np.argmax(usd * broken))
            return j, int(np.clip(np.floor(counts[j]), low[j], high[j] - 1))
    return None


def _cover_anew(branch: Branch, best: _Best, by_day: Ints) -> None:
    """The machine-days kept, each hour's rest covered at the least cost: the plan is best's, where it is cheaper."""
    if by_day.tobytes() in best.tried:
        return
    best.tried.add(by_day.tobytes())
    columns, numbers = branch.columns, branch.numbers()
    if not fits(columns, by_day):
        return
    by_hour = np.zeros((len(columns.machines), len(columns.busy)), np.int64)
    paid_usd = float((columns.machines.usd * by_day).sum())
    for h, rest in rests(columns, by_day):
        try:
            found = one_hour(rest, branch.gap * HOUR_SHARE, branch.ends_s)
        except Late:
            return
        paid_usd += np.inf if found is None else found.bound_usd
        if found is None or paid_usd >= best.usd:
            return
        for group, n in zip(rest.machines.offers, found.by_hour[:, h], strict=True):
            by_hour[numbers[group], h] = n
    best.offer(columns, Counts(by_day, by_hour, 0.0))


def _bound_of_hours(branch: Branch, within: Columns, relaxed: Solved, low: Ints, left: Picked) -> tuple[float, Floats]:
    """(cost of `low` and the sum of the hours' least costs, machine-days dealt to them; what the hours would have).

    The second: (J,) machine-days, the mean over the hours; where it is broken they want different ones.
    Raises: Late.
    """
    machines, numbers = within.machines, branch.numbers()
    assert relaxed.hour_usd is not None
    bound_usd = float((machines.usd * low).sum())
    wanted, n_open = np.zeros(len(machines)), np.zeros(len(machines))
    for h, hour in dealt(within, relaxed.hour_usd, low):
        members = np.array([numbers[group] for group in hour.machines.offers], np.int64)
        useful = left.day[members] | left.hour[members, h]
        less = pruned(replace(hour, machines=hour.machines.only(useful)))
        counts = one_hour(less, branch.gap * HOUR_SHARE, branch.ends_s)
        if counts is None:
            return np.inf, wanted
        bound_usd += counts.bound_usd
        n_open[members] += hour.machines.cover[:, h] > 0
        for group, n in zip(less.machines.offers, counts.by_hour[:, h], strict=True):
            wanted[numbers[group]] += n
    return bound_usd, low + wanted / np.maximum(n_open, 1)


def one_hour(columns: Columns, gap: float, ends_s: float) -> Counts | None:
    """The counts of one hour alone; None where it can't be served. Raises: Late where none was found in the time, which
    says nothing about the hour."""
    left_s = ends_s - perf_counter()
    if left_s <= 0:
        raise Late
    try:
        return together(columns, gap, left_s)
    except ChoiceError as error:
        raise Late from error

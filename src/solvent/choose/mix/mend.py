"""An hour of a plan within its limits: pools share out what they have, and watts are charged until the cap holds.

The ladders know no pools and no cap. So the hour is asked again, with fewer machines of a pool that was asked for too
many (the cheapest for their units keep theirs), and watts at a price that rises until the answer keeps the cap and is
then brought near the lowest that does. A near-cheapest hour; nothing is proved by it. Enter at `mended`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.ladder import Ladders, Pieces
from solvent.choose.mix.program import SHORT
from solvent.choose.mix.rounded import Rounded
from solvent.choose.mix.spare import needed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# How often an hour is asked; the first price of all its watts is this share of its cost, then so many times more.
TRIES, FIRST_PRICE, DEARER = 12, 0.02, 3.0


@dataclass(slots=True)
class _Hour:
    """left: share still asked for; cap_w and pool_max (by pool): what machine-days leave. The rest by hourly row."""

    left: float
    api_usd: float
    cap_w: float
    pool_max: Ints
    usd: Floats
    cover: Floats
    watts: Floats
    pool: Ints

    def cost(self, answers: Ints) -> tuple[Floats, Bools, Bools]:
        """(usd of each answer (G, T), inf where it doesn't serve; which keep the pools; which keep the cap)."""
        rest = self.left - self.cover @ answers
        usd = self.usd @ answers
        usd[rest >= SHORT] += rest[rest >= SHORT] * self.api_usd
        used = np.zeros((len(self.pool_max), answers.shape[1]), np.int64)
        np.add.at(used, self.pool[self.pool >= 0], answers[self.pool >= 0])
        keeps_pools = np.asarray((used <= self.pool_max[:, None]).all(axis=0))
        return usd, keeps_pools, np.asarray((self.watts * (self.cover > 0)) @ answers <= self.cap_w)


def mended(rounded: Rounded, by_day: Ints, h: int, more_units: tuple[int, ...]) -> Ints | None:
    """(J,) machine-hours of hour h beside these machine-days, within all limits; None where none was found."""
    hour = _hour(rounded, by_day, h)
    pieces = rounded.hourly
    n_max = np.minimum(pieces.n_max, np.where(hour.pool >= 0, hour.pool_max[hour.pool], pieces.n_max))
    asked = np.minimum(rounded.asked(by_day)[h] + np.array([more_units]), rounded.n_units)
    best: tuple[float, Ints | None] = (np.inf, None)
    price, too_low, enough = 0.0, 0.0, np.inf
    for _ in range(TRIES):
        usd = pieces.usd[:, [h]] + price * hour.watts[:, None]
        some = needed(Pieces(usd, pieces.units[:, [h]], n_max), asked[:, -1], rounded.units.unit_usd[[h]], np.inf)
        ladders = Ladders(some, [rounded.hours.starts[h]], rounded.day.ends_s)
        answers = ladders.picked(asked)[:, 0, :]
        costs, keeps_pools, keeps_cap = hour.cost(answers)
        if not np.isfinite(costs).any():
            break
        fits = np.where(keeps_pools & keeps_cap, costs, np.inf)
        if fits.min() < best[0]:
            best = (float(fits.min()), answers[:, int(fits.argmin())])
        if not keeps_pools[int(costs.argmin())]:
            n_max = _shared_out(hour, pieces.units[:, h], answers[:, int(costs.argmin())], n_max)
            continue
        if keeps_cap[int(costs.argmin())]:
            enough = price
        else:
            too_low = price
        if enough <= too_low * 1.05 or enough == 0.0:
            break
        first = FIRST_PRICE * float(costs.min()) / max(hour.cap_w, 1e-9)
        price = (too_low + enough) / 2 if np.isfinite(enough) else max(DEARER * too_low, first)
    if best[1] is None:
        return None
    result = np.zeros(len(by_day), np.int64)
    result[rounded.day.hourly] = best[1]
    return result


def _hour(rounded: Rounded, by_day: Ints, h: int) -> _Hour:
    columns, machines, hourly = rounded.day.columns, rounded.day.columns.machines, rounded.day.hourly
    pooled = machines.pool >= 0
    pool_max = np.zeros(int(machines.pool.max(initial=0)) + 1, np.int64)
    pool_max[machines.pool[pooled]] = machines.pool_max[pooled]
    np.subtract.at(pool_max, machines.pool[pooled], by_day[pooled])
    running = by_day * (machines.cover[:, h] > 0)
    left = 1.0 - float((by_day * machines.cover[:, h]).sum())
    cap_w = columns.cap_w * (1 + SHORT / 2) - float((running * machines.watts).sum())
    of_rows = (machines.usd[hourly], machines.cover[hourly, h], machines.watts[hourly], machines.pool[hourly])
    return _Hour(left, float(columns.api_usd[h]), cap_w, np.maximum(pool_max, 0), *of_rows)


def _shared_out(hour: _Hour, units: Ints, answer: Ints, n_max: Ints) -> Ints:
    """n_max with no more than there are of each pool that the answer asks for too many of."""
    used = np.zeros(len(hour.pool_max), np.int64)
    np.add.at(used, hour.pool[hour.pool >= 0], answer[hour.pool >= 0])
    result = n_max.copy()
    for p in np.flatnonzero(used > hour.pool_max).tolist():
        members = np.flatnonzero(hour.pool == p)
        left = int(hour.pool_max[p])
        for j in members[np.argsort(hour.usd[members] / np.maximum(units[members], 1))].tolist():
            result[j] = min(int(answer[j]), left)
            left -= int(result[j])
    return result

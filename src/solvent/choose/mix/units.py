"""Speeds as whole units of one measure, in which an hour asks for so many: rounded up for a bound.

Where all hours ask for the same mix of tokens, a machine has one speed, and an hour's demand is a number of it. So the
measure is the demand of the hardest hour, and a machine that has the same speed in all its hours is said to be even.
Enter at `measure_of`, `in_units`, `asked_units`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.columns import Columns
from solvent.choose.mix.program import N_HOURS, SHORT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# Speeds that differ by no more than this, relative, are one: what doubles lose in a few products, and some.
EVEN = 1e-11
# A quotient this near to a whole number from its far side is that number.
_WHOLE = 1e-12


@dataclass(frozen=True, slots=True)
class Units:
    """units: (J, 24) of one machine, 0 where it isn't there.   unit_usd: (24,) of the API, inf where there is none.
    even: (J,) the same units in all its hours."""

    units: Ints
    unit_usd: Floats
    even: Bools


def measure_of(columns: Columns) -> Floats:
    """(24,) the demand of each hour, the hardest at 1, by the machine that is there most; 1 where it is closed."""
    measure = np.ones(N_HOURS)
    cover = np.where(columns.busy, columns.machines.cover, 0.0)
    if len(cover) and (cover > 0).any():
        there = cover[int(np.argmax((cover > 0).sum(axis=1)))]
        measure[there > 0] = there[there > 0].min() / there[there > 0]
    return measure


def in_units(columns: Columns, measure: Floats, n_units: int, *, up: bool) -> Units:
    """Rounded `up`, whatever serves an hour covers at least the units that it asks for (`asked_units`): a bound.
    Rounded to the nearest, errors cancel: what covers the units about serves the hour."""
    cover = np.where(columns.busy, columns.machines.cover, 0.0)
    there = cover > 0
    speed = cover * measure * n_units
    most = speed.max(axis=1, initial=0.0, keepdims=True)
    least = np.where(there, speed, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    even = most <= least * (1 + EVEN)
    speed = np.where(even & there, most if up else least, speed)
    rounded = np.ceil(speed * (1 - _WHOLE)) if up else np.rint(speed)
    unit_usd = _alike(np.where(np.isfinite(columns.api_usd), columns.api_usd / (measure * n_units), np.inf))
    return Units(np.minimum(rounded, 2.0**40).astype(np.int64), unit_usd, even[:, 0])


def asked_units(columns: Columns, measure: Floats, n_units: int, *, up: bool, left: Floats | float = 1.0) -> Ints:
    """(24,) units of each hour, 0 where nothing is asked.   left: share of each hour that is still to be served.

    `up`, for a bound, an hour asks for a little less, since it is served when it is short by SHORT at most, and of
    the units that an API may serve for the whole ones alone.
    """
    demand = np.where(columns.busy, measure * n_units * np.maximum(left, 0.0), 0.0)
    if not up:
        return np.ceil(demand * (1 - _WHOLE)).astype(np.int64)
    demand = np.maximum(demand - 2 * SHORT * measure * n_units, 0.0)
    return np.where(np.isfinite(columns.api_usd), np.floor(demand), np.ceil(demand)).astype(np.int64)


def _alike(prices: Floats) -> Floats:
    """Prices that rounding alone tells apart at the lowest of them."""
    result = prices.copy()
    lowest = np.inf
    for i in np.argsort(prices).tolist():
        if not (np.isfinite(lowest) and prices[i] <= lowest * (1 + EVEN)):
            lowest = float(prices[i])
        result[i] = lowest
    return result

"""Bootstrap intervals: how far the ratios of a statement would move had other customers come that day.

Customers are resampled with replacement (the unit that is independent; requests of one customer aren't). Where
there are fewer than ten, five-minute blocks of the log are. Percentile intervals at 95%, 2,000 resamples (400
above 5,000 units, drawn as Poisson weights), a fixed seed. Intervals are estimates, so they are floats; the
figures themselves stay exact.
Source: Efron & Tibshirani 1993 §13 (percentile interval), §8 (resampling the independent unit).
Enter at `intervals`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

N_RESAMPLES, N_RESAMPLES_OF_MANY, MANY = 2_000, 400, 5_000
LEVEL = 0.95
Z_975 = 1.959963984540054  # the 97.5% point of the standard normal
SEED = 20_240_229
# Weights drawn at once.
CHUNK = 2_000_000


def intervals(
    columns: Mapping[str, Array],
    figures: Mapping[str, Callable[[Mapping[str, Array]], Array]],
    spreads: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> dict[str, tuple[float, float]]:
    """For every figure, the interval of its value over resampled units.

    columns: name → (U,) per-unit amounts, units in a fixed order.   figures: name → function of column sums
    (R,) to values (R,). spreads: name → factors at the ends of an interval that the sum has of its own.
    A figure whose resamples aren't all finite has no interval.
    """
    names = list(columns)
    n_units = len(next(iter(columns.values()))) if names else 0
    if n_units < 2 and not (n_units and spreads):
        return {}
    table = np.column_stack([columns[name] for name in names])
    random = np.random.default_rng(SEED)
    per_draw = max(1, CHUNK // n_units)
    n_resamples = N_RESAMPLES if n_units <= MANY else N_RESAMPLES_OF_MANY
    sums = np.empty((n_resamples, len(names)))
    for start in range(0, n_resamples, per_draw):
        stop = min(start + per_draw, n_resamples)
        if n_units <= MANY:
            weights = random.multinomial(n_units, np.full(n_units, 1 / n_units), size=stop - start).astype(np.float64)
        else:
            weights = random.poisson(1.0, size=(stop - start, n_units)).astype(np.float64)
        sums[start:stop] = weights @ table
    drawn = {name: sums[:, i] for i, name in enumerate(names)}
    common = random.standard_normal(n_resamples)
    for name, (low, high) in spreads.items():
        drawn[name] = drawn[name] * _factor(common, low, high)
    found = {}
    tail = (1 - LEVEL) / 2
    for name, figure in figures.items():
        with np.errstate(all="ignore"):
            values = figure(drawn)
        if np.all(np.isfinite(values)):
            low, high = np.quantile(values, [tail, 1 - tail])
            found[name] = (float(low), float(high))
    return found


def _factor(normal: Array, low: float, high: float) -> Array:
    """Factors whose 2.5% and 97.5% points are low and high and whose median is 1, a half-normal to each side."""
    sides = np.where(normal < 0, 1 - low, high - 1)
    return np.maximum(1 + normal / Z_975 * sides, 1e-6)

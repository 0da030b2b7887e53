"""Seeded draws of ranges, each from a stream of its own: another range beside it leaves its draws alone.

Enter at `Drawer`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from solvent.choose.economics import Array
from solvent.choose.offers.record import Range

Z_95 = 1.6448536269514722  # the 95% point of the standard normal: a Range's ends


@dataclass(frozen=True, slots=True)
class Drawer:
    """Draws of the ranges of one thing; (n,) arrays, [0] the value itself.

    name: with `what`, it seeds the stream.
    """

    name: str
    n: int
    seed: int

    def draw(self, what: str, source: Range) -> Array:
        """A two-piece normal (of the logarithm, where the range is above zero) with the Range's ends at 5% and 95%."""
        z = self._normal(what)
        value, low, high = source.value, source.low, source.high
        if low > 0:
            side = np.where(z < 0, np.log(value / low), np.log(high / value))
            result: Array = value * np.exp(z / Z_95 * side)
        else:
            result = value + z / Z_95 * np.where(z < 0, value - low, high - value)
        return result

    def share(self, what: str, source: Range) -> Array:
        """As `draw`, of the logit, so that a share between 0 and 1 stays between them; else held to them."""
        value, low, high = source.value, source.low, source.high
        if not 0 < low <= high < 1:
            return np.clip(self.draw(what, source), 0, 1)
        odds = self.draw(what, Range(value / (1 - value), low / (1 - low), high / (1 - high), source.method, ""))
        # From the odds back to the share costs a rounding; the point estimate has none.
        result: Array = odds / (1 + odds)
        result[0] = value
        return result

    def _normal(self, what: str) -> Array:
        random = np.random.default_rng([self.seed, zlib.crc32(f"{self.name}/{what}".encode())])
        z = random.standard_normal(self.n)
        z[0] = 0.0
        return z

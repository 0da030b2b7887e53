"""The least cost of covering any number of units with whole pieces, for all numbers at once: a ladder of costs.

Pieces come in limited numbers and may differ by hour; what costs and covers the same in several hours is reckoned
once for all of them. Exact for whole units (dynamic programming over the units, pieces one after the other). What it
doesn't do: turn speeds into units (`units`). Enter at `Ladders`.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


# Ladders that are kept at once while pieces are taken back, at least.
AT_ONCE = 40


class Late(Exception):
    """The time ended before the ladder did."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """G pieces over H hours. usd: (G, H), inf where a piece isn't there.   units: (G, H), what one covers.
    n_max: (G,), how many there are in each hour."""

    usd: Floats
    units: Ints
    n_max: Ints


@dataclass(slots=True)
class _Branch:
    """Pieces (rows) that are alike in all of these hours, and the hours' parts with the pieces that aren't."""

    hours: Ints
    rows: Ints
    parts: list[_Branch]


def without_pieces(unit_usd: Floats, n_units: int) -> list[Floats]:
    """The ladders of units at a price each (inf: can't be had), hours of one price sharing theirs."""
    made: dict[float, Floats] = {}
    for usd in unit_usd.tolist():
        if usd not in made:
            made[usd] = np.arange(n_units + 1) * usd if np.isfinite(usd) else np.full(n_units + 1, np.inf)
            made[usd][0] = 0.0
    return [made[usd] for usd in unit_usd.tolist()]


class Ladders:
    """`costs()[h][r]`: the least cost of covering at least r units in hour h, r = 0 … n_units.

    starts: the ladders that the pieces are added to, one an hour; hours that share an array start alike.
    """

    def __init__(self, pieces: Pieces, starts: list[Floats], ends_s: float = np.inf) -> None:
        self.pieces, self.starts, self.ends_s = pieces, starts, ends_s
        self.n_units = len(starts[0]) - 1
        self._room = np.empty(self.n_units + 1)
        number = np.array([id(start) for start in starts])
        alike = [np.flatnonzero(number == one) for one in dict.fromkeys(number.tolist())]
        self._trees = [self._grown(hours, np.arange(len(pieces.usd))) for hours in alike]

    def _grown(self, hours: Ints, rows: Ints) -> _Branch:
        usd, units = self.pieces.usd[rows][:, hours], self.pieces.units[rows][:, hours]
        there = (np.isfinite(usd) & (units > 0)).any(axis=1) & (self.pieces.n_max[rows] > 0)
        rows, usd, units = rows[there], usd[there], units[there]
        alike = ((usd == usd[:, :1]) & (units == units[:, :1])).all(axis=1)
        rest = np.flatnonzero(~alike)
        if not len(rest):
            return _Branch(hours, rows, [])
        as_first = (usd[rest[0]] == usd[rest[0], 0]) & (units[rest[0]] == units[rest[0], 0])
        parts = [self._grown(some, rows[rest]) for some in (hours[as_first], hours[~as_first])]
        return _Branch(hours, rows[alike], parts)

    def costs(self) -> list[Floats]:
        """One array (n_units + 1,) an hour; hours that are alike share theirs."""
        found: dict[int, Floats] = {}
        for tree in self._trees:
            self._climb(tree, self.starts[tree.hours[0]].copy(), found)
        return [found[h] for h in range(len(found))]

    def _climb(self, tree: _Branch, costs: Floats, found: dict[int, Floats]) -> None:
        for row in tree.rows.tolist():
            self._add(costs, row, int(tree.hours[0]))
        if not tree.parts:
            found.update(dict.fromkeys(tree.hours.tolist(), costs))
        for part in tree.parts:
            self._climb(part, costs.copy(), found)

    def _add(self, costs: Floats, row: int, h: int) -> None:
        """One piece in all its numbers: 1, 2, 4, … of them as one, each at most once, give every number."""
        if perf_counter() > self.ends_s:
            raise Late
        usd, units, left = self._piece(row, h)
        k = 1
        while left > 0:
            n = min(k, left)
            step = min(n * units, self.n_units)
            beyond = np.add(costs[: self.n_units + 1 - step], n * usd, out=self._room[: self.n_units + 1 - step])
            np.minimum(costs[step:], beyond, out=costs[step:])
            np.minimum(costs[1:step], n * usd, out=costs[1:step])
            left, k = left - n, 2 * k

    def _piece(self, row: int, h: int) -> tuple[float, int, int]:
        """(usd, units, how many can be of use)."""
        units = int(self.pieces.units[row, h])
        return float(self.pieces.usd[row, h]), units, min(int(self.pieces.n_max[row]), -(-self.n_units // units))

    def picked(self, asked: Ints) -> Ints:
        """(G, H, T) how many of each piece cover asked (H, T) units at the least cost, on top of what the hours start
        with: T answers for each hour."""
        counts = np.zeros((*self.pieces.usd.shape, asked.shape[1]), np.int64)
        left = np.array(asked, np.int64)
        for tree in self._trees:
            self._descend(tree, self.starts[tree.hours[0]].copy(), left, counts)
        return counts

    def _descend(self, tree: _Branch, costs: Floats, left: Ints, counts: Ints) -> None:
        """Climbs, keeping the costs after every so many pieces, and takes the pieces back one by one.

        left: (H, T) units that are still to be covered, brought down for the hours of the tree.
        """
        n = len(tree.rows)
        block = max(AT_ONCE, int(np.ceil(np.sqrt(n))))
        blocks = [tree.rows[start : start + block].tolist() for start in range(0, n, block)]
        kept = []
        for rows in blocks:
            kept.append(costs.copy())
            for row in rows if tree.parts or rows is not blocks[-1] else []:
                self._add(costs, row, int(tree.hours[0]))
        for part in tree.parts:
            self._descend(part, costs.copy(), left, counts)
        for before, rows in zip(reversed(kept), reversed(blocks), strict=True):
            chain = [before]
            for row in rows:
                chain.append(chain[-1].copy())
                self._add(chain[-1], row, int(tree.hours[0]))
            for row in reversed(rows):
                after = chain.pop()
                self._take(row, tree.hours, (chain[-1], after), left, counts)

    def _take(self, row: int, hours: Ints, costs: tuple[Floats, Floats], left: Ints, counts: Ints) -> None:
        before, after = costs
        here = left[hours]
        changed = before[here] != after[here]
        if not changed.any():
            return
        usd, units, most = self._piece(row, int(hours[0]))
        for k, t in np.argwhere(changed).tolist():
            h, asked = int(hours[k]), int(here[k, t])
            n = np.arange(min(most, -(-asked // units)) + 1)
            taken = int(np.argmin(n * usd + before[np.maximum(asked - n * units, 0)]))
            counts[row, h, t] = taken
            left[h, t] = max(asked - taken * units, 0)

"""Pieces that are never needed, since better ones are always to spare: the ladders stay what they are.

A cheapest cover holds no more pieces than its cost buys of the cheapest. A piece beside which at least as many better
ones stand (no dearer, covering no less) can be swapped for one of them that is free, at no cost. As in `crowd`, but for
the pieces of ladders, that share no pools and draw no watts. Enter at `needed`, `needed_days`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.ladder import Pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# The comparison of all with all takes a byte a pair.
MAX_PAIRS = 30_000_000


def needed(pieces: Pieces, asked: Ints, unit_usd: Floats, limit_usd: float) -> Pieces:
    """The pieces, each left out of the hours in which it isn't needed to cover up to asked (H,) units.

    unit_usd: (H,) of a unit without pieces.   limit_usd: no cover that costs more is asked about.
    """
    usd = pieces.usd.copy()
    seen: dict[bytes, Bools] = {}
    for h in range(usd.shape[1]):
        key = b"".join(part.tobytes() for part in (pieces.usd[:, h], pieces.units[:, h], asked[h], unit_usd[h]))
        if key not in seen:
            there = np.isfinite(usd[:, h]) & (pieces.units[:, h] > 0)
            n = np.minimum(pieces.n_max, -(-asked[h] // np.maximum(pieces.units[:, h], 1)))
            part = (pieces.usd[there, h], pieces.units[there, h], n[there])
            most_usd = min(limit_usd, _cost(*part, int(asked[h])), float(asked[h] * unit_usd[h]) if asked[h] else 0.0)
            seen[key] = there
            seen[key][there] = _better(*part) < _at_most(part[0], part[2], most_usd)
        usd[~seen[key], h] = np.inf
    return replace(pieces, usd=usd)


def needed_days(usd: Floats, cover: Floats, n_max: Ints, limit_usd: float) -> Bools:
    """(G,) the machine-days that may be needed, at usd (G,) each for the cover (G, 24) of their hours, as it is and not
    in units: so it doesn't depend on these."""
    most = _at_most(usd, n_max, limit_usd)
    if not len(usd) or len(usd) ** 2 > MAX_PAIRS or not np.isfinite(most):
        return np.ones(len(usd), bool)
    order = np.lexsort((-cover.sum(axis=1), usd))
    better = np.tri(len(usd), k=-1, dtype=bool)
    # Hours in which the same machines rank alike are compared once.
    ranks = np.stack([np.unique(hour, return_inverse=True)[1].reshape(-1) for hour in cover[order].T])
    for rank in np.unique(ranks, axis=0):
        better &= rank[None, :] >= rank[:, None]
    result = np.zeros(len(usd), bool)
    result[order] = better @ np.minimum(n_max[order], 1e9).astype(float) < most
    return result


def _at_most(usd: Floats, n: Ints, limit_usd: float) -> float:
    """How many pieces a cost buys at most, the cheapest first."""
    order = np.argsort(usd)
    prices, numbers = usd[order], n[order].astype(float)
    before_usd = np.concatenate([[0.0], np.cumsum(prices * numbers)])
    before_n = np.concatenate([[0.0], np.cumsum(numbers)])
    k = int(np.searchsorted(before_usd, limit_usd * (1 + 1e-9), side="right")) - 1
    if k >= len(prices):
        return float(before_n[-1])
    return float(before_n[k] + np.floor((limit_usd * (1 + 1e-9) - before_usd[k]) / prices[k])) if prices[k] else np.inf


def _cost(usd: Floats, units: Ints, n: Ints, asked: int) -> float:
    """What covering `asked` costs at most, the cheapest for their units first; inf where there aren't enough."""
    order = np.argsort(usd / units)
    covered = np.concatenate([[0], np.cumsum(units[order] * n[order])])
    if covered[-1] < asked:
        return np.inf
    k = int(np.searchsorted(covered, asked))
    return float((usd[order] * n[order])[:k].sum())


def _better(usd: Floats, units: Ints, n: Ints) -> Floats:
    """How many pieces there are of those that cost no more and cover no less, of equals of those before it."""
    order = np.lexsort((-units, usd))
    rank = np.unique(units, return_inverse=True)[1].reshape(-1)
    size = int(rank.max(initial=-1)) + 1
    # Counts of those that came before, by rank of units from the largest down, as a tree of partial sums.
    tree = [0] * (size + 1)
    result = np.zeros(len(usd))
    for j in order.tolist():
        at, total = size - int(rank[j]), 0
        k = at
        while k > 0:
            total += tree[k]
            k -= k & -k
        result[j] = total
        while at <= size:
            tree[at] += int(n[j])
            at += at & -at
    return result

"""One mixed-integer program brought down without loss to a size that the solver likes, and solved.

The linear program prices columns out (`generate`): those whose reduced cost is more than what lies between the best
plan known and the bound go (reduced-cost fixing), and so do those that better ones crowd out (`crowd`).
Enter at `together`.
"""

from __future__ import annotations

import numpy as np

from solvent.choose.mix.columns import Columns
from solvent.choose.mix.crowd import crowded_out
from solvent.choose.mix.generate import candidates, left_in, priced_out
from solvent.choose.mix.program import Counts, Picked, Solved, solve

# Up to this many integer columns the program is solved as it stands.
DIRECT_COLUMNS = 200
# What the first plan, which bounds the search for the best, may take of the time.
FIRST_SHARE = 0.25


def together(columns: Columns, gap: float, time_limit_s: float) -> Counts | None:
    """The cheapest counts of all hours as one program; None where no counts serve every hour.

    Raises: ChoiceError where no plan was found in the time.
    """
    every = candidates(columns)
    priced = priced_out(columns, every) if every.n_columns() > DIRECT_COLUMNS else None
    if priced is None:
        solved = solve(columns, every, gap, time_limit_s)
        return None if solved is None else counts_of(solved, solved.bound_usd)
    chosen, relaxed = priced
    first = solve(columns, chosen, max(gap, 1e-4), time_limit_s * FIRST_SHARE)
    if first is not None and first.usd - relaxed.usd <= gap * first.usd:
        return counts_of(first, relaxed.usd)
    room = np.inf if first is None else first.usd - relaxed.usd + 1e-7 * abs(first.usd)
    kept = left_in(every, relaxed, room)
    if first is not None and kept.n_columns() > DIRECT_COLUMNS:
        kept = Picked(*crowded_out(columns, kept.day, kept.hour, first.usd))
    solved = solve(columns, kept, gap, time_limit_s * (1 - FIRST_SHARE))
    if solved is None or (first is not None and first.usd < solved.usd):
        solved = first
    return None if solved is None else counts_of(solved, max(relaxed.usd, min(solved.bound_usd, solved.usd)))


def counts_of(solved: Solved, bound_usd: float) -> Counts:
    """A program's solution in whole machines."""
    return Counts(np.rint(solved.day).astype(np.int64), np.rint(solved.hour).astype(np.int64), bound_usd)

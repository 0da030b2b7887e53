"""Signals: which verdicts flip since the audit, and which headline did it: one at a time, all together, smallest set.

A headline counts where it is later than the statement and believed (confidence at or above BELIEVED); the others are
shown with what they would do. Enter at `flips`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from solvent.choose.economics import State
from solvent.choose.stress.assumptions import combined
from solvent.choose.stress.outcome import Model, Outcome, Values
from solvent.choose.stress.run import corners, moving
from solvent.choose.stress.scenario_file import Change, Signal, SignalFile

BELIEVED = 0.2
MAX_SETS = 100_000


@dataclass(frozen=True, slots=True)
class Told:
    """One headline applied alone. states: verdicts over the corners of its interval.

    is_news: later than the statement.   counts: news, believed, and moves this product.
    """

    signal: Signal
    values: Values
    untouched: dict[str, str]
    outcome: Outcome
    states: tuple[State, ...]
    is_news: bool
    counts: bool
    flips: bool


@dataclass(frozen=True, slots=True)
class Flips:
    """base: the verdict of the statement.   smallest: the fewest headlines that flip it together; () where none do.
    exhaustive: whether every smaller set was looked at."""

    since: date | None
    base: Outcome
    told: tuple[Told, ...]
    together: Outcome
    smallest: tuple[str, ...]
    smallest_outcome: Outcome | None
    exhaustive: bool


def flips(model: Model, file: SignalFile, since: date | None) -> Flips:
    """The headlines of a file over a product whose statement speaks up to `since` (None: all are news)."""
    base = model.at({})
    told = tuple(_told(model, signal, base, since) for signal in file.signals)
    counting = [t for t in told if t.counts]
    smallest, exhaustive = _smallest(model, counting, base.verdict)
    return Flips(
        since, base, told, model.at(_values(counting)), tuple(t.signal.name for t in smallest),
        model.at(_values(smallest)) if smallest else None, exhaustive,
    )  # fmt: skip


def _told(model: Model, signal: Signal, base: Outcome, since: date | None) -> Told:
    touching, untouched = moving(model, signal.changes)
    values = _moved(touching)
    outcome = model.at(values)
    states = tuple(sorted({corner.verdict for corner in corners(model, touching)} or {outcome.verdict}))
    is_news = since is None or signal.date > since
    counts = is_news and signal.confidence >= BELIEVED and bool(touching)
    return Told(signal, values, untouched, outcome, states, is_news, counts, outcome.verdict != base.verdict)


def _smallest(model: Model, counting: Sequence[Told], base: State) -> tuple[tuple[Told, ...], bool]:
    """The fewest headlines whose moves together change the verdict; the first in the file's order among equals."""
    looked = 0
    for size in range(1, len(counting) + 1):
        if looked + math.comb(len(counting), size) > MAX_SETS:
            return (), False
        for chosen in itertools.combinations(counting, size):
            looked += 1
            if model.at(_values(chosen)).verdict != base:
                return chosen, True
    return (), True


def _values(chosen: Sequence[Told]) -> Values:
    return combined(item for told in chosen for item in told.values.items())


def _moved(changes: Sequence[Change]) -> dict[str, float]:
    return combined((change.key, change.value) for change in changes)

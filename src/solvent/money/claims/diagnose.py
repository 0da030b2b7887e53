"""Which stated numbers must be wrong: the smallest sets of claims whose freeing lets all the others be true.

A contradiction is boiled down to a core, a small set of claims that can't be true together; every correction
has to change one of them. Trying the members of the core, then of the cores that remain, finds all smallest
corrections. A definition is never tried, and the relations themselves are taken to be right.
Source: Reiter, "A theory of diagnosis from first principles", 1987 (hitting sets of conflicts).
Enter at `corrections`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from solvent.money.claims import interval
from solvent.money.claims.contract import Effort, narrow
from solvent.money.claims.decide import Decision, decide, implied
from solvent.money.claims.file import StatedRelation
from solvent.money.claims.readings import Reading

MAX_CHANGED, MAX_TRIED = 3, 400
MAX_SLIP = 9


@dataclass(frozen=True, slots=True)
class Change:
    """What the rest of the system makes of one claim that is left free.

    low, high: the implied range (infinite where nothing bounds it).   nearest: its value nearest to the stated.
    slip: the power of ten that moves the stated value into the range, where one does.
    """

    claim: str
    low: interval.Bound
    high: interval.Bound
    nearest: Fraction
    slip: int | None


@dataclass(frozen=True, slots=True)
class Correction:
    """A smallest set of claims to change. size: sum of |log10(nearest ÷ stated)|, None where a sign changes."""

    changes: tuple[Change, ...]
    size: float | None
    certain: bool

    def claims(self) -> tuple[str, ...]:
        return tuple(change.claim for change in self.changes)

    def order(self) -> tuple[bool, float, tuple[str, ...]]:
        return (self.size is None, self.size or 0.0, self.claims())


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The smallest corrections, by size, and the core: claims that can't be true together."""

    core: tuple[str, ...]
    corrections: tuple[Correction, ...]
    complete: bool


def diagnose(reading: Reading, candidates: frozenset[str], effort: Effort) -> Diagnosis:
    """All corrections with the fewest changed claims, smallest first; none where `MAX_CHANGED` don't suffice.

    reading: proven impossible.   candidates: claims that may be changed.
    """
    core = _core(reading, frozenset(), candidates, effort)
    level: list[tuple[frozenset[str], tuple[str, ...]]] = [(frozenset(), core)]
    tried: set[frozenset[str]] = set()
    for _ in range(MAX_CHANGED):
        found: list[Correction] = []
        deeper: list[tuple[frozenset[str], tuple[str, ...]]] = []
        for changed, conflict in level:
            for name in conflict:
                free = changed | {name}
                if free in tried:
                    continue
                tried.add(free)
                if effort.spent() or len(tried) > MAX_TRIED:
                    return Diagnosis(core, tuple(sorted(found, key=Correction.order)), False)
                decision = decide(reading.system, reading.box(free), reading.wanted(), effort)
                if decision.answer != "impossible":
                    found.append(_correction(reading, free, decision, effort))
                elif not found:
                    deeper.append((free, ()))
        if found:
            return Diagnosis(core, tuple(sorted(found, key=Correction.order)), True)
        level = [(free, _core(reading, free, candidates, effort)) for free, _ in deeper]
    return Diagnosis(core, (), True)


def _core(reading: Reading, changed: frozenset[str], candidates: frozenset[str], effort: Effort) -> tuple[str, ...]:
    """Candidates whose stated ranges already contradict, once `changed` are free: one of them has to change.

    Empty where even the relations and definitions alone contradict. A claim that can be freed without ending
    the contradiction isn't part of it; only narrowing is asked, so the set may be larger than the smallest.
    """
    used = [name for name in sorted(candidates - changed) if name in reading.system.users]
    free = set(changed)
    for name in used:
        trial = frozenset(free | {name})
        if narrow(reading.system, reading.box(trial), effort) is None:
            free.add(name)
    return tuple(name for name in used if name not in free)


def _correction(reading: Reading, free: frozenset[str], decision: Decision, effort: Effort) -> Correction:
    changes = tuple(change_of(reading, name, implied(reading.system, decision, name, effort)) for name in sorted(free))
    sizes = [size_of(reading.stated[change.claim].value, change.nearest) for change in changes]
    size = None if None in sizes else sum(size for size in sizes if size is not None)
    return Correction(changes, size, decision.answer == "possible")


def change_of(reading: Reading, name: str, span: interval.Interval) -> Change:
    value = reading.stated[name].value
    return Change(name, span[0], span[1], interval.nearest(span, value), _slip(value, span))


def size_of(stated: Fraction, other: Fraction) -> float | None:
    """|log10(other ÷ stated)|: 0 is no change, 2 is a hundredfold; None where the sign differs or one is zero."""
    if stated == 0 or other == 0 or (stated > 0) != (other > 0):
        return None
    ratio = abs(other / stated)
    return abs(math.log10(ratio.numerator) - math.log10(ratio.denominator))


def broken(reading: Reading, effort: Effort) -> tuple[StatedRelation, ...]:
    """Relations whose two sides, taken alone at the stated ranges, can't meet; as far as the effort reaches."""
    box = reading.box()
    failing = []
    for relation, program in zip(reading.solved(), reading.system.programs, strict=True):
        if effort.spent():
            break
        effort.spend(len(program.steps))
        try:
            program.revise(box)
        except interval.NoValue:
            failing.append(relation)
    return tuple(failing)


def _slip(value: Fraction, span: interval.Interval) -> int | None:
    """The shift of the decimal point that moves the value into the range, where exactly one can."""
    low, high = span
    if isinstance(low, float) or isinstance(high, float) or low <= 0 <= high:
        return None
    if max(abs(low), abs(high)) >= 10 * min(abs(low), abs(high)):
        return None
    for size in range(1, MAX_SLIP + 1):
        for power in (size, -size):
            if interval.contains(span, value * Fraction(10) ** power):
                return power
    return None

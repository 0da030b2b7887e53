"""The ways in which a file can be read: one choice per claim that leaves a choice, and what each makes of it.

Claims that vary in step share one choice. Choices that touch no relation of a reading don't multiply it.
A reading holds, fails, or stays open; `Reading.headline` is what the other claims make of the headline in it.
Enter at `readings` and `Reading`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from solvent.errors import ClaimsError
from solvent.money.claims import interval
from solvent.money.claims.contract import Box, System, widened
from solvent.money.claims.file import ClaimsFile, StatedRelation
from solvent.money.claims.stated import Stated

MAX_READINGS, MAX_CHOICES = 1_000, 20_000


@dataclass(frozen=True, slots=True)
class Reading:
    """One choice of variants: the relations that apply, and each claim's number in it.

    choice: leading claim → reads, for the choices that matter.   system: the relations whose units agree.
    """

    choice: tuple[tuple[str, str], ...]
    relations: tuple[StatedRelation, ...]
    stated: dict[str, Stated]
    system: System

    def solved(self) -> list[StatedRelation]:
        """The relations of `system`, in its order: those that apply and whose units agree."""
        return [relation for relation in self.relations if relation.unit_fault is None]

    def box(self, free: frozenset[str] = frozenset()) -> Box:
        """The range of every claim; those in `free` may be anything."""
        return {n: interval.ALL if n in free else (s.low, s.high) for n, s in self.stated.items()}

    def wanted(self) -> dict[str, Fraction]:
        return {name: stated.value for name, stated in self.stated.items()}


def readings(file: ClaimsFile) -> list[Reading]:
    """All readings, in the order of the file; one where nothing varies. Raises: ClaimsError (too many)."""
    axes = [name for name, claim in file.claims.items() if claim.axis == name and len(claim.variants) > 1]
    n_choices = 1
    for axis in axes:
        n_choices *= len(file.claims[axis].variants)
    if n_choices > MAX_CHOICES:
        raise ClaimsError(file.name, f"{n_choices} combinations of variants", f"at most {MAX_CHOICES}")
    found: dict[tuple[tuple[str, str], ...], Reading] = {}
    for reading in _all(file, axes):
        found.setdefault(reading.choice, reading)
        if len(found) > MAX_READINGS:
            raise ClaimsError(file.name, f"more than {MAX_READINGS} readings", "fewer variants, or `varies_with`")
    return list(found.values())


def _all(file: ClaimsFile, axes: list[str]) -> Iterator[Reading]:
    systems: dict[tuple[int, ...], System] = {}
    for picks in product(*(range(len(file.claims[axis].variants)) for axis in axes)):
        pick = dict(zip(axes, picks, strict=True))
        applying = [i for i, relation in enumerate(file.relations) if _applies(relation, file, pick)]
        relations = tuple(file.relations[i] for i in applying)
        touched = {file.claims[n].axis for r in relations for n in (*r.names(), *(name for name, _ in r.when))}
        choice = tuple((axis, file.claims[axis].variants[at].reads) for axis, at in pick.items() if axis in touched)
        key = tuple(i for i in applying if file.relations[i].unit_fault is None)
        if key not in systems:
            systems[key] = System.of([widened(file.relations[i].tree, file.relations[i].within) for i in key])
        stated = {}
        for name, claim in file.claims.items():
            number = claim.variants[pick.get(claim.axis, 0)].stated
            if number is not None:
                stated[name] = number
        yield Reading(choice, relations, stated, systems[key])


def _applies(relation: StatedRelation, file: ClaimsFile, pick: dict[str, int]) -> bool:
    for name, reads in relation.when:
        claim = file.claims[name]
        if claim.variants[pick.get(claim.axis, 0)].reads not in reads:
            return False
    return True

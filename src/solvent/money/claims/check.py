"""Checks a claims file: is there a reading under which all claims can be true, and if none, what must change?

The rule for naming: a correction is named only where it is the one and only set of that fewest claims whose
change lets all others be true. Where several sets of the same number would do, all are listed and none is
named: relations in which a claim occurs, and who stated it, are evidence, not proof.
Enter at `check`; the result as JSON is `solvent.money.claims.document`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from solvent.money.claims import interval
from solvent.money.claims.contract import Effort
from solvent.money.claims.decide import Answer, decide, implied
from solvent.money.claims.diagnose import Change, Correction, broken, change_of, diagnose
from solvent.money.claims.file import ClaimsFile, StatedRelation
from solvent.money.claims.readings import Reading, readings

State = Literal["consistent", "depends", "inconsistent", "undecided"]
ReadingState = Literal["holds", "fails", "open"]
_STATES: dict[Answer, ReadingState] = {"possible": "holds", "impossible": "fails", "open": "open"}
# Readings whose corrections are worked out where none holds.
MAX_DIAGNOSED = 24


@dataclass(frozen=True, slots=True)
class ReadingResult:
    """What became of one reading.

    broken: relations that fail by themselves.   witness: values at which all relations hold.
    headline: what the other claims make of the headline; None where nothing fits or there is no headline.
    """

    reading: Reading
    state: ReadingState
    broken: tuple[StatedRelation, ...]
    witness: Mapping[str, Fraction]
    headline: Change | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A smallest correction, in the reading in which it is smallest."""

    correction: Correction
    reading: Reading
    n_readings: int


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome. shown: the reading in which the relations are shown.   core: claims that clash in it."""

    file: ClaimsFile
    state: State
    readings: tuple[ReadingResult, ...]
    shown: ReadingResult
    candidates: tuple[Candidate, ...]
    named: Candidate | None
    core: tuple[str, ...]
    complete: bool

    def consistent(self) -> bool | None:
        """True where some reading holds, None where that stayed open."""
        return {"consistent": True, "depends": True, "inconsistent": False, "undecided": None}[self.state]


def check(file: ClaimsFile, effort: Effort | None = None) -> Result:
    """Decides whether all claims of the file can be true, under which readings, and what must change if not.

    Exactness: "inconsistent" is proven in exact arithmetic; "consistent" comes with exact values (a witness).
    Raises: ClaimsError (more readings than can be tried).
    """
    effort = effort or Effort()
    results = tuple(_read(file, reading, effort) for reading in readings(file))
    states = {result.state for result in results}
    state: State
    if any(relation.unit_fault for relation in file.relations):
        state = "inconsistent"
    elif states == {"holds"}:
        state = "consistent"
    elif "holds" in states:
        state = "depends"
    else:
        state = "undecided" if "open" in states else "inconsistent"
    shown = next((result for result in results if result.state == "holds"), results[0])
    if state != "inconsistent" or states != {"fails"}:
        return Result(file, state, results, shown, (), None, (), True)
    return _corrected(file, results, effort)


def _read(file: ClaimsFile, reading: Reading, effort: Effort) -> ReadingResult:
    decision = decide(reading.system, reading.box(), reading.wanted(), effort)
    headline = _headline(reading, file.headline, effort)
    return ReadingResult(reading, _STATES[decision.answer], broken(reading, effort), decision.witness, headline)


def _headline(reading: Reading, name: str | None, effort: Effort) -> Change | None:
    if name is None or name not in reading.system.users:
        return None
    decision = decide(reading.system, reading.box(frozenset({name})), reading.wanted(), effort)
    if decision.answer == "impossible":
        return None
    return change_of(reading, name, implied(reading.system, decision, name, effort))


def _corrected(file: ClaimsFile, results: tuple[ReadingResult, ...], effort: Effort) -> Result:
    """The corrections with the fewest changed claims over all readings; each in the reading where it is least."""
    candidates = frozenset(name for name, claim in file.claims.items() if not claim.trusted())
    best: dict[tuple[str, ...], list[tuple[Correction, int]]] = {}
    cores = []
    complete = len(results) <= MAX_DIAGNOSED
    for at, result in enumerate(results[:MAX_DIAGNOSED]):
        diagnosis = diagnose(result.reading, candidates, effort)
        complete &= diagnosis.complete
        cores.append(diagnosis.core)
        for correction in diagnosis.corrections:
            best.setdefault(correction.claims(), []).append((correction, at))
    fewest = min((len(names) for names in best), default=0)
    found = []
    for names, places in best.items():
        if len(names) == fewest:
            correction, at = min(places, key=lambda place: (*place[0].order(), place[1]))
            found.append((Candidate(correction, results[at].reading, len(places)), at))
    found.sort(key=lambda pair: pair[0].correction.order())
    at = found[0][1] if found else 0
    unique = len(found) == 1 and complete and found[0][0].correction.certain
    listed = tuple(candidate for candidate, _ in found)
    return Result(
        file, "inconsistent", results, results[at], listed, listed[0] if unique else None, cores[at], complete
    )


def sides(reading: Reading) -> list[tuple[interval.Interval | None, interval.Interval | None]]:
    """The ranges of the two sides of each solved relation at the stated ranges; None where one can't be computed."""
    box = reading.box()
    found: list[tuple[interval.Interval | None, interval.Interval | None]] = []
    for program in reading.system.programs:
        try:
            ranges = program.forward(box)
            found.append((ranges[program.left], ranges[program.right]))
        except interval.NoValue:
            found.append((None, None))
    return found


def values(reading: Reading) -> list[tuple[Fraction | None, Fraction | None]]:
    """The two sides of each solved relation at the stated values themselves."""
    box = {name: interval.point(value) for name, value in reading.wanted().items()}
    found: list[tuple[Fraction | None, Fraction | None]] = []
    for program in reading.system.programs:
        try:
            ranges = program.forward(box)
            found.append((_middle(ranges[program.left]), _middle(ranges[program.right])))
        except interval.NoValue:
            found.append((None, None))
    return found


def _middle(span: interval.Interval) -> Fraction | None:
    low, high = span
    return (low + high) / 2 if isinstance(low, Fraction) and isinstance(high, Fraction) else None

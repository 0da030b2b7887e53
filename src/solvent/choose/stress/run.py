"""Scenarios over a product: alone, together, how far each assumption may go, and which one kills the margin.

What it doesn't do: read files (`scenario_file`, `product`), indices (`sensitivity`), signals (`flips`), new plans
(`replan`). Everything here is the formulas of `outcome` at different states. Enter at `at_home`, `alone`, `together`,
`turning_points`,
`swings`, `killer`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from solvent.choose.stress.assumptions import ASSUMPTIONS, combined, name_of, today
from solvent.choose.stress.outcome import Model, Outcome, Values
from solvent.choose.stress.scenario_file import LARGEST, Change, Scenario, ScenarioFile

# How far an assumption is followed in search of the point where the verdict turns.
REACH = 1_000.0
STEPS = 60
MAX_CORNERS = 10
MAX_PAIRED = 16
MAX_STRUCTURAL = 5


@dataclass(frozen=True, slots=True)
class Result:
    """One or more scenarios applied. untouched: why changes don't move this product, by assumption.

    margin_low_usd, margin_high_usd: over the corners of the changes' intervals; None where the margin is unknown.
    """

    name: str
    title: str
    of: tuple[str, ...]
    values: Mapping[str, float]
    untouched: Mapping[str, str]
    outcome: Outcome
    margin_low_usd: float | None
    margin_high_usd: float | None

    @property
    def touches(self) -> bool:
        return bool(self.values)


@dataclass(frozen=True, slots=True)
class TurningPoint:
    """How far one assumption has to move, all else as today, for margin zero and for the policy; None: it can't."""

    key: str
    margin_at: float | None
    policy_at: float | None


@dataclass(frozen=True, slots=True)
class Swing:
    """Margin at the ends of an assumption's interval over the scenarios that move it."""

    key: str
    low: float
    high: float
    margin_at_low_usd: float
    margin_at_high_usd: float

    @property
    def width_usd(self) -> float:
        return abs(self.margin_at_high_usd - self.margin_at_low_usd)


def at_home(file: ScenarioFile, model: Model) -> ScenarioFile:
    """The file with "largest" replaced by the vendor that most of this product's compute is bought from."""
    vendors = model.product.vendors()
    if not vendors:
        return file

    def named(change: Change) -> Change:
        return change.model_copy(update={"vendor": vendors[0][0]}) if change.vendor == LARGEST else change

    scenarios = tuple(s.model_copy(update={"changes": tuple(map(named, s.changes))}) for s in file.scenarios)
    return file.model_copy(update={"scenarios": scenarios})


def apply(scenario: Scenario, state: Values) -> dict[str, float]:
    """The state with the scenario's changes on top: factors multiply, tilts add, prices of parity take the lowest."""
    return combined([*state.items(), *((change.key, change.value) for change in scenario.changes)])


def alone(model: Model, scenario: Scenario) -> Result:
    """One scenario over the product as it is today."""
    return _result(model, scenario.name, scenario.title, [scenario])


def together(model: Model, file: ScenarioFile, chosen: Sequence[Scenario]) -> list[Result]:
    """The groups that the file names, every pair of scenarios that touch, and all that touch at once."""
    names = {s.name for s in chosen}
    results = [
        _result(model, group.name, group.title, [file.named(name) for name in group.of])
        for group in file.together
        if names.issuperset(group.of)
    ]
    touching = [s for s in chosen if s.changes and moving(model, s.changes)[0]]
    pairs = [
        _result(model, f"{a.name}+{b.name}", f"{a.title}; {b.title}", [a, b])
        for a, b in itertools.combinations(touching[:MAX_PAIRED], 2)
    ]
    named = {frozenset(result.of) for result in results}
    pairs = [pair for pair in pairs if frozenset(pair.of) not in named]
    if len(touching) > 2:
        base = _order(model.at({}).margin_usd)
        lowering = [s for s in touching if _order(alone(model, s).outcome.margin_usd) < base]
        if 2 < len(lowering) < len(touching):
            results.append(_result(model, "all-adverse", "All that lower the margin, at once", lowering))
        results.append(_result(model, "all", "All of them at once", touching))
    return results + sorted(pairs, key=lambda r: _order(r.outcome.margin_usd))


def structural_pairs(model: Model, chosen: Sequence[Scenario]) -> list[Result]:
    """Every pair of scenarios that take a place away: what they come to is for a new plan to say."""
    structural = [s for s in chosen if s.is_structural][:MAX_STRUCTURAL]
    return [
        _result(model, f"{a.name}+{b.name}", f"{a.title}; {b.title}", [a, b])
        for a, b in itertools.combinations(structural, 2)
    ]


def killer(base: Outcome, results: Iterable[Result]) -> Result | None:
    """The scenario that takes the margin lowest, below zero; None where none does, or the margin isn't known."""
    below = [r for r in results if r.touches and r.outcome.margin_usd is not None and r.outcome.margin_usd < 0]
    worst = min(below, key=lambda r: _order(r.outcome.margin_usd), default=None)
    if worst is None or base.margin_usd is None:
        return worst
    return worst if _order(worst.outcome.margin_usd) < base.margin_usd else None


def turning_points(model: Model, keys: Iterable[str]) -> list[TurningPoint]:
    """For each assumption: the value at which margin is zero, and at which compute ÷ value is the policy's share."""
    found = []
    for key in keys:
        found.append(TurningPoint(key, _root(model, key, _margin), _root(model, key, _slack)))
    return found


def swings(model: Model, scenarios: Iterable[Scenario]) -> list[Swing]:
    """The tornado: each assumption from its lowest to its highest value in the scenarios, all else as today."""
    ends: dict[str, tuple[float, float]] = {}
    for scenario in scenarios:
        for change in moving(model, scenario.changes)[0]:
            low, high = change.ends
            before = ends.get(change.key, (math.inf, -math.inf))
            ends[change.key] = (min(before[0], low), max(before[1], high))
    found = []
    for key, (low, high) in ends.items():
        margins = [model.at({key: value}).margin_usd for value in (low, high)]
        if margins[0] is not None and margins[1] is not None:
            found.append(Swing(key, low, high, margins[0], margins[1]))
    return sorted(found, key=lambda swing: -swing.width_usd)


def _result(model: Model, name: str, title: str, scenarios: Sequence[Scenario]) -> Result:
    changes = [change for scenario in scenarios for change in scenario.changes]
    touching, untouched = moving(model, changes)
    values = combined((change.key, change.value) for change in touching)
    margins = [corner.margin_usd for corner in corners(model, touching)]
    known = [margin for margin in margins if margin is not None]
    low, high = (min(known), max(known)) if known and len(known) == len(margins) else (None, None)
    return Result(name, title, tuple(s.name for s in scenarios), values, untouched, model.at(values), low, high)


def moving(model: Model, changes: Iterable[Change]) -> tuple[list[Change], dict[str, str]]:
    """The changes that move this product, and why the others don't, by assumption."""
    touching, untouched = [], {}
    for change in changes:
        why = model.moves(change.key)
        if why is None:
            touching.append(change)
        else:
            untouched[change.key] = why
    return touching, untouched


def corners(model: Model, changes: Sequence[Change]) -> list[Outcome]:
    """The outcomes at the corners of the changes' intervals; the changes of one assumption move together.

    Margin and ratio are monotone in every assumption but the tail's tilt, so that the corners hold their ends.
    Beyond ten assumptions the others stay at their high ends.
    """
    by_key: dict[str, list[Change]] = {}
    for change in changes:
        by_key.setdefault(change.key, []).append(change)
    if not by_key:
        return []
    found = []
    for sides in itertools.product((0, 1), repeat=min(len(by_key), MAX_CORNERS)):
        side = dict(zip(by_key, sides, strict=False))
        moves = [(c.key, c.ends[side.get(c.key, 1)]) for group in by_key.values() for c in group]
        found.append(model.at(combined(moves)))
    return found


Measure: TypeAlias = Callable[[Outcome, float], float | None]


def _margin(outcome: Outcome, limit: float) -> float | None:
    return outcome.margin_usd


def _slack(outcome: Outcome, limit: float) -> float | None:
    return None if outcome.cost_per_value is None else limit - outcome.cost_per_value


def _root(model: Model, key: str, of: Measure) -> float | None:
    """The value nearest to today's at which `of` is zero, by bisection; None where it keeps its sign.

    Exactness: to 1e-9 of the value. Both functions are monotone in every assumption but the tail's tilt, where the
    root found is one of those that there are.
    """
    way = ASSUMPTIONS[name_of(key)].way
    limit = model.product.economics.policy_max_compute_per_value

    def at(value: float) -> float | None:
        found = of(model.at({key: value}), limit)
        return None if found is None else float(found)

    start = 1.0 if way == "to" else today(key)
    now = at(start)
    if now is None:
        return None
    if now == 0:
        return start
    ends = (-1.0, 4.0) if way == "plus" else (1.0 / REACH, REACH if way == "times" else start)
    for end in sorted(ends, key=lambda e: abs(e - start)):
        there = at(end)
        if there is not None and there * now < 0:
            return _bisect(at, start, end, now, way == "plus")
    return None


def _bisect(at: Callable[[float], float | None], start: float, end: float, now: float, linear: bool) -> float:
    a, b = start, end
    for _ in range(STEPS):
        middle = (a + b) / 2 if linear else math.sqrt(a * b)
        there = at(middle)
        if there is not None and there * now > 0:
            a = middle
        else:
            b = middle
    return b


def _order(margin_usd: float | None) -> float:
    """For sorting: what isn't known comes last."""
    return math.inf if margin_usd is None else margin_usd

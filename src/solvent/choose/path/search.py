"""The cheapest set of steps that meets the policy, and the order that costs least: every set, every order.

A path's price, in dollars over the horizon: efforts + value given up + what is lost on the way. Effects don't depend
on the order, so a set's outcome is computed once; what is lost on the way does, and the best order of every set comes
from the best orders of its subsets (Held and Karp 1962). Above `MAX_SETS` sets a greedy search that says so.
Enter at `search`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from solvent.choose.path.model import Model, Outcome
from solvent.choose.path.step import Step, Terms

MAX_SETS = 8_192


@dataclass(frozen=True, slots=True)
class Found:
    """The path: steps in order.   reached: in the required share of draws.   price_usd: over the horizon.

    miss_usd: the shortfall a month at the asked probability; ≤ 0 where it is reached.
    n_sets: sets that were looked at.   exact: all of them were.
    """

    order: tuple[str, ...]
    reached: bool
    probability: float
    miss_usd: float
    price_usd: float
    on_the_way_usd: float
    n_sets: int
    exact: bool


@dataclass(slots=True)
class _Entry:
    """A set of steps: what it does, and the cheapest way there."""

    outcome: Outcome
    price_usd: float
    on_the_way_usd: float
    last: str | None
    probability: float
    miss_usd: float


def search(model: Model, steps: Sequence[Step], terms: Terms) -> Found:
    """The path of least price among those that meet the policy; else the one that misses it by least.

    steps: those that may be taken (`screen`). Sets of the same price: fewer steps first, then their order in `steps`.
    Exactness: exhaustive up to MAX_SETS sets; `exact` says so.
    """
    entries: dict[frozenset[str], _Entry] = {frozenset(): _entry(model, (), terms)}
    layer, exact = list(entries), True
    while layer:
        following: dict[frozenset[str], None] = {}
        for chosen in layer:
            for step in steps:
                if may_follow(step, chosen, steps):
                    following.setdefault(chosen | {step.id})
        layer = list(following)
        if len(entries) + len(layer) > MAX_SETS:
            exact = False
            layer = _promising(model, layer, terms, max(1, MAX_SETS // (8 * len(steps))))
        for chosen in layer:
            entries[chosen] = _extended(model, entries, chosen, steps, terms)
    reached = [c for c, entry in entries.items() if entry.probability >= terms.required_share()]
    if reached:
        best = min(reached, key=lambda c: (entries[c].price_usd + entries[c].on_the_way_usd, len(c)))
    else:
        best = min(entries, key=lambda c: (entries[c].miss_usd, entries[c].price_usd, len(c)))
    entry = entries[best]
    return Found(
        _order(entries, best), bool(reached), entry.probability, entry.miss_usd,
        entry.price_usd + entry.on_the_way_usd, entry.on_the_way_usd, len(entries), exact,
    )  # fmt: skip


def may_follow(step: Step, chosen: frozenset[str], steps: Sequence[Step]) -> bool:
    """Whether a step may be taken after these: not twice, not beside another of its group, after what it needs."""
    if step.id in chosen or not set(step.needs) <= chosen:
        return False
    return not (step.one_of and any(other.one_of == step.one_of for other in steps if other.id in chosen))


def price_usd(model: Model, steps: Mapping[str, Step], chosen: frozenset[str], terms: Terms) -> float:
    """Efforts + horizon × customer value × (1 − Π (1 − given up)), without what is lost on the way."""
    kept = 1.0
    for name in sorted(chosen):
        kept *= 1 - model.given_up[name]
    value = model.economics.customer_value_usd
    assert value is not None
    return sum(steps[name].effort_usd for name in sorted(chosen)) + terms.horizon_months * value.value * (1 - kept)


def lost_a_month_usd(outcome: Outcome) -> float:
    """What a month costs while the policy isn't met: the shortfall of the point estimate."""
    return max(0.0, float(outcome.shortfall_usd[0]))


def miss_usd(outcome: Outcome, terms: Terms) -> float:
    """The shortfall that isn't exceeded in the asked share of draws; no money makes up for a draw below the quality
    floor, so it misses by infinity. ≤ 0 exactly where the policy and the floor hold in the required share."""
    short = np.where(outcome.quality[1:] >= terms.quality_floor, outcome.shortfall_usd[1:], np.inf)
    at = int(np.ceil(terms.required_share() * len(short))) - 1
    return float(np.sort(short)[max(at, 0)])


def _entry(model: Model, chosen: Sequence[str], terms: Terms) -> _Entry:
    outcome = model.outcome(chosen)
    return _Entry(outcome, 0.0, 0.0, None, outcome.probability(terms.quality_floor), miss_usd(outcome, terms))


def _extended(
    model: Model, entries: Mapping[frozenset[str], _Entry], chosen: frozenset[str], steps: Sequence[Step], terms: Terms
) -> _Entry:
    """The entry of a set from those with one step less."""
    by_id = {step.id: step for step in steps}
    entry = _entry(model, [s.id for s in steps if s.id in chosen], terms)
    entry.price_usd = price_usd(model, by_id, chosen, terms)
    ways = []
    for step in steps:
        before = entries.get(chosen - {step.id})
        if step.id in chosen and before is not None and may_follow(step, chosen - {step.id}, steps):
            ways.append((before.on_the_way_usd + step.months * lost_a_month_usd(before.outcome), step.id))
    # `min` keeps the first of equals: the order in which the steps were given.
    entry.on_the_way_usd, entry.last = min(ways, key=lambda way: way[0])
    return entry


def _order(entries: Mapping[frozenset[str], _Entry], chosen: frozenset[str]) -> tuple[str, ...]:
    order: list[str] = []
    while (last := entries[chosen].last) is not None:
        order.append(last)
        chosen = chosen - {last}
    return tuple(reversed(order))


def _promising(model: Model, layer: Sequence[frozenset[str]], terms: Terms, n: int) -> list[frozenset[str]]:
    """The sets that come nearest to the policy."""
    return sorted(layer, key=lambda chosen: miss_usd(model.outcome(sorted(chosen)), terms))[:n]

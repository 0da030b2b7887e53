"""Which steps may be taken at all, and why the others may not: said plainly, before anything is combined.

Enter at `screen`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from solvent.choose.economics import Array, Economics
from solvent.choose.path.model import build
from solvent.choose.path.step import Step, Terms


@dataclass(frozen=True, slots=True)
class Screened:
    """may: steps that may be taken.   barred: id → why not.   shown: steps whose effect can be said, barred or not."""

    may: tuple[Step, ...]
    barred: dict[str, str]
    shown: tuple[Step, ...]


def screen(economics: Economics, parts: Mapping[str, float] | None, steps: Sequence[Step], terms: Terms) -> Screened:
    """Bars steps that can't be valued, whose quality is unknown, that fail the quality floor, or that need one so."""
    barred = {step.id: why for step in steps if (why := _unvalued(economics, parts, step))}
    shown = tuple(step for step in steps if step.id not in barred)
    model = build(economics, parts or {"other": 1.0}, shown, terms)
    for step in shown:
        kept = model.quality[step.id]
        if step.quality is None:
            barred[step.id] = "its quality isn't known: measure it, and state the share of today's that it keeps"
        elif (held := float(np.mean(kept[1:] >= terms.quality_floor))) < terms.probability:
            barred[step.id] = _fails(step, kept, held, terms)
    for _ in steps:
        for step in steps:
            lacking = next((name for name in step.needs if name in barred), None)
            if step.id not in barred and lacking is not None:
                barred[step.id] = f"needs {lacking}, which can't be taken"
    return Screened(tuple(step for step in steps if step.id not in barred), barred, shown)


def _fails(step: Step, kept: Array, held: float, terms: Terms) -> str:
    """What it keeps, what is asked for, and where both round to the same, with what probability they meet."""
    low, high = np.quantile(kept[1:], [0.05, 0.95])
    spread = f" (90% interval {low:.0%} to {high:.0%})" if high - low >= 0.01 else ""
    chance = f", which it keeps with a probability of {held:.0%} only" if held >= 0.005 else ""
    note = f"; {step.quality_note}" if step.quality_note else ""
    plainly = _plainly(step, float(high), terms)
    return (
        f"{plainly}fails the quality floor: it keeps {kept[0]:.0%} of today's quality{spread}, where at least "
        f"{terms.quality_floor:.0%} is asked for{chance}{note}"
    )


def _plainly(step: Step, high: float, terms: Terms) -> str:
    """The word for what is far below the floor: not even its good end keeps half of what is asked for."""
    if high >= terms.quality_floor / 2:
        return ""
    if step.kind in ("weights", "cache_format", "caching", "reasoning"):
        return "broken; "
    return "no replacement for what answers today; "


def _unvalued(economics: Economics, parts: Mapping[str, float] | None, step: Step) -> str:
    if step.tail is not None and len(economics.by_customer) < 2:
        return "can't be valued: the report doesn't hold every customer's use"
    if parts is None and set(step.cost) - {"all"}:
        return "can't be valued: the statement doesn't say which part of compute is which"
    if parts is not None and step.cost and not _acts_on(step, parts):
        return f"changes nothing here: no compute is {' or '.join(sorted(step.cost))}"
    return ""


def _acts_on(step: Step, parts: Mapping[str, float]) -> bool:
    own = {"reasoning"} if "output" in step.cost else set()
    return "all" in step.cost or any(parts.get(key, 0.0) > 0 for key in {*step.cost, *own})

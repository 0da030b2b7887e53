"""Figures of what a stress finds beyond one scenario alone: new plans, scenarios together, how far each may go.

Each gets its lineage: the statement's figures, the assumptions that are moved, the offers. Enter at `add_plan`,
`add_together`, `add_turning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from solvent.choose.stress.assumptions import name_of
from solvent.choose.stress.figures import figure_id, unit_of
from solvent.choose.stress.run import Result, TurningPoint
from solvent.figure import Figure, Figures

_WORDS = {"compute_usd": "Compute", "margin_usd": "Margin"}
_TURNS = {"margin_at": "margin is zero", "policy_at": "compute is at the policy's line"}


def add_plan(
    figures: Figures, named: tuple[str, str], plan: Mapping[str, Any], moved: Sequence[str], per: str
) -> dict[str, str]:  # fmt: skip
    """Compute and margin of a new plan → their ids; none where there is no plan.

    named: name and title.   moved: ids of the assumptions that are moved (`moved_by`).   per: "month" or "log".
    """
    name, title = named
    source = "the offers that were given, and the demand of the statement"
    ids: dict[str, str] = {}
    for what, word in _WORDS.items():
        if plan[what] is None:
            continue
        inputs = [*moved, *ids.values(), *([figure_id("base", what)] if what == "margin_usd" else [])]
        formula = "the cheapest mix of the offers that are left, a month of mean days"
        if what == "margin_usd":
            formula = "revenue − refunds, fees and other cost − compute of the plan, before what moving costs once"
        figures.add(Figure(
            figure_id(name, f"plan_{what}"), f"{word} of the cheapest plan: {title}", plan[what], unit_of(per),
            "predicted" if not moved and what == "compute_usd" else "assumed", source, formula, tuple(inputs),
        ))  # fmt: skip
        ids[what] = figure_id(name, f"plan_{what}")
    return ids


def moved_by(figures: Figures, names: Sequence[str], keys: Iterable[str]) -> list[str]:
    """Ids of the assumptions that these scenarios move."""
    keys = tuple(keys)
    wanted = (figure_id(name, key) for name in names for key in keys)
    return [i for i in dict.fromkeys(wanted) if i in figures.by_id]


def add_together(figures: Figures, result: Result, per: str) -> str:
    """The margin of scenarios together → its id."""
    name = figure_id(f"together_{result.name}", "margin_usd")
    if name in figures.by_id:
        return name
    inputs = (figure_id("base", "margin_usd"), *moved_by(figures, result.of, result.values))
    figures.add(Figure(
        name, f"Margin, together: {result.title}", result.outcome.margin_usd, unit_of(per), "assumed",
        "scenarios " + ", ".join(result.of), f"{inputs[0]} with {' and '.join(inputs[1:]) or 'nothing moved'}", inputs,
        low=result.margin_low_usd, high=result.margin_high_usd,
    ))  # fmt: skip
    return name


def add_turning(figures: Figures, points: Sequence[TurningPoint], labels: Mapping[str, str]) -> list[dict[str, str]]:
    """Where margin and policy turn → their ids, point by point; an end that nothing reaches has none."""
    found = []
    base = figure_id("base", "margin_usd")
    for point in points:
        ids = {}
        for end, words in _TURNS.items():
            value = getattr(point, end)
            if value is None:
                continue
            name = figure_id("turn", f"{point.key}_{end}")
            figures.add(Figure(
                name, f"{labels[point.key]} at which {words}", value, "ratio", figures[base].method,
                "the statement", f"bisection over {name_of(point.key)}, all else as today", (base,),
            ))  # fmt: skip
            ids[end] = name
        found.append(ids)
    return found

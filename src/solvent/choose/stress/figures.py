"""The figures of a stress: margins and compute, with the statement's figures and the assumptions that they rest on.

Enter at `stress_figures`; `figure_id` is how they are named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from solvent.choose.stress.assumptions import label_of
from solvent.choose.stress.held import stated_by
from solvent.choose.stress.outcome import Outcome
from solvent.choose.stress.run import Result
from solvent.choose.stress.scenario_file import Scenario
from solvent.figure import Figure, Figures, Method, weakest

_FROM = ("revenue_usd", "refunds_usd", "fees_usd", "other_cost_usd", "cost_usd", "margin_usd")
_LABELS = {"margin_usd": "Margin", "compute_usd": "Compute"}
_NOT_IN_IDS = re.compile(r"[^a-z0-9_]+")


def figure_id(scenario: str, what: str) -> str:
    """stress_api_price_doubled_margin_usd: words and underscores alone."""
    return "stress_" + _NOT_IN_IDS.sub("_", f"{scenario}_{what}".lower()).strip("_")


def unit_of(per: str) -> str:
    """Amounts are of a month, or of the log where its span isn't known."""
    return "usd/month" if per == "month" else "usd"


def stress_figures(
    statement: Mapping[str, Any], base: Outcome, scenarios: Sequence[Scenario], results: Sequence[Result], per: str
) -> Figures:
    """Margin and compute as in the statement and under each scenario that touches, with the assumptions moved.

    per: "month", or "log" where the span of the log isn't known.
    """
    figures = Figures()
    stated = [name for name in _FROM if name in statement["figures"]]
    for name in stated:
        figures.add(_stated(name, statement["figures"][name]))
    method = weakest(figures[name].method for name in stated)
    for name, label in _LABELS.items():
        inputs = tuple(stated) if name == "margin_usd" else tuple(n for n in stated if n == "cost_usd")
        formula = " and ".join(inputs) + (", a month at the statement's pace" if per == "month" else ", of the log")
        figures.add(Figure(figure_id("base", name), f"{_words(label, per)}, as things are", getattr(base, name),
                           unit_of(per), method, "statement", formula, inputs))  # fmt: skip
    for scenario, result in zip(scenarios, results, strict=True):
        if result.touches:
            _add(figures, scenario, result, per)
    return figures


def _words(label: str, per: str) -> str:
    return f"{label} a month" if per == "month" else f"{label} in the log"


def _add(figures: Figures, scenario: Scenario, result: Result, per: str) -> None:
    inputs = []
    for change in scenario.changes:
        name = figure_id(scenario.name, change.key)
        if change.key in result.values and name not in figures.by_id:
            low, high = change.ends
            method, source, day = stated_by(change, scenario)
            figures.add(Figure(
                name, f"{label_of(change.key)}: {scenario.title}", result.values[change.key], "ratio",
                cast(Method, method), source, low=low, high=high, date=day.isoformat(),
                note=f"confidence {scenario.confidence:g}, {scenario.confidence_method}",
            ))  # fmt: skip
            inputs.append(name)
    for name, label in _LABELS.items():
        low_usd, high_usd = (result.margin_low_usd, result.margin_high_usd) if name == "margin_usd" else (None, None)
        base = figure_id("base", name)
        figures.add(Figure(
            figure_id(scenario.name, name), f"{_words(label, per)}: {scenario.title}", getattr(result.outcome, name),
            unit_of(per), "assumed", f"scenario {scenario.name}", f"{base} with {' and '.join(inputs)}",
            (base, *inputs), low=low_usd, high=high_usd, date=scenario.date.isoformat(),
        ))  # fmt: skip


def _stated(name: str, figure: Mapping[str, Any]) -> Figure:
    """A figure of the statement, as it stands there; its own inputs stay there too."""
    value = figure["value"]
    return Figure(name, figure["label"], None if value is None else Decimal(value), figure["unit"], figure["method"],
                  f"statement: {figure.get('source', '')}".removesuffix(": "))  # fmt: skip

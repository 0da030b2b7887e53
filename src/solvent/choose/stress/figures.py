"""The figures of a stress: each margin and compute with the statement's figures and the assumptions that it rests on.

Enter at `stress_figures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from solvent.choose.stress.assumptions import label_of
from solvent.choose.stress.outcome import Outcome
from solvent.choose.stress.run import Result
from solvent.choose.stress.scenario_file import Scenario
from solvent.figure import Figure, Figures, weakest

_FROM = ("revenue_usd", "cost_usd", "margin_usd")
_LABELS = {"margin_usd": "Margin a month", "compute_usd": "Compute a month"}


def stress_figures(
    statement: Mapping[str, Any], base: Outcome, scenarios: Sequence[Scenario], results: Sequence[Result]
) -> Figures:
    """Ids: base/margin_usd, <scenario>/<assumption> and <scenario>/margin_usd, with their inputs."""
    figures = Figures()
    methods = [statement["figures"][name]["method"] for name in _FROM if name in statement["figures"]]
    method = weakest(methods)
    for name, label in _LABELS.items():
        figures.add(Figure(f"base/{name}", f"{label}, as in the statement", getattr(base, name), "usd/month", method,
                           f"statement: {', '.join(_FROM)}", "a month at the statement's pace"))  # fmt: skip
    for scenario, result in zip(scenarios, results, strict=True):
        inputs = []
        for change in scenario.changes:
            if change.key in result.values and f"{scenario.name}/{change.key}" not in figures.by_id:
                low, high = change.ends
                made = figures.add(Figure(
                    f"{scenario.name}/{change.key}", label_of(change.key), result.values[change.key], "ratio",
                    "assumed", scenario.source, low=low, high=high, date=scenario.date.isoformat(),
                    note=f"confidence {scenario.confidence:g}",
                ))  # fmt: skip
                inputs.append(made.id)
        if not result.touches:
            continue
        for name, label in _LABELS.items():
            spread = (result.margin_low_usd, result.margin_high_usd) if name == "margin_usd" else (None, None)
            figures.add(Figure(
                f"{scenario.name}/{name}", f"{label}: {scenario.title}", getattr(result.outcome, name), "usd/month",
                "assumed", f"scenario {scenario.name}", "the month's formulas at these assumptions",
                (f"base/{name}", *inputs), low=spread[0], high=spread[1], date=scenario.date.isoformat(),
            ))  # fmt: skip
    return figures

"""The demo's later steps: choose, stress and the path of one audited product, into one report. It prints nothing.

Enter at `choose_and_stress`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solvent.cli.demo_measure import Measured


@dataclass(frozen=True, slots=True)
class Loop:
    """choice: with break-even and path.   stress: its document.   whole: the statement with all of them in it."""

    choice: dict[str, Any]
    stress: dict[str, Any]
    whole: dict[str, Any]


def choose_and_stress(statement: Mapping[str, Any], folder: Path, measured: Measured, tell: Any) -> Loop:
    """The example's offers and steps under the statement, the measured formats as further steps."""
    from datetime import date

    from solvent.choose.mix.run import ChoiceOptions, run_choice
    from solvent.choose.stress.document import Options, document
    from solvent.choose.stress.replan import replanner_of
    from solvent.choose.stress.scenario_file import library, shipped_signals
    from solvent.cli.choose_path import PathFiles, attached, with_path
    from solvent.measure.side_by_side import side_by_side
    from solvent.report.attach import attach

    project, offers, steps = (folder / f"{name}.toml" for name in ("solvent", "choices", "steps"))
    tell("choosing", None)
    options = ChoiceOptions(offers, project, None, statement, "clients-day.json", None, 1e-3, 18.0)
    choice = with_path(run_choice(options, tell), statement, PathFiles(project, steps, None, tuple(measured.files)))
    tell("stressing", None)
    scenarios = library()
    replanner = replanner_of(offers, statement, scenarios.power, date.today())
    stress = document(statement, scenarios, Options((), True, shipped_signals(), None, replanner))
    whole = attach(attached(statement, choice), stress)
    if measured.all:
        whole = attach(whole, side_by_side(measured.all))
    return Loop(choice, stress, whole)

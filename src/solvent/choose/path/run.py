"""From a statement and steps to the path. Enter at `path_to_viability` or, for a command, `path_document`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from solvent.choose.economics import Economics, from_statement
from solvent.choose.path.derive import derive
from solvent.choose.path.document import Result, document, outcomes_along, unknown_document
from solvent.choose.path.file import Stated
from solvent.choose.path.model import build, cost_parts
from solvent.choose.path.screen import screen
from solvent.choose.path.search import search
from solvent.choose.path.step import Step, Terms
from solvent.choose.stress.statement_check import check_numbers
from solvent.errors import ChoiceError


def path_to_viability(statement: Mapping[str, Any], steps: Sequence[Step], terms: Terms) -> Result:
    """The cheapest way from today's margin to the policy's, or the nearest that the steps come to it.

    Raises: ChoiceError where the statement doesn't know compute, revenue, value, other cost or outputs.
    """
    check_numbers(statement)
    economics = from_statement(statement)
    why = _unknown(economics)
    if why:
        raise ChoiceError("statement", why, "a statement with compute, revenue and customer value",
                          "describe revenue under [revenue] in solvent.toml")  # fmt: skip
    parts = cost_parts(statement)
    screened = screen(economics, parts, steps, terms)
    model = build(economics, parts or {"other": 1.0}, screened.shown, terms)
    found = search(model, screened.may, terms)
    return Result(economics, terms, model, screened, tuple(steps), found, outcomes_along(model, found.order))


def path_document(
    statement: Mapping[str, Any], stated: Stated | None = None, found_elsewhere: Sequence[Step] = (),
    as_of: date | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The path of a statement (schema solvent.path/1), from the steps that a file states, those that solvent finds in
    the statement, and those found elsewhere: in a choice, in measurements. A stated step goes before one of its name.

    as_of: the day on which ages are judged; None: today.
    """
    check_numbers(statement)
    stated = stated or Stated(Terms(), ())
    economics = from_statement(statement)
    why = _unknown(economics)
    if why:
        return unknown_document(statement, f"{why}; so there is nothing that steps could be measured against.")
    steps = {step.id: step for step in stated.steps}
    for step in (*found_elsewhere, *(derive(statement, economics) if stated.derive else ())):
        steps.setdefault(step.id, step)
    result = path_to_viability(statement, tuple(steps.values()), stated.terms)
    return document(statement, result, as_of or datetime.now(UTC).date())


def _unknown(economics: Economics) -> str:
    e = economics
    parts = {"compute": e.compute_usd, "revenue": e.revenue_usd, "other cost": e.other_cost_usd,
             "customer value": e.customer_value_usd, "the number of outputs": e.n_outputs}  # fmt: skip
    missing = [name for name, part in parts.items() if part is None or (name != "other cost" and part.value <= 0)]
    return f"not known, or zero: {', '.join(missing)}" if missing else ""

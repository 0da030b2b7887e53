"""From a file of offers to a choice: reads, screens, ranks, plans, and draws the frontiers.

Enter at `run_choice`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from solvent.choose.mix.document import Chosen, choice_document
from solvent.choose.mix.frontier import AXES, frontier
from solvent.choose.mix.rank import ranked
from solvent.choose.mix.robust import offers_asked, robust_mix
from solvent.choose.mix.solve import GAP, TIME_LIMIT_S
from solvent.choose.offers.check_needs import checked
from solvent.choose.offers.demand import from_statement
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.read import Market, Tables, read_offers
from solvent.choose.offers.screen import screened
from solvent.errors import ChoiceError
from solvent.money.project import load
from solvent.money.project_catalogue import catalogue_of
from solvent.money.toml_file import read_toml

TABLES = ("choices", "needs", "demand")


@dataclass(frozen=True, slots=True)
class ChoiceOptions:
    """offers: a file of offers, None: the project's tables.   project: solvent.toml or None.   needs: a file whose
    `[needs]` stand in place of the others'.   n_bad_ends: of the needs, in place of what they say; -1: all offers.
    statement: of an audit, with its name.   gap, time_limit_s: of a plan."""

    offers: Path | None = None
    project: Path | None = None
    needs: Path | None = None
    statement: Mapping[str, Any] | None = None
    statement_name: str = "statement"
    as_of: date | None = None
    gap: float = GAP
    time_limit_s: float = TIME_LIMIT_S
    n_bad_ends: int | None = None


def run_choice(options: ChoiceOptions, tell: Callable[[str, float | None], None]) -> dict[str, Any]:
    """The document of a choice. Raises: ChoiceError (no offers, no demand, a typo), ProjectError, PriceError."""
    tables, needs = _tables(options)
    if options.n_bad_ends is not None:
        needs = replace(needs, n_bad_ends=None if options.n_bad_ends < 0 else options.n_bad_ends)
    loaded = load(options.project)
    stated = from_statement(options.statement, options.statement_name) if options.statement else None
    demand = tables.demand(stated)
    day = demand.total()
    prompt_tok = int((day.input_tok + day.cache_read_tok) / day.outputs) if day.outputs else 0
    asked = options.as_of or datetime.now(UTC).date()
    tell("reading offers and prices", None)
    offers = tables.offers(Market(lambda: catalogue_of(loaded, options.as_of), asked, prompt_tok))
    if not offers:
        raise ChoiceError(str(tables.path), "no offers", "[[choices]] tables", "see docs/reference/choice.md")
    checked(needs, offers, str(options.needs or tables.path))
    tell("choosing", 0.2)
    robust = robust_mix(offers, demand, needs, gap=options.gap, time_limit_s=options.time_limit_s)
    worst = offers_asked(offers, needs.n_bad_ends)
    frontiers = {}
    for k, axis in enumerate(AXES):
        tell(f"frontier: {axis}", 0.4 + 0.15 * k)
        frontiers[axis] = frontier(axis, worst, demand, needs)
    passed, out = screened(offers, needs)
    chosen = Chosen(offers, demand, needs, robust, ranked(passed, demand, needs), out, frontiers)
    return choice_document(chosen, str(tables.path))


def _tables(options: ChoiceOptions) -> tuple[Tables, Needs]:
    """Offers and demand of the offers file, else of the project; needs of the first file that states any."""
    project = _of_project(options.project) if options.project else {}
    if options.offers is None and options.project is None:
        raise ChoiceError("offers", "none", "--offers FILE, or a solvent.toml with [[choices]]")
    if options.offers is None:
        assert options.project is not None
        tables = read_offers(options.project, project)
    else:
        own = read_toml(options.offers, ChoiceError)
        for key in ("needs", "demand"):
            if key in project and key not in own:
                own[key] = project[key]
        tables = read_offers(options.offers, own)
    needs = tables.needs()
    if options.needs is not None:
        raw = read_toml(options.needs, ChoiceError)
        needs = read_offers(options.needs, raw if "needs" in raw else {"needs": raw}).needs()
    return tables, needs


def _of_project(path: Path) -> dict[str, Any]:
    raw = read_toml(path, ChoiceError)
    return {key: raw[key] for key in TABLES if key in raw}

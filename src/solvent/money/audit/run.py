"""Runs an audit: log × rate cards × revenue → statement. The one path from a log line to a margin.

  take_in (money.usage.intake)  →  price_cells (pricing)  →  totals  →  attribute (money.revenue)  →  Audit (statement)

What can't be read or priced stops the audit with everything listed at once, unless it is told to go on without.
Enter at `run_audit`.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solvent.errors import LogError, PriceError
from solvent.money.audit.compare import changes_table, read_basis, read_statement
from solvent.money.audit.conflicts import conflict_table
from solvent.money.audit.contributions import add_contributions
from solvent.money.audit.outlook import add_break_even, add_caching
from solvent.money.audit.pricing import Pricing, price_cells
from solvent.money.audit.pseudonym import Hidden, pseudonymiser
from solvent.money.audit.span import covered
from solvent.money.audit.statement import Audit, Parts, customer_usage
from solvent.money.audit.tables import NOBODY
from solvent.money.audit.totals import OutputRule, count_outputs, reserve, totals, unpriced_requests
from solvent.money.prices.catalogue import Catalogue
from solvent.money.prices.offer import Offer
from solvent.money.project import LoadedProject, Project
from solvent.money.project_catalogue import catalogue_of
from solvent.money.revenue.attribute import attribute
from solvent.money.revenue.lines import Attribution, Span
from solvent.money.revenue.value import customer_value
from solvent.money.usage.cells import Grid
from solvent.money.usage.intake import Intake, Reading, as_if_in_utc, take_in, without_day_or_zone
from solvent.money.usage.problems import Group

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import duckdb

MEMORY_LIMIT = "800MB"
Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """as_of reprices everything at one day.   hash_key pseudonymises customers.   compare: an older statement."""

    as_of: date | None = None
    by: str = "customer"
    format: str | None = None
    allow_missing: bool = False
    hash_key: bytes | None = None
    compare: Path | None = None
    threads: int | None = None


class Incomplete(LogError):
    """Something couldn't be read or priced. `lines` lists all of it, grouped, each with its fix."""

    def __init__(self, lines: Sequence[str], n: int) -> None:
        self.lines = list(lines)
        super().__init__(
            "audit",
            f"{n:,} rows or keys that can't be counted",
            "a log and prices without gaps",
            "mend what is listed above, or go on without it: --allow-missing",
        )


def run_audit(
    paths: Sequence[str | Path],
    loaded: LoadedProject,
    options: AuditOptions,
    progress: Progress = lambda text, share: None,
) -> dict[str, Any]:
    """The statement of a log under a project, as a JSON-ready document.

    Raises: Incomplete where rows can't be read or priced; LogError, PriceError, RevenueError, ProjectError.
    """
    with no_collection():
        return _run_audit(paths, loaded, options, progress)


def _run_audit(
    paths: Sequence[str | Path],
    loaded: LoadedProject,
    options: AuditOptions,
    progress: Progress,
) -> dict[str, Any]:
    project = loaded.project
    catalogue = catalogue_of(loaded, options.as_of)
    grid = grid_of(catalogue)
    with connection(options.threads) as con:
        reading = Reading(project.log, project.output, grid, options.format)
        intake = take_in(con, paths, reading, progress)
        if intake.accepted == 0 and not intake.rejected:
            raise LogError(str(paths[0]), "no request in it", "a log with at least one request")
        progress("pricing", None)
        pricing = price_cells(con, f"{intake.partial.name}_cells", catalogue, intake.grid, project.offers)
        gaps = gap_lines(con, intake, pricing)
        if gaps and not options.allow_missing:
            n = _n_gaps(con, intake, pricing)
            timeless = without_day_or_zone(intake.problems)
            if timeless:
                gaps = _gaps_behind(con, paths, reading, timeless, catalogue, project.offers)
            raise Incomplete(gaps, n)
        parts = _parts(con, loaded, intake, pricing, options)
        progress("putting the statement together", None)
        return _document(Audit(parts), catalogue, options)


def _document(audit: Audit, catalogue: Catalogue, options: AuditOptions) -> dict[str, Any]:
    """The statement with what needs the catalogue or an older statement added."""
    document = audit.document()
    figures = document["figures"]
    add_break_even(audit, document)
    add_caching(audit, document)
    document["tables"]["conflicts"] = conflict_table(
        audit.parts.con, audit.parts.pricing, catalogue, audit.parts.intake.grid
    )
    if options.as_of:
        document["notes"].append(f"every request is priced as of {options.as_of.isoformat()}, whatever its own day")
    if options.compare is not None:
        older = read_statement(options.compare)
        document["tables"]["changes"] = changes_table(read_basis(older, options.compare), audit.basis())
    document["figures"] = figures.document()
    parts = audit.parts
    by_rate = totals(parts.con, parts.pricing, ("rate_no",))
    add_contributions(document["figures"], parts.pricing, by_rate, parts.attribution)
    return document


def _parts(
    con: duckdb.DuckDBPyConnection, loaded: LoadedProject, intake: Intake, pricing: Pricing, options: AuditOptions
) -> Parts:
    """Span, reserved machines, outputs, revenue."""
    project = loaded.project
    whole_days = loaded.subscription_usd_per_month is not None
    span = covered(project.log, intake.partial.first, intake.partial.last, whole_days)
    if project.offers:
        _refuse_unused(project.offers, pricing)
        if span is None or not span.days:
            raise LogError(
                "[log] start, end",
                "a log that covers no time",
                "a span over which machines were reserved",
                "state [log] start and end",
            )
        reserve(con, pricing, span.days * 24)
    rule = output_rule(project)
    by_customer = totals(con, pricing, ("customer",))
    for key, n in count_outputs(con, pricing, intake.partial, rule, ("customer",)).items():
        by_customer[key].n_outputs = n
    attribution = _attribution(loaded, customer_usage(by_customer), span)
    n_outputs = sum((t.n_outputs for t in by_customer.values()), Fraction(0))
    value_usd, value_source = customer_value(project.value, attribution, n_outputs, span)
    parts = Parts(con, loaded, intake, pricing, span, rule, attribution, value_usd, value_source, options.by)
    return _pseudonymous(parts, by_customer, options.hash_key) if options.hash_key else parts


def _pseudonymous(parts: Parts, by_customer: Iterable[tuple[str | None, ...]], key: bytes) -> Parts:
    """The parts with customers' names hidden, in the names of features too; notes say where names stood or stand."""
    name = pseudonymiser(key)
    named = {customer for (customer,) in by_customer if customer}
    hide = Hidden(named | {*parts.attribution.lines, *parts.attribution.idle} - {NOBODY}, name)
    found = {dimension: totals(parts.con, parts.pricing, (dimension,)) for dimension in ("feature", "model")}
    n = {dimension: sum(hide.holds(value) for (value,) in values) for dimension, values in found.items()}
    if n["feature"]:
        parts.intake.notes.append(
            f"{n['feature']:,} names of features held a customer's name, which is hashed there too"
        )
    if n["model"]:
        parts.intake.notes.append(f"{n['model']:,} names of models hold a customer's name and are shown as they are")
    return replace(parts, name_customer=name, name_feature=hide)


def _refuse_unused(offers: Sequence[Offer], pricing: Pricing) -> None:
    """A machine is paid for whether or not it serves: one that no request ran on has nobody to bear its cost."""
    used = {rate.offer.name for rate in pricing.rates if rate.offer is not None}
    for offer in offers:
        if offer.name not in used:
            raise PriceError(
                f"[[offers]] {offer.name}",
                f"no request of this log ran on it (it serves {', '.join(offer.serves)}), but its hours are paid for",
                "a log that holds its requests",
                "add them to the log, or leave the offer out",
            )


def _attribution(loaded: LoadedProject, usage: dict[str, Any], span: Span | None) -> Attribution:
    project = loaded.project
    if span is None:
        return Attribution({}, {}, [], {}, Fraction(0), Fraction(0), [])
    if not span.days and project.revenue.plans:
        raise LogError(
            "[log] start, end", "a log that covers no time", "a span to prorate revenue to", "state [log] start and end"
        )
    return attribute(project.revenue, project.costs, usage, span, loaded.folder)


def grid_of(catalogue: Catalogue) -> Grid:
    """The grid on which the prices of a catalogue can change."""
    boundaries = catalogue.boundaries()
    return Grid(boundaries.prompt_tok, boundaries.minutes, catalogue.changes)


def output_rule(project: Project) -> OutputRule:
    output = project.output
    rule = OutputRule(output.by is not None, output.gap_minutes * 60 if output.gap_minutes else None)
    return replace(rule, requests_per_output=output.requests_per_output) if output.requests_per_output else rule


def gap_lines(con: duckdb.DuckDBPyConnection, intake: Intake, pricing: Pricing) -> list[str]:
    """Everything that an audit would leave out, grouped, biggest first, each with a fix to paste."""
    lines = intake.problems.lines()
    for reason, n in unpriced_requests(con, pricing):
        lines.append(f"unpriced: {n:,} requests: {reason.detail}; {reason.fix}")
    return lines


def _gaps_behind(
    con: duckdb.DuckDBPyConnection,
    paths: Sequence[str | Path],
    reading: Reading,
    timeless: Sequence[Group],
    catalogue: Catalogue,
    offers: Sequence[Offer],
) -> list[str]:
    """The gap lines of a log whose times lack a zone or a day, with all that shows once they are read as UTC."""
    intake = take_in(con, paths, as_if_in_utc(reading, timeless), lambda text, share: None)
    pricing = price_cells(con, f"{intake.partial.name}_cells", catalogue, intake.grid, offers)
    return [group.line() for group in timeless] + gap_lines(con, intake, pricing)


def _n_gaps(con: duckdb.DuckDBPyConnection, intake: Intake, pricing: Pricing) -> int:
    return intake.problems.n() + sum(n for _, n in unpriced_requests(con, pricing))


@contextmanager
def no_collection() -> Iterator[None]:
    """Without the collector of cyclic garbage, which would look a million prices and totals over for none: −0.3 s."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def connection(threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory that spills to a private temporary folder; nothing is left behind."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="solvent-") as folder:
        con = duckdb.connect(
            config={
                "temp_directory": folder,
                "memory_limit": MEMORY_LIMIT,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        try:
            con.execute("SET preserve_insertion_order=false")
            if threads:
                con.execute(f"SET threads={int(threads)}")
            yield con
        finally:
            con.close()

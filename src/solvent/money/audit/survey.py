"""Looks a log over before anything is known about the product: what it holds, and all that can't be known yet.

Every gap is listed at once, with counts and the line of solvent.toml that fills it; `project_text` writes that file.
What it doesn't do: guess prices or revenue. Enter at `survey`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solvent.money.audit.pricing import Pricing, price_cells
from solvent.money.audit.run import connection, grid_of
from solvent.money.audit.totals import totals
from solvent.money.project import LoadedProject
from solvent.money.project_catalogue import catalogue_of
from solvent.money.usage.intake import DAYLESS, Intake, Reading, as_if_in_utc, take_in, without_day_or_zone
from solvent.money.usage.relation import one_row

if TYPE_CHECKING:
    import duckdb

Progress = Callable[[str, float | None], None]
# Provider, model, requests, and where the price comes from (None: nowhere).
ModelLine = tuple[str | None, str | None, int, str | None]


@dataclass(slots=True)
class Gap:
    """Something that the log doesn't say. n: how many rows (or customers, or keys) it concerns."""

    what: str
    n: int
    fix: str


@dataclass(slots=True)
class Survey:
    """What a log holds. models: (provider, model, requests, where its price comes from or None).

    timeless: times that name no zone or no day; the rest was looked over as if they were UTC.
    """

    intake: Intake
    models: list[ModelLine]
    n_customers: int
    customers: list[str]
    features: list[str]
    timeless: list[Gap]
    gaps: list[Gap] = field(default_factory=list)

    @property
    def zone_missing(self) -> bool:
        return any(gap.what not in DAYLESS for gap in self.timeless)

    def document(self) -> dict[str, Any]:
        intake = self.intake
        columns = intake.map.columns if intake.map else {}
        return {
            "schema": "solvent.survey/1",
            "format": intake.format,
            "files": [str(f.path) for f in intake.files],
            "rows_in": intake.rows_in,
            "accepted": intake.accepted,
            "duplicates": intake.duplicates,
            "rejected": intake.rejected,
            "not_requests": intake.not_requests,
            "first": intake.partial.first.isoformat() if intake.partial.first else None,
            "last": intake.partial.last.isoformat() if intake.partial.last else None,
            "columns": dict(columns),
            "ignored_columns": list(intake.map.ignored) if intake.map else [],
            "models": [
                {"provider": p, "model": m, "n_requests": n, "priced_by": source} for p, m, n, source in self.models
            ],
            "n_customers": self.n_customers,
            "features": self.features,
            "gaps": [{"what": gap.what, "n": gap.n, "fix": gap.fix} for gap in self.gaps],
        }


def survey(paths: Sequence[str | Path], loaded: LoadedProject, format_name: str | None, progress: Progress) -> Survey:
    """Reads the log with what is known so far and lists what isn't.

    Raises: LogError where nothing is there or nothing is recognised.
    """
    catalogue = catalogue_of(loaded, None)
    reading = Reading(loaded.project.log, loaded.project.output, grid_of(catalogue), format_name)
    with connection() as con:
        intake = take_in(con, paths, reading, progress)
        timeless = without_day_or_zone(intake.problems)
        if timeless:
            intake = take_in(con, paths, as_if_in_utc(reading, timeless), progress)
        cells = f"{intake.partial.name}_cells"
        pricing = price_cells(con, cells, catalogue, intake.grid, loaded.project.offers)
        models, unpriced = _models(con, pricing)
        n_customers, n_nameless = one_row(
            con, f"SELECT count(DISTINCT customer), coalesce(sum(n) FILTER (customer IS NULL), 0) FROM {cells}"
        )
        customers, features = _busiest(con, cells, "customer"), _busiest(con, cells, "feature")
    unsaid = [Gap(group.detail, group.n, group.fix) for group in timeless]
    found = Survey(intake, _merged(models), int(n_customers), customers, features, unsaid)
    found.gaps = _gaps(found, loaded, _merged_gaps(unpriced), int(n_nameless))
    return found


def _models(con: duckdb.DuckDBPyConnection, pricing: Pricing) -> tuple[list[ModelLine], list[Gap]]:
    """Every model with the source of its price, and those without one as gaps."""
    models: list[ModelLine] = []
    unpriced: list[Gap] = []
    by_model = totals(con, pricing, ("provider", "model", "rate_no", "reason_no"))
    ordered = sorted(by_model.items(), key=lambda item: (-item[1].n_requests, str(item[0])))
    for (provider, model, rate_no, reason_no), total in ordered:
        source = None
        if reason_no is not None and reason_no >= 0:
            reason = pricing.reasons[reason_no]
            unpriced.append(Gap(f"no price: {reason.detail}", total.n_requests, reason.fix))
        else:
            used = pricing.rates[rate_no]
            source = used.rate.card.source if used.rate else "a machine of the project"
        models.append((provider, model, total.n_requests, source))
    return models, unpriced


def _busiest(con: duckdb.DuckDBPyConnection, cells: str, dimension: str) -> list[str]:
    """The values of a dimension with the most requests."""
    rows = con.execute(
        f"SELECT {dimension} FROM {cells} WHERE {dimension} IS NOT NULL GROUP BY 1 ORDER BY sum(n) DESC, 1 LIMIT 20"
    ).fetchall()
    return [row[0] for row in rows]


def _merged(models: list[ModelLine]) -> list[ModelLine]:
    """One line per model and source: rates by the hour or the tier are one to the reader."""
    merged: dict[tuple[str | None, str | None, str | None], int] = {}
    for provider, model, n, source in models:
        merged[provider, model, source] = merged.get((provider, model, source), 0) + n
    return [(p, m, n, s) for (p, m, s), n in merged.items()]


def _merged_gaps(gaps: list[Gap]) -> list[Gap]:
    merged: dict[tuple[str, str], Gap] = {}
    for gap in gaps:
        known = merged.setdefault((gap.what, gap.fix), replace(gap, n=0))
        known.n += gap.n
    return sorted(merged.values(), key=lambda gap: (-gap.n, gap.what))


def _gaps(found: Survey, loaded: LoadedProject, unpriced: list[Gap], n_nameless: int) -> list[Gap]:
    gaps = list(found.timeless)
    gaps += unpriced
    for group in found.intake.problems:
        if group.kind != "missing_zone":
            gaps.append(
                Gap(
                    f"{group.kind.replace('_', ' ')}: {group.detail} ({', '.join(group.examples[:2])})",
                    group.n,
                    group.fix,
                )
            )
    if n_nameless:
        gaps.append(
            Gap(
                "requests without a customer",
                n_nameless,
                '[log.columns] customer = "…" or [log.constants] customer = "…"',
            )
        )
    project = loaded.project
    if not project.revenue.plans and project.value.usd_per_output is None and project.value.usd_total_per_month is None:
        gaps.append(
            Gap("customers without revenue", max(found.n_customers, 1), "[revenue] and [revenue.plans.…], or [value]")
        )
    return gaps

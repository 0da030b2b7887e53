"""Looks a log over before anything is known about the product: what it holds, and all that can't be known yet.

Every gap is listed at once, with counts and the line of solvent.toml that fills it; `project_text` writes that file.
What it doesn't do: guess prices or revenue. Enter at `survey`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from solvent.money.audit.pricing import price_cells
from solvent.money.audit.run import connection, grid_of
from solvent.money.audit.totals import totals
from solvent.money.project import LoadedProject
from solvent.money.project_catalogue import catalogue_of
from solvent.money.usage.intake import Intake, Reading, take_in
from solvent.money.usage.locate import NO_DAY
from solvent.money.usage.relation import one_row

Progress = Callable[[str, float | None], None]


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
    models: list[tuple[str | None, str | None, int, str | None]]
    n_customers: int
    customers: list[str]
    features: list[str]
    timeless: list[Gap]
    gaps: list[Gap] = field(default_factory=list)

    @property
    def zone_missing(self) -> bool:
        return any(gap.what != NO_DAY for gap in self.timeless)

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
    project = loaded.project
    catalogue = catalogue_of(loaded, None)
    grid = grid_of(catalogue)
    with connection() as con:
        intake = take_in(con, paths, Reading(project.log, project.output, grid, format_name), progress)
        timeless = [
            Gap(group.detail, group.n, group.fix)
            for group in intake.problems
            if group.kind == "missing_zone" or group.detail == NO_DAY
        ]
        if timeless:
            constants = (
                {"at": "2026-01-01T00:00:00Z", **project.log.constants}
                if any(g.what == NO_DAY for g in timeless)
                else project.log.constants
            )
            told = project.log.model_copy(update={"zone": "UTC", "constants": constants})
            intake = take_in(con, paths, Reading(told, project.output, grid, format_name), progress)
        cells = f"{intake.partial.name}_cells"
        pricing = price_cells(con, cells, catalogue, intake.grid, project.offers)
        models: list[tuple[str | None, str | None, int, str | None]] = []
        unpriced: list[Gap] = []
        by_model = totals(con, pricing, ("provider", "model", "rate_no", "reason_no"))
        for (provider, model, rate_no, reason_no), total in sorted(
            by_model.items(), key=lambda item: (-item[1].n_requests, str(item[0]))
        ):
            if reason_no is not None and reason_no >= 0:
                reason = pricing.reasons[reason_no]
                unpriced.append(Gap(f"no price: {reason.detail}", total.n_requests, reason.fix))
                models.append((provider, model, total.n_requests, None))
            else:
                used = pricing.rates[rate_no]
                models.append(
                    (
                        provider,
                        model,
                        total.n_requests,
                        used.rate.card.source if used.rate else "a machine of the project",
                    )
                )
        n_customers, n_nameless = one_row(
            con, f"SELECT count(DISTINCT customer), coalesce(sum(n) FILTER (customer IS NULL), 0) FROM {cells}"
        )
        customers = [
            row[0]
            for row in con.execute(
                f"SELECT customer FROM {cells} WHERE customer IS NOT NULL GROUP BY 1 ORDER BY sum(n) DESC, 1 LIMIT 20"
            ).fetchall()
        ]
        features = [
            row[0]
            for row in con.execute(
                f"SELECT feature FROM {cells} WHERE feature IS NOT NULL GROUP BY 1 ORDER BY sum(n) DESC, 1 LIMIT 20"
            ).fetchall()
        ]
    found = Survey(intake, _merged(models), int(n_customers), customers, features, timeless)
    found.gaps = _gaps(found, loaded, _merged_gaps(unpriced), int(n_nameless))
    return found


def _merged(
    models: list[tuple[str | None, str | None, int, str | None]],
) -> list[tuple[str | None, str | None, int, str | None]]:
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

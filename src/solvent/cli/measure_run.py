"""Runs what was put together, keeps it while it runs, and shows the result. Enter at `measured` and `show`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from solvent.cli.measure_target import Wired
from solvent.cli.progress import progress
from solvent.errors import printable
from solvent.measure.compare import compare
from solvent.measure.machine import fingerprint, require_same_machine
from solvent.measure.metrics import Slo
from solvent.measure.money import Hourly, PerToken
from solvent.measure.result import About, read_result, result_document
from solvent.measure.run import Setup, measure_points
from solvent.measure.sample_log import SampleLog


@dataclass(frozen=True, slots=True)
class Job:
    """setup and wired: what is measured.   workload: its fields."""

    setup: Setup
    wired: Wired
    workload: dict[str, Any]

    def plan(self) -> dict[str, Any]:
        """What must be the same for an interrupted measurement to go on."""
        setup, load = self.setup, self.setup.load
        loads = {"concurrency": load.concurrency, "requests": load.n_max, "max_time_s": load.max_time_s}
        stop = {"precision": setup.precision, "precision_of": setup.precision_of} if setup.precision else {}
        sweep = {"sweep_to": setup.sweep} if setup.sweep else {}
        load_about = {**loads, "warm_up": setup.warm_up, **stop, **sweep}
        return {"target": self.wired.about, "workload": self.workload, "load": load_about}


@dataclass(frozen=True, slots=True)
class Terms:
    """What figures are held against: objectives, and the prices of an hour or of tokens; None for none."""

    slo: Slo | None
    hourly: Hourly | None
    per_token: PerToken | None


def measured(job: Job, terms: Terms, out: Path | None) -> tuple[dict[str, Any], Callable[[], None]]:
    """The result's document, and what removes its sample log once the result is written."""
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    plan = job.plan()
    log = SampleLog.open(Path(f"{out}.samples"), {**plan, "machine": fingerprint()["id"]}) if out else None
    if log and log.kept:
        typer.echo(f"solvent: going on after the {len(log.kept)} answers in {printable(str(log.path))}", err=True)
    try:
        with log or nullcontext(), progress() as tell:
            points = measure_points(job.setup, log, tell)
    except KeyboardInterrupt:
        if log:
            typer.echo(f"solvent: kept in {printable(str(log.path))}; the same command goes on", err=True)
        raise
    about = About(
        plan=plan,
        machine=fingerprint(),
        started_at=started_at,
        slo=terms.slo,
        hourly=terms.hourly,
        per_token=terms.per_token,
        notes=job.wired.notes(),
    )
    return result_document(points, about), log.remove if log else lambda: None


def older_of(path: Path | None, across_machines: bool) -> dict[str, Any] | None:
    """The result to compare with, refused before anything is measured.   Raises: MeasureError"""
    if path is None:
        return None
    older = read_result(path)
    if not across_machines:
        require_same_machine(older["machine"], fingerprint(), "--compare")
    return older


def show(
    document: dict[str, Any],
    finished: Callable[[], None],
    out: Path | None,
    older: dict[str, Any] | None,
    as_json: bool,
) -> None:
    """Writes and prints the result, beside an older one where there is one.   Raises: ReportError"""
    if out:
        from solvent.report.write import write_whole

        write_whole(out, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
        finished()
        typer.echo(f"solvent: wrote {printable(str(out))}", err=True)
    if older:
        document["comparison"] = compare(older, document, across_machines=True)
    if as_json:
        json.dump(document, sys.stdout, allow_nan=False)
        sys.stdout.write("\n")
        return
    from solvent.report.measure_text import measurement_lines

    for line in measurement_lines(document):
        typer.echo(line)

"""`solvent choose`: offers ranked under needs, the cheapest plan of a day, its frontiers. Parses, calls, prints."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from solvent.errors import ChoiceError, printable


def command(
    project: Annotated[Path | None, typer.Option(help="Project file; solvent.toml here, if there is one.")] = None,
    offers: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of offers: [[choices]].")] = None,
    statement: Annotated[
        Path | None, typer.Option(metavar="REPORT.json", help="A report of an audit: the demand comes from it.")
    ] = None,
    log: Annotated[
        list[str] | None, typer.Option(metavar="LOG", help="A request log to audit first; may be repeated.")
    ] = None,
    needs: Annotated[Path | None, typer.Option(metavar="FILE", help="A file with [needs] of its own.")] = None,
    as_of: Annotated[str | None, typer.Option(metavar="DATE", help="Prices of this day instead of today's.")] = None,
    gap: Annotated[float, typer.Option(min=0.0, max=0.5, help="How far above the least cost a plan may lie.")] = 1e-3,
    time_limit: Annotated[float, typer.Option(min=0.1, max=3600, metavar="S", help="Seconds for each plan.")] = 18.0,
    robust: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="How many choices may be at the bad ends of their intervals at once."),
    ] = None,
    steps: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file of steps for the path to viability: [[steps]].")
    ] = None,
    measured: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A result of `solvent measure`, for the path; today's way first, repeated."),
    ] = None,
    places: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Places of the break-even instead of those shipped.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the audit's report with choice, break-even and path.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the result to this JSON file.")] = None,
    check: Annotated[bool, typer.Option(help="Exit 1 where no plan meets the needs at the bad ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """The cheapest mix of APIs, rented and owned machines that meets the needs, idle hours paid for."""
    from solvent.choose.mix.run import ChoiceOptions, run_choice
    from solvent.cli.choose_path import PathFiles, print_path, with_path, write_with
    from solvent.cli.progress import progress

    if log and statement:
        raise ChoiceError("--log", "--statement beside it", "one of the two")
    default = Path("solvent.toml")
    if project is None and default.is_file():
        project = default
        typer.echo("solvent: using ./solvent.toml", err=True)
    with progress() as tell:
        found, name = _statement(log, statement, project, tell)
        options = ChoiceOptions(offers, project, needs, found, name, _day(as_of), gap, time_limit, _n_bad_ends(robust))
        files = PathFiles(project, steps, places, tuple(measured or ()), options.as_of)
        document = with_path(run_choice(options, tell), found, files)
    if report is not None:
        if found is None:
            raise ChoiceError("--report", "no statement", "--statement REPORT.json or --log LOG beside it")
        write_with(found, document, report)
    if out is not None:
        from solvent.report.write import write_whole

        write_whole(out, (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8"))
        typer.echo(f"solvent: wrote {printable(str(out))}", err=True)
    if as_json:
        json.dump(document, sys.stdout, allow_nan=False)
        sys.stdout.write("\n")
    else:
        from solvent.report.choose_text import print_choice
        from solvent.report.terminal import console_for

        print_choice(document, console_for(sys.stdout))
        print_path(document)
    if check and document["verdict"]["passed"] is not True:
        raise typer.Exit(1)


def _statement(log: list[str] | None, report: Path | None, project: Path | None, tell: Any) -> tuple[Any, str]:
    """The statement of a report, or of an audit of the log; (None, "") where neither is named."""
    if report is not None:
        from solvent.report.read import read_report

        return read_report(report), report.name
    if not log:
        return None, ""
    from solvent.money.audit.run import AuditOptions, run_audit
    from solvent.money.project import load

    return run_audit(log, load(project), AuditOptions(None, "customer", None, True, None, None), tell), ", ".join(log)


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ChoiceError("--as-of", repr(text), "a day such as 2026-11-01") from None


def _n_bad_ends(text: str | None) -> int | None:
    """-1: all; None: as the needs say."""
    if text is None or text == "all":
        return None if text is None else -1
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise ChoiceError("--robust", repr(text[:40]), "how many choices, or all")
    return int(text)

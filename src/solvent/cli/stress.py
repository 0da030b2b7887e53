"""`solvent stress REPORT|LOG`: scenarios and headlines over an audit. Parses, calls, prints."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from solvent.errors import ChoiceError, printable


def command(
    source: Annotated[Path, typer.Argument(metavar="REPORT|LOG", help="A JSON or HTML report of an audit, or a log.")],
    project: Annotated[Path | None, typer.Option(help="Project file of a log; solvent.toml here, if any.")] = None,
    scenarios: Annotated[Path | None, typer.Option(help="Scenarios, as TOML; else those that ship with it.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Look at this scenario; repeat for more.")
    ] = None,
    together: Annotated[bool, typer.Option(help="Look at scenarios together too.")] = True,
    signals: Annotated[
        Path | None, typer.Option(help="Headlines, as TOML, or the word march-2026 for those that ship with it.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="DATE", help="Headlines after this day are news.")] = None,
    offers: Annotated[Path | None, typer.Option(help="Offers to make new plans of, as for solvent choose.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the audit's report with the stress in it.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.json", help="Write the result too.")] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="DATE", help="Judge ages on this day; else today.")
    ] = None,
    stale_after: Annotated[
        int, typer.Option(metavar="DAYS", min=0, max=100_000, help="What is older on that day is flagged as stale.")
    ] = 180,
    check: Annotated[bool, typer.Option(help="Exit 1 unless the policy holds under every scenario alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Which change of assumptions kills the margin, how far each may go, and which headline flips the verdict."""
    from solvent.choose.stress.document import Options, document
    from solvent.choose.stress.scenario_file import library, load_scenarios, load_signals, shipped_signals

    file = load_scenarios(scenarios) if scenarios else library()
    headlines = None
    if signals is not None:
        headlines = shipped_signals() if str(signals) == "march-2026" else load_signals(signals)
    day, judged = _day(since, "--since"), _day(as_of, "--as-of")
    names = _known(tuple(only or ()), [scenario.name for scenario in file.scenarios])
    statement = _statement(source, project)
    replanner = None
    if offers is not None:
        from solvent.choose.stress.replan import replanner_of

        replanner = replanner_of(offers, statement, file.power, date.today())
    options = Options(names, together and len(names) != 1, headlines, day, replanner, judged, stale_after)
    result = document(statement, file, options)
    if report is not None:
        from solvent.report.attach import attach
        from solvent.report.write import write_report

        write_report(attach(statement, result), report)
        typer.echo(f"solvent: wrote {printable(str(report))}", err=True)
    if out is not None:
        from solvent.report.write import write_whole

        write_whole(out, (json.dumps(result, indent=1) + "\n").encode())
        typer.echo(f"solvent: wrote {printable(str(out))}", err=True)
    if as_json:
        # Escaped, so that no text of a file reaches a terminal as a command.
        json.dump(result, sys.stdout)
        sys.stdout.write("\n")
    else:
        from solvent.report.stress_text import print_stress
        from solvent.report.terminal import console_for

        print_stress(result, console_for(sys.stdout))
    if check and result["passed"] is not True:
        if result["passed"] is None:
            names_ = ", ".join(result["not_judged"])
            typer.echo(f"solvent: not judged without --offers: {names_}; or leave them out with --only", err=True)
        raise typer.Exit(1)


def _statement(source: Path, project: Path | None) -> dict[str, Any]:
    """The statement in a report, or that of a log."""
    if source.suffix.lower() in (".json", ".html", ".htm"):
        from solvent.report.read import read_report

        return read_report(source)
    from solvent.cli.progress import progress
    from solvent.money.audit.run import AuditOptions, run_audit
    from solvent.money.project import load

    if project is None and Path("solvent.toml").is_file():
        project = Path("solvent.toml")
        typer.echo("solvent: using ./solvent.toml", err=True)
    with progress() as tell:
        return run_audit([str(source)], load(project), AuditOptions(), tell)


def _known(names: tuple[str, ...], all_names: list[str]) -> tuple[str, ...]:
    from difflib import get_close_matches

    for name in names:
        if name not in all_names:
            near = get_close_matches(name, all_names, n=1)
            fix = f"is {near[0]!r} meant?" if near else ""
            raise ChoiceError("--only", f"no scenario {name[:80]!r}", "one of " + ", ".join(all_names[:40]), fix)
    return names


def _day(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ChoiceError(option, repr(text[:80]), "a day such as 2026-03-01") from None

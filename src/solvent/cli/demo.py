"""`solvent demo`: the whole loop, audit, measure, choose, stress, in one report. Parses, calls, prints."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from solvent.errors import ReportError

LOGS = (("clients-day", "requests.parquet"), ("azure-code", "requests.csv"))
CLAIMS = ("claims", "video-product.toml")
# The lineage that the demo points to: the customer on whom the first product loses most.
EXPLAINED = "customers/client-035/cost_usd"


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the reports.")] = Path("demo"),
    measure: Annotated[bool, typer.Option(help="Measure models on this machine.")] = True,
) -> None:
    """Audit real logs, measure real models, choose, stress; ends in a report with the path to viability."""
    from solvent.cli.demo_loop import choose_and_stress
    from solvent.cli.demo_measure import Measured, measure_all
    from solvent.cli.demo_print import choice_lines, headline, measured_lines_of, print_audits, stress_lines
    from solvent.cli.progress import progress
    from solvent.report.path_text import path_lines
    from solvent.report.write import write_report

    started, folder, program = time.monotonic(), examples_folder(), _program()
    _make(out)
    name, example = LOGS[0][0], folder / LOGS[0][0]
    report, claims = out / f"{name}.html", folder.joinpath(*CLAIMS)
    with progress() as tell:
        first, second = (_audit(folder / one, log, tell) for one, log in LOGS)
        write_report(second, out / f"{LOGS[1][0]}.html")
        write_report(second, out / f"{LOGS[1][0]}.json")
        write_report(first, out / f"{name}.json")
    log = _near(example / LOGS[0][1])
    given = {key: f" --{key} {_near(example / file)}" for key, file in
             (("project", "solvent.toml"), ("offers", "choices.toml"), ("steps", "steps.toml"))}  # fmt: skip
    _step(1, "Audit: what does a day of requests cost, and what did the customers pay?",
          f"{program} audit {log}{given['project']}")  # fmt: skip
    print_audits(first, second)
    typer.echo(f"\nA headline checked (all of it: {program} claims {_near(claims)}):\n  {headline(claims)}")
    _step(2, "Measure: what does a model cost on this machine, in each number format?", "")
    with progress() as tell:
        measured = measure_all(folder, out, tell) if measure else Measured(faults=["not asked for"])
    _print(measured_lines_of(measured, program))
    with progress() as tell:
        loop = choose_and_stress(first, example, measured, tell)
        for suffix in (".html", ".json"):
            write_report(loop.whole, report.with_suffix(suffix))
    source = _near(report.with_suffix(".json"))
    with_files = "".join(f" --measured {_near(file)}" for file in measured.files)
    chosen = f"{program} choose --statement {source}{given['project']}{given['offers']}{given['steps']}{with_files}"
    _step(3, "Choose: which offers carry the first product's load for least, and still meet its needs?", chosen)
    _print(choice_lines(loop.choice))
    _step(
        4,
        "Stress: which change would turn the verdict?",
        f"{program} stress {source}{given['offers']} --signals march-2026",
    )
    _print(stress_lines(loop.stress))
    _step(5, "The path to viability: what would make the product live, and at what price in quality?",
          f"(the command of step 3 prints it; with --report {_near(report)} it draws it)")  # fmt: skip
    _print(path_lines(loop.choice["path"]))
    typer.echo(f"\nDone in {time.monotonic() - started:.1f} s. The report to forward: {_near(report)}")
    typer.echo(f"Where a number comes from: {program} explain {source} {EXPLAINED}")


def _step(number: int, title: str, typed: str) -> None:
    typer.echo(f"\n{number}. {title}" + (f"\n   {typed}" if typed else "") + "\n")


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(f"  {line}".rstrip())


def examples_folder() -> Path:
    """The examples beside the package (installed) or in the repository (a clone)."""
    import solvent

    package = Path(solvent.__file__).resolve().parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / LOGS[0][0] / LOGS[0][1]).is_file():
            return folder
    raise ReportError(
        "demo",
        "no examples beside the package",
        "a clone, or an installed wheel that holds them",
        "install solvent again",
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = f"can't be made ({error.strerror})"
        raise ReportError(str(folder), found, "a folder that can be written", "name another with --out") from None


def _program() -> str:
    """What to type for solvent: after `make demo` it lies in .venv/bin, on nobody's path."""
    started = Path(sys.argv[0])
    return _near(started.absolute()) if started.name == "solvent" and not shutil.which("solvent") else "solvent"


def _near(path: Path) -> str:
    """The path, from here where it lies below, as it may be pasted into a shell."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _audit(folder: Path, log: str, tell: Any) -> dict[str, Any]:
    from solvent.money.audit.run import AuditOptions, run_audit
    from solvent.money.project import load

    return run_audit([folder / log], load(folder / "solvent.toml"), AuditOptions(), tell)

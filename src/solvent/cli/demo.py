"""`solvent demo`: two real logs audited, a headline checked, a real model run. Parses, calls, prints."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from solvent.errors import ReportError

LOGS = (("clients-day", "requests.parquet"), ("azure-code", "requests.csv"))
MODEL, PROMPT = "smollm2", "The capital of France is"
CLAIMS = ("claims", "video-product.toml")
# The lineage that the demo points to: the customer on whom the first product loses most.
EXPLAINED = "customers/client-035/cost_usd"


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the reports.")] = Path("demo"),
) -> None:
    """Audit two real logs under example products and check a headline, ending in a report."""
    from solvent.cli.progress import progress
    from solvent.report.terminal import console_for, print_statement
    from solvent.report.write import write_report

    started = time.monotonic()
    folder = examples_folder()
    _make(out)
    statements: dict[str, dict[str, Any]] = {}
    with progress() as tell:
        for name, log in LOGS:
            statements[name] = _audit(folder / name, log, tell)
            tell("drawing the report", None)
            for suffix in (".html", ".json"):
                write_report(statements[name], out / f"{name}{suffix}")
    first, second = (statements[name] for name, _ in LOGS)
    print_statement(first, console_for(sys.stdout))
    claims, program = folder.joinpath(*CLAIMS), _program()
    typer.echo("\nA second product, on a log that holds only times and token counts:")
    typer.echo(f"  {second['product']['name']}: {second['verdict']['title']}. {second['verdict']['line']}")
    typer.echo(f"\nA headline checked (all of it: {program} claims {_near(claims)}):")
    typer.echo(f"  {_headline(claims)}")
    _run_model(program)
    typer.echo(f"\n{time.monotonic() - started:.1f} s. The report to forward: {_near(out / (LOGS[0][0] + '.html'))}")
    typer.echo(f"Where a number comes from: {program} explain {_near(out / (LOGS[0][0] + '.json'))} {EXPLAINED}")


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


def _run_model(program: str) -> None:
    """The real model on this machine: a few words and its card; where it isn't installed, how to install it."""
    from solvent.errors import SolventError
    from solvent.machine.engine.card import card
    from solvent.machine.engine.load import load as load_model
    from solvent.report.card_text import card_lines

    typer.echo(f"\nA model on this machine ({program} run {MODEL} --card):")
    try:
        loaded = load_model(MODEL)
        reply = loaded.generate(PROMPT, max_tokens=1)
        found = card(loaded.model, loaded.name)
    except SolventError as error:
        typer.echo(f"  not run: {error}")
        return
    typer.echo(f"  {PROMPT}{reply.text.rstrip()}\n")
    for line in card_lines(found):
        typer.echo(f"  {line}".rstrip())


def _headline(path: Path) -> str:
    from solvent.money.claims.check import check
    from solvent.money.claims.document import document
    from solvent.money.claims.file import load
    from solvent.report.claims_text import verdict

    return verdict(document(check(load(path))))

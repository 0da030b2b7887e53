"""`solvent demo`: the audit of two real logs under example products, and a headline checked. Parses, calls, prints."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from solvent.errors import ReportError

LOGS = (("clients-day", "requests.parquet"), ("azure-code", "requests.csv"))
CLAIMS = "video-product.toml"


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the reports.")] = Path("demo"),
) -> None:
    """Audit a real log under an example product, ending in a report."""
    from rich.console import Console

    from solvent.cli.progress import progress
    from solvent.report.terminal import print_statement
    from solvent.report.write import write_report

    started = time.monotonic()
    folder = examples_folder()
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    statements: dict[str, dict[str, Any]] = {}
    with progress() as tell:
        for name, log in LOGS:
            statements[name] = _audit(folder / name, log, tell)
            tell("drawing the report", None)
            for suffix in (".html", ".json"):
                write_report(statements[name], out / f"{name}{suffix}")
    first, second = (statements[name] for name, _ in LOGS)
    print_statement(first, console)
    typer.echo("\nA second product, on a log that holds only times and token counts:")
    typer.echo(f"  {second['product']['name']}: {second['verdict']['title']}. {second['verdict']['line']}")
    typer.echo("\nA headline checked (solvent claims examples/claims/video-product.toml):")
    typer.echo(f"  {_headline(folder / 'claims' / CLAIMS)}")
    typer.echo(f"\n{time.monotonic() - started:.1f} s. The report to forward: {out / 'clients-day.html'}")
    typer.echo(f"Where a number comes from: solvent explain {out / 'clients-day.json'} customers/client-035/cost_usd")


def examples_folder() -> Path:
    """The examples beside the package (installed) or in the repository (a clone)."""
    import solvent

    package = Path(solvent.__file__).resolve().parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / LOGS[0][0] / LOGS[0][1]).is_file():
            return folder
    raise ReportError("demo", "no examples beside the package", "a clone, or an installed wheel that holds them", "install solvent again")


def _audit(folder: Path, log: str, tell: Any) -> dict[str, Any]:
    from solvent.money.audit.run import AuditOptions, run_audit
    from solvent.money.project import load

    return run_audit([folder / log], load(folder / "solvent.toml"), AuditOptions(), tell)


def _headline(path: Path) -> str:
    from solvent.money.claims.check import check_file

    return str(check_file(path).verdict)

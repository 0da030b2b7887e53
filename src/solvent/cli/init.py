"""`solvent init LOG…`: recognises a log, lists all that is unknown, writes solvent.toml. Parses, calls, prints."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from solvent.errors import ProjectError, printable


def command(
    logs: Annotated[list[str], typer.Argument(metavar="LOG…", help="Files, globs or directories of one request log.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the project file.")] = Path("solvent.toml"),
    format_: Annotated[str | None, typer.Option("--format", help="Force the log's format.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Recognise a request log and write a solvent.toml to fill in."""
    from solvent.cli.progress import progress
    from solvent.money.audit.project_text import project_text
    from solvent.money.audit.survey import survey
    from solvent.money.project import load
    from solvent.report.write import write_whole

    if os.path.lexists(out) and not force:
        raise ProjectError(
            str(out),
            "a file that is already there",
            "a new file",
            "name another with --out, or --force to overwrite it",
        )
    with progress() as tell:
        found = survey(logs, load(None), format_, tell)
    write_whole(out, project_text(found).encode())
    if as_json:
        json.dump(found.document(), sys.stdout)
        sys.stdout.write("\n")
        return
    intake = found.intake
    typer.echo(
        f"{intake.format}: {intake.rows_in:,} requests in {len(intake.files):,} file(s),"
        f" {found.n_customers:,} customers, {len(found.models):,} models, {intake.duplicates:,} duplicates"
    )
    for provider, model, n, source in found.models[:20]:
        name = f"{provider}/{model}" if provider else str(model or "(no model)")
        typer.echo(f"  {n:>12,}  {printable(name)}: {source or 'NO PRICE'}")
    if found.gaps:
        typer.echo("What can't be known yet:")
        for gap in found.gaps:
            typer.echo(f"  {gap.n:>12,} × {printable(gap.what)}  →  {printable(gap.fix)}")
    typer.echo(printable(f"Wrote {out}. Fill it in, then: solvent audit {' '.join(logs)} --project {out}"))

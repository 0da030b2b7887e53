"""`solvent audit LOG…`: log × rate cards × revenue → statement and verdict. Parses, calls, prints."""

from __future__ import annotations

import json
import os
import secrets
import sys
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from solvent.errors import ProjectError, printable

BY = ("customer", "feature", "model", "day")
HASH_KEY_VARIABLE = "SOLVENT_HASH_KEY"


def command(
    logs: Annotated[list[str], typer.Argument(metavar="LOG…", help="Files, globs or directories of one request log.")],
    project: Annotated[Path | None, typer.Option(help="Project file; solvent.toml here, if there is one.")] = None,
    as_of: Annotated[str | None, typer.Option(metavar="DATE", help="Price every request as of this day.")] = None,
    by: Annotated[str, typer.Option(help="Table to show: customer, feature, model or day.")] = "customer",
    format_: Annotated[str | None, typer.Option("--format", help="Force the log's format.")] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", help="Write a report: .html, .json, .md, .csv or a folder of CSV files."),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="OLD.json", help="Say what changed since an older statement.")
    ] = None,
    subscription: Annotated[
        str | None, typer.Option(metavar="USD", help="Set the log's list price against a monthly subscription.")
    ] = None,
    allow_missing: Annotated[bool, typer.Option(help="Go on without what can't be read or priced.")] = False,
    hash_customers: Annotated[
        bool, typer.Option(help=f"Pseudonymise customers with a keyed hash (key: {HASH_KEY_VARIABLE}).")
    ] = False,
    check: Annotated[bool, typer.Option(help="Exit 1 where the policy fails.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the statement as JSON.")] = False,
) -> None:
    """From a request log to a margin: what it cost, what it earned, and whether the product can afford itself."""
    from solvent.cli.progress import progress
    from solvent.money.audit.run import AuditOptions, Incomplete, run_audit

    if by not in BY:
        raise ProjectError("--by", repr(by), "one of " + ", ".join(BY))
    loaded = _project(project, subscription)
    options = AuditOptions(
        _day(as_of), by, format_, allow_missing or subscription is not None, _hash_key(hash_customers), compare
    )
    try:
        with progress() as tell:
            statement = run_audit(logs, loaded, options, tell)
    except Incomplete as gaps:
        for line in gaps.lines:
            typer.echo(line, err=True)
        raise
    _show(statement, out or [], as_json)
    if check and statement["verdict"]["passed"] is not True:
        raise typer.Exit(1)


def _project(path: Path | None, subscription: str | None) -> Any:
    from solvent.money.project import load, subscription_project

    if subscription is not None:
        try:
            usd = Decimal(subscription)
        except InvalidOperation:
            raise ProjectError("--subscription", repr(subscription), "dollars a month, such as 200") from None
        if path is not None or not usd.is_finite() or usd <= 0:
            raise ProjectError(
                "--subscription",
                "a project file beside it" if path else repr(subscription),
                "dollars a month above 0, without --project",
            )
        return subscription_project(usd)
    if path is None and Path("solvent.toml").is_file():
        path = Path("solvent.toml")
        typer.echo("solvent: using ./solvent.toml", err=True)
    return load(path)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ProjectError("--as-of", repr(text), "a day such as 2026-11-01") from None


def _hash_key(wanted: bool) -> bytes | None:
    """The key of the pseudonyms; without one, names can't be matched between runs."""
    if not wanted:
        return None
    key = os.environ.get(HASH_KEY_VARIABLE, "")
    if key:
        return key.encode()
    typer.echo(f"solvent: {HASH_KEY_VARIABLE} isn't set: names are hashed with a key for this run alone", err=True)
    return secrets.token_bytes(32)


def _show(statement: dict[str, Any], out: list[Path], as_json: bool) -> None:
    from solvent.report.write import write_report

    for path in out:
        write_report(statement, path)
        typer.echo(f"solvent: wrote {printable(str(path))}", err=True)
    if as_json:
        json.dump(statement, sys.stdout)
        sys.stdout.write("\n")
        return
    from solvent.report.terminal import console_for, print_statement

    print_statement(statement, console_for(sys.stdout))

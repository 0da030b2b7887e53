"""`solvent claims FILE`: published numbers checked against each other. Parses, calls, prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Claims and relations, as TOML.")],
    check: Annotated[bool, typer.Option(help="Exit 1 unless all claims can be true together.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check published numbers against each other: can they all be true, and if not, which one is off?"""
    from solvent.money.claims.check import check as check_claims
    from solvent.money.claims.document import document
    from solvent.money.claims.file import load
    from solvent.report.claims_text import print_claims, verdict
    from solvent.report.terminal import console_for

    result = document(check_claims(load(file)))
    result["verdict"] = verdict(result)
    if as_json:
        # Escaped, so that no text of the file reaches a terminal as a command.
        json.dump(result, sys.stdout)
        sys.stdout.write("\n")
    else:
        print_claims(result, console_for(sys.stdout))
    if check and result["consistent"] is not True:
        raise typer.Exit(1)

"""`solvent explain REPORT FIGURE`: where a number of a report comes from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

SCHEMA = "solvent.lineage/1"


def command(
    report: Annotated[Path, typer.Argument(help="A JSON or HTML report that `solvent audit` wrote.")],
    figure: Annotated[
        str | None,
        typer.Argument(help="A figure's id, or table/row/column; without it, the figures are listed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Follow a number of a report back to the log, the rate card or the assumption it came from."""
    from solvent.report.lineage import find
    from solvent.report.read import read_report

    statement = read_report(report)
    if figure is None:
        _list(statement, as_json)
        return
    node = find(statement, figure, str(report))
    if as_json:
        _print_json({"schema": SCHEMA, **node.document()})
        return
    from solvent.report.terminal import console_for, print_lineage

    print_lineage(node, statement["product"], console_for(sys.stdout))


def _list(statement: dict[str, Any], as_json: bool) -> None:
    """All figures with their values, and the tables whose cells can be addressed."""
    tables = {name: [c["key"] for c in table["columns"]] for name, table in statement["tables"].items()}
    if as_json:
        _print_json({"schema": SCHEMA, "figures": statement["figures"], "tables": tables})
        return
    from solvent.report.terminal import console_for, print_list

    print_list(statement, console_for(sys.stdout))


def _print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False))

"""What `solvent choose` adds where there is a statement: break-even and the path to viability. Calls and prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import typer

from solvent.errors import ChoiceError, printable

MTOK = 1_000_000
MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class PathFiles:
    """steps: a file of steps, else the project's tables.   places: of the break-even, else those shipped.
    measured: results of `solvent measure`, today's way first."""

    project: Path | None = None
    steps: Path | None = None
    places: Path | None = None
    measured: tuple[Path, ...] = ()
    as_of: date | None = None


def with_path(choice: Mapping[str, Any], statement: Mapping[str, Any] | None, files: PathFiles) -> dict[str, Any]:
    """The choice with `break_even` and, where there is a statement, `path` in it."""
    from solvent.choose.break_even.document import break_even_document
    from solvent.choose.break_even.file import read_places
    from solvent.choose.path.file import read_steps
    from solvent.choose.path.measured import steps_from_measurements
    from solvent.choose.path.offers import steps_from_choice
    from solvent.choose.path.run import path_document
    from solvent.measure.side_by_side import side_by_side

    figures = choice["figures"]
    written = figures.get("demand.output_tok", {}).get("value")
    mtok = float(written) * 365.25 / 12 / MTOK if written else None
    source = str(figures.get("demand.output_tok", {}).get("source", ""))
    whole = {**choice, "break_even": break_even_document(read_places(files.places), mtok, source, files.as_of)}
    if statement is not None:
        file = files.steps or files.project
        stated = read_steps(file) if file is not None else None
        documents = [_measurement(path) for path in files.measured]
        found = steps_from_measurements(documents, statement, stated.steps if stated else ())
        if documents:
            whole["measured"] = side_by_side(documents)
        whole["path"] = path_document(statement, stated, (*steps_from_choice(choice, statement), *found), files.as_of)
    return whole


def _measurement(path: Path) -> Any:
    """A result of `solvent measure`. Raises: ChoiceError (missing, too large, not JSON)."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ChoiceError(str(path), "too large", f"a result of at most {MAX_BYTES >> 20} MiB")
        document = json.loads(content)
    except OSError as fault:
        raise ChoiceError(str(path), f"can't be read ({fault.strerror})", "a result of `solvent measure`") from None
    except (ValueError, RecursionError):
        raise ChoiceError(str(path), "not JSON", "a result of `solvent measure -o FILE`") from None
    if not isinstance(document, dict):
        raise ChoiceError(str(path), "no JSON object", "a result of `solvent measure -o FILE`")
    return document


def print_path(whole: Mapping[str, Any]) -> None:
    """Break-even and path below the choice, on stdout; the path comes last."""
    from solvent.report.break_even_text import break_even_lines
    from solvent.report.path_text import path_lines
    from solvent.report.terminal import console_for

    width = min(console_for(sys.stdout).width, 120)
    typer.echo("\n" + "\n".join(break_even_lines(whole["break_even"], width)))
    if "path" in whole:
        typer.echo("\n" + "\n".join(path_lines(whole["path"], width)))


def attached(statement: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """The statement with the choice, and with what `with_path` added to it."""
    from solvent.report.attach import attach

    added = [whole[key] for key in ("measured", "break_even", "path") if key in whole]
    choice = {key: part for key, part in whole.items() if key not in ("measured", "break_even", "path")}
    return attach(statement, choice, *added)


def write_with(statement: Mapping[str, Any], whole: Mapping[str, Any], path: Path) -> None:
    """The audit's report with the choice, the break-even and the path in it."""
    from solvent.report.write import write_report

    write_report(attached(statement, whole), path)
    typer.echo(f"solvent: wrote {printable(str(path))}", err=True)

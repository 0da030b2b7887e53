"""`solvent convert MODEL OUT`: a model in another number format, measured. Parses, calls, prints."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from solvent.errors import printable

if TYPE_CHECKING:
    from solvent.machine.engine.convert import Conversion


class Kind(StrEnum):
    """Number formats that are written; `convert.TARGETS` has the same (a test compares)."""

    tq2_0 = "tq2_0"
    tq1_0 = "tq1_0"
    q4_0 = "q4_0"
    q4_1 = "q4_1"
    q8_0 = "q8_0"
    f16 = "f16"


class HeadKind(StrEnum):
    """As `convert.HEADS`."""

    q4_0 = "q4_0"
    q4_1 = "q4_1"
    q8_0 = "q8_0"
    f16 = "f16"


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model file, a folder, or a short name.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The GGUF file to write.")],
    to: Annotated[Kind, typer.Option("--to", help="Number format of the linear layers.")],
    keep_head: Annotated[
        HeadKind | None,
        typer.Option(help="Format of embedding and head; otherwise q8_0, or what is there and isn't float."),
    ] = None,
    text: Annotated[Path | None, typer.Option(help="Text to measure the damage on; a page of a play if none.")] = None,
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Measure what the conversion did.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Write it even if it is no longer the same model.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a model in another number format as GGUF, and say what that did to it.

    A result that is no longer the model is refused: rounding to ternary ruins what wasn't trained for it.
    """
    from solvent.cli.progress import progress
    from solvent.machine.engine.convert import Request, convert_file
    from solvent.machine.engine.damage import text_of, usual_text
    from solvent.machine.engine.find import find

    words = "" if not measure else usual_text() if text is None else text_of(text)
    request = Request(to.value, keep_head.value if keep_head else None, words, force, overwrite)
    with progress(on=not as_json) as tell:
        conversion = convert_file(find(model), out, request, tell)
    if as_json:
        json.dump({"schema": "solvent.conversion/1", "file": str(out), **conversion.document()}, sys.stdout)
        sys.stdout.write("\n")
    else:
        _print(out, conversion)


def _print(out: Path, conversion: Conversion) -> None:
    before, after = conversion.bytes_before, conversion.bytes_after
    shares = f"{before / 1e6:.2f} MB of tensors before, {after / 1e6:.2f} MB after ({after / before:.0%})"
    typer.echo(f"{printable(str(out))}: {shares}")
    typer.echo(f"linear layers {conversion.kind}, embedding and head {' and '.join(conversion.heads)}")
    for how, n_tensors in conversion.roundings.items():
        typer.echo(f"{n_tensors} tensors {HOW[how]}")
    damage = conversion.damage
    typer.echo("the damage wasn't measured" if damage is None else damage.sentence())
    if damage is not None and damage.is_ruin:
        typer.echo("This is no longer the model: it was written because you forced it.")


HOW = {
    "kept": "were ternary and keep their codes",
    "absmean": "rounded to ternary as in BitNet's training",
    "absmax": "rounded to ternary without having been trained for it",
}

"""`solvent prices [MODEL]`: rate cards with their history, and where the catalogues conflict. Parses, calls, prints."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from solvent.errors import PriceError


def command(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="A model as a log names it.")] = None,
    provider: Annotated[str | None, typer.Option(help="Who sells it, as a log names it.")] = None,
    as_of: Annotated[str | None, typer.Option(metavar="DATE", help="Prices of this day instead of today's.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every seller of the model; without MODEL every conflict.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    project: Annotated[Path | None, typer.Option(help="Project file; solvent.toml here, if there is one.")] = None,
) -> None:
    """Rate cards of a model with their dates, tiers and services; without a model, what each catalogue holds."""
    from solvent.money.prices.survey import model_document, summary_document
    from solvent.report.prices_text import print_model, print_summary
    from solvent.report.terminal import console_for

    day = _day(as_of)
    catalogue = _catalogue(project, day)
    today = day or datetime.now(UTC).date()
    if model is None and provider is not None:
        raise PriceError("--provider", "no model beside it", "solvent prices MODEL --provider PROVIDER")
    document = (
        summary_document(catalogue, today)
        if model is None
        else model_document(catalogue, provider, model, today, everything)
    )
    if as_json:
        json.dump(document, sys.stdout)
        sys.stdout.write("\n")
    elif model is None:
        print_summary(document, console_for(sys.stdout), everything)
    else:
        print_model(document, console_for(sys.stdout))


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise PriceError("--as-of", repr(text), "a day such as 2026-11-01") from None


def _catalogue(project: Path | None, as_of: date | None) -> Any:
    """The catalogue of the project file, or of the defaults where there is none."""
    from solvent.money.project import load
    from solvent.money.project_catalogue import catalogue_of

    default = Path("solvent.toml")
    return catalogue_of(load(project or (default if default.is_file() else None)), as_of)

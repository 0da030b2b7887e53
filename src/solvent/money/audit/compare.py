"""What changed since an older statement, and why: volume, mix, usage per output, price.

cost = N · ρ · Σ_m s_m · Σ_b u_mb · p_mb   with N outputs, ρ requests per output, s_m the share of requests at
model m, u_mb units of bucket b per request, p_mb USD per unit. The factors are exchanged one after another in the
order volume, mix, usage, price, so that the effects add up to the difference exactly; a model that is new (or gone)
counts as mix. The order is a convention: another one would move cross terms between the causes. Where either
statement left requests out, the causes can't be told and aren't.
Enter at `basis_document` (what a statement keeps for later) and `changes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from solvent.errors import ReportError
from solvent.figure import exact_text

MAX_BYTES = 256 << 20
CAUSES = ("volume", "mix", "usage per output", "price")


@dataclass(frozen=True, slots=True)
class ModelUse:
    """One model's requests, and by bucket (or machine): units and exact USD."""

    n_requests: int
    units: Mapping[str, Fraction]
    usd: Mapping[str, Fraction]


@dataclass(frozen=True, slots=True)
class CostBasis:
    """n_outputs and the use of every model: enough to say why a cost changed, if nothing was left out."""

    n_outputs: Fraction
    models: Mapping[str, ModelUse]
    n_left_out: int = 0

    def cost_usd(self) -> Fraction:
        return sum((usd for use in self.models.values() for usd in use.usd.values()), Fraction(0))


def basis_document(basis: CostBasis) -> dict[str, Any]:
    """The basis as JSON-ready fields; exact, as fractions in text."""
    return {
        "n_outputs": str(basis.n_outputs),
        "n_left_out": basis.n_left_out,
        "models": {
            name: {
                "n_requests": use.n_requests,
                "units": {k: str(v) for k, v in use.units.items()},
                "usd": {k: str(v) for k, v in use.usd.items()},
            }
            for name, use in basis.models.items()
        },
    }


def read_statement(path: Path) -> dict[str, Any]:
    """An older statement (JSON) to compare with. Raises: ReportError where the file isn't one."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReportError(str(path), f"{path.stat().st_size} bytes", f"a statement of at most {MAX_BYTES} bytes")
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ReportError(
            str(path), f"can't be read ({error.strerror})", "a statement written by `solvent audit --json`"
        ) from None
    except (ValueError, RecursionError):
        raise ReportError(str(path), "not JSON", "a statement written by `solvent audit --json`") from None
    if not isinstance(document, dict) or document.get("schema") != "solvent.statement/1":
        raise ReportError(str(path), "not a statement", 'a document with "schema": "solvent.statement/1"')
    return document


def read_basis(document: Mapping[str, Any], path: Path) -> CostBasis:
    """The cost basis inside a statement. Raises: ReportError naming what is wrong with it."""
    try:
        basis = document["basis"]
        models = {
            str(name): ModelUse(int(use["n_requests"]), _fractions(use["units"]), _fractions(use["usd"]))
            for name, use in basis["models"].items()
        }
        return CostBasis(_fraction(basis["n_outputs"]), models, int(basis["n_left_out"]))
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, RecursionError) as error:
        raise ReportError(
            str(path), f"its `basis` can't be read ({type(error).__name__})", "an unedited statement"
        ) from None


def _fractions(values: Mapping[str, str]) -> dict[str, Fraction]:
    return {str(k): _fraction(v) for k, v in values.items()}


def _fraction(text: str) -> Fraction:
    if not isinstance(text, str) or len(text) > 400 or "e" in text.lower():
        raise ValueError("not a fraction")
    return Fraction(text)


def changes(old: CostBasis, new: CostBasis) -> dict[str, Fraction]:
    """Cause → USD; the sum is new.cost_usd() − old.cost_usd(), exactly. Without old outputs, all is volume."""
    before, after = old.cost_usd(), new.cost_usd()
    if not old.n_outputs or not new.n_outputs or not _requests(old) or not _requests(new):
        return dict(zip(CAUSES, (after - before, Fraction(0), Fraction(0), Fraction(0)), strict=True))
    steps = [
        before,
        new.n_outputs * before / old.n_outputs,
        _mixed(old, new),
        _at_old_prices(old, new),
        after,
    ]
    return {cause: steps[i + 1] - steps[i] for i, cause in enumerate(CAUSES)}


def _requests(basis: CostBasis) -> int:
    return sum(use.n_requests for use in basis.models.values())


def _mixed(old: CostBasis, new: CostBasis) -> Fraction:
    """New outputs and new shares of models, at the old requests per output, usage and prices."""
    per_output = Fraction(_requests(old)) / old.n_outputs
    total = Fraction(0)
    for name, use in new.models.items():
        share = Fraction(use.n_requests, _requests(new))
        known = old.models.get(name, use)
        if known.n_requests:
            total += share * sum(known.usd.values(), Fraction(0)) / known.n_requests
    return new.n_outputs * per_output * total


def _at_old_prices(old: CostBasis, new: CostBasis) -> Fraction:
    """The new usage at the old price of every bucket; a bucket that had none keeps its new price."""
    total = Fraction(0)
    for name, use in new.models.items():
        known = old.models.get(name, use)
        for bucket, units in use.units.items():
            source = known if known.units.get(bucket) else use
            if source.units.get(bucket):
                total += units * source.usd.get(bucket, Fraction(0)) / source.units[bucket]
    return total


def changes_table(old: CostBasis, new: CostBasis) -> dict[str, Any]:
    """The table `changes` of a statement."""
    rows: list[dict[str, Any]] = []
    if old.n_left_out or new.n_left_out:
        counts = f"{old.n_left_out:,} then, {new.n_left_out:,} now"
        rows.append({"cause": f"unknown: requests were left out ({counts})", "delta_usd": None})
    else:
        rows += [{"cause": cause, "delta_usd": exact_text(usd)} for cause, usd in changes(old, new).items()]
    rows.append({"cause": "all of it", "delta_usd": exact_text(new.cost_usd() - old.cost_usd())})
    formula = (
        "cost = outputs × requests per output × share of model × units per request × price; "
        "one factor exchanged after another"
    )
    columns = [
        {"key": "cause", "label": "Cause", "unit": "text", "method": "priced", "formula": "", "source": ""},
        {
            "key": "delta_usd",
            "label": "Change of compute",
            "unit": "usd",
            "method": "priced",
            "formula": formula,
            "source": "both statements",
        },
    ]
    return {"label": "What changed", "columns": columns, "rows": rows, "n_rows": len(rows), "shown": len(rows)}

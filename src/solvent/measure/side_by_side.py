"""Measurements beside each other: one row for each, as the JSON-ready document "solvent.measured/1" for a report.

It takes results of `solvent measure` and keeps of each what a reader compares; it neither ranks nor judges.
Enter at `side_by_side`. Format: docs/reference/measurement.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from solvent.errors import MeasureError
from solvent.measure.result import SCHEMA as RESULT

SCHEMA = "solvent.measured/1"
THOUSAND, MEGA = Decimal(1000), Decimal(1_000_000)
# Key of a row → figure of a result, what it is multiplied by, the unit here, and the label.
_TAKEN = {
    "first_token_s": ("time_to_first_token.p50", 1, "s", "time to first token, median"),
    "decode_tok_per_s": ("time_per_output_token.mean", -1, "tok/s", "tokens a second once it has begun"),
    "output_tok_per_s": ("output_token_throughput", 1, "tok/s", "output tokens a second, prompts read meanwhile"),
    "memory_mb": ("peak_memory_bytes", 1 / MEGA, "MB", "the most memory that was held"),
    "joules": ("energy_per_output", 1, "J/output", "energy of an output"),
    "usd_per_thousand": ("cost_per_output_usd", THOUSAND, "usd", "cost of 1,000 outputs"),
}
_SCORED = {
    "perplexity": "perplexity",
    "mean_kl": "divergence from the reference, nats a token",
    "same_top": "same first choice as the reference",
}


def side_by_side(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rows, and their figures by id; what a result doesn't know has no figure, which isn't zero.

    decode_tok_per_s = 1 ÷ mean of time_per_output_token; the interval's ends trade places.
    cache_mb = bytes of a token of context · (tokens in + out) of the workload, where the lengths are fixed; of as many
    tokens as stay in full precision, at most, the bytes that one has there.
    Exactness: decimals, one rounding where a quotient needs it. Raises: MeasureError (no result of a measurement)"""
    rows: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    for i, document in enumerate(documents):
        if document.get("schema") != RESULT:
            found = f"schema {str(document.get('schema'))[:80]!r}"
            raise MeasureError(f"measurement {i + 1}", found, f"{RESULT!r}, a result of `solvent measure -o FILE`")
        try:
            own = _figures(document)
            target, work = dict(document["target"]), document.get("workload") or {}
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            found = "figures or a target that don't fit the schema"
            raise MeasureError(f"measurement {i + 1}", found, "a whole result of `solvent measure -o FILE`") from None
        names = {key: f"measured.{i}.{key}" for key in own}
        figures |= {names[key]: figure for key, figure in own.items()}
        about = {
            key: target.get(key) for key in ("name", "model", "kind", "weight_format", "cache_format", "activations")
        }
        load = {"concurrency": document.get("concurrency"), "answers": (document.get("totals") or {}).get("answers")}
        lengths = {key: work.get(key) for key in ("input_tok", "output_tok")}
        rows.append({**about, **load, **lengths, "date": _date(document), "figures": names})
    machine = documents[0].get("machine") or {} if documents else {}
    if not isinstance(machine, dict):
        raise MeasureError("measurement 1", "a machine that isn't one", "a whole result of `solvent measure -o FILE`")
    about = {key: machine.get(key) for key in ("cpu", "n_cores", "memory_gib", "gpus", "virtual")}
    return {"schema": SCHEMA, "machine": about, "rows": rows, "figures": figures}


def _figures(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    given, found = document["figures"], {}
    for key, (name, factor, unit, label) in _TAKEN.items():
        if (given.get(name) or {}).get("value") is not None:
            found[key] = _times(given[name], Decimal(str(factor)), unit, (label, name))
    for name, figure in given.items():
        scored = next((key for key in _SCORED if name.startswith("quality.") and name.endswith(f".{key}")), None)
        if scored and scored not in found and figure["value"] is not None:
            found[scored] = _times(figure, Decimal(1), figure["unit"], (_SCORED[scored], name))
    work, target = document.get("workload") or {}, document["target"]
    if target.get("cache_bytes_per_tok") and work.get("kind") == "fixed":
        found["cache_mb"] = {**_cache(target, work["input_tok"] + work["output_tok"]), "date": _date(document)}
    return found


def _cache(target: Mapping[str, Any], n_tok: int) -> dict[str, Any]:
    per_tok, full_tok = target["cache_bytes_per_tok"], min(target.get("cache_full_precision_tok") or 0, n_tok)
    value, source = Decimal(str(per_tok)) * (n_tok - full_tok), f"{per_tok} bytes a token, all counted"
    formula = "bytes a token of context · tokens ÷ 10⁶"
    if full_tok:
        full_bytes = target["cache_full_precision_bytes_per_tok"]
        value += Decimal(str(full_bytes)) * full_tok
        source += f"; {full_bytes} of {full_tok} in full precision"
        formula = "(bytes a token of context · other tokens + bytes in full precision · tokens in it) ÷ 10⁶"
    label = f"cache of {n_tok:,} tokens"
    return {
        "label": label, "value": str(value / MEGA), "unit": "MB", "method": "measured", "source": source,
        "formula": formula,
    }  # fmt: skip


def _date(document: Mapping[str, Any]) -> str | None:
    return str(document["started_at"])[:10] if document.get("started_at") else None


def _times(figure: Mapping[str, Any], factor: Decimal, unit: str, words: tuple[str, str]) -> dict[str, Any]:
    """The figure in another unit; a factor of −1 stands for its reciprocal."""
    label, name = words
    ends = {key: Decimal(figure[key]) for key in ("value", "low", "high") if figure.get(key) is not None}
    if factor < 0:
        ends = {key: 1 / number for key, number in ends.items()}
        if "low" in ends:
            ends["low"], ends["high"] = ends["high"], ends["low"]
    else:
        ends = {key: number * factor for key, number in ends.items()}
    formula = f"1 ÷ {name}" if factor < 0 else name if factor == 1 else f"{name} · {factor:f}"
    kept = {key: figure[key] for key in ("method", "source", "date", "level", "note") if key in figure}
    return {"label": label, "unit": unit, "formula": formula, **kept, **{key: str(n) for key, n in ends.items()}}

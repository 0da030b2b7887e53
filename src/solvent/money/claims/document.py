"""The outcome of a check as one JSON document of schema "solvent.claims-result/1".

Numbers are decimal text, exact or rounded once at 18 places; null is unknown or unbounded, never zero.
It decides nothing. Fields: docs/reference/claims-format.md. Enter at `document`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from solvent.figure import exact_text
from solvent.money.claims.check import Candidate, ReadingResult, Result, sides, values
from solvent.money.claims.diagnose import Change, size_of
from solvent.money.claims.file import Claim
from solvent.money.claims.interval import Bound, Interval
from solvent.money.claims.readings import Reading
from solvent.money.claims.stated import Stated

SCHEMA = "solvent.claims-result/1"


def document(result: Result) -> dict[str, Any]:
    """The outcome as JSON-ready fields."""
    file = result.file
    used = {name for relation in file.relations for name in relation.names()}
    return {
        "schema": SCHEMA,
        "file": file.name,
        "title": file.title,
        "question": file.question,
        "note": file.note,
        "state": result.state,
        "consistent": result.consistent(),
        "claims": {name: _claim(claim, name in used) for name, claim in file.claims.items()},
        "relations": _relations(result),
        "conflict": list(result.core),
        "named": list(result.named.correction.claims()) if result.named else None,
        "corrections": [_candidate(candidate, result) for candidate in result.candidates],
        "corrections_complete": result.complete,
        "readings": _readings(result),
        "witness": {name: exact_text(value) for name, value in result.shown.witness.items() if name in used},
    }


def _claim(claim: Claim, used: bool) -> dict[str, Any]:
    table = claim.table
    first = claim.variants[0]
    fields: dict[str, Any] = {
        "label": table.label or claim.id.replace("_", " "),
        "kind": table.kind,
        "unit": table.unit,
        "source": table.source,
        "date": str(table.date) if table.date is not None else None,
        "quote": table.quote,
        "derived": table.derived,
        "note": table.note,
        "headline": table.headline,
        "checked": used,
    }
    if first.reads:
        fields["varies_with"] = claim.axis
        fields["variants"] = [
            {"reads": v.reads, **_stated(v.stated), "source": v.source, "derived": v.derived, "note": v.note}
            for v in claim.variants
        ]
    else:
        fields |= _stated(first.stated)
    return {k: v for k, v in fields.items() if v not in ("", None, False) or k in ("checked", "source")}


def _stated(stated: Stated | None) -> dict[str, Any]:
    if stated is None:
        return {}
    return {
        "stated": stated.text,
        "value": exact_text(stated.value),
        "low": exact_text(stated.low),
        "high": exact_text(stated.high),
    }


def _relations(result: Result) -> list[dict[str, Any]]:
    """Every relation with both its sides in the reading that is shown."""
    reading = result.shown.reading
    solved = zip(reading.solved(), sides(reading), values(reading), strict=True)
    computed = {id(relation): (spans, middles) for relation, spans, middles in solved}
    rows = []
    for relation in result.file.relations:
        row: dict[str, Any] = {"says": relation.says, "sign": relation.tree.sign, "status": "other reading"}
        if relation.unit_fault is not None:
            row |= {"status": "units", "unit_fault": relation.unit_fault}
        elif id(relation) in computed:
            spans, middles = computed[id(relation)]
            left, right = (_side(span, value) for span, value in zip(spans, middles, strict=True))
            status = "broken" if relation in result.shown.broken else "holds"
            row |= {"status": status, "left": left, "right": right, "factor": _factor(*middles)}
        row["n_readings"] = sum(relation in r.reading.relations for r in result.readings)
        row["n_readings_broken"] = sum(relation in r.broken for r in result.readings)
        if relation.when:
            row["when"] = {name: list(reads) for name, reads in relation.when}
        texts = {"within": relation.table.within, "why": relation.table.why, "source": relation.table.source}
        rows.append(row | {k: v for k, v in texts.items() if v})
    return rows


def _side(span: Interval | None, value: Fraction | None) -> dict[str, Any]:
    low, high = span if span is not None else (None, None)
    return {"value": exact_text(value), "low": _bound(low), "high": _bound(high)}


def _factor(left: Fraction | None, right: Fraction | None) -> str | None:
    return exact_text(left / right) if left is not None and right else None


def _candidate(candidate: Candidate, result: Result) -> dict[str, Any]:
    correction = candidate.correction
    return {
        "claims": [_change(change, candidate.reading, result) for change in correction.changes],
        "size_log10": None if correction.size is None else round(correction.size, 4),
        "certain": correction.certain,
        "reading": dict(candidate.reading.choice),
        "n_readings": candidate.n_readings,
    }


def _change(change: Change, reading: Reading, result: Result) -> dict[str, Any]:
    claim = result.file.claims[change.claim]
    within = [relation for relation in reading.relations if change.claim in relation.names()]
    failing = next(r.broken for r in result.readings if r.reading is reading)
    stated = reading.stated[change.claim]
    size = size_of(stated.value, change.nearest)
    factor = change.nearest / stated.value if size is not None else None
    return {
        "claim": change.claim,
        **_stated(stated),
        "unit": claim.table.unit,
        "implied_low": _bound(change.low),
        "implied_high": _bound(change.high),
        "nearest": exact_text(change.nearest),
        "size_log10": None if size is None else round(size, 4),
        "times": None if factor is None else exact_text(max(factor, 1 / factor)),
        "direction": None if factor is None else "more" if factor > 1 else "less",
        "slip_power_of_ten": change.slip,
        "slip_value": exact_text(stated.value * Fraction(10) ** change.slip) if change.slip is not None else None,
        "kind": claim.table.kind,
        "source": claim.table.source,
        "in_relations": len(within),
        "in_broken_relations": sum(relation in failing for relation in within),
    }


def _readings(result: Result) -> dict[str, Any]:
    of = result.readings
    return {
        "n": len(of),
        "n_holding": sum(r.state == "holds" for r in of),
        "n_open": sum(r.state == "open" for r in of),
        "shown": dict(result.shown.reading.choice),
        "headline": result.file.headline,
        "list": [_reading(r) for r in of],
        "by_variant": _by_variant(result),
    }


def _reading(result: ReadingResult) -> dict[str, Any]:
    return {
        "choice": dict(result.reading.choice),
        "state": result.state,
        "broken": [relation.says for relation in result.broken],
        "headline": _span([result.headline]),
    }


def _by_variant(result: Result) -> list[dict[str, Any]]:
    """For each variant: of the readings that choose it how many hold, and what they make of the headline."""
    rows = []
    for name, claim in result.file.claims.items():
        for variant in claim.variants:
            group = [r for r in result.readings if (name, variant.reads) in r.reading.choice]
            if group:
                holding = sum(r.state == "holds" for r in group)
                span = _span([r.headline for r in group])
                rows.append(
                    {"claim": name, "reads": variant.reads, "n": len(group), "n_holding": holding, "headline": span}
                )
    return rows


def _span(changes: list[Change | None]) -> dict[str, Any] | None:
    known = [change for change in changes if change is not None]
    if not known:
        return None
    return {"low": _bound(min(c.low for c in known)), "high": _bound(max(c.high for c in known))}


def _bound(bound: Bound | None) -> str | None:
    return exact_text(bound) if isinstance(bound, Fraction) else None

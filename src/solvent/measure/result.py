"""The result of a measurement as a document: target, machine, workload, figures with lineage, raw samples.

Enter at `result_document`; `read_result` reads one back. Its fields: docs/reference/measurement.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from solvent.errors import MeasureError
from solvent.figure import Figure, Figures
from solvent.measure.figures import Measured, add_figures, faults, totals
from solvent.measure.metrics import Slo
from solvent.measure.money import Hourly, PerToken, add_hourly, add_per_token
from solvent.measure.run import Point
from solvent.measure.session_end import client_of, energy_of, memory_of
from solvent.measure.stop import anytime_interval
from solvent.measure.sweep import knee_of

SCHEMA = "solvent.measurement/1"
MAX_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class About:
    """What a result says beside its samples.

    plan: target, workload and load as JSON-ready fields."""

    plan: Mapping[str, Any]
    machine: Mapping[str, Any]
    started_at: str
    slo: Slo | None = None
    hourly: Hourly | None = None
    per_token: PerToken | None = None
    notes: tuple[str, ...] = ()


def result_document(points: Sequence[Point], about: About) -> dict[str, Any]:
    """The document; of a sweep the knee's figures and samples stand at the top, those of every point below."""
    parts = [point_document(point, about) for point in points]
    top = parts[0]
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "started_at": about.started_at,
        **about.plan,
        "machine": dict(about.machine),
        "notes": list(about.notes),
    }
    if about.plan["load"].get("sweep_to") is not None:
        powers = {
            point.concurrency: (float(rate), float(latency))
            for point, part in zip(points, parts, strict=True)
            if point.concurrency is not None
            and (rate := part["figures"]["request_throughput"]["value"]) is not None
            and (latency := part["figures"].get("request_latency.mean", {}).get("value")) is not None
        }
        knee = knee_of(powers) if powers else None
        document["sweep"] = {"knee": knee, "points": parts}
        top = next((part for part in parts if part["concurrency"] == knee), parts[-1])
    return {**document, **top}


def point_document(point: Point, about: About) -> dict[str, Any]:
    """One load's figures, totals, faults, what the client saw of itself, and the samples."""
    figures = Figures()
    name = str(about.plan["target"]["name"])
    date = about.started_at[:10]
    metrics = add_figures(figures, Measured(point.samples, f"measured on {name}", date, about.slo, point.concurrency))
    _memory(figures, point, date)
    _energy(figures, point, date)
    if about.hourly:
        add_hourly(figures, about.hourly, about.plan["target"].get("unit") or "output")
    elif about.per_token:
        add_per_token(figures, about.per_token, metrics, f"measured on {name}")
    stop = None
    if point.rule:
        found = anytime_interval(point.values, point.rule.together, point.rule.level)
        seen = {"mean": found.mean, "low": found.low, "high": found.high, "means": found.n_means} if found else None
        stop = {**point.rule.document(), "anytime": seen, "reached": point.rule.reached(point.values)}
    return {
        "concurrency": point.concurrency,
        "figures": figures.document(),
        "totals": totals(point.samples),
        "faults": faults(point.samples),
        "client": client_of(point.ends, _sessions(point)),
        "stop": stop,
        "stopped_by": point.stopped_by,
        "sessions": len(_sessions(point)),
        "samples": list(point.samples),
    }


def _sessions(point: Point) -> list[int]:
    return sorted({sample["session"] for sample in point.samples})


def _memory(figures: Figures, point: Point, date: str) -> None:
    held_bytes = memory_of(point.ends, _sessions(point))
    known = held_bytes is not None
    lost = len(_sessions(point)) > 1 and any(end.memory_bytes is not None for end in point.ends.values())
    why = "a session was killed before it said" if lost else "the target's process isn't known; --server-pid names it"
    figures.add(
        Figure(
            "peak_memory_bytes",
            "the most memory that was held",
            held_bytes,
            "B",
            "measured",
            "the system's count for the process" if known else "none",
            date=date,
            note="" if known else why,
        )
    )


def _energy(figures: Figures, point: Point, date: str) -> None:
    """Joules of all sessions over the tokens and outputs of all; unknown stays unknown."""
    energy = energy_of(point.ends, _sessions(point))
    energy = replace(energy, date=energy.date or date) if energy else None
    if energy is None:
        note = "the target's machine isn't metered from here"
        energy = Figure("energy_j", "energy", None, "J", "measured", "none", date=date, note=note)
    figures.add(energy)
    here = totals(point.samples)
    for name, label, unit, key in (
        ("energy_per_output_token", "energy per output token", "J/tok", "output_tok"),
        ("energy_per_output", "energy per output", "J/output", "outputs"),
    ):
        amount = here[key]
        low, value, high = (
            float(one) / amount if one is not None and amount else None
            for one in (energy.low, energy.value, energy.high)
        )
        level, note = energy.level if value is not None else None, energy.note
        if energy.value is not None and not amount:
            note = "no answer" if amount == 0 else "not every answer says how many"
        figures.add(
            Figure(name, label, value, unit, energy.method, energy.source, f"energy_j ÷ {key}", ("energy_j",),
                   low, high, level, date, note)
        )  # fmt: skip


def read_result(path: Path) -> dict[str, Any]:
    """A result from a file.

    Raises: MeasureError (unreadable, too large, not JSON, of another schema, without figures or machine)"""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as fault:
        raise MeasureError(str(path), f"can't be read ({fault.strerror})", "a result of solvent measure") from None
    try:
        found = json.loads(content) if len(content) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or not _is_whole(found):
        raise MeasureError(str(path), "not a result of this version", f"JSON with schema {SCHEMA}")
    for name, figure in found["figures"].items():
        if not isinstance(figure, dict) or not all(_is_number(figure.get(key)) for key in ("value", "low", "high")):
            raise MeasureError(f"{path}: figures.{name}", repr(figure)[:60], "a figure")
    return found


def _is_whole(found: Mapping[str, Any]) -> bool:
    return all(isinstance(found.get(key), dict) for key in ("figures", "machine", "target", "workload", "load"))


def _is_number(text: Any) -> bool:
    if text is None:
        return True
    try:
        return isinstance(text, str) and abs(float(text)) < float("inf")
    except ValueError:
        return False

"""Steps from measurements: another weight format, cache format or batch than today's, on the same machine.

The first document is how it runs today; each other is a step. Cost falls with output tokens a second; quality kept
is e^(−divergence) where the measurement compared the two, else the ratio of accuracies, else unknown.
Enter at `steps_from_measurements`. Format of the documents: docs/reference/measurement.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from solvent.choose.offers.record import Range
from solvent.choose.path.offers import models_of, plain_name
from solvent.choose.path.step import Kind, Step
from solvent.errors import ChoiceError
from solvent.measure.machine import differences, same_machine

SCHEMA = "solvent.measurement/1"
RATE = "output_token_throughput"
# A measurement's interval is at 95%, a Range's at 90%: of a normal, 1.645 ÷ 1.960 as wide.
NARROWER = 1.6448536269514722 / 1.959963984540054
_WORDS: tuple[tuple[str, Kind, str], ...] = (
    ("model", "model", "Serve {}"),
    ("weight_format", "weights", "Weights in {}"),
    ("cache_format", "cache_format", "Cache in {}"),
)


def steps_from_measurements(
    documents: Sequence[Mapping[str, Any]], statement: Mapping[str, Any], stated: Sequence[Step] = ()
) -> tuple[Step, ...]:
    """A step for each document after the first.

    Where the first measured no model of the log, its steps need the stated step that moves to it: kind model, with the
    target's name in its id or title.
    Raises: ChoiceError (no measurement; another machine, workload or activations; no rate; a model that
    nothing here runs).
    """
    if not documents:
        return ()
    for document in documents:
        if document.get("schema") != SCHEMA:
            raise ChoiceError("measurement", f"schema is {str(document.get('schema'))[:80]!r}", repr(SCHEMA))
    today, *others = documents
    needs = _needs(today["target"], statement, stated)
    return tuple(_step(today, other, needs) for other in others)


def _step(today: Mapping[str, Any], other: Mapping[str, Any], needs: tuple[str, ...]) -> Step:
    name = _name(other)
    _comparable(today, other, name)
    before, after = (_rate(document) for document in (today, other))
    ratio = before[0] / after[0]
    # Two independent intervals, each a factor around its value: their logarithms' variances add.
    half = NARROWER * math.hypot(before[1], after[1])
    source = f"solvent measure: {_name(today)} at {before[0]:.3g} tok/s, {name} at {after[0]:.3g}"
    kind, title = _changed(today, other)
    quality, note = _quality(other)
    factor = Range(ratio, ratio * math.exp(-half), ratio * math.exp(half), "measured", source)
    return Step(
        "measured-" + "-".join(plain_name(part) for part in name.split(", ")).replace("@", "-"), kind, title, source,
        {"all": factor}, quality=quality, quality_note=note, one_of=f"measured-{kind}", needs=needs,
        date=str(other.get("started_at", ""))[:10] or None,
    )  # fmt: skip


def _comparable(today: Mapping[str, Any], other: Mapping[str, Any], name: str) -> None:
    here, there = today["machine"], other["machine"]
    if not same_machine(here, there):
        found = ", ".join(differences(here, there)) or "unknown parts"
        raise ChoiceError(
            f"measurement {name}", f"of another machine ({found})", "that of the first", "measure both here"
        )
    # Rounding for measuring, which no product runs with: results of before it was a choice have int8.
    ours, theirs = (document["target"].get("activations", "int8") for document in (other, today))
    if ours != theirs:
        raise ChoiceError(
            f"measurement {name}", f"with {ours} activations", f"{theirs}, as the first", "measure both alike"
        )
    if today.get("workload") != other.get("workload"):
        raise ChoiceError(f"measurement {name}", "of another workload", "that of the first", "measure both alike")


def _rate(document: Mapping[str, Any]) -> tuple[float, float]:
    """Output tokens a second, and half the logarithm of its interval's ends' ratio."""
    figure = document["figures"].get(RATE, {})
    if figure.get("value") is None or float(figure["value"]) <= 0:
        raise ChoiceError(
            f"measurement {_name(document)}", f"no {RATE}", "a measurement whose answers say their tokens"
        )
    low, high = figure.get("low"), figure.get("high")
    known = low is not None and high is not None and float(low) > 0
    return float(figure["value"]), math.log(float(high) / float(low)) / 2 if known else 0.0


def _changed(today: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Kind, str]:
    """What kind of step it is, by what of the target differs; by the load where nothing does."""
    for key, kind, words in _WORDS:
        before, after = today["target"].get(key), other["target"].get(key)
        if before != after:
            return kind, words.format(after or "another")
    return "batching", f"{other.get('concurrency')} answers at a time"


def _quality(document: Mapping[str, Any]) -> tuple[Range | None, str]:
    """Share of today's quality kept, from the worst of its comparisons."""
    found: list[tuple[Range, str]] = []
    for name, figure in document["figures"].items():
        if figure.get("value") is None or not name.startswith("quality."):
            continue
        value = float(figure["value"])
        low, high = (float(figure[key]) if figure.get(key) is not None else value for key in ("low", "high"))
        half = [NARROWER * (value - low), NARROWER * (high - value)]
        if name.endswith(".mean_kl"):
            kept = Range(math.exp(-value), math.exp(-value - half[1]), math.exp(-value + half[0]), "measured",
                         str(figure["source"]))  # fmt: skip
            found.append((kept, f"a divergence of {value:.3g} nats a token"))
        elif name.endswith(".accuracy_difference"):
            whole = document["figures"].get(name.removesuffix("_difference"), {}).get("value")
            before = float(whole) - value if whole is not None else 0.0
            if before > 0:
                ends = [max(1 + x / before, 0.0) for x in (value, value - half[0], value + half[1])]
                found.append((Range(ends[0], ends[1], ends[2], "measured", str(figure["source"])),
                              f"accuracy {float(str(whole)):.3g} against {before:.3g}"))  # fmt: skip
    return min(found, key=lambda pair: pair[0].value) if found else (None, "")


def _needs(target: Mapping[str, Any], statement: Mapping[str, Any], stated: Sequence[Step]) -> tuple[str, ...]:
    names = {plain_name(str(target[key])) for key in ("model", "name") if target.get(key)}
    if names & models_of(statement):
        return ()
    for step in stated:
        if step.kind == "model" and any(name in f"{step.id} {step.title}".lower() for name in names):
            return (step.id,)
    raise ChoiceError("measurement", f"of {' or '.join(sorted(names))}", "a model that the log ran, or a step of the "
                      "kind model that moves to it", "state that step in [[steps]]")  # fmt: skip


def _name(document: Mapping[str, Any]) -> str:
    target = document["target"]
    parts = [plain_name(str(target.get("name", "target"))), target.get("weight_format"), target.get("cache_format")]
    more = f", {document['concurrency']} at a time" if (document.get("concurrency") or 1) != 1 else ""
    return "@".join(str(part) for part in parts if part) + more

"""Samples every arm of a speed case in turn, and reads the bandwidth in the same rounds. Enter at `measure_speed`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.case import Arm
from benchmarks.measure import run_child, summary
from benchmarks.model_files import locate
from benchmarks.speed_case import CACHE_BYTES, SpeedArm, SpeedCase, Work

Tell = Callable[[str], None]


def measure_speed(case: SpeedCase, folder: Path, tell: Tell) -> dict[str, Any]:
    """The raw result: a card, and every sample of every arm. A process loads, warms up once, then takes its samples.

    Raises: SystemExit where a peer fails."""
    results = [_blank(arm) for arm in case.arms]
    buffer_bytes = _buffer_bytes(case.work, folder)
    before = os.getloadavg()[0]
    while any(not r["absent"] and len(r["samples"]) < case.samples for r in results):
        for arm, result in zip(case.arms, results, strict=True):
            left = case.samples - len(result["samples"])
            if result["absent"] or left <= 0:
                continue
            model = None if arm.limit else locate(arm.model, folder)
            if model is None and not arm.limit:
                result["absent"] = "no model file"
                tell(f"{arm.name()}: no model file {arm.model}")
                continue
            job = _job(case.work, arm, str(model), buffer_bytes) | {"repetitions": min(left, case.work.repetitions)}
            _take(result, run_child(Arm(arm.peer, None), job), arm, tell)
    load = {"before": before, "after": os.getloadavg()[0]}
    return {"kind": "speed", "work": _described(case.work), "buffer_bytes": buffer_bytes, "arms": results, "load": load}


def _blank(arm: SpeedArm) -> dict[str, Any]:
    about = {"arm": arm.name(), "peer": arm.peer, "limit": arm.limit, "threads": arm.threads, "model": arm.model}
    return {**about, "cache": arm.options.get("cache", "f16"), "absent": "", "version": "", "samples": []}


def _job(work: Work, arm: SpeedArm, model: str, buffer_bytes: int) -> dict[str, Any]:
    about = {"peer": arm.peer, "threads": arm.threads, "model": model, "buffer_bytes": buffer_bytes}
    return {**about, "kind": work.kind, "n_tokens": work.n_tokens, "depth": work.depth, **arm.options}


def _take(result: dict[str, Any], outcome: dict[str, Any], arm: SpeedArm, tell: Tell) -> None:
    """Adds a process's samples to its arm's."""
    if outcome.get("absent"):
        result["absent"] = "not installed"
        tell(f"{arm.name()}: not installed")
        return
    result["version"] = outcome["version"]
    result["samples"] += [{"rate": rate, "peak_bytes": outcome["peak_bytes"]} for rate in outcome["rates"]]
    if "model_bytes" in outcome:
        result["model_bytes"] = outcome["model_bytes"]
    shown = ", ".join(f"{rate:.4g}" for rate in outcome["rates"])
    tell(f"{arm.name()} on {arm.threads}: {shown} {'GB/s' if arm.limit else 'tok/s'}")


def _buffer_bytes(work: Work, folder: Path) -> int:
    """As much as a decoded token reads; for a prefill the weights. Without the model: 1 GiB."""
    model = locate(work.model, folder)
    return round((model.stat().st_size if model else 2**30) + work.cache_bytes())


def _described(work: Work) -> dict[str, Any]:
    return {
        "kind": work.kind, "model": work.model, "n_tokens": work.n_tokens, "depth": work.depth,
        "cache_values": work.cache_values, "cache_bytes": {name: work.cache_bytes(name) for name in CACHE_BYTES},
    }  # fmt: skip


def compare_speed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """How each arm's median rate moved against an older raw result of the same machine."""
    before = {(arm["arm"], arm["model"], arm["threads"]): arm for arm in old["arms"] if arm["samples"]}
    lines = []
    for arm in new["arms"]:
        then = before.get((arm["arm"], arm["model"], arm["threads"]))
        if arm["samples"] and then:
            was, now = (summary([s["rate"] for s in a["samples"]])["median"] for a in (then, arm))
            lines.append(f"{new['case']} {arm['arm']} on {arm['threads']}: {was:.4g} → {now:.4g} ({now / was:.2f}×)")
    return lines

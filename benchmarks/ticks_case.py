"""A ticks case: a load client beside others on a server that ticks exactly; its samples and its table.

A case file with a table [ticks] is one of these. Enter at `measure_ticks` and `ticks_section`.
"""

from __future__ import annotations

import os
import statistics
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.case import Arm
from benchmarks.measure import run_child


def is_ticks_case(path: Path) -> bool:
    return "ticks" in tomllib.loads(path.read_text("utf-8"))


def measure_ticks(path: Path, samples: int | None, tell: Callable[[str], None]) -> dict[str, Any]:
    """The raw result: every arm in turn, a process a sample.   Raises: SystemExit (a peer fails or loses tokens)"""
    raw = tomllib.loads(path.read_text("utf-8"))
    arms = [Arm(entry["peer"], None, options={k: v for k, v in entry.items() if k != "peer"}) for entry in raw["arms"]]
    results: list[dict[str, Any]] = [
        {"arm": arm.name(), "peer": arm.peer, "absent": False, "version": None, "samples": []} for arm in arms
    ]
    before = os.getloadavg()[0]
    for _ in range(samples or raw["samples"]):
        for arm, result in zip(arms, results, strict=True):
            if result["absent"]:
                continue
            outcome = run_child(arm, {"peer": arm.peer, **raw["ticks"], **arm.options})
            if outcome.get("absent"):
                result["absent"] = True
                continue
            result["version"] = outcome["version"]
            result["samples"].append(outcome)
            error = outcome["error_s"]["p99"] * 1e3
            tell(f"{arm.name()}: p99 {error:.3f} ms, its own {outcome['client_error_s']['p99'] * 1e3:.3f} ms")
    load = {"before": before, "after": os.getloadavg()[0]}
    about = {"title": raw["title"], "why": raw["why"], "bar_p99_s": raw["bar_p99_s"], "ticks": raw["ticks"]}
    return {**about, "kind": "ticks", "arms": results, "load": load}


def ticks_section(result: dict[str, Any]) -> str:
    """One section of a page: the median over the samples of each quantile, in milliseconds."""
    ticks = result["ticks"]
    lines = [
        f"## {result['title']}", "", result["why"], "",
        f"{ticks['n_streams']} streams, {ticks['n_tokens']} tokens each, {ticks['rate_per_s']:g} a second.", "",
        "| arm | version | samples | error of the gaps, ms: p50 | p99 | worst p99 | max | the client's own p99, ms |"
        " the server's own p99, ms | core used |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for arm in result["arms"]:
        if not arm["samples"]:
            lines.append(f"| {arm['arm']} | not installed | | | | | | | | |")
            continue
        cells = [
            _ms(arm, "error_s", "p50"), _ms(arm, "error_s", "p99"),
            f"{max(s['error_s']['p99'] for s in arm['samples']) * 1e3:.3f}", _ms(arm, "error_s", "max"),
            _ms(arm, "client_error_s", "p99"), _ms(arm, "server_error_s", "p99"),
            f"{statistics.median(s['cpu_share'] for s in arm['samples']):.0%}",
        ]  # fmt: skip
        lines.append(f"| {arm['arm']} | {arm['version']} | {len(arm['samples'])} | {' | '.join(cells)} |")
    ours = statistics.median(sample["error_s"]["p99"] for sample in result["arms"][0]["samples"])
    met = "met" if ours <= result["bar_p99_s"] else "missed"
    bar = result["bar_p99_s"] * 1e3
    load = result["load"]
    lines += [
        "", f"Bar: p99 at most {bar:g} ms. **{met.capitalize()}**: {ours * 1e3:.3f} ms.", "",
        f"Load {load['before']:.1f} before, {load['after']:.1f} after.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def ticks_page(title: str, results: list[dict[str, Any]]) -> str:
    """A published page: the machine, then a section a case."""
    facts = ", ".join(f"{key} {value}" for key, value in results[0]["machine"].items())
    made = f"Made by `make bench` on {results[0]['made_at'][:10]}. Machine: {facts}."
    return "\n".join([f"# {title}: measured", "", made, "", *map(ticks_section, results)])


def _ms(arm: dict[str, Any], key: str, quantile: str) -> str:
    return f"{statistics.median(sample[key][quantile] for sample in arm['samples']) * 1e3:.3f}"

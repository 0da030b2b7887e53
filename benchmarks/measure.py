"""Samples every arm of a case in turn, checks what each peer computed, and sums the samples up. Enter at `measure`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmarks.case import Arm, Case
from benchmarks.synthetic import describe, make_log, write_prices, write_project

CHILD = Path(__file__).parent / "child.py"
# A sum of n doubles is off by at most n · 2⁻⁵³ of the sum of their magnitudes: 1.1e-9 for 10M rows, all positive.
FLOAT_TOLERANCE_PER_ROW = 2.0**-53
Tell = Callable[[str], None]


def measure(case: Case, folder: Path, threads: int, tell: Tell) -> dict[str, Any]:
    """The raw result of a case: its card, and every sample of every arm.

    Raises: SystemExit where a peer fails or computes another total than ours.
    """
    jobs = [_job(arm, folder, threads, tell) for arm in case.arms]
    results: list[dict[str, Any]] = [_blank(arm) for arm in case.arms]
    before = os.getloadavg()[0]
    for round_no in range(case.warm_ups + case.samples):
        for arm, job, result in zip(case.arms, jobs, results, strict=True):
            if result["absent"]:
                continue
            outcome = run_child(arm, job)
            if outcome.get("absent"):
                result["absent"] = True
                tell(f"{arm.name()}: not installed")
                continue
            warm = round_no < case.warm_ups
            result["version"] = outcome["version"]
            result["warm_ups" if warm else "samples"].append(outcome)
            tell(f"{arm.name()}: {outcome['wall_s']:.2f} s{' (warm-up)' if warm else ''}")
    checks = _check(case, results, folder, threads)
    load = {"before": before, "after": os.getloadavg()[0]}
    return {"card": _card(case, folder), "arms": results, "checks": checks, "threads": threads, "load": load}


def _blank(arm: Arm) -> dict[str, Any]:
    n_rows = arm.shape.n_rows if arm.shape else None
    about = {"arm": arm.name(), "peer": arm.peer, "limit": arm.limit, "own_shape": arm.own_shape, "n_rows": n_rows}
    return {**about, "absent": False, "version": None, "warm_ups": [], "samples": []}


def _job(arm: Arm, folder: Path, threads: int, tell: Tell) -> dict[str, Any]:
    job: dict[str, Any] = {"peer": arm.peer, "threads": threads, **arm.options}
    if arm.shape is None:
        return job
    tell(f"log of {arm.shape.n_rows:,} rows, {arm.shape.kind}")
    job |= {"log": str(make_log(arm.shape, folder, threads)), "kind": arm.shape.kind, "ids": arm.shape.ids}
    prices = folder / "prices.json"
    job |= {"project": str(write_project(arm.shape, folder)), "prices": str(prices)}
    if not prices.exists():
        write_prices(folder)
    return job


def run_child(arm: Arm, job: dict[str, Any]) -> dict[str, Any]:
    """One sample. A peer whose library isn't installed here may name an interpreter that has it."""
    python = os.environ.get(f"SOLVENT_BENCH_PYTHON_{arm.peer.upper()}", sys.executable)
    done = subprocess.run([python, str(CHILD), json.dumps(job)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {arm.name()} failed:\n{done.stderr[-2000:]}")
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def _check(case: Case, results: list[dict[str, Any]], folder: Path, threads: int) -> list[dict[str, Any]]:
    """Every total against ours on the same log: equal where a peer is exact, within rounding where it adds doubles."""
    ours: dict[str, Fraction] = {}
    checks = []
    for arm, result in zip(case.arms, results, strict=True):
        done = [*result["warm_ups"], *result["samples"]]
        if arm.shape is None or result["absent"] or "total_usd" not in done[0]:
            continue
        job = _job(arm, folder, threads, lambda text: None)
        if job["log"] not in ours:
            reference = next(
                (
                    r
                    for a, r in zip(case.arms, results, strict=True)
                    if a.peer == "solvent_audit" and a.shape == arm.shape
                ),
                None,
            )
            outcome = (
                reference["samples"][0]
                if reference
                else run_child(Arm("solvent_audit", arm.shape), {**job, "peer": "solvent_audit"})
            )
            ours[job["log"]] = Fraction(outcome["total_usd"])
        totals = {Fraction(outcome["total_usd"]) for outcome in done}
        exact = bool(done[0]["exact"])
        tolerance = 0.0 if exact else FLOAT_TOLERANCE_PER_ROW * arm.shape.n_rows
        off = max(abs(float(total / ours[job["log"]]) - 1) if total != ours[job["log"]] else 0.0 for total in totals)
        equal = totals == {ours[job["log"]]} if exact else off <= tolerance
        if not equal:
            raise SystemExit(f"bench: {arm.name()} computes another total: off by {off:.3g}")
        checks.append({"arm": arm.name(), "exact": exact, "off": off, "tolerance": tolerance, "n_totals": len(done)})
    return checks


def _card(case: Case, folder: Path) -> list[dict[str, Any]]:
    """What has to be moved at least: rows, bytes on disk, bytes decoded, the columns that the audit reads."""
    import duckdb

    cards = []
    for shape in dict.fromkeys(arm.shape for arm in case.arms if arm.shape is not None):
        path = make_log(shape, folder)
        card: dict[str, Any] = {"log": path.name, **describe(shape, path)}
        if shape.kind == "parquet":
            with duckdb.connect() as con:
                sizes = con.execute(
                    "SELECT sum(total_uncompressed_size) FROM parquet_metadata(?)", [str(path)]
                ).fetchall()
            card["bytes_decoded"] = int(sizes[0][0])
        card["passes"] = 2 if shape.ids else 1
        cards.append(card)
    return cards


def summary(samples: list[float]) -> dict[str, float]:
    """Median, p10 and p90 (linear between order statistics)."""
    if len(samples) == 1:
        return {"median": samples[0], "p10": samples[0], "p90": samples[0]}
    deciles = statistics.quantiles(samples, n=10, method="inclusive")
    return {"median": statistics.median(samples), "p10": deciles[0], "p90": deciles[8]}

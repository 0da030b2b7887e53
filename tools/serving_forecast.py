"""Sits the exam of the serving predictor, writes its intervals and publishes the table.

    python tools/serving_forecast.py [--out DIR]

Leaves out in turn: whole configurations (five folds), each model × GPU, each GPU, each model. From the residuals it
writes src/solvent/choose/data/serving-intervals.toml, and benchmarks/published/prediction.md with -.json beside it.
Takes some minutes of one core. Deterministic for the same libraries.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src")]

from solvent.choose.predict.efficiency import calibrate, group_columns  # noqa: E402
from solvent.choose.predict.exam import Grade, Paper, grade, own_teacher, sit  # noqa: E402
from solvent.choose.predict.fits import misfit  # noqa: E402
from solvent.choose.predict.forecast import TARGETS  # noqa: E402
from solvent.choose.predict.interval import REGIMES, learn  # noqa: E402
from solvent.choose.predict.points import SOURCE, serving_points  # noqa: E402
from solvent.choose.predict.roofline import demands  # noqa: E402

INTERVALS = ROOT / "src/solvent/choose/data/serving-intervals.toml"
SAYS = {
    "configuration": "configuration left out (5 folds)",
    "model_and_gpu": "model × GPU left out",
    "gpu": "GPU left out, with every model",
    "family": "model left out, on every GPU",
}
QUANTITIES = {"output throughput ($/token)": "latency_s", "TPOT": "tpot_s", "TTFT": "ttft_s"}


def papers(mode: str, keys: tuple[str, ...]) -> dict[str, Paper]:
    """The exam of each key; the calibration of each fold starts from that of all points, to save its first steps."""
    points = [p for p in serving_points() if p.mode == mode]
    once = list({p.measurement: p for p in points if misfit(p.setup) is None}.values())
    setups = [p.setup for p in once]
    start = calibrate(
        demands(setups),
        group_columns(setups),
        np.array([p.tpot_s for p in once]),
        np.array([p.ttft_s for p in once]),
    )
    found = {}
    for key in keys:
        began = time.monotonic()
        found[key] = sit(points, key, lambda seen: own_teacher(seen, start))
        print(f"{mode} {key}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def intervals_toml(exam: dict[str, Paper]) -> str:
    lines = [
        "# Widths of 90% intervals by what was left out, made by tools/serving_forecast.py; see predict/interval.py.",
        f"# Residuals of {SOURCE}, points that fit, each measurement once.",
    ]
    for regime in REGIMES:
        paper = exam[regime]
        rows = _first_rows(paper)
        for target in TARGETS:
            setups = [paper.points[i].setup for i in rows]
            found = learn(setups, paper.residuals(target)[rows], groups=paper.fold[rows])
            weights = ", ".join(f"{w:.5f}" for w in found.weights)
            lines += [
                f"\n[{regime}.{target}]",
                f"weights = [{weights}]",
                f"low = {found.low:.5f}",
                f"high = {found.high:.5f}",
                f"n_points = {found.n_points}",
            ]
    return "\n".join(lines) + "\n"


def _first_rows(paper: Paper) -> list[int]:
    seen: dict[Any, int] = {}
    for i, point in enumerate(paper.points):
        if misfit(point.setup) is None:
            seen.setdefault(point.measurement, i)
    return list(seen.values())


def grades(paper: Paper) -> dict[str, dict[str, Grade]]:
    """Grades over all rows, over those that fit, and over those that fit with each measurement counted once."""
    fit = np.array([misfit(p.setup) is None for p in paper.points])
    once = np.zeros(len(fit), dtype=bool)
    once[_first_rows(paper)] = True
    everything = np.ones(len(fit), dtype=bool)
    return {
        label: {
            rows_label: grade(paper, target, rows, inverse=target == "latency_s")
            for rows_label, rows in (("all rows", everything), ("rows that fit", fit), ("each measurement once", once))
        }
        for label, target in QUANTITIES.items()
    }


def table(graded: dict[str, dict[str, dict[str, Grade]]]) -> list[str]:
    lines = [
        "| left out | quantity | rows | n | predicted | median error | p90 | physics alone | covered | median width |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key, quantities in graded.items():
        for quantity, by_rows in quantities.items():
            for rows, g in by_rows.items():
                lines.append(
                    f"| {SAYS[key]} | {quantity} | {rows} | {g.n_points:,} | {g.share_predicted:.0%} "
                    f"| {g.median_error:.1%} | {g.p90_error:.1%} | {g.physics_median_error:.1%} "
                    f"| {g.share_covered:.1%} | {g.median_width:.0%} |"
                )
    return lines


def by_group(paper: Paper) -> list[str]:
    """Error of throughput and of TTFT for each model × GPU, as left out."""
    lines = ["| model × GPU | rows | throughput, median error | bias | TTFT, median error |", "|---|---|---|---|---|"]
    names = np.array([p.model_and_gpu for p in paper.points])
    speed, first = paper.residuals("latency_s"), paper.residuals("ttft_s")
    for name in np.unique(names):
        rows = names == name
        error = np.median(np.abs(np.exp(speed[rows]) - 1))
        bias = np.exp(np.median(speed[rows])) - 1
        ttft = np.median(np.abs(np.exp(-first[rows]) - 1))
        lines.append(f"| {name} | {rows.sum()} | {error:.1%} | {bias:+.0%} | {ttft:.1%} |")
    return lines


def screened() -> list[str]:
    rows = [p for p in serving_points() if misfit(p.setup)]
    reasons = Counter((p.mode, p.model_and_gpu, misfit(p.setup)) for p in rows)
    lines = ["| rows | kind | model × GPU | why |", "|---|---|---|---|"]
    lines += [f"| {n} | {mode} | {name} | {why} |" for (mode, name, why), n in sorted(reasons.items())]
    return [*lines, "", "Their ids: " + ", ".join(f"`{p.id}`" for p in rows) + "."]


def page(graded: dict[str, Any], disagg: dict[str, Any], groups: list[str]) -> str:
    import sklearn

    return "\n".join(
        [
            "# Prediction of serving speed: the exam",
            "",
            "    python tools/serving_forecast.py",
            "",
            f"{SOURCE}; scikit-learn {sklearn.__version__}, numpy {np.__version__}, "
            f"Python {platform.python_version()}. Errors are |predicted/measured − 1|. "
            "Throughput is concurrency · osl / (ttft + (osl − 1) · tpot). What is "
            "left out, what fits and how intervals are made: docs/explanation/prediction.md. Covered: share inside 90% "
            "intervals learned from the other folds; width: (high − low)/value.",
            "",
            "## Aggregated points",
            "",
            *table(graded),
            "",
            "Anchors on the same rows: AIConfigurator 0.12, throughput: median 19.0%, p90 49.6%, 71% predicted; "
            "TTFT: median 46.4%.",
            "",
            "## Each model × GPU, left out",
            "",
            "Bias: measured latency over predicted, minus one. Every row listed, those that don't fit too.",
            "",
            *groups,
            "",
            "## Disaggregated points",
            "",
            "Prefill and decode on GPUs of their own, trained and examined apart; most rows don't state the workers.",
            "",
            *table(disagg),
            "",
            "## Rows screened out",
            "",
            "Not trained on; predicted and counted in “all rows”.",
            "",
            *screened(),
            "",
        ]
    )


def plain(graded: dict[str, dict[str, dict[str, Grade]]]) -> dict[str, Any]:
    return {key: {q: {r: asdict(g) for r, g in v.items()} for q, v in d.items()} for key, d in graded.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/published", help="where the table goes")
    args = parser.parse_args()
    exam = papers("agg", tuple(REGIMES))
    graded = {key: grades(paper) for key, paper in exam.items()}
    INTERVALS.write_text(intervals_toml(exam), "utf-8")
    disagg = {key: grades(paper) for key, paper in papers("disagg", ("configuration", "model_and_gpu")).items()}
    (args.out / "prediction.md").write_text(page(graded, disagg, by_group(exam["model_and_gpu"])), "utf-8")
    document = {
        "schema": "solvent.prediction-exam/1",
        "source": SOURCE,
        "aggregated": plain(graded),
        "disaggregated": {
            k: {q: {r: asdict(g) for r, g in v.items()} for q, v in d.items()} for k, d in disagg.items()
        },
    }
    (args.out / "prediction.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print("\n".join(table(graded)))


if __name__ == "__main__":
    main()

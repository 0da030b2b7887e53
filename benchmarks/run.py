"""Runs benchmark cases: make bench CASE=audit-parquet (none: lists them; several with commas; `all`).

Each case prints its card and table; raw samples go to build/bench/results, with --publish NAME to
benchmarks/published. Logs are made once under build/bench (or --data), outside git.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.case import CASES, case_names, read_case  # noqa: E402
from benchmarks.machine import fingerprint, refuse_other_machine  # noqa: E402
from benchmarks.measure import measure, summary  # noqa: E402
from benchmarks.speed import compare_speed, measure_speed  # noqa: E402
from benchmarks.speed_case import is_speed_case, read_speed_case  # noqa: E402
from benchmarks.speed_table import page as speed_page  # noqa: E402
from benchmarks.speed_table import section  # noqa: E402
from benchmarks.table import markdown, page  # noqa: E402
from benchmarks.ticks_case import is_ticks_case, measure_ticks, ticks_page, ticks_section  # noqa: E402

SCHEMA = "solvent.benchmark/1"
SPEED_SCHEMA = "solvent.benchmark.speed/1"
TICKS_SCHEMA = "solvent.benchmark.ticks/1"
SECTIONS = {SCHEMA: markdown, SPEED_SCHEMA: section, TICKS_SCHEMA: ticks_section}


def run_case(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One case measured. Raises: SystemExit for an unknown case or a peer that computes another total."""
    if name not in case_names():
        raise SystemExit(f"bench: no case {name!r}; there are: {', '.join(case_names())}")

    def tell(text: str) -> None:
        print(f"{name}: {text}", file=sys.stderr)

    about = {"case": name, "made_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": fingerprint()}
    path = CASES / f"{name}.toml"
    if is_ticks_case(path):
        return {"schema": TICKS_SCHEMA, **about, **measure_ticks(path, options.samples, tell)}
    if is_speed_case(path):
        speed = read_speed_case(path, options.samples, options.threads)
        about |= {"title": speed.title, "why": speed.why}
        return {"schema": SPEED_SCHEMA, **about, **measure_speed(speed, options.data, tell)}
    case = read_case(path, options.rows, options.samples)
    result = measure(case, options.data, options.threads or 2, tell)
    about |= {"title": case.title, "why": case.why}
    bars = {"bar_rows_per_s": case.bar_rows_per_s, "bar_peak_gib": case.bar_peak_gib}
    return {"schema": SCHEMA, **about, **bars, **result}


def compare(old_path: Path, new: dict[str, Any]) -> None:
    """Prints how each arm's median moved against an older raw result of the same machine and size."""
    old = json.loads(old_path.read_text("utf-8"))
    refuse_other_machine(old["machine"], new["machine"])
    if new["schema"] == SPEED_SCHEMA:
        print("\n".join(compare_speed(old, new)))
        return
    before = {arm["arm"]: arm for arm in old["arms"] if arm["samples"]}
    for arm in new["arms"]:
        then = before.get(arm["arm"])
        if arm["samples"] and then and then["n_rows"] == arm["n_rows"]:
            was, now = (summary([s["wall_s"] for s in a["samples"]])["median"] for a in (then, arm))
            print(f"{new['case']} {arm['arm']}: {was:.2f} s → {now:.2f} s ({was / now:.2f}×)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="?", default="", help="names of cases with commas, or all")
    parser.add_argument("--rows", type=int, help="rows of every log, for a trial")
    parser.add_argument("--samples", type=int, help="samples of every arm")
    parser.add_argument("--threads", type=int, help="2 for logs; for models both 1 and 2 where it isn't given")
    parser.add_argument("--data", type=Path, default=ROOT / "build/bench")
    parser.add_argument("--against", type=Path, help="an older raw result to compare with")
    parser.add_argument("--publish", metavar="NAME", help="write benchmarks/published/NAME.md and the raw samples")
    options = parser.parse_args()
    if not options.cases:
        print("\n".join(f"{name}: {read_case(CASES / f'{name}.toml').title}" for name in case_names()))
        return
    names = case_names() if options.cases == "all" else options.cases.split(",")
    folder = ROOT / "benchmarks/published" / options.publish if options.publish else options.data / "results"
    results = []
    for name in names:
        results.append(run_case(name, options))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(results[-1], indent=1) + "\n", "utf-8")
        print(SECTIONS[results[-1]["schema"]](results[-1]))
        if options.against:
            compare(options.against, results[-1])
    if options.publish:
        every = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
        for result in every:
            refuse_other_machine(every[0]["machine"], result["machine"])
        (kind, *others) = {result["schema"] for result in every}
        if others:
            raise SystemExit(f"bench: {folder} holds results of several kinds, which don't make one page")
        title = options.publish.capitalize().replace("-", " ")
        pages = {SPEED_SCHEMA: partial(speed_page, title), TICKS_SCHEMA: partial(ticks_page, title)}
        text = pages.get(kind, page)(every)
        folder.with_suffix(".md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()

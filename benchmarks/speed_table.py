"""A raw result of a speed case as Markdown: bytes, bandwidth and the limit they set, the arms. Enter at `section`."""

from __future__ import annotations

from typing import Any

from benchmarks.measure import summary

OURS = "solvent_engine"
CACHE_BYTES_KEY = "cache_bytes"
HEADS = ("arm", "file", "version", "samples", "tok/s, median (p10–p90)", "× the best peer", "MB a token",
         "share of the limit", "peak MiB")  # fmt: skip


def section(result: dict[str, Any]) -> str:
    """One section of a published page: a table a number of threads."""
    work = result["work"]
    what = (
        f"decode of {work['n_tokens']} tokens, one at a time, behind {work['depth']:,} cached ones"
        if work["kind"] == "decode"
        else f"prefill of {work['n_tokens']} tokens at once, empty cache"
    )
    lines = [f"## {result['title']}", "", result["why"], "", f"- {what}"]
    for threads in sorted({arm["threads"] for arm in result["arms"]}):
        lines += ["", *_arms(result, [arm for arm in result["arms"] if arm["threads"] == threads], threads)]
    load = result["load"]
    lines += ["", f"Load {load['before']:.1f} before, {load['after']:.1f} after.", ""]
    return "\n".join(lines)


def _arms(result: dict[str, Any], arms: list[dict[str, Any]], threads: int) -> list[str]:
    bandwidth = next((_median(arm) for arm in arms if arm["limit"] and arm["samples"]), None)
    peers = [_median(arm) for arm in arms if arm["samples"] and not arm["limit"] and arm["peer"] != OURS]
    best = max(peers, default=None)
    read = f"{bandwidth:.1f} GB/s" if bandwidth else "not measured"
    size = f"{result['buffer_bytes'] / 1e6:,.0f} MB"
    lines = [f"{threads} thread{'s' * (threads > 1)}; bandwidth over {size}, read in the same rounds: {read}.", ""]
    lines += [f"| {' | '.join(HEADS)} |", "|---|---|---|" + "---:|" * (len(HEADS) - 3)]
    for arm in arms:
        if arm["limit"]:
            continue
        if not arm["samples"]:
            lines.append(f"| {arm['arm']} | {arm['model']} | {arm['absent']} | | | | | | |")
            continue
        rate = summary([s["rate"] for s in arm["samples"]])
        ratio = f"{rate['median'] / best:.2f}" if best else ""
        moved = bytes_per_token(result["work"], arm)
        share = f"{rate['median'] * moved / bandwidth / 1e9:.0%}" if bandwidth and moved else ""
        peak = max(s["peak_bytes"] for s in arm["samples"]) / 2**20
        spread = f"{rate['median']:.4g} ({rate['p10']:.4g}–{rate['p90']:.4g})"
        lines.append(
            f"| {arm['arm']} | {arm['model']} | {arm['version']} | {len(arm['samples'])} | {spread} | {ratio}"
            f" | {f'{moved / 1e6:,.1f}' if moved else ''} | {share} | {peak:,.0f} |"
        )
    return lines


def bytes_per_token(work: dict[str, Any], arm: dict[str, Any]) -> float | None:
    """What a decoded token reads: every weight of the arm's file, and its cache. None for a prefill."""
    if work["kind"] != "decode" or "model_bytes" not in arm:
        return None
    return float(arm["model_bytes"] + work[CACHE_BYTES_KEY].get(arm["cache"], work[CACHE_BYTES_KEY]["f16"]))


def _median(arm: dict[str, Any]) -> float:
    return summary([s["rate"] for s in arm["samples"]])["median"]


def page(title: str, results: list[dict[str, Any]]) -> str:
    """A published page: the machine, then a section a case."""
    machine = results[0]["machine"]
    facts = ", ".join(f"{key} {value}" for key, value in machine.items())
    made = f"Made by `make bench` on {results[0]['made_at'][:10]}. Machine: {facts}."
    where = (
        "Raw samples: the JSON files in the folder of this page's name. How to read it: docs/reference/benchmarks.md."
    )
    head = [f"# {title}: measured", "", made, where, ""]
    return "\n".join(head) + "\n" + "\n".join(section(result) for result in results)

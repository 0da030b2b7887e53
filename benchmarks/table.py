"""A raw result as Markdown: the card, the arms, the share of the limit, the bar. Enter at `markdown`."""

from __future__ import annotations

from typing import Any

from benchmarks.measure import summary

GIB = 2**30


def markdown(result: dict[str, Any]) -> str:
    """One section of a published page."""
    lines = [f"## {result['title']}", "", result["why"], ""]
    for card in result["card"]:
        decoded = f", {card['bytes_decoded'] / 1e6:,.0f} MB decoded" if "bytes_decoded" in card else ""
        passes = "one pass over" if card["passes"] == 1 else "two passes over the ids, one over"
        size = f"{card['bytes'] / 1e6:,.0f} MB ({card['bytes'] / card['n_rows']:.0f} B a row{decoded})"
        columns = f"{len(card['columns'])} columns, {card['n_customers']:,} customers"
        lines.append(f"- {card['n_rows']:,} rows, {card['kind']}, {size}, {columns}; {passes} the rest")
    first = (result["arms"][0]["samples"] or [{}])[0]
    rows = _counts(result) if "counts" in first else _mixes(result) if "mix" in first else _arms(result)
    lines += ["", *rows, ""]
    for check in result["checks"]:
        how = (
            "equal to the last digit"
            if check["exact"]
            else f"off by {check['off']:.1e} (doubles; at most {check['tolerance']:.1e})"
        )
        lines.append(f"- total of `{check['arm']}`, {check['n_totals']} runs: {how}")
    load = result["load"]
    lines += ["", f"{result['threads']} threads; load {load['before']:.1f} before, {load['after']:.1f} after.", ""]
    return "\n".join(lines)


def _arms(result: dict[str, Any]) -> list[str]:
    limit = next((_rate(arm)["median"] for arm in result["arms"] if arm["limit"] and arm["samples"]), None)
    lines = ["| arm | version | samples | wall s, median (p10–p90) | rows/s | CPU s | peak GiB | share of the limit |",
             "|---|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for arm in result["arms"]:
        if arm["absent"]:
            lines.append(f"| {arm['arm']} | not installed | | | | | | |")
            continue
        wall = summary([s["wall_s"] for s in arm["samples"]])
        cpu = summary([s["cpu_s"] for s in arm["samples"]])["median"]
        peak = max(s["peak_bytes"] for s in arm["samples"]) / GIB
        rate = _rate(arm)["median"]
        note = f" ({arm['n_rows']:,} rows, extrapolated)" if arm["own_shape"] else ""
        share = f"{rate / limit:.0%}" if limit and not arm["own_shape"] else ""
        lines.append(
            f"| {arm['arm']}{note} | {arm['version']} | {len(arm['samples'])} | {wall['median']:.2f}"
            f" ({wall['p10']:.2f}–{wall['p90']:.2f}) | {rate:,.0f} | {cpu:.2f} | {peak:.2f} | {share} |"
        )
    lines += ["", *_bars(result)]
    return lines


def _rate(arm: dict[str, Any]) -> dict[str, float]:
    return summary([s["rows"] / s["wall_s"] for s in arm["samples"]])


def _bars(result: dict[str, Any]) -> list[str]:
    ours = result["arms"][0]
    lines = []
    if result["bar_rows_per_s"]:
        rate = _rate(ours)["median"]
        met = "met" if rate >= result["bar_rows_per_s"] else "missed"
        lines.append(f"Bar: {result['bar_rows_per_s']:,.0f} rows/s. **{met.capitalize()}**: {rate:,.0f}.")
    if result["bar_peak_gib"]:
        peak = max(s["peak_bytes"] for s in ours["samples"]) / GIB
        met = "met" if peak <= result["bar_peak_gib"] else "missed"
        lines.append(f"Bar: {result['bar_peak_gib']} GiB at most. **{met.capitalize()}**: {peak:.2f} GiB.")
    return lines


def _counts(result: dict[str, Any]) -> list[str]:
    sample = result["arms"][0]["samples"][0]
    heads = ("source", "models listed", "priced", "providers", "names and aliases", "resolved with provider",
             "bare names", "resolved bare")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    keys = ("listed", "priced", "providers", "names", "resolved", "bare_names", "bare_resolved")
    for row in sample["counts"]:
        lines.append(f"| {row['source']} | {' | '.join(f'{row[key]:,}' for key in keys)} |")
    c = sample["conflicts"]
    share = f" ({c['conflicting'] / c['shared']:.1%})" if c["shared"] else ""
    shared = f"Models that two catalogues or more price on {c['day']}: {c['shared']:,}"
    return [*lines, "", f"{shared}; by more than 1% apart: {c['conflicting']:,}{share}."]


def _mixes(result: dict[str, Any]) -> list[str]:
    heads = ("offers", "left after pruning", "machines", "gap", "solve s, median (worst)", "CPU s", "peak GiB", "bar")
    lines = [f"| market | {' | '.join(heads)} |", "|---" + "|---:" * len(heads) + "|"]
    for arm in result["arms"]:
        if not arm["samples"]:
            lines.append(f"| {arm['arm']} | not installed |{' |' * (len(heads) - 1)}")
            continue
        mixes = [sample["mix"] for sample in arm["samples"]]
        wall, cpu = ([mix[key] for mix in mixes] for key in ("solve_s", "solve_cpu_s"))
        gap = max(mix["gap"] for mix in mixes)
        met = "met" if gap <= 1e-3 and max(wall) < 20 else "missed"
        peak = max(s["peak_bytes"] for s in arm["samples"]) / GIB
        counts = " | ".join(f"{mixes[0][key]:,}" for key in ("n_offers", "n_left", "n_machines"))
        lines.append(
            f"| {arm['arm']} | {counts} | {gap:.3%}"
            f" | {summary(wall)['median']:.2f} ({max(wall):.2f}) | {summary(cpu)['median']:.2f} | {peak:.2f} | {met} |"
        )
    return lines


def page(results: list[dict[str, Any]]) -> str:
    """A published page: the machine, then a section a case."""
    machine = results[0]["machine"]
    facts = ", ".join(f"{key} {value}" for key, value in machine.items())
    made = f"Made by `make bench` on {results[0]['made_at'][:10]}. Machine: {facts}."
    where = (
        "Raw samples: the JSON files in the folder of this page's name. How to read it: docs/reference/benchmarks.md."
    )
    wing = "Choice" if any("mix" in sample for arm in results[0]["arms"] for sample in arm["samples"]) else "Money wing"
    head = [f"# {wing}: measured", "", made, where, ""]
    return "\n".join(head) + "\n" + "\n".join(markdown(result) for result in results)

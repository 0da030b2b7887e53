"""A measurement for a terminal: its figures with intervals, what failed, and what the client saw of itself.

It takes the result's document. What it doesn't do: measure, compute, or print. Enter at `measurement_lines`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LATENCIES = (
    "time_to_first_token",
    "inter_token_latency",
    "inter_chunk_latency",
    "time_per_output_token",
    "time_per_output_token_total",
    "request_latency",
)
SINGLES = (
    "output_token_throughput",
    "request_throughput",
    "output_throughput",
    "goodput",
    "good_request_fraction",
    "peak_memory_bytes",
    "energy_per_output_token",
    "energy_per_output",
    "usd_per_mtok_output",
    "cost_per_output_usd",
)
UNKNOWN = "unknown"
Figure = Mapping[str, Any]


def measurement_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The result, line by line."""
    target, totals = result["target"], result["totals"]
    formats = [target.get(key) for key in ("weight_format", "cache_format")]
    rounded = ", int16 activations" if target.get("activations") == "int16" else ""
    said = f" ({' weights, '.join(formats)} cache{rounded})" if all(formats) else ""
    yield f"{target['name']}{said}: {_load(result)}"
    failed = f", {totals['requests'] - totals['answers']} failed" if totals["answers"] < totals["requests"] else ""
    sessions = f" in {result['sessions']} sessions" if result["sessions"] > 1 else ""
    yield f"{totals['answers']:,} answers{failed} over {totals['window_s']:.3g} s{sessions}"
    yield ""
    yield from _latencies(result["figures"])
    yield ""
    for name in SINGLES:
        figure = result["figures"].get(name)
        if figure is None or (name == "output_throughput" and _as_requests(result["figures"])):
            continue
        yield _single(figure)
    scored = [figure for name, figure in result["figures"].items() if name.startswith("quality.")]
    if scored:
        yield ""
        yield from map(_single, scored)
    if "sweep" in result:
        yield ""
        yield from _sweep(result["sweep"])
    yield from _remarks(result)
    if "comparison" in result:
        yield ""
        yield from comparison_lines(result["comparison"])


def _as_requests(figures: Mapping[str, Figure]) -> bool:
    """Where each answer is one output, the second line would say the first again."""
    return bool(figures["output_throughput"]["value"] == figures["request_throughput"]["value"])


def _load(result: Mapping[str, Any]) -> str:
    work = result["workload"]
    if work["kind"] == "trace":
        what = f"trace {work['trace']}"
    else:
        about = f" (σ {work['spread']:g})" if work.get("spread") else ""
        what = f"{work['input_tok']:,} tokens in, {work['output_tok']:,} out{about}"
    rate = work.get("rate_per_s")
    at_a_time = "each at its time" if result["concurrency"] is None else f"{result['concurrency']} at a time"
    return f"{what}, " + (f"{rate:g} a second" if rate is not None else at_a_time)


def _latencies(figures: Mapping[str, Figure]) -> Iterator[str]:
    yield f"{'seconds':<38}{'p50':>10}{'p90':>10}{'p99':>10}{'mean':>10}   {'95% of the mean'}"
    for name in LATENCIES:
        first = figures[f"{name}.p50"]
        label = first["label"].removesuffix(", p50")
        if first["value"] is None:
            yield f"{label:<38}{UNKNOWN:>10}"
            continue
        values = "".join(f"{_short(figures[f'{name}.{part}']['value']):>10}" for part in ("p50", "p90", "p99", "mean"))
        yield f"{label:<38}{values}   {_interval(figures[f'{name}.mean'])}".rstrip()


def _single(figure: Figure) -> str:
    if figure["value"] is None:
        return f"{figure['label']:<38}{UNKNOWN:>10} {'':<13}{figure.get('note', '')}".rstrip()
    value, unit = _scaled(float(figure["value"]), figure["unit"])
    method = "" if figure["method"] == "measured" else f"{figure['method']}"
    interval = _interval(figure)
    return f"{figure['label']:<38}{value:>10} {unit:<12} {interval:<24}{method}".rstrip()


def _scaled(value: float, unit: str) -> tuple[str, str]:
    if unit == "B":
        return f"{value / 1e6:,.1f}", "MB"
    return (f"{value:.0%}", "") if unit == "1" else (_short(value), unit)


def _short(value: Any) -> str:
    number = float(value)
    return f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:.4g}"


def _interval(figure: Figure) -> str:
    if "low" not in figure or "high" not in figure:
        return ""
    low, high = (float(figure[end]) for end in ("low", "high"))
    return f"{low:.0%} to {high:.0%}" if figure["unit"] == "1" else f"{_short(low)} to {_short(high)}"


def _sweep(sweep: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'at a time':>10}{'tok/s':>10}{'answers/s':>12}{'latency s':>12}{'first token s':>15}"
    for point in sorted(sweep["points"], key=lambda one: one["concurrency"]):
        figures = point["figures"]
        cells = [
            _short(figures[name]["value"]) if name in figures and figures[name]["value"] is not None else UNKNOWN
            for name in (
                "output_token_throughput",
                "request_throughput",
                "request_latency.mean",
                "time_to_first_token.mean",
            )
        ]
        mark = "  the knee: most throughput for its latency" if point["concurrency"] == sweep["knee"] else ""
        yield f"{point['concurrency']:>10}{cells[0]:>10}{cells[1]:>12}{cells[2]:>12}{cells[3]:>15}{mark}"


def _remarks(result: Mapping[str, Any]) -> Iterator[str]:
    """What a reader must know before believing the numbers."""
    lines = [f"{name.removeprefix('note:')}: {n:,} answers" for name, n in result["faults"].items()]
    client = result["client"]
    lines += [f"the client was a bottleneck: {why}" for why in (client["bottleneck"] if client else ())]
    stop = result["stop"]
    if stop:
        seen = stop["anytime"]
        width = f"±{(seen['high'] - seen['mean']) / seen['mean']:.1%}" if seen and seen["mean"] else "too few answers"
        verb = "reached" if stop["reached"] else "not reached"
        lines.append(f"precision {stop['precision']:.1%} of {stop['metric']} {verb}: {width}, valid at any stop")
    lines += [str(note) for note in result["notes"]]
    if lines:
        yield ""
        yield from lines


def comparison_lines(comparison: Mapping[str, Any]) -> Iterator[str]:
    """Each figure then and now; a ratio whose intervals overlap is marked as no change that can be told."""
    machines = "the same machine" if comparison["same_machine"] else "ANOTHER MACHINE"
    yield f"against {comparison['old_started_at']}, {machines}"
    for key, (old, new) in comparison["differing"].items():
        yield f"  {key}: {old} → {new}"
    yield f"{'':<44}{'then':>12}{'now':>12}{'ratio':>9}"
    for row in comparison["rows"]:
        if row["old"] is None or row["new"] is None:
            continue
        ratio = f"{row['ratio']:.3f}" if row["ratio"] is not None else ""
        told = {True: "", False: "  within the intervals", None: ""}[row["apart"]]
        yield f"{row['label'][:43]:<44}{_short(row['old']):>12}{_short(row['new']):>12}{ratio:>9}{told}"

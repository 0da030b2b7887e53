"""The figures of a measurement: percentiles, means and rates over its answers, each with an interval and a source.

Failed answers are counted by name and give no latency; their tokens were not delivered and count in no rate. Where
some answers don't say how many tokens they are, rates of tokens are unknown, not smaller.
What it doesn't do: one answer's numbers (metrics.py), resampling (bootstrap.py), dollars (money.py).
Enter at `add_figures`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from solvent.figure import Figure, Figures
from solvent.measure import bootstrap
from solvent.measure.bootstrap import Estimate
from solvent.measure.metrics import Metrics, Sample, Slo, fault_of, of_answer

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
# Stretches of time that a rate is resampled by: enough for an interval, long enough to be unlike a single token.
N_STRETCHES = 20

# id, label, the values of one answer, formula
LATENCIES: tuple[tuple[str, str, Callable[[Metrics], Sequence[float | None]], str], ...] = (
    ("time_to_first_token", "time to first token", lambda m: (m.ttft_s,), "first piece − sent"),
    ("inter_token_latency", "inter-token latency", lambda m: m.gaps_per_tok_s or (), "gap ÷ tokens of its piece"),
    ("inter_chunk_latency", "inter-chunk latency", lambda m: m.gaps_s, "piece − piece before"),
    (
        "time_per_output_token",
        "time per output token after the first",
        lambda m: (m.tpot_s,),
        "(latency − time to first token)/(tokens − 1)",
    ),
    ("time_per_output_token_total", "time per output token, all of it", lambda m: (m.tpot_total_s,), "latency/tokens"),
    ("request_latency", "request latency", lambda m: (m.latency_s,), "last piece − sent"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What figures are made of. samples: of one load.   source, date: for their lineage.

    concurrency: of a closed loop; None for an open one."""

    samples: Sequence[Sample]
    source: str
    date: str
    slo: Slo | None = None
    concurrency: int | None = None

    def windows(self) -> list[tuple[float, float]]:
        """First sending and last end of each session: the time that a rate is over."""
        spans: dict[int, tuple[float, float]] = {}
        for sample in self.samples:
            ends = [sample["done_s"], *sample["chunk_s"][-1:], sample["sent_s"]]
            start_s, end_s = sample["sent_s"], max(end for end in ends if end is not None)
            was = spans.get(sample["session"], (start_s, end_s))
            spans[sample["session"]] = (min(was[0], start_s), max(was[1], end_s))
        return [spans[session] for session in sorted(spans)]


def add_figures(figures: Figures, measured: Measured) -> list[Metrics]:
    """Adds latencies, rates, counts and goodput; returns the metrics of the answers that didn't fail."""
    metrics = [found for sample in measured.samples if (found := of_answer(sample)) is not None]
    for name, label, values_of, formula in LATENCIES:
        groups = [[v for v in values_of(one) if v is not None] for one in metrics]
        _latency(figures, measured, (name, label, formula), [group for group in groups if group])
    _rates(figures, measured, metrics)
    if measured.slo:
        _goodput(figures, measured, metrics)
    return metrics


def _latency(figures: Figures, measured: Measured, about: tuple[str, str, str], groups: list[list[float]]) -> None:
    name, label, formula = about
    if not groups:
        _add(figures, measured, (f"{name}.p50", f"{label}, p50", "s", formula), None, "no answer says it")
        return
    note = f"{sum(map(len, groups)):,} values of {len(groups):,} answers"
    found = bootstrap.quantiles(groups, list(QUANTILES.values()))
    for quantile, estimate in zip(QUANTILES, found, strict=True):
        _add(figures, measured, (f"{name}.{quantile}", f"{label}, {quantile}", "s", formula), estimate, note)
    mean = bootstrap.ratio_of([sum(group) for group in groups], [float(len(group)) for group in groups])
    _add(figures, measured, (f"{name}.mean", f"{label}, mean", "s", formula), mean, note)


def _rates(figures: Figures, measured: Measured, metrics: list[Metrics]) -> None:
    windows = measured.windows()
    total_s = sum(end - start for start, end in windows)
    unknown = sum(one.output_tok is None for one in metrics)
    said = f"over {total_s:.3g} s"
    for name, label, unit, key in (
        ("output_token_throughput", "output tokens a second", "tok/s", "output_tok"),
        ("request_throughput", "answers a second", "requests/s", None),
        ("output_throughput", "outputs a second", "outputs/s", "n_outputs"),
    ):
        formula = f"{label.split(' a ')[0]} ÷ time from first sending to last end"
        about = (name, label, unit, formula)
        if key == "output_tok" and unknown:
            _add(figures, measured, about, None, f"{unknown} of {len(metrics)} answers don't say how many tokens")
        elif not metrics or total_s <= 0:
            _add(figures, measured, about, None, "no answer")
        else:
            _add(figures, measured, about, bootstrap.ratio_of(*_pairs(measured, metrics, key, total_s)), said)
    n_failed = len(measured.samples) - len(metrics)
    about = ("failed_requests", "requests that failed", "requests", "")
    named = ", ".join(f"{name} {n}" for name, n in sorted(faults(measured.samples).items()))
    _add(figures, measured, about, Estimate(n_failed), named)


def _pairs(
    measured: Measured, metrics: list[Metrics], key: str | None, total_s: float
) -> tuple[list[float], list[float]]:
    """Amounts and seconds whose sums make the rate, and which can be resampled.

    A closed loop: each answer's amount, and its share of the time by its latency (Little: the places are always
    full). An open loop, whose arrivals decide as much: stretches of the time."""
    all_s = sum(one.latency_s for one in metrics)
    if measured.concurrency is None or all_s <= 0:
        return _stretches(measured.samples, measured.windows(), key)
    amounts = [1.0 if key is None else float(getattr(one, key) or 0.0) for one in metrics]
    return amounts, [one.latency_s * total_s / all_s for one in metrics]


def _stretches(
    samples: Sequence[Sample], windows: list[tuple[float, float]], key: str | None
) -> tuple[list[float], list[float]]:
    """What was delivered in each of about 20 equal stretches of the time, and how long each is.

    key: "output_tok" is spread over an answer's pieces as they came; others count at its end."""
    total_s = sum(end - start for start, end in windows)
    amounts: list[float] = []
    lengths: list[float] = []
    firsts = []
    for start, end in windows:
        n = max(1, round(N_STRETCHES * (end - start) / total_s))
        firsts.append((len(amounts), n))
        amounts += [0.0] * n
        lengths += [(end - start) / n] * n
    sessions = {session: i for i, session in enumerate(sorted({sample["session"] for sample in samples}))}
    for sample in samples:
        if of_answer(sample) is None:
            continue
        window = sessions[sample["session"]]
        (start, end), (first, n) = windows[window], firsts[window]
        for at_s, amount in _deliveries(sample, key):
            place = int((at_s - start) / (end - start) * n) if end > start else 0
            amounts[first + min(max(place, 0), n - 1)] += amount
    return amounts, lengths


def _deliveries(sample: Sample, key: str | None) -> list[tuple[float, float]]:
    if key is None:
        return [(sample["done_s"], 1.0)]
    if key != "output_tok":
        return [(sample["done_s"], float(sample[key] or 0.0))]
    at_s, tok = sample["chunk_s"], sample["chunk_tok"]
    if at_s and all(n is not None for n in tok) and sum(tok) == sample["output_tok"]:
        return list(zip(at_s, map(float, tok), strict=True))
    if at_s:
        return [(one_s, sample["output_tok"] / len(at_s)) for one_s in at_s]
    return [(sample["done_s"], float(sample["output_tok"]))]


def _goodput(figures: Figures, measured: Measured, metrics: list[Metrics]) -> None:
    assert measured.slo is not None
    limits = ", ".join(f"{name} ≤ {limit_s:g} s" for name, limit_s in measured.slo.limits_s.items())
    n_good = sum(measured.slo.met(one) for one in metrics)
    n_all = len(measured.samples)
    about = ("good_request_fraction", "share of requests that keep the objectives", "1", "good ÷ all, failed ones too")
    _add(figures, measured, about, bootstrap.share_of(n_good, n_all) if n_all else None, limits)
    total_s = sum(end - start for start, end in measured.windows())
    share = figures["good_request_fraction"]
    about = ("goodput", "good answers a second", "requests/s", "good answers ÷ time from first sending to last end")
    scale = n_all / total_s if total_s > 0 else None
    found = None
    if scale is not None:
        ends = [None if end is None else float(end) * scale for end in (share.low, share.high)]
        found = Estimate(n_good / total_s, *ends)
    _add(figures, measured, about, found, limits)


def faults(samples: Sequence[Sample]) -> dict[str, int]:
    """How many answers failed, by the name of the fault; and how many carry each note, as `note:name`."""
    errors = Counter(fault for sample in samples if (fault := fault_of(sample)) is not None)
    notes = Counter("note:" + name for s in samples for name in {note.partition(":")[0] for note in s["notes"]})
    return {**errors, **notes}


def _add(
    figures: Figures, measured: Measured, about: tuple[str, str, str, str], found: Estimate | None, note: str = ""
) -> None:
    figure_id, label, unit, formula = about
    low, high = (found.low, found.high) if found else (None, None)
    figures.add(
        Figure(
            figure_id,
            label,
            found.value if found else None,
            unit,
            "measured",
            measured.source,
            formula,
            low=low,
            high=high,
            level=bootstrap.LEVEL if low is not None else None,
            date=measured.date,
            note=note,
        )
    )


def totals(samples: Sequence[Sample]) -> dict[str, Any]:
    """Requests, answers, tokens in and out (None where an answer doesn't say), outputs and seconds."""
    metrics = [found for sample in samples if (found := of_answer(sample)) is not None]
    prompt = [one.prompt_tok for one in metrics]
    output = [one.output_tok for one in metrics]
    return {
        "requests": len(samples),
        "answers": len(metrics),
        "prompt_tok": None if None in prompt else sum(n for n in prompt if n is not None),
        "output_tok": None if None in output else sum(n for n in output if n is not None),
        "outputs": sum(one.n_outputs or 0.0 for one in metrics),
        "window_s": sum(end - start for start, end in Measured(samples, "", "").windows()),
    }

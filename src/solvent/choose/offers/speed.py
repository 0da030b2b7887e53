"""How fast one machine is, from what was measured at one load or at two, or from a prediction.

A machine's second is shared between reading and writing: in/input_tok_per_s + out/output_tok_per_s = 1. Two loads of
one configuration give both rates; one load needs the share of the time that went to reading.
Enter at `from_points`, `from_measurement`, `from_prediction`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solvent.choose.offers.record import Range
from solvent.choose.offers.tables import Point, Prediction
from solvent.errors import ChoiceError
from solvent.figure import Method

# Formats of 4 bits and a scale are one to the predictor.
_PREDICTED_AS = {"mxfp4": "fp4", "nvfp4": "fp4", "f16": "bf16"}


@dataclass(frozen=True, slots=True)
class Speed:
    """What a machine does when it does nothing else, and how late it answers under that load; None where unknown."""

    input_tok_per_s: Range
    output_tok_per_s: Range
    ttft_s: Range | None = None
    itl_s: Range | None = None


def from_points(points: Sequence[Point], where: str, source: str, method: Method) -> Speed:
    """Solves in_k/r + out_k/w = 1 for two measured loads k (tokens per second in and out).

    Exact at both loads; between them it is the model that time adds up. Raises: ChoiceError where there aren't two
    loads of different mixes, or where no positive rates give them.
    """
    if len(points) != 2:
        raise ChoiceError(where, f"{len(points)} points", "two loads of one configuration, as [[choices.points]]")
    (in1, out1), (in2, out2) = ((p.output_tok_per_s * p.input_tok / p.output_tok, p.output_tok_per_s) for p in points)
    determinant = in1 * out2 - in2 * out1
    inverse_read = (out2 - out1) / determinant if determinant else 0.0
    inverse_write = (in1 - in2) / determinant if determinant else 0.0
    if inverse_read <= 0 or inverse_write <= 0:
        raise ChoiceError(where, "points whose rates no reading and writing speed gives", "loads of different mixes")
    note = f"{source}; from two loads: in/r + out/w = 1"
    return Speed(_point(1 / inverse_read, method, note), _point(1 / inverse_write, method, note))


def spread(found: Speed, share: float) -> Speed:
    """The speeds with a stated 90% interval of ± share where the points have none."""
    if share == 0.0:
        return found
    read, write = (
        Range(
            one.value,
            one.value * (1 - share),
            one.value * (1 + share),
            one.method,
            f"{one.source}; ±{share:.0%} stated",
        )
        for one in (found.input_tok_per_s, found.output_tok_per_s)
    )
    return Speed(read, write, found.ttft_s, found.itl_s)


def _point(value: float, method: Method, source: str) -> Range:
    return Range(value, value, value, method, source)


def from_measurement(path: Path, where: str) -> tuple[Speed, Mapping[str, Any]]:
    """Speed and the document of a result of `solvent measure`.

    φ = mean time to first token / mean request latency; input_tok_per_s = (prompt tokens/s)/φ, output_tok_per_s =
    (output tokens/s)/(1 − φ): exact at the measured mix. Latencies are the p90s.
    Raises: MeasureError (not a result), ChoiceError (no token counts, no throughput, nothing streamed).
    """
    from solvent.measure.result import read_result

    document = read_result(path)
    figures = document["figures"]
    rate = _range(figures, "output_token_throughput", path)
    ttft, latency = _value(figures, "time_to_first_token.mean"), _value(figures, "request_latency.mean")
    totals = document.get("totals", {})
    prompt, output = totals.get("prompt_tok"), totals.get("output_tok")
    if (
        rate is None
        or rate.low <= 0
        or ttft is None
        or not latency
        or not prompt
        or not output
        or not 0 < ttft < latency
    ):
        missing = "a streamed answer with a throughput, latencies and token counts"
        raise ChoiceError(f"{where}: {path}", "a measurement without them", missing, "measure again with --json")
    reading = ttft / latency
    speed = Speed(
        _scaled(rate, prompt / output / reading, "prompt tokens/s ÷ share of the time before the first token"),
        _scaled(rate, 1 / (1 - reading), "output tokens/s ÷ share of the time after it"),
        _range(figures, "time_to_first_token.p90", path),
        _range(figures, "inter_token_latency.p90", path),
    )
    return speed, document


def _scaled(rate: Range, factor: float, formula: str) -> Range:
    source = f"{rate.source}; {formula}"
    return Range(rate.value * factor, rate.low * factor, rate.high * factor, rate.method, source)


def _value(figures: Mapping[str, Any], name: str) -> float | None:
    value = figures.get(name, {}).get("value")
    return None if value is None else float(value)


def _range(figures: Mapping[str, Any], name: str, path: Path) -> Range | None:
    """A figure with its interval; one whose interval is unknown stands alone."""
    value = _value(figures, name)
    if value is None:
        return None
    ends = (figures[name].get("low"), figures[name].get("high"))
    low, high = (value if end is None else float(end) for end in ends)
    return Range(value, min(low, value), max(high, value), "measured", f"{path.name}: {name}")


def from_prediction(prediction: Prediction, model: str, weight_format: str, where: str) -> Speed:
    """Speed from `choose.predict`; its intervals are the calibrated 90% ones.

    φ = time to first token / (time to first token + osl · time per output token), as for a measurement.
    """
    # Trained on first use, which takes some seconds: imported only where something is to be predicted.
    from solvent.choose.predict.serving import Load, Parallel, predict_serving

    asked = prediction
    parallel = Parallel(asked.n_gpus, asked.replicated_attention, asked.expert_gpus)
    load = Load(asked.isl_tok, asked.osl_tok, asked.concurrency)
    known = _PREDICTED_AS.get(weight_format, weight_format)
    try:
        found = predict_serving(model, asked.system, known, parallel, load, asked.backend)
    except ChoiceError as fault:
        raise ChoiceError(where, f"no prediction: {fault}") from None
    reading = found.ttft_s.value / (found.ttft_s.value + prediction.osl_tok * found.tpot_s.value)
    rate = found.output_tok_per_s
    mix = prediction.isl_tok / prediction.osl_tok
    return Speed(
        _scaled(rate, mix / reading, "prompt tokens/s ÷ share of the time before the first token"),
        _scaled(rate, 1 / (1 - reading), "output tokens/s ÷ share of the time after it"),
        found.ttft_s,
        found.tpot_s,
    )

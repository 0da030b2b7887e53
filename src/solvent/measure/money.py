"""What the measured load costs: dollars per million tokens and per output, from an hourly price or a price per token.

A machine's hour is paid whether it is busy or idle: these figures are for a machine that carries the measured load all
the time, and a statement or a choice adds the idle hours.
What it doesn't do: read offers or rate cards (the command line gives the prices).
Enter at `add_hourly` and `add_per_token`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solvent.figure import Figure, Figures, Method, Number, weakest
from solvent.measure import bootstrap
from solvent.measure.metrics import Metrics

S_PER_HOUR = 3_600
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Hourly:
    """What one hour of the machine costs, busy or idle."""

    usd_per_hour: float
    source: str
    date: str | None = None
    method: Method = "priced"


@dataclass(frozen=True, slots=True)
class PerToken:
    """What the server's vendor asks for a million tokens read and made."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    source: str
    date: str | None = None


def add_hourly(figures: Figures, hourly: Hourly, output: str = "output") -> None:
    """usd_per_mtok_output = usd_per_hour/3600 ÷ tok/s · 10⁶ (all of the cost on the output); per output likewise.

    output: what one output is called."""
    figures.add(
        Figure("usd_per_hour", "an hour of the machine", hourly.usd_per_hour, "USD/h", hourly.method, hourly.source,
               date=hourly.date)
    )  # fmt: skip
    usd_per_s = hourly.usd_per_hour / S_PER_HOUR
    for name, label, unit, rate_id, scale in (
        ("usd_per_mtok_output", "dollars per million output tokens", "USD/Mtok", "output_token_throughput", MILLION),
        ("cost_per_output_usd", f"cost per {output}", "USD/output", "output_throughput", 1),
    ):
        rate = figures[rate_id]
        figures.add(
            Figure(
                name,
                label,
                _over(usd_per_s * scale, rate.value),
                unit,
                weakest((rate.method, hourly.method)),
                f"{rate.source}; {hourly.source}",
                f"usd_per_hour/3600 ÷ {rate_id}" + (" · 10⁶" if scale > 1 else ""),
                (rate_id, "usd_per_hour"),
                low=_over(usd_per_s * scale, rate.high),
                high=_over(usd_per_s * scale, rate.low),
                level=rate.level,
                date=rate.date,
                note="a machine that carries this load all the time; idle hours come on top"
                if rate.value
                else rate.note,
            )
        )


def add_per_token(figures: Figures, price: PerToken, metrics: Sequence[Metrics], source: str) -> None:
    """cost_per_output_usd = Σ(prompt · input + output · output price)/10⁶ ÷ outputs, resampled by answer.

    Unknown where an answer doesn't say its tokens."""
    for name, label, value in (
        ("input_usd_per_mtok", "price of a million tokens read", price.input_usd_per_mtok),
        ("output_usd_per_mtok", "price of a million tokens made", price.output_usd_per_mtok),
    ):
        figures.add(Figure(name, label, value, "USD/Mtok", "priced", price.source, date=price.date))
    costs = [
        (one.prompt_tok * price.input_usd_per_mtok + one.output_tok * price.output_usd_per_mtok) / MILLION
        for one in metrics
        if one.prompt_tok is not None and one.output_tok is not None
    ]
    outputs = [one.n_outputs or 0.0 for one in metrics]
    known = bool(metrics) and len(costs) == len(metrics) and sum(outputs) > 0
    found = bootstrap.ratio_of(costs, outputs) if known else None
    figures.add(
        Figure(
            "cost_per_output_usd",
            "cost per output",
            found.value if found else None,
            "USD/output",
            "priced",
            f"{source}; {price.source}",
            "Σ(prompt tokens · price in + output tokens · price out)/10⁶ ÷ outputs",
            ("input_usd_per_mtok", "output_usd_per_mtok"),
            low=found.low if found else None,
            high=found.high if found else None,
            level=bootstrap.LEVEL if found and found.low is not None else None,
            note="" if found else "an answer doesn't say how many tokens it read or made",
        )
    )


def _over(top: float, bottom: Number | None) -> float | None:
    """None where the rate is unknown, or so low that its end says nothing."""
    return top / float(bottom) if bottom is not None and bottom > 0 else None

"""One offer: a place to run one model in one way, with its price, speed, quality and memory, each an interval.

Unknown is `None` where a `Range` would stand, never zero: an offer with an unknown that a need asks about is
excluded with that reason.
What it doesn't do: read offers (`read`, `apis`, `rentals`), check them against needs (`screen`), choose (`mix`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from solvent.figure import Method

Kind = Literal["api", "rented", "owned", "workstation", "fleet"]
KINDS: tuple[Kind, ...] = ("api", "rented", "owned", "workstation", "fleet")
TOKEN_PRICES: tuple[str, ...] = ("input", "cache_read", "cache_write", "output", "reasoning")
HOURS_PER_DAY = 24
S_PER_HOUR = 3_600
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Range:
    """A number with its 90% interval: low ≤ value ≤ high. A number stated without one has low = value = high."""

    value: float
    low: float
    high: float
    method: Method
    source: str

    def __post_init__(self) -> None:
        assert self.low <= self.value <= self.high, f"{self.low} ≤ {self.value} ≤ {self.high} doesn't hold"


def exactly(value: float, method: Method, source: str) -> Range:
    """A number whose interval nobody states."""
    return Range(value, value, value, method, source)


@dataclass(frozen=True, slots=True)
class Offer:
    """One place to run one model in one way; all quantities are of one machine.

    price_usd_per_mtok: of an API, keys of `TOKEN_PRICES`; a key that is absent is unknown.
    usd_per_hour: of a machine, busy or idle, with capital, power and hosting inside. capital_usd … residual_usd:
    what it was made of.   billed: "day" where the machine is paid for in every hour in which it is available,
    "hour" where it can be given back each hour.   hours: the hours of the day (UTC) in which it is available;
    None: all.
    input_tok_per_s, output_tok_per_s: of a machine that does nothing else.   ttft_s, itl_s: under that load.
    quality: a score on `quality_metric`.   qualities: the scores on other metrics.
    memory_bytes: weights, cache and activations; memory_available_bytes: what the machine has for them.
    n_machines_max: None where as many can be had as are paid for.   pool: offers that name the same one are the
    same machines in another use (a format, a batch): together they have at most `n_machines_max`.
    family: offers that name the same one (variants of one choice) were measured together: what one turns out to
    be, all are; empty: the offer's own.
    """

    id: str
    kind: Kind
    vendor: str
    region: str | None
    model: str
    weight_format: str
    cache_format: str
    batch: int
    context_tok: int | None
    date: str
    source: str
    price_usd_per_mtok: Mapping[str, float] | None = None
    usd_per_hour: Range | None = None
    capital_usd: float | None = None
    life_years: float | None = None
    residual_usd: float | None = None
    watts: Range | None = None
    usd_per_kwh: float | None = None
    n_machines_max: int | None = None
    input_tok_per_s: Range | None = None
    output_tok_per_s: Range | None = None
    ttft_s: Range | None = None
    itl_s: Range | None = None
    quality: Range | None = None
    memory_bytes: int | None = None
    memory_available_bytes: int | None = None
    quality_metric: str = ""
    qualities: Mapping[str, Range] | None = None
    billed: Literal["day", "hour"] = "day"
    hours: tuple[int, ...] | None = None
    hardware: str = ""
    pool: str = ""
    family: str = ""

    @property
    def is_api(self) -> bool:
        return self.kind == "api"

    def luck(self) -> str:
        """Whose fortune it shares: its family's, else its own."""
        return self.family or self.id

    def paid_hours(self) -> tuple[int, ...]:
        """The hours of the day in which a machine of this offer can serve."""
        return tuple(range(HOURS_PER_DAY)) if self.hours is None else self.hours

    def score(self, metric: str) -> Range | None:
        """The score on a metric; an empty name asks for the offer's own."""
        if not metric or metric == self.quality_metric:
            return self.quality
        return (self.qualities or {}).get(metric)

"""The tables of an offers file: `[[choices]]`, `[needs]`, `[demand]`, as they are written, checked and bounded.

A number is a number, or a table {value, low, high, method, source} with its 90% interval. An unknown key is an error
that names the nearest. Nothing is computed here: `read` makes offers, needs and demand of these tables.
"""

from __future__ import annotations

import datetime
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from solvent.choose.offers.record import KINDS, TOKEN_PRICES, Kind
from solvent.figure import Method

MAX_CHOICES = 20_000
MAX_VARIANTS = 200
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=500)]


def _number(value: Any) -> Any:
    """Neither true nor "2" is a number."""
    if isinstance(value, bool | str):
        raise ValueError("a number is expected")
    return value


_Float = Annotated[float, BeforeValidator(_number)]
Amount = Annotated[_Float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Positive = Annotated[_Float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Share = Annotated[_Float, Field(gt=0, le=1, allow_inf_nan=False)]


class Table(BaseModel):
    """Unknown keys are errors, so that a typo never goes unnoticed; neither does a number that is none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_guess(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[info.field_name or ""].annotation)
        if (isinstance(value, bool) and bool not in kinds) or (isinstance(value, str) and str not in kinds):
            return _number(value) if kinds & {int, float, Quantity} else value
        return value


def _kinds(annotation: Any) -> set[Any]:
    """The plain types that an annotation allows, those inside tuples too."""
    parts = get_args(annotation)
    return set().union(*(_kinds(part) for part in parts)) if parts else {annotation}


class Quantity(Table):
    """A number with its 90% interval; without one it is taken as it stands."""

    value: Amount
    low: Amount | None = None
    high: Amount | None = None
    method: Method | None = None
    source: Text | None = None

    @model_validator(mode="after")
    def _is_an_interval(self) -> Quantity:
        _check_interval(self.low, self.value, self.high)
        return self


def _check_interval(low: float | None, value: float, high: float | None) -> None:
    low, high = value if low is None else low, value if high is None else high
    if not low <= value <= high:
        raise ValueError(f"expected low ≤ value ≤ high, not {low:g} ≤ {value:g} ≤ {high:g}")


def _quantity(value: Any) -> Any:
    """A bare number is its own interval."""
    return value if isinstance(value, dict | Quantity) else {"value": value}


Number = Annotated[Quantity, BeforeValidator(_quantity)]


class Point(Table):
    """A load that was measured on one machine: tokens in and out per request, and output tokens per second."""

    input_tok: Positive
    output_tok: Positive
    output_tok_per_s: Positive


class Score(Table):
    """A score on one metric, from 0 to 1."""

    metric: Name
    value: float = Field(ge=0, le=1)
    low: float | None = Field(default=None, ge=0, le=1)
    high: float | None = Field(default=None, ge=0, le=1)
    method: Method
    source: Text = Field(min_length=1)

    @model_validator(mode="after")
    def _is_an_interval(self) -> Score:
        _check_interval(self.low, self.value, self.high)
        return self


class Prediction(Table):
    """What to predict speed and latency from, where nothing was measured (docs/reference/prediction.md)."""

    system: Name
    n_gpus: int = Field(default=1, ge=1, le=1000)
    expert_gpus: int = Field(default=1, ge=1, le=1000)
    replicated_attention: bool = False
    backend: Literal["vllm", "sglang", "trtllm"] = "vllm"
    isl_tok: int = Field(ge=1, le=10**7)
    osl_tok: int = Field(ge=1, le=10**7)
    concurrency: int = Field(ge=1, le=10**5)


class Choice(Table):
    """One offer, or one for each of `variants`, whose keys stand in place of the table's own."""

    id: Name
    kind: Kind
    vendor: Name = "own"
    region: Name | None = None
    model: Name
    weight_format: Text = ""
    cache_format: Text = ""
    batch: int = Field(default=1, ge=1, le=10**6)
    context_tok: int | None = Field(default=None, ge=1, le=10**9)
    date: datetime.date
    source: Text = Field(min_length=1)
    method: Method = "claimed"
    provider: Name | None = None
    price_usd_per_mtok: dict[str, Amount] | None = None
    usd_per_hour: Number | None = None
    gpu: Name | None = None
    n_gpus: int = Field(default=1, ge=1, le=10**5)
    class_: Name | None = Field(default=None, alias="class")
    billed: Literal["day", "hour"] | None = None
    hours_utc: Annotated[str, Field(pattern=r"^\d{1,2}-\d{1,2}$")] | None = None
    capital_usd: Amount | None = None
    life_years: Positive | None = None
    residual_usd: Number | None = None
    watts: Number | None = None
    usd_per_kwh: Number | None = None
    pue: float = Field(default=1.0, ge=1, le=10)
    operator_share: float = Field(default=0.0, ge=0, le=100)
    availability: Share = 1.0
    n_machines_max: int | None = Field(default=None, ge=1, le=10**9)
    pool: Text = ""
    input_tok_per_s: Number | None = None
    output_tok_per_s: Number | None = None
    points: tuple[Point, ...] = ()
    speed_spread: float = Field(default=0.0, ge=0, lt=1)
    measurement: Name | None = None
    predict: Prediction | None = None
    ttft_s: Number | None = None
    itl_s: Number | None = None
    quality: tuple[Score, ...] = ()
    sequence_tok: int | None = Field(default=None, ge=1, le=10**9)
    memory_bytes: int | None = Field(default=None, ge=1, le=10**16)
    memory_available_bytes: int | None = Field(default=None, ge=1, le=10**16)
    variants: Annotated[tuple[dict[str, Any], ...], Field(max_length=MAX_VARIANTS)] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Choice:
        unknown = set(self.price_usd_per_mtok or {}) - set(TOKEN_PRICES)
        if unknown:
            near = get_close_matches(min(unknown), TOKEN_PRICES, n=1)
            meant = f"; is `{near[0]}` meant?" if near else ""
            raise ValueError(f"price_usd_per_mtok has `{min(unknown)}`, not one of {', '.join(TOKEN_PRICES)}{meant}")
        stated = [way for way in ("points", "measurement", "predict") if getattr(self, way)]
        if self.output_tok_per_s is not None:
            stated.append("output_tok_per_s")
        if len(stated) > 1:
            raise ValueError(f"speed is stated by {' and by '.join(stated)}; leave one")
        if (self.gpu is None) != (self.class_ is None) and self.usd_per_hour is None and self.kind == "rented":
            raise ValueError("a rented machine needs usd_per_hour, or gpu and class of the table of rentals")
        metrics = [score.metric for score in self.quality]
        twice = sorted({metric for metric in metrics if metrics.count(metric) > 1})
        if twice:
            raise ValueError(f"two scores on {twice[0]}; leave one")
        if self.kind in ("owned", "workstation") and self.billed == "hour":
            raise ValueError(f"a machine of kind {self.kind} is paid for, used or not: billed by the day")
        if self.kind in ("owned", "workstation") and self.usd_per_hour is None:
            needed = ("capital_usd", "life_years", "watts", "usd_per_kwh")
            missing = [key for key in needed if getattr(self, key) is None]
            if missing:
                raise ValueError(f"an {self.kind} machine needs {', '.join(missing)}" if self.kind == "owned" else
                                 f"a {self.kind} needs {', '.join(missing)}")  # fmt: skip
        return self


class NeedsTable(Table):
    """`[needs]`: docs/reference/choice.md."""

    ttft_s: Positive | None = None
    itl_s: Positive | None = None
    quality_floor: float | None = Field(default=None, ge=0, le=1)
    quality_metric: Text = ""
    context_tok: int | None = Field(default=None, ge=1, le=10**9)
    regions: tuple[Name, ...] = ()
    barred_vendors: tuple[Name, ...] = ()
    budget_usd_per_day: Amount | None = None
    power_cap_w: Amount | None = None
    headroom: float = Field(default=0.0, ge=0, lt=1)
    n_bad_ends: int | None = Field(default=None, ge=0, le=MAX_CHOICES)


class DemandTable(Table):
    """`[demand]`: a day that is stated, or a factor on the day of the statement."""

    outputs_per_day: Positive | None = None
    input_tok_per_output: Amount | None = None
    cache_read_tok_per_output: Amount = 0.0
    output_tok_per_output: Amount | None = None
    by_hour: Annotated[tuple[Amount, ...], Field(min_length=24, max_length=24)] | None = None
    factor: Positive = 1.0
    source: Text = ""
    date: datetime.date | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> DemandTable:
        stated = (self.outputs_per_day, self.input_tok_per_output, self.output_tok_per_output)
        if any(part is not None for part in stated) and None in stated:
            raise ValueError("a stated day needs outputs_per_day, input_tok_per_output and output_tok_per_output")
        if self.by_hour is not None and not sum(self.by_hour):
            raise ValueError("by_hour is all zeros; leave it out for a flat day")
        return self


class OffersFile(Table):
    """A file of offers: tables that may as well stand in solvent.toml."""

    schema_: Literal["solvent.offers/1"] = Field(default="solvent.offers/1", alias="schema")
    choices: Annotated[tuple[Choice, ...], Field(max_length=MAX_CHOICES)] = ()
    needs: NeedsTable = NeedsTable()
    demand: DemandTable = DemandTable()


def faults_of(error: ValidationError, limit: int = 8) -> str:
    """All faults in one line, each with its key and, for a typo, the nearest key."""
    faults = []
    for fault in error.errors()[:limit]:
        key = ".".join(str(part) for part in fault["loc"] if part not in ("function-before[_quantity()",))
        found = repr(fault["input"])
        found = found if len(found) <= 60 else found[:57] + "…"
        if fault["type"] == "extra_forbidden":
            near = get_close_matches(str(fault["loc"][-1]), _keys(), n=1)
            faults.append(f"`{key}` is no key of this file" + (f"; is `{near[0]}` meant?" if near else ""))
        elif fault["loc"] and fault["loc"][-1] == "kind":
            faults.append(f"`{key}` is {found}: one of {', '.join(KINDS)} is expected")
        else:
            faults.append(f"`{key}` is {found}: {fault['msg'].removeprefix('Value error, ')}")
    more = error.error_count() - limit
    return " | ".join(faults) + (f" | and {more} more" if more > 0 else "")


def _keys() -> tuple[str, ...]:
    """Every key that an offers file can hold."""
    keys: dict[str, None] = {}
    todo: list[Any] = [OffersFile]
    while todo:
        kind = todo.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys |= dict.fromkeys(field.alias or name for name, field in kind.model_fields.items())
            todo += [field.annotation for field in kind.model_fields.values()]
        else:
            todo += get_args(kind)
    return tuple(keys)

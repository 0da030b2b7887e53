"""Reads steps and the path's terms from TOML: `[[steps]]` and `[path]` of solvent.toml, or of a file of its own.

Every number is a number, or [value, low, high] with a 90% interval. A typo names the nearest key.
Quality is the share of today's that is kept; a step that changes the model and doesn't say has an unknown one.
Enter at `read_steps`. Format: docs/reference/path.md.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from solvent.choose.ages import STALE_AFTER_DAYS
from solvent.choose.offers.record import Range, exactly
from solvent.choose.path.step import FACTOR_KEYS, Kind, Step, Tail, Terms
from solvent.errors import ChoiceError
from solvent.figure import Method
from solvent.money.toml_file import read_toml, refuse_endless

MAX_BYTES = 4 << 20
MAX_STEPS = 200
WEEKS_PER_MONTH = 365.25 / 12 / 7
# Kinds that leave the model and its numbers alone, so that quality is what it is today.
SAME_MODEL: tuple[Kind, ...] = ("offer", "caching", "batching", "allowance", "overage", "price")
MODEL_KEPT = "the same model answers"


def _triple(value: Any) -> Any:
    """A number as [value, low, high]."""
    return value if isinstance(value, list | tuple) else (value, value, value)


def _ordered(triple: tuple[float, float, float]) -> tuple[float, float, float]:
    value, low, high = triple
    if not low <= value <= high:
        raise ValueError("expected [value, low, high] with low ≤ value ≤ high")
    return triple


Positive = Annotated[float, Field(strict=True, gt=0, le=1e4)]
Part = Annotated[float, Field(strict=True, ge=0, le=1)]
Least = Annotated[float, Field(strict=True, ge=0, le=1e3)]
Factors = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(_triple)]
Shares = Annotated[tuple[Part, Part, Part], BeforeValidator(_triple)]
Nats = Annotated[tuple[Least, Least, Least], BeforeValidator(_triple)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PathTable(Table):
    """What the path is asked for."""

    probability: float = Field(default=0.9, gt=0, lt=1)
    quality_floor: float = Field(default=0.9, ge=0, le=1)
    horizon_months: float = Field(default=12, gt=0, le=120)
    derive: bool = True
    draws: int = Field(default=8_000, ge=100, le=20_000)
    seed: int = Field(default=20_240_229, ge=0)
    stale_after_days: int = Field(default=STALE_AFTER_DAYS, ge=0, le=100_000)


class StepTable(Table):
    """One step as the file states it."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$")
    kind: Kind
    title: str = Field(min_length=1, max_length=200)
    source: str = Field(min_length=1, max_length=2_000)
    method: Method = "assumed"
    date: datetime.date | None = None
    cost: dict[Literal["all", "input", "cache", "output", "reasoning", "other"], Factors] = Field(default_factory=dict)
    share: Shares | None = None
    price_factor: Factors | None = None
    leave_share: Shares | None = None
    allowance_per_month: float | None = Field(default=None, gt=0, le=1e15)
    overage_usd_per_output: float | None = Field(default=None, gt=0, le=1e9)
    paid_share: Shares | None = None
    hit_leave_share: Shares | None = None
    quality: Factors | None = None
    divergence_nats: Nats | None = None
    quality_method: Method | None = None
    quality_source: str = Field(default="", max_length=2_000)
    fixed_share: float = Field(default=0, ge=0, le=1)
    effort_usd: float = Field(default=0, ge=0, le=1e12)
    weeks: float = Field(default=0, ge=0, le=520)
    one_of: str = Field(default="", max_length=60)
    needs: tuple[str, ...] = ()
    note: str = Field(default="", max_length=2_000)

    @model_validator(mode="after")
    def _consistent(self) -> StepTable:
        for triple in (*self.cost.values(), self.share, self.price_factor, self.leave_share, self.paid_share,
                       self.hit_leave_share, self.quality, self.divergence_nats):  # fmt: skip
            if triple is not None:
                _ordered(triple)
        if self.quality is not None and self.divergence_nats is not None:
            raise ValueError("quality and divergence_nats both; state one")
        if self.allowance_per_month is None and (self.overage_usd_per_output or self.paid_share):
            raise ValueError("overage_usd_per_output and paid_share need allowance_per_month")
        if (self.overage_usd_per_output is None) != (self.paid_share is None):
            raise ValueError("overage_usd_per_output and paid_share come together")
        if not (self.cost or self.price_factor or self.allowance_per_month):
            raise ValueError("changes neither cost, price_factor nor allowance_per_month")
        return self


class StepsFile(Table):
    """A file of steps."""

    schema_: Literal["solvent.steps/1"] = Field(alias="schema")
    path: PathTable = PathTable()
    steps: Annotated[tuple[StepTable, ...], Field(max_length=MAX_STEPS)] = ()


@dataclass(frozen=True, slots=True)
class Stated:
    """What a file states: terms, steps, and whether solvent should add steps that it finds itself."""

    terms: Terms
    steps: tuple[Step, ...]
    derive: bool = True


def read_steps(path: Path) -> Stated:
    """The steps of a file with schema solvent.steps/1, or of the `[path]` and `[[steps]]` tables of a solvent.toml.

    Raises: ChoiceError naming the file, the key, what was found and what was expected.
    """
    raw = read_toml(path, ChoiceError, MAX_BYTES)
    refuse_endless(raw, path, ChoiceError)
    if raw.get("schema") != "solvent.steps/1":
        raw = {key: raw[key] for key in ("path", "steps") if key in raw} | {"schema": "solvent.steps/1"}
    try:
        found = StepsFile.model_validate(raw)
    except ValidationError as error:
        raise ChoiceError(str(path), _faults(error), fix="see docs/reference/path.md") from None
    steps = tuple(_step(table, path.name) for table in found.steps)
    _check_names(steps, path)
    asked = found.path
    terms = Terms(asked.probability, asked.quality_floor, asked.horizon_months, asked.draws, asked.seed,
                  asked.stale_after_days)  # fmt: skip
    return Stated(terms, steps, asked.derive)


def _step(table: StepTable, file: str) -> Step:
    source = f"{table.source} ({file})"

    def stated(triple: tuple[float, float, float] | None) -> Range | None:
        return None if triple is None else Range(*triple, table.method, source)

    tail = None
    if table.allowance_per_month is not None:
        nobody = exactly(0.0, "assumed", f"{file} states nobody who leaves")
        tail = Tail(table.allowance_per_month, stated(table.hit_leave_share) or nobody, table.overage_usd_per_output,
                    stated(table.paid_share))  # fmt: skip
    quality, note = _quality(table, source)
    cost: dict[str, Range] = {key: Range(*triple, table.method, source) for key, triple in table.cost.items()}
    assert set(cost) <= set(FACTOR_KEYS)
    return Step(
        table.id, table.kind, table.title, source, cost, stated(table.share), stated(table.price_factor),
        stated(table.leave_share), tail, quality, note, table.fixed_share, table.effort_usd,
        table.weeks / WEEKS_PER_MONTH, table.one_of, table.needs,
        table.date.isoformat() if table.date else None, table.note,
    )  # fmt: skip


def _quality(table: StepTable, source: str) -> tuple[Range | None, str]:
    """The share of today's quality that is kept, and where that comes from.

    From a divergence of d nats a token: exp(−d), the probability that what the original expects keeps, as a
    geometric mean; `solvent convert` measures it.
    """
    where, method = table.quality_source or source, table.quality_method or table.method
    if table.quality is not None:
        return Range(*table.quality, method, where), table.quality_source
    if table.divergence_nats is not None:
        value, low, high = table.divergence_nats
        note = f"a divergence of {value:g} nats a token: what the original expects keeps {math.exp(-value):.0%} of its"
        return Range(math.exp(-value), math.exp(-high), math.exp(-low), method, where), note + " probability"
    if table.kind in SAME_MODEL:
        return exactly(1.0, table.method, MODEL_KEPT), MODEL_KEPT
    return None, ""


def _check_names(steps: tuple[Step, ...], path: Path) -> None:
    names = [step.id for step in steps]
    for step in steps:
        if names.count(step.id) > 1:
            raise ChoiceError(str(path), f"two steps are called {step.id!r}", "a name of its own for each")
        for name in step.needs:
            if name not in names:
                near = get_close_matches(name, names, n=1)
                raise ChoiceError(
                    str(path), f"step {step.id!r} needs {name!r}, which isn't there", "the id of a step",
                    f"is {near[0]!r} meant?" if near else "",
                )  # fmt: skip


def _faults(error: ValidationError) -> str:
    """All faults of the file in one line, each with its key; a key that isn't known with the nearest that is."""
    keys = [field.alias or name for model in (StepsFile, PathTable, StepTable) for name, field in
            model.model_fields.items()]  # fmt: skip
    faults = []
    for fault in error.errors(include_url=False)[:20]:
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            near = get_close_matches(str(fault["loc"][-1]), keys, n=1)
            faults.append(f"`{key}` is no key of this file" + (f"; is `{near[0]}` meant?" if near else ""))
        else:
            faults.append(f"`{key}` is {repr(fault['input'])[:60]}: {fault['msg'].removeprefix('Value error, ')}")
    return " | ".join(faults)

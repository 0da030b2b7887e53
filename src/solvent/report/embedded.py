"""The statement inside an HTML report: packed small enough for the page, and unpacked again.

A table's rows become lists of cells in the order of the columns; the lineage lines of rows stand beside them.
Where a statement is too large for the page, first lineage lines and then rows are cut, from the end of the
longest table; `shown` then says how many rows are left, and the page says it too.
Enter at `fit` and `unpack`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from solvent.report.hostile import script_json

LAYOUT = "solvent.statement/1 packed"
# The page must stay under 2 MB; styles, script, charts and the drawn rows take up to 0.4 MB of it.
MAX_DATA_BYTES = 1_500_000
# A row's lists of lines → the name of the list beside the rows that holds them.
LINEAGES = {"_lineage": "lineage", "_revenue_lineage": "revenue_lineage", "_margin_lineage": "margin_lineage"}
ROWS_WITH_LINEAGE = (20_000, 2_000, 500, 100, 20)
Document = dict[str, Any]


def fit(statement: Mapping[str, Any], max_bytes: int = MAX_DATA_BYTES) -> tuple[Document, str]:
    """The statement as far as it fits, and its packed JSON text of at most `max_bytes` ASCII characters."""
    packed = pack(statement, ROWS_WITH_LINEAGE[0])
    text = script_json(packed)
    for n_lineage in ROWS_WITH_LINEAGE[1:]:
        if len(text) <= max_bytes:
            break
        packed = pack(statement, n_lineage)
        text = script_json(packed)
    n_rows = max((len(table["rows"]) for table in packed["tables"].values()), default=0)
    while n_rows > 1 and len(text) > max_bytes:
        # Rows differ in length, so the first guess may be a little long; each round cuts at least a tenth.
        n_rows = min(n_rows * 9 // 10, n_rows * max_bytes // len(text) + 1)
        packed = pack(statement, ROWS_WITH_LINEAGE[-1], n_rows)
        text = script_json(packed)
    return unpack_tables(packed), text


def pack(statement: Mapping[str, Any], n_lineage: int, n_rows: int | None = None) -> Document:
    """The statement with its tables as lists of cells; of each table at most `n_rows` rows."""
    tables = {name: _pack_table(table, n_lineage, n_rows) for name, table in statement.get("tables", {}).items()}
    return {**statement, "tables": tables, "layout": LAYOUT}


def _pack_table(table: Mapping[str, Any], n_lineage: int, n_rows: int | None) -> Document:
    keys = [column["key"] for column in table["columns"]]
    # Cells beside the columns (a count of unpriced requests in a few rows) get a column of their own list.
    rows = table["rows"][:n_rows]
    extra = list(dict.fromkeys(key for row in rows for key in row if key not in keys and key not in LINEAGES))
    cells = [[row.get(key) for key in (*keys, *extra)] for row in rows]
    packed = {**table, "rows": cells, "shown": len(rows)} | ({"extra": extra} if extra else {})
    for key, name in LINEAGES.items():
        lines = [row.get(key) or [] for row in rows[:n_lineage]]
        while lines and not lines[-1]:
            lines.pop()
        packed |= {name: lines} if lines else {}
    return packed


def unpack(document: Document) -> Document:
    """The statement of a packed document; a document that isn't packed comes back as it is."""
    return unpack_tables(document) if document.get("layout") == LAYOUT else document


def unpack_tables(document: Document) -> Document:
    statement = {key: value for key, value in document.items() if key != "layout"}
    statement["tables"] = {name: _unpack_table(table) for name, table in document["tables"].items()}
    return statement


def _unpack_table(packed: Mapping[str, Any]) -> Document:
    keys = [*(column["key"] for column in packed["columns"]), *packed.get("extra", [])]
    rows = []
    for i, cells in enumerate(packed["rows"]):
        row = dict(zip(keys, cells, strict=True))
        for key, name in LINEAGES.items():
            lines = packed.get(name, [])
            if i < len(lines) and lines[i]:
                row[key] = lines[i]
        rows.append(row)
    return {k: v for k, v in packed.items() if k not in ("extra", *LINEAGES.values())} | {"rows": rows}

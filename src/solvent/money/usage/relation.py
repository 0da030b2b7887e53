"""A relation: the canonical requests of a log (or of a part of it) as one SQL query.

The flat readers write the query, the nested readers stage a table and name it; from here on
nobody knows which format the log had. Enter at `Relation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

DIMENSIONS: tuple[str, ...] = ("customer", "feature", "provider", "model", "service")


@dataclass(frozen=True, slots=True)
class Relation:
    """sql: SELECT of `at`, the varying dimensions, the buckets, `problem` (NULL where the row counts)
    and, where the log has them, `request_id`, `output_id`, `prefix_blocks`.
    dimensions: those that vary.   constants: the rest, each with its value (None: unknown).
    columnar: one column can be read without the others (Parquet, a table).
    buckets: those that the query has; every other bucket is zero because the log has no such thing.
    """

    sql: str
    dimensions: tuple[str, ...]
    constants: Mapping[str, str | None]
    buckets: tuple[str, ...]
    has_request_id: bool = False
    has_output_id: bool = False
    has_prefix_blocks: bool = False
    columnar: bool = False


def literal(value: str | int | float | None) -> str:
    """The value as an SQL literal; text can't leave its quotes."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("\x00", "").replace("'", "''") + "'"
    return repr(value)


def identifier(name: str) -> str:
    """The name as an SQL identifier; it can't leave its quotes."""
    return '"' + name.replace("\x00", "").replace('"', '""') + '"'


def one_row(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """The only row of a query, read to its end so that the connection is free again."""
    rows = con.execute(sql).fetchall()
    assert len(rows) == 1, f"{len(rows)} rows"
    return tuple(rows[0])

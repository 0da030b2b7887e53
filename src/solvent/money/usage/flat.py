"""Finds out how a flat log is laid out: CSV, JSONL or Parquet, its columns and their map.

Also unpacks a compressed log that was cut off, as far as it goes. What it doesn't do: read rows (`tabular`).
Enter at `flat_log`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from solvent.errors import LogError
from solvent.money.project import Log, Output
from solvent.money.usage.columns import column_map
from solvent.money.usage.problems import Problems
from solvent.money.usage.relation import literal
from solvent.money.usage.sources import SourceFile, open_bytes
from solvent.money.usage.tabular import FlatLog

if TYPE_CHECKING:
    import duckdb

HEAD_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
MAX_UNPACKED_BYTES = 64 << 30


def head(file: SourceFile, n_bytes: int) -> bytes:
    """The first bytes of a file, unpacked; fewer where it ends or is cut off before."""
    parts: list[bytes] = []
    left = n_bytes
    with open_bytes(file) as stream:
        try:
            while left and (part := stream.read(min(left, CHUNK_BYTES))):
                parts.append(part)
                left -= len(part)
        except (EOFError, OSError, ValueError):
            pass
    return b"".join(parts)


def flat_log(con: duckdb.DuckDBPyConnection, files: Sequence[SourceFile], log: Log, output: Output) -> FlatLog:
    """The flat log with its columns found and mapped."""
    first = files[0]
    kind = _kind(first)
    columns = dict(log.columns)
    if output.by is not None:
        columns["output_id"] = output.by
    delimiter = ","
    header: tuple[str, ...] = ()
    if kind == "parquet":
        rows = con.execute(f"DESCRIBE SELECT * FROM read_parquet({literal(str(first.path))})").fetchall()
        types = {row[0]: row[1] for row in rows}
    elif kind == "csv":
        delimiter, header = csv_header(first)
        types = dict.fromkeys(header, "VARCHAR")
    else:
        types = dict.fromkeys(_jsonl_keys(con, first), "VARCHAR")
    if {"timestamp", "input_length", "hash_ids"} <= types.keys() and "at" not in columns:
        columns.setdefault("at_offset_ms", "timestamp")
    mapped = column_map(list(types), columns, log.constants, log.ignore_keys, str(first.path))
    return FlatLog(
        tuple(str(f.path) for f in files),
        kind,
        mapped,
        types,
        log.zone,
        delimiter,
        header,
        log.start,
        log.end,
        first.compression,
    )


def _kind(file: SourceFile) -> str:
    data = head(file, 4096)
    if data.startswith(b"PAR1"):
        return "parquet"
    return "jsonl" if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"{", b"[")) else "csv"


def csv_header(file: SourceFile) -> tuple[str, tuple[str, ...]]:
    """Delimiter and column names of a CSV file. Raises: LogError for an empty file or repeated names."""
    text = head(file, HEAD_BYTES).decode("utf-8-sig", "replace")
    first = text.splitlines()[0] if text.strip() else ""
    if not first:
        raise LogError(str(file.path), "an empty file", "a header and at least one row")
    delimiter = max(",;\t|", key=first.count)
    header = tuple(next(csv.reader(io.StringIO(text), delimiter=delimiter)))
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise LogError(f"{file.path}:1", f"the column {repeated[0]!r} twice", "different names")
    if any(not name for name in header):
        raise LogError(f"{file.path}:1", "a column without a name", "a header with a name for every column")
    return delimiter, header


def _jsonl_keys(con: duckdb.DuckDBPyConnection, file: SourceFile) -> list[str]:
    """The top-level keys of the first records."""
    keys: dict[str, None] = {}
    for line in head(file, HEAD_BYTES).splitlines()[:2000]:
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(record, dict):
            keys.update(dict.fromkeys(record))
    if not keys:
        raise LogError(str(file.path), "no JSON object in its first lines", "one JSON object a line")
    return list(keys)


def unpack(files: Sequence[SourceFile], folder: Path, problems: Problems) -> list[SourceFile]:
    """The files unpacked into `folder`, each as far as it can be read; where one is cut off is a problem.

    Raises: LogError where a file unpacks to more than 64 GiB.
    """
    unpacked = []
    for i, file in enumerate(files):
        target = folder / f"unpacked-{i}{Path(file.path.stem).suffix}"
        size = 0
        with open_bytes(file) as stream, target.open("wb") as out:
            try:
                while part := stream.read(CHUNK_BYTES):
                    size += len(part)
                    if size > MAX_UNPACKED_BYTES:
                        raise LogError(str(file.path), "more than 64 GiB unpacked", "a smaller file")
                    out.write(part)
            except (EOFError, OSError, ValueError):
                problems.add(
                    "truncated",
                    "the compressed file is cut off",
                    file.label,
                    0,
                    "copy it again: what came before the cut is counted",
                )
        unpacked.append(SourceFile(target, "none", size))
    return unpacked

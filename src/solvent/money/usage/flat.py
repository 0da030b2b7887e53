"""Finds out how a flat log is laid out: CSV, JSONL or Parquet, its columns and their map.

Files that are laid out differently are told apart: no column is ever read under another file's header. Also makes
readable copies of damaged files. What it doesn't do: read rows (`tabular`). Enter at `flat_logs`.
"""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec
import zstandard

from solvent.errors import LogError
from solvent.money.project import Log, Output
from solvent.money.usage.columns import ColumnMap, column_map
from solvent.money.usage.csv_text import tidy
from solvent.money.usage.problems import Problems
from solvent.money.usage.sources import Compression, SourceFile, open_bytes
from solvent.money.usage.tabular import FlatLog, path_list

if TYPE_CHECKING:
    import duckdb

HEAD_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
MAX_UNPACKED_BYTES = 64 << 30
MAX_PACKED_BYTES_SAMPLED = 64 << 20
N_SAMPLES, SAMPLE_BYTES, MAX_SAMPLED_LINES = 64, 64 << 10, 2_000
# What reading a compressed file that is cut off or damaged raises.
DAMAGED = (EOFError, OSError, ValueError, zlib.error, zstandard.ZstdError)


def head(file: SourceFile, n_bytes: int) -> bytes:
    """The first bytes of a file, unpacked; fewer where it ends or is cut off before."""
    parts: list[bytes] = []
    left = n_bytes
    with open_bytes(file) as stream:
        try:
            while left and (part := stream.read1(min(left, CHUNK_BYTES))):
                parts.append(part)
                left -= len(part)
        except DAMAGED:
            pass
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What files must have in common to be read as one: in CSV a column is found by its place, elsewhere by name."""

    kind: str
    compression: Compression
    delimiter: str
    columns: tuple[tuple[str, str], ...]


def flat_logs(con: duckdb.DuckDBPyConnection, files: Sequence[SourceFile], log: Log, output: Output) -> list[FlatLog]:
    """The flat logs that the files are, each with its columns found and mapped: one for all that are laid out alike.

    Raises: LogError naming the file whose columns can't be mapped.
    """
    groups: dict[_Layout, list[SourceFile]] = {}
    objects: dict[Compression, list[tuple[SourceFile, tuple[str, ...]]]] = {}
    for file in files:
        kind = _kind(file)
        if kind == "jsonl":
            objects.setdefault(file.compression, []).append((file, tuple(json_keys(file))))
        else:
            groups.setdefault(_layout(con, file, kind), []).append(file)
    for compression, found in objects.items():
        for keys, alike in _alike(found, log, output):
            groups[_Layout("jsonl", compression, "", tuple((key, "VARCHAR") for key in keys))] = alike
    return [_flat_log(layout, alike, log, output) for layout, alike in groups.items()]


def _layout(con: duckdb.DuckDBPyConnection, file: SourceFile, kind: str) -> _Layout:
    if kind == "csv":
        delimiter, header = csv_header(file)
        return _Layout(kind, file.compression, delimiter, tuple((name, "VARCHAR") for name in header))
    source = f"read_parquet({path_list([str(file.path)])}, hive_partitioning=false)"
    rows = con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    return _Layout(kind, file.compression, "", tuple((row[0], row[1]) for row in rows))


def _flat_log(layout: _Layout, files: Sequence[SourceFile], log: Log, output: Output) -> FlatLog:
    types = dict(layout.columns)
    mapped = _map(list(types), log, output, str(files[0].path))
    return FlatLog(
        tuple(str(f.path) for f in files),
        layout.kind,
        mapped,
        types,
        log.zone,
        layout.delimiter,
        tuple(types) if layout.kind == "csv" else (),
        log.start,
        log.end,
        layout.compression,
    )


def _map(names: Sequence[str], log: Log, output: Output, where: str) -> ColumnMap:
    columns = dict(log.columns)
    if output.by is not None:
        columns["output_id"] = output.by
    if {"timestamp", "input_length", "hash_ids"} <= set(names) and "at" not in columns:
        columns.setdefault("at_offset_ms", "timestamp")
    return column_map(names, columns, log.constants, log.ignore_keys, where)


def _alike(
    files: Sequence[tuple[SourceFile, tuple[str, ...]]], log: Log, output: Output
) -> list[tuple[tuple[str, ...], list[SourceFile]]]:
    """JSONL files that one column map serves, with all their keys; records may lack keys, so files may too.

    A file whose own keys would be mapped otherwise (another name for the same thing) is read by its own map.
    """
    every = tuple(dict.fromkeys(key for _, keys in files for key in keys))
    whole = _map(every, log, output, str(files[0][0].path)).columns
    fits: list[SourceFile] = []
    others: dict[tuple[str, ...], list[SourceFile]] = {}
    for file, keys in files:
        try:
            own = _map(keys, log, output, str(file.path)).columns
        except LogError:
            own = {}
        if all(whole.get(target) == source for target, source in own.items()):
            fits.append(file)
        else:
            others.setdefault(keys, []).append(file)
    chosen = {str(file.path) for file in fits}
    theirs = dict.fromkeys(key for file, keys in files if str(file.path) in chosen for key in keys)
    return ([(tuple(theirs), fits)] if fits else []) + list(others.items())


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
    try:
        header = tuple(next(csv.reader(io.StringIO(text), delimiter=delimiter)))
    except csv.Error as error:
        found = f"a header that isn't CSV ({error})"
        raise LogError(f"{file.path}:1", found, "column names on the first line") from None
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise LogError(f"{file.path}:1", f"the column {repeated[0]!r} twice", "different names")
    if any(not name for name in header):
        raise LogError(f"{file.path}:1", "a column without a name", "a header with a name for every column")
    return delimiter, header


def json_keys(file: SourceFile) -> list[str]:
    """The top-level keys of records from all over a JSONL file: those of its beginning, then of places further on.

    A key that stands in a few records alone can be missed; one that a newer writer puts in every record isn't.
    """
    keys: dict[str, None] = {}
    for text in _samples(file):
        for line in text.splitlines()[:MAX_SAMPLED_LINES]:
            try:
                record = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if isinstance(record, dict):
                keys.update(dict.fromkeys(record))
    if not keys:
        raise LogError(str(file.path), "no JSON object in its first lines", "one JSON object a line")
    return list(keys)


def _samples(file: SourceFile) -> Iterator[bytes]:
    """The beginning of a file, then whole lines from N_SAMPLES places; a packed file is read through to them."""
    yield head(file, HEAD_BYTES)
    if file.compression != "none":
        if file.size_bytes <= MAX_PACKED_BYTES_SAMPLED:
            yield from _samples_of_packed(file)
        return
    step = (file.size_bytes - HEAD_BYTES) // N_SAMPLES
    if step <= 0:
        return
    with file.path.open("rb") as stream:
        for i in range(N_SAMPLES):
            # From the end backwards, so that the last place holds the newest records.
            stream.seek(max(HEAD_BYTES, file.size_bytes - SAMPLE_BYTES - i * step))
            yield stream.read(SAMPLE_BYTES).partition(b"\n")[2]


def _samples_of_packed(file: SourceFile) -> Iterator[bytes]:
    with open_bytes(file) as stream:
        try:
            while part := stream.read(CHUNK_BYTES):
                yield part[:SAMPLE_BYTES].partition(b"\n")[2]
        except DAMAGED:
            pass


def stand_ins(
    files: Sequence[SourceFile], folder: Path, problems: Problems
) -> tuple[list[SourceFile], dict[str, str], int]:
    """Copies that DuckDB can read: unpacked as far as they go, CSV with whole records only.

    → (the files to read, path of a copy → name of its original, records that couldn't be taken over).
    Raises: LogError where a file unpacks to more than 64 GiB.
    """
    copies, names, n_lost = [], {}, 0
    for i, file in enumerate(files):
        copy = file
        if file.compression != "none":
            copy = SourceFile(folder / f"unpacked-{i}", "none", _unpack(file, folder / f"unpacked-{i}", problems))
            n_lost += copy.size_bytes != (copy.path.stat().st_size)
        if _kind(copy) == "csv":
            delimiter, _ = csv_header(copy)
            target = folder / f"tidy-{i}"
            broken = tidy(copy.path, target, delimiter)
            for line in broken:
                problems.add("malformed", "broken quotes", file.label, line, "close the quote or double it")
            n_lost += len(broken)
            copy = SourceFile(target, "none", target.stat().st_size)
        copies.append(copy)
        names[str(copy.path)] = file.label
    return copies, names, n_lost


def is_whole(file: SourceFile) -> bool:
    """Whether a file unpacks to its end: DuckDB reads one that is cut off or damaged without a word."""
    if file.compression == "none":
        return True
    with open_bytes(file) as stream:
        try:
            while stream.read(CHUNK_BYTES):
                pass
        except DAMAGED:
            return False
    return True


def _unpack(file: SourceFile, target: Path, problems: Problems) -> int:
    """Unpacks a file up to its last whole line. → bytes that could be read, the part of a line included."""
    size = 0
    with open_bytes(file) as stream, target.open("wb") as out:
        try:
            while part := stream.read1(CHUNK_BYTES):
                size += len(part)
                if size > MAX_UNPACKED_BYTES:
                    raise LogError(file.label, "more than 64 GiB unpacked", "a smaller file")
                out.write(part)
            return size
        except DAMAGED:
            fix = "copy it again: what came before the cut is counted"
            problems.add("truncated", "the compressed file is cut off or damaged", file.label, 0, fix)
    with target.open("r+b") as out:
        out.truncate(_last_line_end(out, size))
    return size


def _last_line_end(file: BinaryIO, size: int) -> int:
    end = size
    while end:
        start = max(0, end - CHUNK_BYTES)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0

"""Where a log comes from: files, globs and folders, plain or compressed, as a stream of bounded JSON records.

Read as they come: JSONL, a JSON array (one element a line, or spread over lines), pretty-printed documents, several
in a row. A fault becomes a `Malformed` in the place of its record, and reading goes on at the next line that is whole.
Of a key that an object holds twice the last counts. Numbers that only Python writes (NaN) are read, not counted.
What it doesn't do: know formats (`recognise`), read CSV or Parquet (`tabular`). Enter at `find`, then `records`.
"""

from __future__ import annotations

import glob
import gzip
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import zstandard

from solvent.errors import LogError

Compression = Literal["none", "gzip", "zstd"]

MAX_LINE_BYTES = 32 << 20
MAX_DOCUMENT_BYTES = 512 << 20
MAX_FILES = 200_000
# `zstd --long` beyond 128 MiB of window would let a small file ask for gigabytes.
MAX_WINDOW_BYTES = 1 << 27
# What a folder is searched for; a file named outright may be called anything.
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".pq", ".log")
PACKED = (".gz", ".gzip", ".zst", ".zstd")

_MAGIC: tuple[tuple[bytes, Compression], ...] = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a log.   size_bytes: as it lies on disk."""

    path: Path
    compression: Compression
    size_bytes: int

    @property
    def label(self) -> str:
        """How messages name the file: its last two parts, which say enough and leak little."""
        return "/".join(self.path.parts[-2:]) if len(self.path.parts) > 2 else str(self.path)


@dataclass(frozen=True, slots=True)
class Malformed:
    """A record that can't be read."""

    kind: Literal["malformed", "truncated"]
    detail: str


def find(paths: Sequence[Path | str]) -> list[SourceFile]:
    """The files that the paths, globs and folders mean: each once, folders searched deep and in sorted order.

    Raises: LogError (nothing there, not a file, unreadable, all empty, too many).
    """
    found: dict[tuple[int, int], SourceFile] = {}
    seen_any = False
    for given in paths:
        for path in _expand(str(given)):
            seen_any = True
            source = _source(path)
            if source is not None:
                found.setdefault(source[0], source[1])
            if len(found) > MAX_FILES:
                raise LogError(str(given), f"more than {MAX_FILES:,} files", fix="audit a narrower folder")
    where = ", ".join(str(p) for p in paths[:3]) or "log"
    if not seen_any:
        raise LogError(where, "no log file", "files named " + " ".join(SUFFIXES), "name a file, a folder or a glob")
    if not found:
        raise LogError(where, "empty", "a log with at least one request")
    return list(found.values())


def _expand(given: str) -> list[Path]:
    path = Path(given).expanduser()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(given) else []
        if not matches:
            reason = getattr(error, "strerror", None) or "not a path"
            raise LogError(given, f"can't be read ({reason})", fix="name an existing file, folder or glob") from None
        return [file for match in matches for file in _expand_plain(Path(match))]
    return _walk(path) if stat.S_ISDIR(mode) else [path]


def _expand_plain(path: Path) -> list[Path]:
    return _walk(path) if path.is_dir() else [path]


def _walk(folder: Path) -> list[Path]:
    """The log files under a folder in sorted order; a folder reached twice (links) is entered once."""
    files: list[Path] = []
    entered: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        raise LogError(str(error.filename), f"can't be read ({error.strerror})") from None

    for root, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        info = os.stat(root)
        if (info.st_dev, info.st_ino) in entered:
            folders[:] = []
            continue
        entered.add((info.st_dev, info.st_ino))
        folders.sort()
        for name in sorted(names):
            low = name.lower()
            bare = next((low[: -len(end)] for end in PACKED if low.endswith(end)), low)
            path = Path(root) / name
            if bare.endswith(SUFFIXES) and path.is_file():
                files.append(path)
    return files


def _source(path: Path) -> tuple[tuple[int, int], SourceFile] | None:
    """The file with its identity on disk; None where it is empty."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise LogError(str(path), "not a regular file", "a file, a folder or a glob")
        if info.st_size == 0:
            return None
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise LogError(str(path), f"can't be read ({error.strerror})") from None
    compression: Compression = next((name for magic, name in _MAGIC if start.startswith(magic)), "none")
    return (info.st_dev, info.st_ino), SourceFile(path, compression, info.st_size)


class _Zstd(io.RawIOBase):
    """A zstd file, frame after frame; a frame that ends early raises EOFError."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._context = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
        self._frame = self._context.decompressobj()
        self._open = False
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._rest:
            chunk = self._file.read(1 << 16)
            if not chunk:
                if self._open:
                    raise EOFError("the last frame ends early")
                return 0
            while chunk:
                self._open = True
                try:
                    self._rest += self._frame.decompress(chunk)
                except zstandard.ZstdError as error:
                    raise OSError("damaged zstd data") from error
                chunk = self._frame.unused_data if self._frame.eof else b""
                if self._frame.eof:
                    self._frame, self._open = self._context.decompressobj(), False
        n = min(len(target), len(self._rest))
        target[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n

    def close(self) -> None:
        self._file.close()
        super().close()


def open_bytes(file: SourceFile) -> io.BufferedIOBase:
    """The decompressed bytes of a file, read as they are asked for."""
    if file.compression == "gzip":
        return gzip.GzipFile(file.path, mode="rb")
    raw = file.path.open("rb")
    return io.BufferedReader(_Zstd(raw), 1 << 17) if file.compression == "zstd" else raw


def lines(file: SourceFile, limit_bytes: int | None = None) -> Iterator[tuple[int, bytes | Malformed]]:
    """The lines of a file with their numbers from 1; a line too long or cut off comes as a `Malformed`.

    The first line may be a whole document. `limit_bytes`: nothing is read past this many bytes.
    """
    number = read = 0
    with open_bytes(file) as stream:
        while limit_bytes is None or read < limit_bytes:
            number += 1
            limit = MAX_DOCUMENT_BYTES if number == 1 else MAX_LINE_BYTES
            try:
                line = stream.readline(limit + 1)
                if not line:
                    return
                read += len(line)
                if len(line) > limit:
                    yield number, Malformed("malformed", f"a line longer than {limit >> 20} MiB")
                    _skip_line(stream)
                    continue
            except (EOFError, OSError, zlib.error) as error:
                yield number, Malformed("truncated", _cut(error))
                return
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
                if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                    yield number, Malformed("malformed", "UTF-16 text; convert the file to UTF-8")
                    return
            yield number, line


def _skip_line(stream: io.BufferedIOBase) -> None:
    while True:
        part = stream.readline(1 << 20)
        if not part or part.endswith(b"\n"):
            return


def _cut(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the compressed file ends early; what came before is counted"
    return "the compressed data is damaged; what came before is counted"


def records(file: SourceFile, limit_bytes: int | None = None) -> Iterator[tuple[int, dict[str, Any] | Malformed]]:
    """The JSON objects of a file, each with the line it starts on, and a `Malformed` for each that can't be read.

    Bounds: lines of MAX_LINE_BYTES, documents of MAX_DOCUMENT_BYTES, nesting as deep as the parser goes.
    """
    assembly = _Assembly()
    for number, line in lines(file, limit_bytes):
        if isinstance(line, Malformed):
            yield from assembly.abandon()
            yield number, line
            if line.kind == "truncated":
                return
            continue
        if not assembly.busy:
            try:
                record = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
            else:
                if record.__class__ is dict:
                    yield number, record
                else:
                    yield from _elements(number, record)
                continue
        yield from assembly.take(number, line)
    if limit_bytes is None:
        yield from assembly.end()


def _elements(number: int, value: Any) -> Iterator[tuple[int, dict[str, Any] | Malformed]]:
    for element in value if type(value) is list else [value]:
        yield number, element if type(element) is dict else Malformed("malformed", "not a JSON object")


class _Assembly:
    """Puts together what doesn't stand on one line: arrays and pretty-printed documents.

    Counts brackets outside strings. A line that starts at the margin and is a whole object by itself ends a document
    that never closed (a writer died), so one torn line doesn't swallow the rest of a log.
    """

    def __init__(self) -> None:
        self._array = False
        self._array_line = 0
        self._start = 0
        self._held: list[bytes] = []
        self._size = 0
        self._depth = 0

    @property
    def busy(self) -> bool:
        return bool(self._held) or self._array

    def take(self, number: int, line: bytes) -> Iterator[tuple[int, dict[str, Any] | Malformed]]:
        text = line.strip()
        if not text:
            return
        if self._held:
            if line[:1] == b"{" and not self._array and isinstance(_parsed(text), dict):
                yield from self._drop("an object that never closes")
                yield from _elements(number, _parsed(text))
                return
        elif text[:1] == b"[" and not self._array:
            self._array, self._array_line = True, number
            text = text[1:].strip()
        yield from self._hold(number, text)

    def _hold(self, number: int, text: bytes) -> Iterator[tuple[int, dict[str, Any] | Malformed]]:
        if not text:
            return
        bare = _STRING.sub(b"", text)
        if b'"' in bare:
            if self._held:
                yield from self._drop("an object with a broken string")
            else:
                yield number, Malformed("malformed", "not JSON")
            return
        if not self._held:
            self._start = number
        self._held.append(text)
        self._size += len(text) + 1
        self._depth += bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")
        if self._size > MAX_DOCUMENT_BYTES:
            yield from self._drop(f"a document larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
        elif self._depth <= 0:
            yield from self._close()

    def _close(self) -> Iterator[tuple[int, dict[str, Any] | Malformed]]:
        text, start, closes = b"\n".join(self._held), self._start, self._depth < 0
        self._clear()
        if self._array:
            if closes and text.endswith(b"]"):
                text, self._array = text[:-1], False
            text = text.strip().strip(b",").strip()
            if not text:
                return
            value = _parsed(b"[" + text + b"]")
        else:
            value = _parsed(text)
            if value is None:
                yield from _in_a_row(start, text)
                return
        if value is None:
            yield start, Malformed("malformed", _why(text))
        else:
            yield from _elements(start, value)

    def _drop(self, detail: str) -> Iterator[tuple[int, Malformed]]:
        yield self._start, Malformed("malformed", detail)
        self._clear()

    def _clear(self) -> None:
        self._held, self._size, self._depth = [], 0, 0

    def abandon(self) -> Iterator[tuple[int, Malformed]]:
        """Gives up what is open: the line after it can't be read."""
        if self._held:
            yield from self._drop("an object that never closes")

    def end(self) -> Iterator[tuple[int, Malformed]]:
        """What is open at the end of the file was cut off."""
        if self._held:
            yield self._start, Malformed("truncated", "the file ends inside an object")
        elif self._array:
            yield self._array_line, Malformed("truncated", "the file ends before its array closes")


def _parsed(text: bytes) -> Any:
    """The value of a JSON text, also as Python writes it (NaN, lone surrogates); None where it isn't one."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _in_a_row(start: int, text: bytes) -> Iterator[tuple[int, dict[str, Any] | Malformed]]:
    """Several documents after one another in one text."""
    decoder, position, found = json.JSONDecoder(), 0, False
    try:
        whole = text.decode("utf-8")
    except UnicodeDecodeError:
        yield start, Malformed("malformed", "not UTF-8")
        return
    while position < len(whole):
        try:
            value, end = decoder.raw_decode(whole, position)
        except (ValueError, RecursionError):
            detail = "something after an object" if found else _why(text)
            yield start + whole.count("\n", 0, position), Malformed("malformed", detail)
            return
        found = True
        yield from _elements(start + whole.count("\n", 0, position), value)
        position = end
        while position < len(whole) and whole[position] in " \t\r\n":
            position += 1


def _why(text: bytes) -> str:
    """Why a text isn't a record, without quoting it."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8"
    try:
        json.loads(text)
    except RecursionError:
        return "nested too deeply"
    except ValueError:
        return "not JSON"
    return "not a JSON object"

"""The body of a response that was stamped while it came: its chunks undone, its events cut, each with its arrival.

An event's time is that of the read which brought the end of its last `data:` line.
What it doesn't do: read (wire.py), know what an event means (openai.py).
Enter at `body_of` and `events`. Sources: RFC 9112 §7.1 (chunks); HTML Living Standard §9.2 (event streams).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from solvent.measure.http.framing import chunk_size

# Lines end with CR LF, LF or CR, and a stream may begin with a byte order mark (HTML Living Standard §9.2.5–6).
_LINE_END = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"
Pieces = Sequence[tuple[float, bytes]]


class BadChunks(Exception):
    """Chunked coding that isn't: the reason is in the text."""


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a body. starts[k]: where its k-th run of bytes begins, in the body and in what was read."""

    data: bytes
    starts: tuple[list[int], list[int]]
    piece_ends: list[int]
    stamps_s: list[float]

    def arrival_s(self, position: int) -> float:
        """When the byte at a position of the body came."""
        run = bisect_right(self.starts[0], position) - 1
        raw = self.starts[1][run] + position - self.starts[0][run]
        return self.stamps_s[min(bisect_right(self.piece_ends, raw), len(self.stamps_s) - 1)]


def body_of(pieces: Pieces, body_start: int, chunked: bool) -> Body:
    """The body that begins at body_start of what was read; what came of it, where it isn't whole.

    Raises: BadChunks"""
    raw = b"".join(data for _, data in pieces)
    ends = list(accumulate(len(data) for _, data in pieces))
    stamps_s = [stamp for stamp, _ in pieces]
    if not chunked:
        return Body(raw[body_start:], ([0], [body_start]), ends, stamps_s)
    runs, body_starts, raw_starts = [], [], []
    n_bytes = 0
    for start, data in _chunks(raw, body_start):
        runs.append(data)
        body_starts.append(n_bytes)
        raw_starts.append(start)
        n_bytes += len(data)
    return Body(b"".join(runs), (body_starts or [0], raw_starts or [body_start]), ends, stamps_s)


def _chunks(raw: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Where each chunk's bytes begin, and the bytes; the last may be cut off."""
    while (line_end := raw.find(b"\r\n", at)) >= 0:
        size = chunk_size(raw[at:line_end])
        if size is None:
            raise BadChunks(f"{raw[at : min(line_end, at + 40)]!r} where the size of a chunk belongs")
        if not size:
            return
        start = line_end + 2
        yield start, raw[start : start + size]
        at = start + size
        if raw[at : at + 2] not in (b"\r\n", b"\r", b""):
            raise BadChunks(f"a chunk that is longer than the {size} bytes it announced")
        at += 2


def events(body: Body) -> Iterator[tuple[float, bytes]]:
    """Arrival and data of each complete event that has data; lines of data are joined by a newline."""
    data: list[bytes] = []
    arrived_s = 0.0
    at = len(_MARK) if body.data.startswith(_MARK) else 0
    for found in _LINE_END.finditer(body.data, at):
        line = body.data[at : found.start()]
        at = found.end()
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
            arrived_s = body.arrival_s(at - 1)
        elif not line and data:
            yield arrived_s, b"\n".join(data)
            data = []
    if data:
        # [DONE] may be the last line that was waited for.
        yield arrived_s, b"\n".join(data)

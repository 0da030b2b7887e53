"""When an HTTP/1.1 response is whole, told from its head and its last bytes alone, while it arrives.

Nothing is decoded here: between two reads of a stream there is no time for it. The parsing comes after (body.py).
A response ends by its length, its last chunk, the event `data: [DONE]`, or the end of the connection.
Enter at `Framing.feed`. Source: RFC 9112 §6–7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_HEAD_BYTES = 64 << 10
# `data: [DONE]` on a line of its own; in a JSON string its newline would be escaped.
_DONE = re.compile(rb"(?:^|\n)data: ?\[DONE\]\r?\n")
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_TAIL_BYTES = 24
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?")


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers (names in lower case) of a response, and where its body begins in the bytes that came."""

    status: int
    headers: dict[str, str]
    body_start: int

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower().endswith("chunked")

    @property
    def length(self) -> int | None:
        """Bytes of the body where the head says so; None where it doesn't, or says nonsense."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() and len(text) <= 15 and not self.chunked else None


@dataclass(slots=True)
class Framing:
    """Follows one response. head: once it is there.   garbage: what is wrong with it, or ""."""

    head: Head | None = None
    garbage: str = ""
    _start: bytes = b""
    _n_skipped: int = 0
    _tail: bytes = b""
    _n_body_bytes: int = 0
    _stream: bool = field(default=False)

    def feed(self, data: bytes) -> bool:
        """Takes what a read brought; True where the response is whole, or can't become one."""
        if self.head is not None:
            return self._body(data)
        self._start += data
        while (end := self._start.find(b"\r\n\r\n")) >= 0:
            head = parse_head(self._start[:end], self._n_skipped + end + 4)
            if head is None:
                break
            rest = self._start[end + 4 :]
            if head.status >= 200:
                self.head, self._start = head, b""
                self._stream = "event-stream" in head.headers.get("content-type", "")
                return self._body(rest)
            # 100 Continue and the like: the answer follows.
            self._n_skipped += end + 4
            self._start = rest
        else:
            if len(self._start) <= MAX_HEAD_BYTES and b"HTTP/1."[: len(self._start)] == self._start[:7]:
                return False
        self.garbage = "an answer that isn't HTTP/1.1"
        return True

    def _body(self, data: bytes) -> bool:
        assert self.head is not None
        if self.head.status in (204, 304):
            return True
        self._n_body_bytes += len(data)
        seen = self._tail + data
        self._tail = seen[-_TAIL_BYTES:]
        if self._stream and _DONE.search(seen):
            return True
        if self.head.chunked:
            # The first chunk may be the last.
            return seen.endswith(_LAST_CHUNK) or (self._n_body_bytes == 5 and seen == _LAST_CHUNK[2:])
        return self.head.length is not None and self._n_body_bytes >= self.head.length


def parse_head(block: bytes, body_start: int) -> Head | None:
    """Status line and headers; None where they aren't any. A header that comes twice keeps its last value."""
    lines = block.split(b"\r\n")
    status = _STATUS.fullmatch(lines[0])
    if status is None:
        return None
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            return None
        headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
    return Head(int(status[1]), headers, body_start)

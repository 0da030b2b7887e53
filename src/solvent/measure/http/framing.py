"""When an HTTP/1.1 response is whole, told while it arrives from its head and the sizes of its chunks alone.

Nothing is decoded here: between two reads of a stream there is no time for it. The parsing comes after (body.py).
A response ends by its length, its last chunk, the event `data: [DONE]`, or the end of the connection.
Enter at `Framing.feed`. Source: RFC 9112 §6–7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD_BYTES = 64 << 10
# `data: [DONE]` on a line of its own; in a JSON string its newline would be escaped.
_DONE = re.compile(rb"(?:^|\n)data: ?\[DONE\]\r?\n")
MAX_LINE_BYTES = 8 << 10
_MAX_CHUNK_DIGITS = 8
_TAIL_BYTES = 24
_LENGTH = re.compile(r"[0-9]{1,15}")
_STATUS = re.compile(rb"HTTP/(1\.[01]) ([1-5]\d\d)(?: [^\r\n]*)?")


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers (names in lower case) of a response, and where its body begins in the bytes that came."""

    status: int
    headers: dict[str, str]
    body_start: int
    version: str = "1.1"

    @property
    def keeps(self) -> bool:
        """Whether the server keeps the connection after this response."""
        return self.version == "1.1" and "close" not in self.headers.get("connection", "").lower()

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower().endswith("chunked")

    @property
    def length(self) -> int | None:
        """Bytes of the body where the head says so."""
        text = self.headers.get("content-length", "")
        return int(text) if text and not self.chunked else None


@dataclass(slots=True)
class Framing:
    """Follows one response. head: once it is there.   garbage: what is wrong with it, or "".

    complete: its last byte came, and nothing behind it; after `data: [DONE]` that is still to be read."""

    head: Head | None = None
    garbage: str = ""
    complete: bool = False
    _start: bytes = b""
    _n_skipped: int = 0
    _tail: bytes = b""
    _n_body_bytes: int = 0
    _stream: bool = False
    # Of chunks: bytes until the next one's first line, what came of that line, whether the last one was there.
    _n_left: int = 0
    _line: bytes = b""
    _trailers: bool = False

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
            self.complete = not data
            return True
        self._n_body_bytes += len(data)
        done = False
        if self._stream:
            seen = self._tail + data
            self._tail = seen[-_TAIL_BYTES:]
            done = b"[DONE]" in seen and _DONE.search(seen) is not None
        if self.head.chunked:
            return self._chunks(data) or done
        self.complete = self.head.length == self._n_body_bytes
        return done or (self.head.length is not None and self._n_body_bytes >= self.head.length)

    def _chunks(self, data: bytes) -> bool:
        """Counts the bytes of chunks, so that nothing inside one is taken for the last; True after the last's end."""
        at, n_bytes = self._n_left, len(data)
        if at > n_bytes:
            self._n_left -= n_bytes
            return False
        self._n_left = 0
        while at < n_bytes:
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or n_bytes]
            if not end or len(self._line) > MAX_LINE_BYTES:
                if len(self._line) > MAX_LINE_BYTES:
                    self.garbage = f"a chunk's first line longer than {MAX_LINE_BYTES:,} bytes"
                return bool(self.garbage)
            line, self._line, at = self._line, b"", end
            if self._trailers:
                if line == b"\r\n":
                    self.complete = at == n_bytes
                    return True
                continue
            size = chunk_size(line) if line.endswith(b"\r\n") else None
            if size is None:
                self.garbage = f"{line[:40]!r} where the size of a chunk belongs"
                return True
            self._trailers = not size
            at += size + 2 if size else 0
        self._n_left = at - n_bytes
        return False


def chunk_size(line: bytes) -> int | None:
    """The size that the first line of a chunk announces; None where it is none."""
    digits = line.split(b";")[0].strip()
    if not 0 < len(digits) <= _MAX_CHUNK_DIGITS or digits.strip(b"0123456789abcdefABCDEF"):
        return None
    return int(digits, 16)


def parse_head(block: bytes, body_start: int) -> Head | None:
    """Status line and headers; None where they aren't any, or name two lengths. Else the last of a name counts."""
    lines = block.split(b"\r\n")
    status = _STATUS.fullmatch(lines[0])
    if status is None:
        return None
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            return None
        key, text = name.decode("latin-1").lower(), value.strip().decode("latin-1")
        if key == "content-length" and (not _LENGTH.fullmatch(text) or headers.get(key, text) != text):
            return None
        headers[key] = text
    return Head(int(status[2]), headers, body_start, status[1].decode())

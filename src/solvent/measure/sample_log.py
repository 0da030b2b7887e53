"""What was measured, kept as it comes: a file of lines to which answers are added, and from which a run goes on.

The first line says what is measured; each following one is an answer. A line is written by one call, so that a kill
loses at most the answers that were on their way; a last line that was torn is cut off when the file is opened again.
What it doesn't do: decide what is still to be asked (load.py).
Enter at `SampleLog.open`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from solvent.errors import MeasureError
from solvent.measure.session_end import SessionEnd

SCHEMA = "solvent.samples/1"
MAX_BYTES = 4 << 30
# Even a power cut loses no more than this.
SYNC_S = 1.0


@dataclass(slots=True)
class SampleLog:
    """The samples of one measurement. session: how often it was begun, from 0.   kept: what earlier sessions left.

    ended: how each of them ended, by point and session; one that was killed isn't there."""

    path: Path
    session: int
    kept: list[dict[str, Any]]
    ended: dict[tuple[str, int], SessionEnd]
    _handle: int = -1
    _synced_s: float = field(default=0.0)

    @classmethod
    def open(cls, path: Path, plan: dict[str, Any]) -> SampleLog:
        """Opens the log of a measurement, new or interrupted.

        plan: what is measured, JSON-ready; an existing log must be of the same.
        Raises: MeasureError (of another measurement, not a log of samples, in use, not writable)"""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as fault:
            raise MeasureError(str(path), f"can't be written ({fault.strerror})", "a writable place") from None
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise MeasureError(str(path), "another run writes it", "one run at a time", "wait for it") from None
            if not _still_there(handle, path):
                raise MeasureError(str(path), "another run has just ended and removed it", "one run at a time", "again")
            kept, ended = _read(handle, path, plan)
        except BaseException:
            os.close(handle)
            raise
        log = cls(path, 1 + max((line["session"] for line in kept), default=-1), kept, ended, handle)
        if os.fstat(handle).st_size == 0:
            log._write({"schema": SCHEMA, "plan": plan})
        return log

    def add(self, sample: dict[str, Any], now_s: float) -> None:
        """Adds a sample; now_s: of a monotonic clock, to tell when to reach through to the disk."""
        self._write({"session": self.session, **sample})
        if now_s - self._synced_s >= SYNC_S:
            os.fsync(self._handle)
            self._synced_s = now_s

    def add_end(self, point: str, end: SessionEnd) -> None:
        """Adds how this session ended.   point: the prefix of its samples' ids."""
        self._write({"session": self.session, "ended": {"point": point, **end.document()}})
        os.fsync(self._handle)

    def _write(self, line: dict[str, Any]) -> None:
        content = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        if os.write(self._handle, content) != len(content):
            raise MeasureError(str(self.path), "no room for a sample", "a disk with room")

    def remove(self) -> None:
        """The result is written: the log has done its work. One that another run has taken up meanwhile is its own."""
        with contextlib.suppress(OSError):
            handle = os.open(self.path, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.path.unlink(missing_ok=True)
            finally:
                os.close(handle)

    def __enter__(self) -> SampleLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._handle)


def _read(
    handle: int, path: Path, plan: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[tuple[str, int], SessionEnd]]:
    size = os.fstat(handle).st_size
    if size > MAX_BYTES:
        raise MeasureError(str(path), f"{size:,} bytes", f"at most {MAX_BYTES:,}")
    content = os.pread(handle, size, 0) if size < 1 << 30 else b"".join(_parts(handle, size))
    whole = content[: content.rfind(b"\n") + 1]
    if size and not _is_log(content):
        raise MeasureError(str(path), "no log of samples", "a new file, or one that a measurement left")
    if len(whole) < size:
        os.ftruncate(handle, len(whole))
    lines = whole.splitlines()
    if not lines:
        return [], {}
    first = _object(lines[0], f"{path}:1")
    if first.get("plan") != json.loads(json.dumps(plan)):
        found = first.get("plan")
        was = found if isinstance(found, dict) else {}
        differing = ", ".join(sorted(key for key in {*was, *plan} if was.get(key) != plan.get(key)))
        fix = "finish that one with its own options, or delete the file"
        raise MeasureError(str(path), f"samples of another measurement ({differing})", "the same options", fix)
    kept, ended = [], {}
    for number, line in enumerate(lines[1:], 2):
        found = _object(line, f"{path}:{number}")
        session, end = found.get("session"), found.get("ended")
        if isinstance(session, int) and isinstance(end, dict) and isinstance(end.get("point"), str):
            ended[end["point"], session] = SessionEnd.of(end, f"{path}:{number}")
        elif isinstance(session, int) and isinstance(found.get("request_id"), str):
            kept.append(found)
        else:
            raise MeasureError(f"{path}:{number}", "a line without session and request_id", "a sample")
    return kept, ended


def _still_there(handle: int, path: Path) -> bool:
    """Whether the file that is open is the one that has the name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def _parts(handle: int, size: int) -> list[bytes]:
    step = 1 << 28
    return [os.pread(handle, min(step, size - at), at) for at in range(0, size, step)]


def _is_log(content: bytes) -> bool:
    start = b'{"schema":"' + SCHEMA.encode() + b'"'
    return content[: len(start)] == start[: len(content)]


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise MeasureError(where, repr(line[:60]), "a JSON object", "delete the file to begin again")
    return found

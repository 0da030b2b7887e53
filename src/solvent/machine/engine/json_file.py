"""JSON files that come with a model: read with bounds, each key once, and asked for values of one kind.

Enter at `read_json` and `Fields`. It knows nothing of what the keys mean.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from solvent.errors import ModelFileError
from solvent.machine.engine.model_file import shown

# The largest tokenizer.json in use has 34 MB. As objects, JSON takes up to twenty times its bytes.
MAX_BYTES = 64 << 20


def read_json(path: Path) -> Fields:
    """The object in a file.   Raises: ModelFileError (as read_file; no JSON, a key twice)."""
    return Fields(str(path), parse_object(read_file(path, MAX_BYTES), str(path)))


def read_file(path: Path, max_bytes: int) -> bytes:
    """All of a file.   Raises: ModelFileError (missing, unreadable, too large, a pipe or a device)."""
    try:
        # Before it is opened: to open a pipe waits for somebody who writes into it. A device has no end.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(str(path), "no regular file", "a file that is read from beginning to end")
        if status.st_size > max_bytes:
            raise ModelFileError(str(path), f"{status.st_size} bytes", f"at most {max_bytes}")
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(str(path), error.strerror or str(error), "a readable file") from error


def parse_object(raw: bytes, where: str) -> dict[str, Any]:
    """The JSON object in bytes.   Raises: ModelFileError (no JSON, nested too deeply, no object, a key twice)."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise ModelFileError(where, f"{shown(twice)!r} twice", "each key once")
        return found

    try:
        value = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(where, f"no JSON ({error})"[:200], "a JSON object") from error
    if not isinstance(value, dict):
        raise ModelFileError(where, f"a JSON {type(value).__name__}", "a JSON object")
    return value


class Fields:
    """A JSON object with its name; each method asks for one key and one kind of value.

    Raises: ModelFileError (another kind of value), naming file and key."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where, self.values = where, values

    def fault(self, key: str, expected: str, fix: str = "") -> ModelFileError:
        found = repr(self.values[key])[:60] if key in self.values else "missing"
        return ModelFileError(f"{self.where}: {shown(key)}", found, expected, fix)

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.values.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str:
        value = self.values.get(key) if self.has(key) else default
        if not isinstance(value, str):
            raise self.fault(key, "text")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key) if self.has(key) else default
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
            raise self.fault(key, "a whole number of 0 to 2147483647")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        value = self.values.get(key) if self.has(key) else default
        if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 1e30 or math.isnan(value):
            raise self.fault(key, "a finite number")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.values.get(key) if self.has(key) else default
        if not isinstance(value, bool):
            raise self.fault(key, "true or false")
        return value

    def fields(self, key: str) -> Fields:
        """The object under a key; an empty one where it is missing."""
        value = self.values.get(key) if self.has(key) else {}
        if not isinstance(value, dict):
            raise self.fault(key, "an object")
        return Fields(f"{self.where}: {key}", value)

    def items(self, key: str) -> list[Any]:
        """The list under a key; an empty one where it is missing."""
        value = self.values.get(key) if self.has(key) else []
        if not isinstance(value, list):
            raise self.fault(key, "a list")
        return value

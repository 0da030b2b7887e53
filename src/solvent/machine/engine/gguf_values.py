"""GGUF's metadata: keys and values, read from the mapped header with bounds on everything.

Numbers become Python's, arrays of numbers become views of the file, and arrays of strings become `Strings`, which
decode only what is asked for (a vocabulary has up to 280,000). Every count is checked
against the bytes that are left before anything of that size is made.
Source: GGUF specification, versions 2 and 3; docs/reference/gguf.md.
"""

from __future__ import annotations

import struct
from array import array
from typing import Any

import numpy as np

from solvent.errors import ModelFileError
from solvent.machine.engine.model_file import Bytes, shown
from solvent.machine.engine.strings import U64, Strings

MAX_KEYS = 65_536
MAX_KEY_BYTES = 65_535  # the specification's bound
# The longest text in use is a chat template of 20 kB.
MAX_TEXT_BYTES = 1 << 24
# The largest vocabulary in use has 280,000 tokens and as many merges.
MAX_ARRAY = 1 << 24
U32 = struct.Struct("<I")
BOOL, STRING, ARRAY = 7, 8, 9
DAMAGED = "it is truncated or damaged: download it again"
# Value type → its little-endian NumPy type. A bool is a byte that must be 0 or 1.
NUMBERS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8"}


class Cursor:
    """A place in the header that moves forward; every read checks that the bytes are there."""

    def __init__(self, path: str, data: Bytes) -> None:
        self.path, self.data, self.at = path, data, 0
        self._view = data.data
        self.size = len(data)
        self._n_strings_left = MAX_ARRAY

    def fault(self, where: str, found: str, expected: str = "", fix: str = "") -> ModelFileError:
        return ModelFileError(f"{self.path}: {where}" if where else self.path, found, expected, fix)

    def need(self, n_bytes: int, where: str) -> int:
        """The place where n_bytes begin; moves behind them."""
        start = self.at
        if n_bytes > self.size - start:
            raise self.fault(
                where,
                f"{n_bytes} bytes at {start} of a file of {self.size}",
                "them inside the file",
                DAMAGED,
            )
        self.at = start + n_bytes
        return start

    def u32(self, where: str) -> int:
        return int(U32.unpack_from(self._view, self.need(4, where))[0])

    def u64(self, where: str) -> int:
        return int(U64.unpack_from(self._view, self.need(8, where))[0])

    def text(self, where: str, max_bytes: int | None = None) -> str:
        length = self.u64(where)
        if max_bytes is not None and length > max_bytes:
            raise self.fault(where, f"a name of {length} bytes", f"at most {max_bytes}")
        start = self.need(length, where)
        if length > MAX_TEXT_BYTES:
            raise self.fault(where, f"a text of {length} bytes", f"at most {MAX_TEXT_BYTES}")
        raw = bytes(self._view[start : self.at])
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.fault(where, f"bytes {raw[:32]!r}", "UTF-8") from error

    def value(self, kind: int, where: str) -> Any:
        """One value of a type; raises ModelFileError (unknown type, out of the file, a bool that is neither)."""
        if kind == STRING:
            return self.text(where)
        if kind == ARRAY:
            return self._array(where)
        return self._numbers(kind, 1, where)[0].item()

    def _numbers(self, kind: int, count: int, where: str) -> np.ndarray[Any, Any]:
        if kind not in NUMBERS:
            raise self.fault(where, f"value type {kind}", "one of GGUF's, 0 to 12")
        dtype = np.dtype(NUMBERS[kind])
        start = self.need(count * dtype.itemsize, where)
        raw = self.data[start : self.at]
        if kind == BOOL and count and raw.max() > 1:
            raise self.fault(where, f"a bool of {raw.max()}", "0 or 1")
        return raw.view(dtype)

    def _array(self, where: str) -> Any:
        kind, count = self.u32(where), self.u64(where)
        if count > MAX_ARRAY:
            raise self.fault(where, f"an array of {count}", f"at most {MAX_ARRAY}")
        if kind == ARRAY:
            raise self.fault(where, "an array of arrays", "an array of numbers or strings")
        return self._strings(count, where) if kind == STRING else self._numbers(kind, count, where)

    def _strings(self, count: int, where: str) -> Strings:
        # All arrays together, so that a crafted file can't hold the program for minutes.
        self._n_strings_left -= count
        if self._n_strings_left < 0:
            raise self.fault(where, f"{count} strings more", f"at most {MAX_ARRAY} in all arrays of a file")
        if count > (self.size - self.at) // 8:
            raise self.fault(
                where,
                f"{count} strings in {self.size - self.at} bytes",
                "at least 8 bytes for each",
                DAMAGED,
            )
        starts, at = array("Q"), self.at
        append, unpack, view = starts.append, U64.unpack_from, self._view
        try:
            # The hot loop of opening a file: 0.1 µs a string. A place past the end makes unpack raise.
            for _ in range(count):
                append(at)
                at += unpack(view, at)[0] + 8
        except (struct.error, OverflowError):
            at = self.size + 1
        if at > self.size:
            raise self.fault(
                f"{where}[{len(starts) - 1}]", f"a string that ends behind the file's {self.size} bytes",
                "it inside the file", DAMAGED,
            )  # fmt: skip
        self.at = at
        append(at)
        return Strings(self.data, np.frombuffer(starts, np.uint64), f"{self.path}: {where}")


def read_metadata(cursor: Cursor, n_keys: int) -> dict[str, Any]:
    """The key-value pairs at the cursor.

    Raises: ModelFileError (too many, out of the file, a key twice or empty), naming the key."""
    if n_keys > MAX_KEYS:
        raise cursor.fault("metadata", f"{n_keys} keys", f"at most {MAX_KEYS}")
    metadata: dict[str, Any] = {}
    for number in range(n_keys):
        key = cursor.text(f"metadata key {number}", MAX_KEY_BYTES)
        where = f"metadata {shown(key)}" if key else f"metadata key {number}"
        if not key or key in metadata:
            raise cursor.fault(where, "a key that stands twice" if key else "an empty key", "each key once")
        metadata[key] = cursor.value(cursor.u32(where), where)
    return metadata

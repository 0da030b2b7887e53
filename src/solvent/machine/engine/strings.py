"""A long list of texts as GGUF has it: each behind its length, found by where it begins, decoded when asked for.

Of a mapped file nothing is copied; a vocabulary of 128,000 takes half a megabyte beside it.
Enter at `Strings`, or `Strings.of` for texts that lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import overload

import numpy as np
from numpy.typing import NDArray

from solvent.errors import ModelFileError

U64 = Struct("<Q")
Counts = NDArray[np.int64]


class Strings(Sequence[str]):
    """Texts in bytes, each behind its length, one right after the other.

    data: (size,) uint8.   bounds: (n + 1,) where each length begins, and where the last text ends.
    where: the list's name in errors.   Raises: ModelFileError (on access: an entry isn't UTF-8), naming its place."""

    __slots__ = ("_bounds", "_view", "_where", "data")

    def __init__(self, data: NDArray[np.uint8], bounds: NDArray[np.uint64], where: str) -> None:
        self.data = data
        self._view = data.data
        self._bounds = bounds.astype(np.uint32) if not len(bounds) or bounds[-1] < 1 << 32 else bounds
        self._where = where

    @classmethod
    def of(cls, texts: Iterable[str], where: str) -> Strings:
        """The same texts, in bytes of their own.   Raises: ModelFileError (half of a surrogate pair; no text)"""
        data, bounds = bytearray(), [0]
        for i, text in enumerate(texts):
            try:
                raw = text.encode()
            except (UnicodeEncodeError, AttributeError):
                raise ModelFileError(f"{where}[{i}]", repr(text)[:40], "a text of Unicode") from None
            data += U64.pack(len(raw)) + raw
            bounds.append(len(data))
        return cls(np.frombuffer(data, np.uint8), np.array(bounds, np.uint64), where)

    def spans(self, places: slice | NDArray[np.int32]) -> tuple[Counts, Counts]:
        """Where each of some texts begins in data, and its length."""
        if isinstance(places, slice):
            bounds = self._bounds[places.start : places.stop + 1].astype(np.int64)
            return bounds[:-1] + 8, np.diff(bounds) - 8
        starts = self._bounds[places].astype(np.int64) + 8
        return starts, self._bounds[places + 1] - starts

    def pieces(self, n_bytes: int) -> Iterator[slice]:
        """Runs of texts that take up to n_bytes together, lengths counted, or one that takes more."""
        start = 0
        while start < len(self):
            end = int(self._bounds[start]) + n_bytes
            stop = max(start + 1, int(np.searchsorted(self._bounds, end, side="right")) - 1)
            yield slice(start, stop)
            start = stop

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._text(place, int(self._bounds[place]) + 8, int(self._bounds[place + 1]))

    def __iter__(self) -> Iterator[str]:
        at, view, unpack = int(self._bounds[0]), self._view, U64.unpack_from
        for place in range(len(self)):
            end = at + 8 + unpack(view, at)[0]
            yield self._text(place, at + 8, end)
            at = end

    def _text(self, place: int, start: int, end: int) -> str:
        try:
            return str(self._view[start:end], "utf-8")
        except UnicodeDecodeError as error:
            raw = bytes(self._view[start : min(end, start + 32)])
            raise ModelFileError(f"{self._where}[{place}]", f"bytes {raw!r}", "UTF-8") from error

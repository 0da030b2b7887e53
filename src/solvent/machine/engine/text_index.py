"""Finds texts in a long list of them by their bytes, many at a time, with 12 bytes of memory for each text of the list.

A text's hash is a polynomial of its bytes, modulo 2^64, with coefficients drawn at random; hashes are kept sorted, and
what they find is compared byte by byte. A dictionary of a vocabulary takes ten times the memory, and pieces of it stay
behind when it is dropped.
Enter at `TextIndex`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from solvent.errors import ModelFileError
from solvent.machine.engine.strings import Counts, Strings

Bytes = NDArray[np.uint8]
# Bytes that are looked at together: arrays of eight bytes for each stay within a core's cache.
PIECE_BYTES = 1 << 15
# The longest tokens in use have 256 bytes, of spaces.
MAX_BYTES = 1 << 16


class TextIndex:
    """The place of each text in a list.   key: what the list is called in errors.

    Raises: ModelFileError (a text twice; one that isn't UTF-8 or has more than 65,536 bytes)"""

    def __init__(self, texts: Strings, key: str) -> None:
        self._texts = texts
        self._n_longest = _longest(texts, key)
        while True:
            self._draw()
            hashes = np.empty(len(texts), np.uint64)
            for some in texts.pieces(PIECE_BYTES):
                hashes[some] = self._hashes(texts.data, *texts.spans(some))
            self._order = np.argsort(hashes, kind="stable").astype(np.int32)
            self._sorted = hashes[self._order]
            # Empty ones stand for nothing, however many.
            same = np.flatnonzero((self._sorted[1:] == self._sorted[:-1]) & (self._sorted[1:] != 0))
            if not len(same):
                break
            one, other = (texts[int(i)] for i in self._order[same[0] : same[0] + 2])
            if one == other:
                raise ModelFileError(key, f"{one[:40]!r} twice", "texts that differ")

    def _draw(self) -> None:
        self._factors = np.frombuffer(os.urandom(8 * 256), np.uint64)
        base = np.frombuffer(os.urandom(8), np.uint64) | np.uint64(1)
        self._powers = np.multiply.accumulate(np.repeat(base, max(self._n_longest, 1)))

    def find(self, data: Bytes, starts: Counts, lengths: Counts) -> NDArray[np.int32]:
        """The place of each text of `lengths` bytes that begins at `starts` in `data`; -1 where there is none."""
        found = np.full(len(starts), -1, np.int32)
        some = np.flatnonzero((lengths > 0) & (lengths <= self._n_longest))
        if not len(some):
            return found
        starts, lengths = starts[some], lengths[some]
        hashes = self._hashes(data, starts, lengths)
        at = np.minimum(np.searchsorted(self._sorted, hashes), len(self._sorted) - 1)
        places = self._order[at]
        own_starts, own_lengths = self._texts.spans(places)
        likely = np.flatnonzero((self._sorted[at] == hashes) & (own_lengths == lengths))
        if len(likely):
            here, within = spread(starts[likely], lengths[likely])
            there, _ = spread(own_starts[likely], lengths[likely])
            differs = np.logical_or.reduceat(data[here] != self._texts.data[there], np.flatnonzero(within == 0))
            found[some[likely]] = np.where(differs, -1, places[likely])
        return found

    def find_texts(self, texts: Sequence[str]) -> list[int]:
        """The place of each text; -1 where there is none."""
        raw = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, raw), np.int64, len(raw))
        data = np.frombuffer(b"".join(raw), np.uint8)
        places: list[int] = self.find(data, np.cumsum(lengths) - lengths, lengths).tolist()
        return places

    def _hashes(self, data: Bytes, starts: Counts, lengths: Counts) -> NDArray[np.uint64]:
        """Σ factor(byte i) · base^(i+1) of each text; 0 of an empty one. None is longer than the list's longest."""
        hashes = np.zeros(len(starts), np.uint64)
        filled = np.flatnonzero(lengths)
        if len(filled):
            places, within = spread(starts[filled], lengths[filled])
            terms = self._factors[data[places]] * self._powers[within]
            hashes[filled] = np.add.reduceat(terms, np.flatnonzero(within == 0))
        return hashes


def _longest(texts: Strings, key: str) -> int:
    """Bytes of the longest text. Texts are UTF-8 where all together are, and none begins inside a character."""
    longest = 0
    for some in texts.pieces(PIECE_BYTES):
        starts, lengths = texts.spans(some)
        longest = max(longest, int(lengths.max()))
        if longest > MAX_BYTES:
            raise ModelFileError(f"{key}[{some.start + lengths.argmax()}]", f"{longest} bytes", f"at most {MAX_BYTES}")
        places, _ = spread(starts, lengths)
        try:
            texts.data[places].tobytes().decode("utf-8")
            inside = (texts.data[starts[lengths > 0]] & 0xC0 == 0x80).any()
        except UnicodeDecodeError:
            inside = True
        if inside:
            for i in range(some.start, some.stop):
                texts[i]  # raises, with its place
    return longest


def spread(starts: Counts, lengths: Counts) -> tuple[Counts, Counts]:
    """The place of every byte of texts in a row, and its place within its text."""
    first = np.cumsum(lengths) - lengths
    within = np.arange(int(lengths.sum())) - np.repeat(first, lengths)
    return within + np.repeat(starts, lengths), within

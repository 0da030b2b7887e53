"""Byte-level BPE: a stretch of text is cut into words, and each word's bytes are merged.

Words that were merged before are remembered; a text's new words are merged together. The library `tokenizers` cuts,
since Python's patterns know no Unicode classes; it would also merge, but takes 140 MB for 128,000 tokens and 263,000
merges, which is more than a fifth of a small model.
Enter at `read_byte_level`. Source: docs/reference/tokenisers.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from solvent.errors import ModelFileError
from solvent.machine.engine.byte_pairs import BytePairs, Ids
from solvent.machine.engine.strings import Strings
from solvent.machine.engine.text_index import PIECE_BYTES, TextIndex, spread
from solvent.machine.engine.vocabulary import KEY, Vocabulary, byte_letters, texts

if TYPE_CHECKING:
    import tokenizers

# About 2 MB of words; a text with more of them is merged all the same, and its words are forgotten.
_MAX_WORDS = 10_000


class ByteLevel:
    """Cuts and merges. Safe to use from several threads.

    whole: finds the token that a word is taken as before any merge; None where every word is merged."""

    def __init__(
        self, cutter: tokenizers.pre_tokenizers.PreTokenizer, pairs: BytePairs, whole: TextIndex | None
    ) -> None:
        self._cutter = cutter
        self._pairs = pairs
        self._whole = whole
        self._known: dict[str, list[int]] = {}

    def cut(self, text: str) -> list[str]:
        """The words of a text, which joined are the text."""
        return [word for word, _ in self._cutter.pre_tokenize_str(text)]

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, every byte of which has a token."""
        words = self.cut(text)
        known = self._known
        new = list(dict.fromkeys(word for word in words if word not in known))
        if new:
            if len(known) + len(new) > _MAX_WORDS:
                known = {word: known[word] for word in dict.fromkeys(words) if word in known}
                self._known = known if len(known) + len(new) <= _MAX_WORDS else {}
            known.update(zip(new, self._tokens(new), strict=True))
        return list(chain.from_iterable(map(known.__getitem__, words)))

    def _tokens(self, words: list[str]) -> list[list[int]]:
        raw = [word.encode() for word in words]
        if self._whole is None:
            return self._pairs.merge(raw)
        letters = byte_letters()[0]
        wholes = self._whole.find_texts([word.decode("latin-1").translate(letters) for word in raw])
        merged = iter(self._pairs.merge([word for word, token in zip(raw, wholes, strict=True) if token < 0]))
        return [next(merged) if token < 0 else [token] for token in wholes]


def read_byte_level(vocabulary: Vocabulary, index: TextIndex, metadata: Mapping[str, Any]) -> ByteLevel:
    """The merger that GGUF metadata describe.   index: of the vocabulary.

    Raises: ModelFileError (a merge that isn't two tokens that make a third), naming it."""
    letters = np.array(index.find_texts(byte_letters()[0]), np.int32)
    left, right, whole = _merges(texts(metadata, KEY + "merges"), index)
    pairs = BytePairs(left, right, whole, letters)
    return ByteLevel(_cutter(vocabulary.splits), pairs, index if vocabulary.whole_words else None)


def _merges(lines: Strings, index: TextIndex) -> tuple[Ids, ...]:
    """(left, right, whole) of each line "left right".   A part may begin with a space, never hold one further on."""
    found = tuple(np.empty(len(lines), np.int32) for _ in range(3))
    for some in lines.pieces(PIECE_BYTES):
        starts, lengths = lines.spans(some)
        places, within = spread(starts, lengths)
        raw = lines.data[places]
        # The first space that isn't a line's first byte parts it; without it the two parts make the whole.
        spaces = np.flatnonzero((raw == 0x20) & (within > 0))
        first = np.cumsum(lengths) - lengths
        space = np.append(spaces, len(raw))[np.searchsorted(spaces, first)]
        n_left, n_right = space - first, first + lengths - space - 1
        _check_lines(n_right < 1, some, lines)
        joined = np.delete(raw, space)
        first -= np.arange(len(first))
        spans = ((first, n_left), (first + n_left, n_right), (first, n_left + n_right))
        for kept, (start, length) in zip(found, spans, strict=True):
            kept[some] = index.find(joined, start, length)
            _check_tokens(kept[some] < 0, some, lines)
    return found


def _check_lines(wrong: NDArray[np.bool_], some: slice, lines: Strings) -> None:
    if wrong.any():
        i = some.start + int(wrong.argmax())
        raise ModelFileError(f"{KEY}merges[{i}]", repr(lines[i][:40]), "two parts with a space between")


def _check_tokens(wrong: NDArray[np.bool_], some: slice, lines: Strings) -> None:
    if wrong.any():
        i = some.start + int(wrong.argmax())
        raise ModelFileError(f"{KEY}merges[{i}]", repr(lines[i][:40]), "two tokens that make a third")


def _cutter(splits: Sequence[str]) -> tokenizers.pre_tokenizers.PreTokenizer:
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in splits])

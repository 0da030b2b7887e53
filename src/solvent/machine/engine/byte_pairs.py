"""Merges of byte-level BPE in few bytes: pairs of tokens as sorted 64-bit keys, found by binary search.

The pair of lowest rank in a word merges first, the left one of equals, until none is left. Many words merge side by
side in NumPy, each by one pair a round; a long word merges alone with a heap. 280,000 merges take 3.4 MB, where
dictionaries of pairs take 60.
What it doesn't do: cut text into words (byte_level.py).
Enter at `BytePairs`. Source: arXiv:1508.07909 §3.2; the library tokenizers, models/bpe, for what it must equal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from solvent.errors import ModelFileError

Ids = NDArray[np.int32]
# The rank of a pair that doesn't merge, above every other.
NONE = (1 << 31) - 1
# A round costs each word as much as its length, so longer words are cheaper with a heap.
_LONG_BYTES = 256
# Words side by side: enough to hide the cost of a call, few enough to stay in cache.
_BATCH = 4096


class BytePairs:
    """Which pairs of tokens merge, in which order, into what.

    left, right, whole: (n,) int32, the pair and what it becomes, the first merges first; of a pair that stands twice
    the last counts.   letters: (256,) int32, the token of each byte, -1 where there is none.
    Raises: ModelFileError (so many merges of so many tokens that left, right and rank don't fit in 64 bits)"""

    def __init__(self, left: Ids, right: Ids, whole: Ids, letters: Ids) -> None:
        n_tokens = int(max((ids.max(initial=0) for ids in (left, right, whole)), default=0)) + 1
        self._rank_bits, self._token_bits = len(left).bit_length(), n_tokens.bit_length()
        if self._rank_bits + 2 * self._token_bits > 64:
            raise ModelFileError("merges", f"{len(left)} of {n_tokens} tokens", "what fits in 64 bits")
        # left, right and rank in one number, in order; the number above all of them ends every search on an entry.
        self._packed = np.empty(len(left) + 1, np.uint64)
        self._packed[:-1] = self._keys(left, right)
        self._packed[:-1] <<= np.uint64(self._rank_bits)
        self._packed[:-1] |= np.arange(len(left), dtype=np.uint32)
        self._packed[-1] = (1 << 64) - 1
        self._packed.sort()
        self._whole = whole
        self._letters = letters

    def merge(self, words: Sequence[bytes]) -> list[list[int]]:
        """The tokens of each word, every byte of which has a token."""
        merged: list[list[int]] = [[]] * len(words)
        short = [i for i, word in enumerate(words) if len(word) <= _LONG_BYTES]
        for start in range(0, len(short), _BATCH):
            batch = short[start : start + _BATCH]
            for i, tokens in zip(batch, self._side_by_side([words[i] for i in batch]), strict=True):
                merged[i] = tokens
        for i, word in enumerate(words):
            if len(word) > _LONG_BYTES:
                merged[i] = self._alone(word)
        return merged

    def _side_by_side(self, words: list[bytes]) -> list[list[int]]:
        """Each round merges the best pair of every word, and sets words aside that have none left."""
        tokens = self._letters[np.frombuffer(b"".join(words), np.uint8)]
        word_of = np.repeat(np.arange(len(words), dtype=np.int32), [len(word) for word in words])
        ranks = self._pair_ranks(tokens, word_of, np.arange(len(tokens)))
        done: list[tuple[Ids, Ids]] = []
        while len(tokens):
            first = np.flatnonzero(np.append(True, word_of[1:] != word_of[:-1]))
            places = ranks.astype(np.int64) << 32 | np.arange(len(ranks))
            best = np.minimum.reduceat(places, first)
            goes_on = best >> 32 < NONE
            at = best[goes_on] & 0xFFFFFFFF
            keep = np.repeat(goes_on, np.diff(first, append=len(tokens)))
            done.append((word_of[~keep], tokens[~keep]))
            tokens[at] = self._whole[ranks[at]]
            keep[at + 1] = False
            at = np.cumsum(keep)[at] - 1
            tokens, word_of, ranks = tokens[keep], word_of[keep], ranks[keep]
            changed = np.concatenate([at, at[at > 0] - 1])
            ranks[changed] = self._pair_ranks(tokens, word_of, changed)
        return _by_word(done, len(words))

    def _pair_ranks(self, tokens: Ids, word_of: Ids, at: NDArray[np.int64]) -> Ids:
        """Of the pairs that begin at these places; NONE where the word ends there."""
        after = np.minimum(at + 1, len(tokens) - 1)
        keys, bits = self._keys(tokens[at], tokens[after]), np.uint64(self._rank_bits)
        last = self._packed[np.searchsorted(self._packed, (keys + np.uint64(1)) << bits) - 1]
        hit = (last >> bits == keys) & (word_of[at] == word_of[after]) & (after > at)
        return np.where(hit, last & np.uint64((1 << self._rank_bits) - 1), NONE).astype(np.int32)

    def _alone(self, word: bytes) -> list[int]:
        """One word, in time n·log n: a heap of ranks and places, where an entry that is out of date is passed over."""
        tokens = self._letters[np.frombuffer(word, np.uint8)]
        same_word = np.zeros(len(tokens), np.int32)
        ranks = self._pair_ranks(tokens, same_word, np.arange(len(tokens))).tolist()
        ids, whole, n = tokens.tolist(), self._whole.data, len(word)
        before, after = list(range(-1, n - 1)), list(range(1, n + 1))
        heap = [rank << 32 | i for i, rank in enumerate(ranks) if rank < NONE]
        heapify(heap)
        known: dict[int, int] = {}
        while heap:
            best = heappop(heap)
            i = best & 0xFFFFFFFF
            if ranks[i] != best >> 32:
                continue
            gone = after[i]
            ids[i], ids[gone], ranks[gone] = whole[best >> 32], -1, NONE
            after[i] = follows = after[gone]
            ranks[i] = NONE
            if follows < n:
                before[follows] = i
            for at in (before[i], i):
                if at >= 0 and after[at] < n:
                    key = ids[at] << self._token_bits | ids[after[at]]
                    rank = known.get(key)
                    if rank is None:
                        rank = known[key] = self._rank(key)
                    ranks[at] = rank
                    if rank < NONE:
                        heappush(heap, rank << 32 | at)
        return [token for token in ids if token >= 0]

    def _rank(self, key: int) -> int:
        packed, bits = self._packed.data, self._rank_bits
        last = packed[bisect_left(packed, (key + 1) << bits) - 1]
        return last & ((1 << bits) - 1) if last >> bits == key else NONE

    def _keys(self, left: Ids, right: Ids) -> NDArray[np.uint64]:
        return left.astype(np.uint64) << np.uint64(self._token_bits) | right.astype(np.uint64)


def _by_word(done: list[tuple[Ids, Ids]], n_words: int) -> list[list[int]]:
    """Tokens of each word, from pieces of (word, token) that hold each word's in order."""
    if not done:
        return [[] for _ in range(n_words)]
    words = np.concatenate([one for one, _ in done])
    tokens = np.concatenate([one for _, one in done])[np.argsort(words, kind="stable")].tolist()
    ends = np.cumsum(np.bincount(words, minlength=n_words)).tolist()
    return [tokens[start:end] for start, end in zip([0, *ends], ends, strict=False)]

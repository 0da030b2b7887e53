"""Text to tokens and back, as the model's file describes it: byte-level BPE, and SentencePiece's BPE with scores.

Tokens with a meaning of their own (`<|im_end|>`) are cut out of the text first, then each stretch between them is
merged (byte_level.py, sentence_piece.py). Decoding goes through bytes, so that a stream can hold back a character
until all of its bytes are there (`TextStream`).
What it doesn't do: chat templates (chat.py), unigram and word-piece vocabularies.
Enter at `Tokeniser.of_file`. Source: docs/reference/tokenisers.md.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from solvent.errors import EngineError, ModelFileError
from solvent.machine.engine.byte_level import ByteLevel, read_byte_level
from solvent.machine.engine.sentence_piece import SentencePiece, read_sentence_piece
from solvent.machine.engine.vocabulary import (
    CONTROL,
    SPACE,
    SPECIAL,
    UNKNOWN,
    USER_DEFINED,
    Vocabulary,
    read_vocabulary,
)

if TYPE_CHECKING:
    from solvent.machine.engine.model_file import ModelFile


class Tokeniser:
    """A model's vocabulary, with `encode` and `decode`. Safe to use from several threads.

    bos, eos: the tokens that open and end a text, or None.   stop_ids: every token that ends a reply.
    n_vocab: how many tokens there are."""

    def __init__(self, vocabulary: Vocabulary, merger: ByteLevel | SentencePiece) -> None:
        self._vocabulary = vocabulary
        self._merger = merger
        self.bos = vocabulary.bos
        self.eos = vocabulary.eos
        self.stop_ids = vocabulary.stop_ids
        self.n_vocab = vocabulary.n_tokens
        self._special = _alternatives(vocabulary.special)
        self._user_defined = _alternatives(
            text for text, token in vocabulary.special.items() if vocabulary.types[token] == USER_DEFINED
        )

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Tokeniser:
        """The tokeniser that GGUF metadata describe (`tokenizer.ggml.*`).

        Exactness: byte-level BPE gives the ids of the model's own tokeniser. SentencePiece merges the best-scored
        pair first, as the original does; where one token can be made of two overlapping pairs ("a"+"ba" and
        "ab"+"a" in "ababa"), the original takes the left one and this the pair whose parts come first in the
        vocabulary.
        Raises: ModelFileError (a key that is missing, malformed, or names what isn't known here)."""
        vocabulary, index = read_vocabulary(metadata)
        if vocabulary.kind == "spm":
            return cls(vocabulary, read_sentence_piece(vocabulary, metadata))
        return cls(vocabulary, read_byte_level(vocabulary, index, metadata))

    @classmethod
    def of_file(cls, file: ModelFile, name: str | None = None) -> Tokeniser:
        """A model file's tokeniser.   name: of the model as it was asked for; None takes the file's path.

        Raises: ModelFileError, naming the model (it has no tokeniser, or one that can't be used)."""
        name = str(file.path) if name is None else name
        if "tokenizer.ggml.model" not in file.metadata:
            beside = "tokenizer.json beside safetensors, tokenizer.bin beside a .bin, or the keys of a GGUF"
            raise ModelFileError(name, "no tokeniser", beside, "copy it from where the model came from")
        try:
            return cls.from_metadata(file.metadata)
        except ModelFileError as error:
            where = error.where if str(file.path) in error.where else f"{name}: {error.where}"
            raise ModelFileError(where, error.found, error.expected, error.fix) from error

    def encode(self, text: str, *, bos: bool | None = None, special: bool = True) -> list[int]:
        """The tokens of a text.

        bos: put the opening token first; None does what the file says.
        special: `<|im_end|>` in the text becomes that one token; False takes it as the characters that it is made of,
        which is right for text that a stranger wrote.
        Raises: EngineError (half of a surrogate pair; a byte or character that the vocabulary can't express)."""
        check_text(text)
        ids: list[int] = []
        if bos or (bos is None and self._vocabulary.add_bos):
            if self.bos is None:
                raise EngineError("bos", "asked for, but the model's file names no opening token")
            ids.append(self.bos)
        pattern = self._special if special else self._user_defined
        after_special = True
        for i, piece in enumerate(pattern.split(text) if pattern else [text]):
            if i % 2:
                ids.append(self._vocabulary.special[piece])
                after_special = True
            elif piece:
                ids += self._merge(piece, after_special)
                after_special = False
        return ids

    def _merge(self, piece: str, after_special: bool) -> list[int]:
        vocabulary = self._vocabulary
        if vocabulary.kind == "spm":
            lead = SPACE if vocabulary.space_prefix and after_special else ""
            piece = lead + piece.replace(" ", SPACE)
        vocabulary.check_expressible(piece)
        return self._merger.encode(piece)

    def token_bytes(self, token: int) -> bytes:
        """What a token stands for: bytes of UTF-8 text, whole characters or not.

        Raises: EngineError (a token outside the vocabulary)."""
        return self._vocabulary.token_bytes(token)

    def _is_special(self, token: int) -> bool:
        """A row of the embedding that no token stands for is none."""
        return token < self.n_vocab and self._vocabulary.types[token] in SPECIAL

    def is_control(self, token: int) -> bool:
        """Whether the token marks something and is no text (`<|im_start|>`)."""
        return self._vocabulary.types[token] in (CONTROL, UNKNOWN)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of tokens, control tokens spelt out; bytes that are no UTF-8 become U+FFFD.

        Exactness: decode(encode(text)) is the text, for every text that has no byte or character unknown to the
        vocabulary; the space that SentencePiece puts in front is taken away again.
        Raises: EngineError (a token outside the vocabulary)."""
        data, after_special = bytearray(), True
        for token in ids:
            piece = self.token_bytes(token)
            special = self._is_special(token)
            if after_special and self._vocabulary.space_prefix and not special:
                piece = piece.removeprefix(b" ")
            data += piece
            after_special = special
        return data.decode("utf-8", "replace")

    def stream(self, after: int | None = None) -> TextStream:
        """A decoder for the tokens that continue a text.   after: its last token, None where it has none."""
        opens = after is None or self._is_special(after)
        return TextStream(self, skip_space=opens and self._vocabulary.space_prefix)


class TextStream:
    """Turns tokens into text one by one; a character comes when its last byte is there. Control tokens are hidden.

    skip_space: the first token is the first of a text, so the space that SentencePiece puts there is none."""

    def __init__(self, tokeniser: Tokeniser, skip_space: bool = False) -> None:
        self._tokeniser = tokeniser
        self._skip_space = skip_space
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The text that this token completes, often all of its own.

        Raises: EngineError (a token outside the vocabulary)."""
        data = self._tokeniser.token_bytes(token)
        if self._tokeniser.is_control(token):
            return self._decoder.decode(b"", True)
        if self._skip_space:
            data, self._skip_space = data.removeprefix(b" "), False
        return self._decoder.decode(data)

    def close(self) -> str:
        """What is left: U+FFFD where the stream ended inside a character, else nothing."""
        return self._decoder.decode(b"", True)


def check_text(text: str, where: str = "text") -> None:
    """Raises: EngineError (half of a surrogate pair, which is what bytes that aren't UTF-8 become on a command line)"""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"no Unicode at character {error.start} (half of a surrogate pair)"
        raise EngineError(where, found, "text", "give it as UTF-8") from None


def _alternatives(texts: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern of one group that matches these texts, the longest first."""
    words = sorted(texts, key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, words)) + ")") if words else None

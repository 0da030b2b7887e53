"""SentencePiece's BPE: merges that follow from the tokens' scores, done by the library `tokenizers`.

Enter at `read_sentence_piece`. Source: docs/reference/tokenisers.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from solvent.errors import ModelFileError
from solvent.machine.engine.vocabulary import KEY, NORMAL, Vocabulary, numbers

if TYPE_CHECKING:
    import tokenizers

# SentencePiece allows 16 characters by default, and other trainers a few dozen.
_MAX_PIECE = 512


class SentencePiece:
    """Merges a stretch of text as one word. Safe to use from several threads."""

    def __init__(self, merger: tokenizers.Tokenizer) -> None:
        self._merger = merger

    def encode(self, text: str) -> list[int]:
        """The tokens of a text whose spaces are U+2581 already."""
        ids: list[int] = self._merger.encode(text, add_special_tokens=False).ids
        return ids


def read_sentence_piece(vocabulary: Vocabulary, metadata: Mapping[str, Any]) -> SentencePiece:
    """The merger that GGUF metadata describe.

    Raises: ModelFileError (scores that are missing or no numbers; a token of more than 512 characters)."""
    from tokenizers import Tokenizer, models

    tokens = list(vocabulary.stored)
    scores = numbers(metadata, KEY + "scores", len(tokens)).tolist()
    options: dict[str, Any] = {"byte_fallback": not vocabulary.missing_bytes, "fuse_unk": True}
    if vocabulary.unknown is not None:
        options["unk_token"] = vocabulary.text(vocabulary.unknown)
    merges = merges_from_scores(tokens, vocabulary.types, scores)
    try:
        return SentencePiece(Tokenizer(models.BPE({text: i for i, text in enumerate(tokens)}, merges, **options)))
    except Exception as error:  # the library raises bare Exception
        raise ModelFileError(KEY + "scores", str(error), "scores of a vocabulary that merges") from None


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

"""Log-probabilities of endings after a context, from any model that extends and truncates a sequence of tokens.

Contexts share prefixes (examples before a question, one question's choices), so the scorer keeps one sequence, cuts it
back to what the next context shares with it, and reads on from there.
What it doesn't do: know an engine; a command hands one in.
Enter at `Scorer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from solvent.errors import MeasureError

# Positions whose logits are read at a time: 128 · 49,152 · 4 bytes are 25 MB.
PIECE_TOKENS = 128


class TokenSequence(Protocol):
    """What a model has seen of one text."""

    @property
    def n_tokens(self) -> int: ...
    @property
    def context(self) -> int: ...
    def truncate(self, n_tokens: int) -> None: ...


class TokenModel(Protocol):
    """A model of which this room knows only that it reads tokens and gives logits."""

    def extend(
        self, sequence: Any, tokens: Sequence[int], logits: Literal["last", "all", "none"]
    ) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """Σ ln p of an ending's tokens given what stands before.

    greedy: whether each of its tokens is the model's first choice.   n_tok, n_bytes: its length."""

    logprob: float
    greedy: bool
    n_tok: int
    n_bytes: int


class Scorer:
    """Scores endings with one model and one sequence of it.

    encode: text → tokens, without an opening token.   Not for several threads at once."""

    def __init__(self, model: TokenModel, sequence: TokenSequence, encode: Callable[[str], list[int]]) -> None:
        self.model = model
        self.sequence = sequence
        self.encode = encode
        self.n_read_tok = 0
        self._held: list[int] = []

    def score(self, context: str, endings: Sequence[str]) -> list[Ending]:
        """Σ ln p(token | all before it) over the tokens of each ending.

        A text is cut into tokens as a whole, so an ending starts where its tokens leave those of the context alone.
        Exactness: float64 from the logits on.
        Raises: MeasureError (nothing before the ending; more tokens than the sequence holds)"""
        wholes = [self.encode(context + ending) for ending in endings]
        alone = self.encode(context)
        start = min((_shared(alone, whole) for whole in wholes), default=0)
        # An ending of no token of its own can't be: at least its last token is its own.
        start = min([start, *(len(whole) - 1 for whole in wholes)])
        longest = max(map(len, wholes), default=0)
        if start < 1:
            raise MeasureError("context", f"{context[:40]!r}, of which no token stands before an ending", "a context")
        if longest - 1 > self.sequence.context:
            raise MeasureError("context", f"{longest} tokens", f"at most {self.sequence.context}, the model's context")
        first = self._read(wholes[0][:start])
        return [
            self._ending(first, whole[start:], len(ending.encode("utf-8")))
            for whole, ending in zip(wholes, endings, strict=True)
        ]

    def _read(self, tokens: Sequence[int]) -> NDArray[np.float64]:
        """Brings the sequence to these tokens and gives the log-probabilities of what follows."""
        # The last token is always read again: its logits are what is asked for.
        keep = min(_shared(self._held, tokens), len(tokens) - 1)
        self._held = self._held[:keep]
        self.sequence.truncate(keep)
        if len(tokens) - keep > 1:
            self.model.extend(self.sequence, list(tokens[keep:-1]), "none")
        logits = self.model.extend(self.sequence, [tokens[-1]], "last")
        self.n_read_tok += len(tokens) - keep
        self._held = list(tokens)
        row: NDArray[np.float64] = log_softmax(logits[None])[0]
        return row

    def _ending(self, first: NDArray[np.float64], tokens: Sequence[int], n_bytes: int) -> Ending:
        logprob, greedy = float(first[tokens[0]]), bool(first.argmax() == tokens[0])
        n_before = self.sequence.n_tokens
        for at in range(0, len(tokens) - 1, PIECE_TOKENS):
            piece = list(tokens[at : min(at + PIECE_TOKENS, len(tokens) - 1)])
            rows = log_softmax(self.model.extend(self.sequence, piece, "all"))
            targets = list(tokens[at + 1 : at + 1 + len(piece)])
            logprob += float(rows[np.arange(len(targets)), targets].sum())
            greedy = greedy and bool((rows.argmax(axis=1) == targets).all())
            self.n_read_tok += len(piece)
        self.sequence.truncate(n_before)
        return Ending(logprob, greedy, len(tokens), n_bytes)


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two texts have in common from the start."""
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """ln of the softmax of each row, in float64."""
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    values -= np.log(np.exp(values).sum(axis=1, keepdims=True))
    return values

"""A model that needs no weights: the next token depends on the last one alone, by a table of logits.

It keeps the native model's interface and its rules (a full context and a token outside the vocabulary raise), and
counts what was asked of it, so that tests of what stands above can be exact and quick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import engine_models
import numpy as np

from solvent.errors import EngineError
from solvent.machine.engine.config import Config
from solvent.machine.engine.tokeniser import Tokeniser
from solvent.machine.turboquant.cache_format import CacheFormat

F16 = CacheFormat()


@dataclasses.dataclass
class FakeSequence:
    context: int
    tokens: list[int] = dataclasses.field(default_factory=list)
    model: FakeModel | None = None
    cache: CacheFormat = F16
    coded_tok = 0

    def fork(self) -> FakeSequence:
        return dataclasses.replace(self, tokens=list(self.tokens))

    @property
    def n_tokens(self) -> int:
        return len(self.tokens)

    def truncate(self, n_tokens: int) -> None:
        del self.tokens[n_tokens:]


class FakeModel:
    """table: (n_vocab, n_vocab) logits after each token.   calls: ("extend" | "decode" | "greedy", tokens)."""

    def __init__(self, table: np.ndarray, context: int = 128) -> None:
        self.table = table.astype(np.float32)
        self.config: Config = dataclasses.replace(engine_models.LLAMA, n_vocab=len(table), context=context)
        self.calls: list[tuple[str, int]] = []
        self.cache = F16
        self.sequences: list[FakeSequence] = []

    def new_sequence(self, context: int | None = None) -> FakeSequence:
        self.sequences.append(FakeSequence(context or self.config.context, model=self))
        return self.sequences[-1]

    def extend(self, sequence: FakeSequence, tokens: Iterable[int], logits: str = "last") -> np.ndarray:
        tokens = list(tokens)
        self.calls.append(("extend", len(tokens)))
        return self._read(sequence, tokens)[-1 if logits == "last" else slice(None)]

    def decode(self, sequences: list[FakeSequence], tokens: list[int]) -> np.ndarray:
        self.calls.append(("decode", len(tokens)))
        return np.stack([self._read(s, [t])[0] for s, t in zip(sequences, tokens, strict=True)])

    def greedy(self, sequence: FakeSequence, tokens: int | Iterable[int]) -> int:
        tokens = [tokens] if isinstance(tokens, int) else list(tokens)
        self.calls.append(("greedy", len(tokens)))
        return int(self._read(sequence, tokens)[-1].argmax())

    def _read(self, sequence: FakeSequence, tokens: list[int]) -> np.ndarray:
        if sequence.n_tokens + len(tokens) > sequence.context:
            raise EngineError("context", "full")
        if not all(0 <= token < len(self.table) for token in tokens):
            raise EngineError("token", "outside")
        sequence.tokens += tokens
        return self.table[tokens]


def tokeniser(n_vocab: int = 259) -> Tokeniser:
    """Token b is byte b; 256 <|endoftext|>, 257 <|im_start|> and 258 <|im_end|> end a reply."""
    return Tokeniser.from_metadata(engine_models.tokeniser_metadata(n_vocab))


def speaking(text: str | bytes, **options: Any) -> FakeModel:
    """A model that, greedily, goes on after each byte of `text` with the next one (all must differ), then ends."""
    data = text.encode() if isinstance(text, str) else text
    assert len(set(data)) == len(data), "the next token depends on the last one alone"
    table = np.zeros((259, 259))
    for now, following in zip(data, [*data[1:], 256], strict=True):
        table[now, following] = 5.0
    return FakeModel(table, **options)

"""A finished reply: the steps of one prompt put together, with the clock read on the way.

Enter at `record`, which passes steps through while it fills the replies, or `Reply`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from solvent.machine.engine.generate import FinishReason, Step


@dataclass(slots=True)
class Reply:
    """What a model answered to one prompt; `str(reply)` is its text.

    n_known_tok: tokens of the prompt that weren't read: restored from a file, or read for a prompt before.
    tokens: with the one that ended it.   logprobs, top: one entry a token, where they were asked for.
    finish_reason: "stop", "length" or "context"; None while it runs, or where it was interrupted.
    prompt_s: from the start to the first token.   decode_s: from the first token to the last. With several prompts
    both include the time of the others."""

    n_prompt_tok: int
    seed: int | None = None
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    prompt_s: float = 0.0
    decode_s: float = 0.0
    n_known_tok: int = 0

    def __str__(self) -> str:
        return self.text

    def add(self, step: Step, now_s: float) -> None:
        """Adds a step that was made now_s after the start."""
        if not self.tokens:
            self.prompt_s = now_s
            self.n_known_tok = step.n_known_tok
        self.decode_s = now_s - self.prompt_s
        self.tokens.append(step.token)
        self.text += step.text
        self.finish_reason = step.finish_reason
        if step.logprob is not None:
            self.logprobs.append(step.logprob)
            self.top.append(step.top)

    @property
    def prompt_tok_per_s(self) -> float | None:
        """Tokens of the prompt that were read, over the time to the first token; None before it."""
        return (self.n_prompt_tok - self.n_known_tok) / self.prompt_s if self.prompt_s > 0 else None

    @property
    def decode_tok_per_s(self) -> float | None:
        """Tokens after the first over the time since it; None where there was only one."""
        return (len(self.tokens) - 1) / self.decode_s if self.decode_s > 0 else None

    def document(self) -> dict[str, Any]:
        """The reply as JSON-ready fields; log-probabilities only where they were asked for."""
        fields: dict[str, Any] = {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "n_prompt_tok": self.n_prompt_tok,
            "n_known_tok": self.n_known_tok,
            "n_output_tok": len(self.tokens),
            "tokens": self.tokens,
            "prompt_s": self.prompt_s,
            "decode_s": self.decode_s,
            "prompt_tok_per_s": self.prompt_tok_per_s,
            "decode_tok_per_s": self.decode_tok_per_s,
        }
        if self.logprobs:
            fields["logprobs"] = self.logprobs
            fields["top_logprobs"] = [[{"token": t, "logprob": p} for t, p in one] for one in self.top]
        return fields


def record(steps: Iterable[Step], replies: Sequence[Reply]) -> Iterator[Step]:
    """Passes steps on and adds each to the reply of its prompt, with the time since this began."""
    start_s = time.perf_counter()
    for step in steps:
        replies[step.prompt].add(step, time.perf_counter() - start_s)
        yield step

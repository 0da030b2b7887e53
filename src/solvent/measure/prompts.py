"""Prompts of a wanted length for servers that take text: plain words, other ones in every prompt.

No two prompts begin alike, so that a server's prefix cache gives nothing away; what a cache saves is measured by a
workload that shares prefixes on purpose. Without a tokeniser a word counts as one token, which the words are in most
vocabularies, and the server's count is what is reported.
Enter at `PromptWriter.write`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

# Common English words that are one token after a space in the vocabularies of GPT-2, Llama 3, Qwen and SmolLM2.
WORDS = tuple(Path(__file__).with_name("words.txt").read_text("utf-8").split())
_MAX_TRIES = 8


class PromptWriter:
    """Writes prompts. count_tokens: of a text, or None where no tokeniser is known."""

    def __init__(self, count_tokens: Callable[[str], int] | None = None) -> None:
        self._count = count_tokens

    def write(self, name: str, n_tok: int) -> str:
        """A prompt of n_tok tokens by the tokeniser where that can be met, else the nearest below; else n_tok words."""
        draw = random.Random(name)
        words = draw.choices(WORDS, k=n_tok)
        if self._count is None:
            return " ".join(words)
        n_words = n_tok
        best = words[:1]
        for _ in range(_MAX_TRIES):
            found_tok = self._count(" ".join(words[:n_words]))
            if found_tok <= n_tok:
                best = words[:n_words]
            if found_tok == n_tok:
                break
            n_words = max(1, n_words + (n_tok - found_tok))
            words += draw.choices(WORDS, k=max(0, n_words - len(words)))
        return " ".join(best)

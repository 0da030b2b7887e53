"""Prompts that begin alike: what one sequence has read is forked for another, so that a common beginning is read once.

A fork shares full chunks of keys and values. It is taken where the rest is then read in the same steps as without it,
which bounds what it changes: nothing, to the last bit, of a prompt that was read in one piece. Where a cache keeps a
tail in full precision, it is also taken only where that is in codes which would be without it.
What it doesn't do: save to a file (saved_cache.py), look for beginnings that nobody read.
Enter at `Prefixes`. Steps: native/attention.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import TYPE_CHECKING

from solvent.errors import EngineError
from solvent.machine.turboquant.cache_format import CHUNK_TOK, CacheFormat

if TYPE_CHECKING:
    from solvent.machine.engine.model import Model, Sequence

# Tokens of one step (kMaxStep), and of keys that attention sums in one piece (kSpanKeys).
STEP_TOK = 512
# A step of a few tokens sums its attention in spans: of up to four tiles, whose tokens are eight at most.
FEW_TOK = 64


@dataclass(frozen=True, slots=True)
class Read:
    """A sequence, and the prompt that it had read before it went on."""

    sequence: Sequence
    tokens: tuple[int, ...]


class Prefixes:
    """What has been read, to begin other prompts with.   read: in the order in which it was added."""

    def __init__(self) -> None:
        self.read: list[Read] = []

    def add(self, sequence: Sequence, tokens: Items[int]) -> None:
        """tokens: the first of the sequence, all of a prompt.   Raises: EngineError (more than the sequence holds)"""
        if len(tokens) > sequence.n_tokens:
            raise EngineError("prefix", f"{len(tokens)} tokens", f"at most {sequence.n_tokens}, those in the sequence")
        self.read.append(Read(sequence, tuple(tokens)))

    def begin(self, model: Model, prompt: Items[int], context: int) -> Sequence:
        """A sequence that holds as much of the prompt as others have read, or none of it; never the last token.

        context: tokens that the sequence must have room for.
        Raises: EngineError (what was read was read by another model, or into another cache format)"""
        best, n_best = None, 0
        for one in self.read:
            if one.sequence.model is not model or one.sequence.cache != model.cache:
                raise EngineError("prefix", "read by another model or into another cache", "this model and its cache")
            step_tok = CHUNK_TOK if model.cache.tail_tok else STEP_TOK
            n = fork_point(n_common(one.tokens, prompt), len(one.tokens), len(prompt), step_tok)
            whole = one.sequence.coded_tok <= coded_before(model.cache, n)
            if n > n_best and whole and one.sequence.context >= context:
                best, n_best = one, n
        if best is None:
            return model.new_sequence(context)
        sequence = best.sequence.fork()
        sequence.truncate(n_best)
        return sequence


def n_common(a: Items[int], b: Items[int]) -> int:
    """Tokens with which both begin."""
    shorter = min(len(a), len(b))
    return next((i for i in range(shorter) if a[i] != b[i]), shorter)


def coded_before(cache: CacheFormat, n_tok: int) -> int:
    """Where codes end for the token after n_tok others that were read one after the other, full precision following:
    nowhere without a tail, else at the chunk that the token before the tail begins, sinks counted as codes."""
    return max(cache.sink_tok, n_tok // CHUNK_TOK * CHUNK_TOK - cache.tail_tok) if cache.tail_tok else 1 << 40


def fork_point(n_same: int, n_source: int, n_prompt: int, step_tok: int = STEP_TOK) -> int:
    """How many of the tokens that both begin with can be taken over without another sum in attention.

    n_same: tokens that are equal.   n_source, n_prompt: of the two prompts, each read from its start."""
    n = min(n_same, n_prompt - 1, n_read_together(n_source, step_tok), n_read_together(n_prompt, step_tok))
    start = n // step_tok * step_tok
    # Up to as many keys are one span.
    if n <= STEP_TOK or n == start:
        return max(n, 0)
    return max(start, min(n, min(start + step_tok, n_prompt) - FEW_TOK - 1))


def n_read_together(n_prompt: int, step_tok: int = STEP_TOK) -> int:
    """The tokens of a prompt but for those of a last step so short that its attention is summed in spans."""
    tail = n_prompt % step_tok
    return n_prompt - tail if n_prompt > STEP_TOK and tail <= FEW_TOK else n_prompt


def end_of_step(n_known: int, n_prompt: int) -> int:
    """Where the first call ends that reads the rest of a prompt, so that steps end where they would without a fork."""
    return min(n_prompt, -(-n_known // STEP_TOK) * STEP_TOK)

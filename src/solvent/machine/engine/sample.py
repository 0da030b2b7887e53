"""From logits to the next token: penalty, temperature, three filters, one draw; and log-probabilities.

The order is fixed, and each step sees what the one before left: repetition penalty, temperature, top-k, top-p, min-p,
draw. Temperature 0 is greedy: the largest logit after the penalty, the lowest token of equals; filters don't matter.
What it doesn't do: stop strings, limits (generate.py).
Enter at `Sampling` and `sample`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError

Logits = NDArray[np.float32]
Values = NDArray[np.float64]

# How many candidates top-p sorts at first; where they hold too little probability it takes eight times as many.
_FIRST_CANDIDATES = 256


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. The defaults are greedy.

    temperature: logits are divided by it; 0 is greedy.   top_k: keep the k most probable; 0 keeps all.
    top_p: keep the fewest of the most probable that hold this share.   min_p: keep those at least this share as
    probable as the most probable.   repeat_penalty: logits of tokens already in the context are divided by it where
    positive, multiplied where negative.   seed: of the draws; None takes a fresh one.

    Raises: EngineError (a value outside its range)."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        ranges = {
            "temperature": (within(self.temperature, 0, inf), "0 (greedy) or more"),
            "top_k": (is_whole(self.top_k, 0), "a whole number, 0 (off) or more"),
            "top_p": (self.top_p != 0 and within(self.top_p, 0, 1), "more than 0, at most 1 (off)"),
            "min_p": (within(self.min_p, 0, 1), "0 (off) to 1"),
            "repeat_penalty": (within(self.repeat_penalty, 1e-3, 1e3), "0.001 to 1000; 1 is off"),
            "seed": (self.seed is None or is_whole(self.seed, 0), "a whole number, 0 or more"),
        }
        for name, (fits, expected) in ranges.items():
            if not fits:
                raise EngineError(name, str(getattr(self, name)), expected)

    @property
    def greedy(self) -> bool:
        """Whether the choice is the largest of the model's own logits."""
        return self.temperature == 0 and self.repeat_penalty == 1


def within(value: object, low: float, high: float) -> bool:
    """Whether it is a finite number from low to high."""
    return isinstance(value, int | float | np.number) and bool(low <= value <= high and abs(value) != inf)


def is_whole(value: object, low: int, high: float = inf) -> bool:
    """Whether it is a whole number from low to high; a truth value isn't."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(low <= value <= high)


class Draws:
    """Draws, uniform in [0, 1), of the index-th prompt of a batch: the same whatever else is in the batch.

    What draws is made with the first: greedy replies never draw, and NumPy's generators take 6 MB."""

    def __init__(self, seed: int, index: int = 0) -> None:
        self._seed = [seed, index]
        self._generator: np.random.Generator | None = None

    def random(self) -> float:
        if self._generator is None:
            self._generator = np.random.default_rng(self._seed)
        return self._generator.random()


def fresh_seed() -> int:
    """Of 32 bits, from the system."""
    return int.from_bytes(os.urandom(4), "little")


def sample(logits: Logits, sampling: Sampling, context: Iterable[int], draw: Draws) -> int:
    """The next token. One draw is taken unless temperature is 0.

    p = softmax(penalised(logits) / temperature); the kept set is top_k ∩ top_p ∩ min_p in turn, each of what the one
    before kept, renormalised; the token is the first, in order of token number, at which the kept probabilities sum to
    more than u, u uniform in [0, 1).
    logits: (n_vocab,) f32.   context: every token so far, prompt and output.
    Exactness: float64 from the logits on; ties in probability keep the lower token.
    Raises: EngineError (a logit that is not a number: the model is broken)."""
    values = penalised(logits, sampling.repeat_penalty, context)
    best = int(np.argmax(values))
    if not isfinite(values[best]):
        raise EngineError("logits", str(values[best]), "numbers", "the model's weights are damaged or overflow")
    if sampling.temperature == 0:
        return best
    with np.errstate(over="ignore"):  # a temperature next to 0 leaves the likeliest alone
        scaled = (values - values[best]) / sampling.temperature
    tokens = kept_tokens(scaled, sampling)
    weights = np.exp(scaled if tokens is None else scaled[tokens])
    sums = np.cumsum(weights)
    place = int(np.searchsorted(sums, draw.random() * sums[-1], side="right"))
    place = min(place, len(sums) - 1)
    return place if tokens is None else int(tokens[place])


def penalised(logits: Logits, penalty: float, context: Iterable[int]) -> Values:
    """l/penalty where l > 0, l·penalty elsewhere, for every token of the context once; the others unchanged.

    Source: arXiv:1909.05858 §4.1, with the sign handled as in transformers' RepetitionPenaltyLogitsProcessor"""
    values = logits.astype(np.float64)
    if penalty != 1:
        seen = np.unique(np.fromiter(context, np.int64))
        some = values[seen]
        values[seen] = np.where(some > 0, some / penalty, some * penalty)
    return values


def kept_tokens(scaled: Values, sampling: Sampling) -> NDArray[np.int64] | None:
    """The tokens that top-k, top-p and min-p leave, ascending; None where they leave all.

    scaled: (n_vocab,) logits over temperature, less the largest, so that exp(scaled) is p over the largest p."""
    tokens: NDArray[np.int64] | None = None
    if 0 < sampling.top_k < len(scaled):
        tokens = _largest(scaled, int(sampling.top_k))
    if sampling.top_p < 1:
        tokens = _nucleus(scaled, tokens, sampling.top_p)
    if sampling.min_p > 0:
        tokens = np.arange(len(scaled)) if tokens is None else tokens
        tokens = tokens[np.exp(scaled[tokens]) >= sampling.min_p]
    return None if tokens is None else np.sort(tokens)


def _largest(values: Values, k: int) -> NDArray[np.int64]:
    """The k largest, in falling order; of equals the lower token."""
    if k >= len(values):
        return np.lexsort((np.arange(len(values)), -values))
    kth = np.partition(values, len(values) - k)[len(values) - k]
    above = np.flatnonzero(values > kth)
    tokens = np.concatenate([above, np.flatnonzero(values == kth)[: k - len(above)]])
    return tokens[np.lexsort((tokens, -values[tokens]))]


def _nucleus(scaled: Values, tokens: NDArray[np.int64] | None, share: float) -> NDArray[np.int64]:
    """The fewest of the most probable tokens (of `tokens`, falling, or of all) that hold at least this share."""
    total = np.exp(scaled if tokens is None else scaled[tokens]).sum()
    n_sorted = len(scaled) if tokens is not None else min(_FIRST_CANDIDATES, len(scaled))
    while True:
        falling = _largest(scaled, n_sorted) if tokens is None else tokens
        sums = np.cumsum(np.exp(scaled[falling]))
        n_kept = int(np.searchsorted(sums, share * total, side="left")) + 1
        if n_kept <= len(falling) or n_sorted >= len(scaled):
            return falling[:n_kept]
        n_sorted = min(8 * n_sorted, len(scaled))


@dataclass(frozen=True, slots=True)
class LogProbs:
    """ln p of the token that was chosen, and the most probable tokens with theirs, falling."""

    chosen: float
    top: tuple[tuple[int, float], ...]


def log_probabilities(logits: Logits, token: int, n_top: int) -> LogProbs:
    """ln softmax(logits): what the model itself says, before penalty, temperature and filters.

    Exactness: float64 from the logits on; ties list the lower token first."""
    values = logits.astype(np.float64)
    values -= log_sum_exp(values)
    top = _largest(values, n_top) if n_top else ()
    return LogProbs(float(values[token]), tuple((int(t), float(values[t])) for t in top))


def log_sum_exp(values: NDArray[Any]) -> Any:
    """ln Σ exp(values) along the last axis, computed from the largest so that nothing overflows."""
    largest = values.max(axis=-1, keepdims=True)
    return np.log(np.exp(values - largest).sum(axis=-1, keepdims=True)) + largest

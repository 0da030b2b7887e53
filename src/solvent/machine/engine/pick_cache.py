"""Chooses how many bits each group of layers keeps its keys and values in: the fewest bytes within a divergence budget.

What a group's keys or values cost in divergence is measured at two bits, everything else in f16, and scaled to other
bits by their distortion; the cheapest assignment by that rule is then measured itself, and tightened until it holds.
What it doesn't do: judge tasks; a budget of mean KL on a text is all it knows.
Enter at `pick_cache`. The method and what it found: docs/explanation/turboquant.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError
from solvent.machine.engine.sample import log_sum_exp
from solvent.machine.turboquant.cache_format import F16, TRELLIS_BITS, CacheFormat, bits_per_element
from solvent.machine.turboquant.codebook import distortion

if TYPE_CHECKING:
    from solvent.machine.engine.model import Model

CANDIDATE_BITS = (2, 3, 4, 5, 8)
PROBE_BITS = 2
MAX_GROUPS = 10
MAX_TRIES = 6
PIECE_TOK = 128
# Logits of the reference are kept: 256 MB of them.
MAX_KEPT = 64 * 1024 * 1024
# A budget is aimed at a little below, since the prediction is one of small numbers that add up.
AIM = 0.95


@dataclass(frozen=True, slots=True)
class Picked:
    """mean_kl: measured with this format, nats per token.   n_scored: tokens that it was measured on.
    tried: formats that were measured on the way, with their mean KL, the last one included."""

    format: CacheFormat
    mean_kl: float
    bits_per_element: float
    n_scored: int
    tried: tuple[tuple[CacheFormat, float], ...]

    def document(self) -> dict[str, Any]:
        return {
            "format": self.format.document(),
            "mean_kl": self.mean_kl,
            "bits_per_element": self.bits_per_element,
            "n_scored": self.n_scored,
            "n_tried": len(self.tried),
        }


def pick_cache(model: Model, tokens: Sequence[int], budget_kl: float, window_tok: int = 1024) -> Picked:
    """The format of fewest bytes whose mean KL from an f16 cache on the tokens stays within the budget.

    budget_kl: nats per token.   window_tok: the second half of each window is scored.
    Raises: EngineError (a budget that 8 bits everywhere don't meet: says what they give; too few tokens)"""
    if not budget_kl > 0:
        raise EngineError("budget", f"{budget_kl:g} nats per token", "more than 0")
    if len(tokens) < window_tok or not 2 <= window_tok <= model.config.context:
        raise EngineError(
            "tokens", f"{len(tokens)} for windows of {window_tok}", "at least one whole window in the context"
        )
    reference = _Reference(model, tokens, window_tok)
    tried: list[tuple[CacheFormat, float]] = []

    def measure(format: CacheFormat) -> float:
        tried.append((format, reference.mean_kl(format)))
        return tried[-1][1]

    n_layers = model.config.n_layers
    floor = measure(CacheFormat(((8, 8),)))
    if floor > budget_kl:
        raise EngineError(
            "budget",
            f"{budget_kl:g} nats per token, but 8 bits everywhere stray by {floor:.4g}",
            f"a budget of at least {floor:.4g}",
            "raise the budget or keep the cache in f16",
        )
    groups = np.array_split(np.arange(n_layers), min(MAX_GROUPS, n_layers))
    costs = _costs(groups, n_layers, model.config.head_size, measure, floor)
    aim = AIM * budget_kl
    for _ in range(MAX_TRIES):
        format = _assign(groups, costs, aim - floor, n_layers)
        found = measure(format)
        if found <= budget_kl:
            size = bits_per_element(format, model.config.head_size)
            return Picked(format, found, size, reference.n_scored, tuple(tried))
        aim = floor + (aim - floor) * min(0.8, (budget_kl - floor) / (found - floor))
    format = CacheFormat(((8, 8),))
    return Picked(format, floor, bits_per_element(format, model.config.head_size), reference.n_scored, tuple(tried))


class _Reference:
    """What an f16 cache says about the scored tokens, kept to compare others with."""

    def __init__(self, model: Model, tokens: Sequence[int], window_tok: int) -> None:
        self.model = model
        scored = window_tok // 2
        n_windows = max(1, min(len(tokens) // window_tok, MAX_KEPT // (scored * model.config.n_vocab)))
        self.windows = [list(tokens[i * window_tok : (i + 1) * window_tok]) for i in range(n_windows)]
        self.first_scored = window_tok - scored
        self.n_scored = n_windows * scored
        self.kept = [self._log_p(window, CacheFormat()) for window in self.windows]

    def mean_kl(self, format: CacheFormat) -> float:
        total = 0.0
        for window, kept in zip(self.windows, self.kept, strict=True):
            for p, q in zip(kept, self._log_p(window, format), strict=True):
                total += float((np.exp(p) * (p - q)).sum(dtype=np.float64))
        return total / self.n_scored

    def _log_p(self, window: list[int], format: CacheFormat) -> list[NDArray[np.float32]]:
        sequence = self.model.new_sequence(len(window), format)
        self.model.extend(sequence, window[: self.first_scored], "none")
        pieces = []
        for start in range(self.first_scored, len(window), PIECE_TOK):
            logits = self.model.extend(sequence, window[start : start + PIECE_TOK], "all")
            pieces.append((logits - log_sum_exp(logits.astype(np.float64))).astype(np.float32))
        return pieces


def _costs(
    groups: Sequence[NDArray[Any]],
    n_layers: int,
    head_size: int,
    measure: Callable[[CacheFormat], float],
    floor: float,
) -> NDArray[np.float64]:
    """Mean KL above the floor by (group, keys or values, candidate bits)."""
    errors = [distortion(bits, head_size, bits in TRELLIS_BITS) for bits in CANDIDATE_BITS]
    ratio = np.array(errors) / errors[CANDIDATE_BITS.index(PROBE_BITS)]
    costs = np.zeros((len(groups), 2, len(CANDIDATE_BITS)))
    for i, group in enumerate(groups):
        for part in range(2):
            bits = np.full((n_layers, 2), F16)
            bits[group, part] = PROBE_BITS
            # What is lost in the noise of a small sample still costs something, so that it is spent last.
            costs[i, part] = max(measure(_format(bits)) - floor, 0.02 * floor) * ratio
    return costs


def _assign(groups: Sequence[NDArray[Any]], costs: NDArray[np.float64], budget: float, n_layers: int) -> CacheFormat:
    """From 8 bits everywhere down, always where a bit saved costs least, while the sum stays within the budget."""
    sizes = np.array([len(group) for group in groups])
    at = np.full(costs.shape[:2], len(CANDIDATE_BITS) - 1)
    spent = float(costs[:, :, -1].sum())
    while True:
        best, best_price = None, np.inf
        for i, part in np.ndindex(*at.shape):
            for lower in range(at[i, part]):
                more = costs[i, part, lower] - costs[i, part, at[i, part]]
                saved = sizes[i] * (CANDIDATE_BITS[at[i, part]] - CANDIDATE_BITS[lower])
                if spent + more <= budget and more / saved < best_price:
                    best, best_price = (i, part, lower, more), more / saved
        if best is None:
            break
        i, part, lower, more = best
        at[i, part] = lower
        spent += more
    bits = np.zeros((n_layers, 2), int)
    for i, group in enumerate(groups):
        bits[group] = [CANDIDATE_BITS[j] for j in at[i]]
    return _format(bits)


def _format(bits: NDArray[Any]) -> CacheFormat:
    return CacheFormat(tuple((int(keys), int(values)) for keys, values in bits))

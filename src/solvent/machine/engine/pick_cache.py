"""Chooses how many bits each group of layers keeps its keys and values in: the fewest bytes within a divergence budget.

What a group's keys or values cost in divergence is measured at three bits, everything else in f16, and scaled to other
bits by their distortion; the cheapest assignment by that rule is then measured itself, and aimed again until it holds.
What it doesn't do: judge tasks; a budget of mean KL on a text is all it knows.
Enter at `pick_cache`; `CacheBudget` is what load() takes. The method and what it found: docs/explanation/turboquant.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError
from solvent.machine.engine.sample import log_sum_exp
from solvent.machine.turboquant.cache_format import F16, TRELLIS_BITS, CacheFormat, bits_per_element
from solvent.machine.turboquant.codebook import distortion

if TYPE_CHECKING:
    from solvent.machine.engine.model import Model

CANDIDATE_BITS = (2, 3, 4, 5, 6, 8)
FINEST = CacheFormat(((8, 8),))
PROBE_BITS = 3
MAX_GROUPS = 10
MAX_TRIES = 6
PIECE_TOK = 128
WINDOW_TOK = 1024
# Logits of the reference are kept: 256 MB of them.
MAX_KEPT = 64 * 1024 * 1024
# Between these shares of a budget a format is taken as it is; less is aimed at again.
NEAR, AIM = 0.93, 0.97
# Prose of the seventeenth century (public domain), then text and code of this project, in turn.
TEXT_FILE = Path(__file__).with_name("budget_text.txt")

Tell = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class CacheBudget:
    """What a compressed cache may cost: for load(cache=CacheBudget(0.02)).

    kl: mean divergence from an f16 cache, nats per token.   text: that it is measured on; None takes the one that
    comes along.   window_tok: the second half of each window is scored; None takes 1,024, or the model's context.
    Raises: EngineError (a budget that isn't above 0)"""

    kl: float = 0.02
    text: str | None = None
    window_tok: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.kl < float("inf"):
            raise EngineError("budget", f"{self.kl:g} nats per token", "more than 0")

    def text_or_own(self) -> str:
        return TEXT_FILE.read_text("utf-8") if self.text is None else self.text


@dataclass(frozen=True, slots=True)
class Picked:
    """mean_kl: measured with this format, nats per token.   n_scored: tokens that it was measured on, in the second
    halves of windows of window_tok.   floor_kl: mean KL with 8 bits everywhere.   n_tried: formats measured."""

    format: CacheFormat
    budget_kl: float
    mean_kl: float
    floor_kl: float
    bits_per_element: float
    n_scored: int
    window_tok: int
    n_tried: int

    def document(self) -> dict[str, Any]:
        return {
            "format": self.format.document(),
            "budget_kl": self.budget_kl,
            "mean_kl": self.mean_kl,
            "floor_kl": self.floor_kl,
            "bits_per_element": self.bits_per_element,
            "n_scored": self.n_scored,
            "window_tok": self.window_tok,
            "n_tried": self.n_tried,
        }


def pick_cache(
    model: Model,
    tokens: Sequence[int],
    budget_kl: float,
    window_tok: int = WINDOW_TOK,
    tell: Tell | None = None,
    n_groups: int = MAX_GROUPS,
) -> Picked:
    """The format of fewest bytes whose mean KL from an f16 cache on the tokens stays within the budget.

    budget_kl: nats per token.   window_tok: the second half of each window is scored.   tell: is told how far it is.
    n_groups: of layers that get the same bits; each takes two measurements.
    Raises: EngineError (a budget that 8 bits everywhere don't meet: says what they give; too few tokens)"""
    CacheBudget(budget_kl)
    if not 2 <= window_tok <= model.config.context:
        raise EngineError("window", f"{window_tok} tokens", f"2 to {model.config.context}, the context")
    if len(tokens) < window_tok:
        raise EngineError("text", f"{len(tokens)} tokens", f"at least {window_tok}, a window", "take a longer text")
    n_layers, head_size = model.config.n_layers, model.config.head_size
    groups = np.array_split(np.arange(n_layers), min(max(1, n_groups), n_layers))
    n_measured, n_expected = 0, 2 * len(groups) + 4
    reference = _Reference(model, tokens, window_tok)

    def measure(format: CacheFormat) -> float:
        nonlocal n_measured
        if tell is not None:
            tell("measuring what bits of the cache cost", min(1.0, n_measured / n_expected))
        n_measured += 1
        return reference.mean_kl(format)

    floor = measure(FINEST)
    if floor > budget_kl:
        raise EngineError(
            "budget",
            f"{budget_kl:g} nats per token, but 8 bits everywhere stray by {floor:.4g}",
            f"a budget of at least {1.01 * floor:.3g}",  # rounded, it still is
            "raise the budget or keep the cache in f16",
        )
    costs = _costs(groups, n_layers, head_size, measure)
    best = (FINEST, floor)
    for format, found in _tries(groups, costs, n_layers, measure, (budget_kl, floor)):
        if found <= budget_kl and bits_per_element(format, head_size) < bits_per_element(best[0], head_size):
            best = (format, found)
    size = bits_per_element(best[0], head_size)
    return Picked(best[0], budget_kl, best[1], floor, size, reference.n_scored, window_tok, n_measured)


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
    groups: Sequence[NDArray[Any]], n_layers: int, head_size: int, measure: Callable[[CacheFormat], float]
) -> NDArray[np.float64]:
    """Mean KL by (group, keys or values, candidate bits), each alone."""
    errors = [distortion(bits, head_size, bits in TRELLIS_BITS) for bits in CANDIDATE_BITS]
    ratio = np.array(errors) / errors[CANDIDATE_BITS.index(PROBE_BITS)]
    costs = np.zeros((len(groups), 2, len(CANDIDATE_BITS)))
    for i, group in enumerate(groups):
        for part in range(2):
            bits = np.full((n_layers, 2), F16)
            bits[group, part] = PROBE_BITS
            costs[i, part] = measure(_format(bits)) * ratio
    # What is lost in the noise of a small sample still costs something, so that it is spent last.
    return np.asarray(np.maximum(costs, 1e-3 * costs.mean(axis=(0, 1))), np.float64)


def _tries(
    groups: Sequence[NDArray[Any]],
    costs: NDArray[np.float64],
    n_layers: int,
    measure: Callable[[CacheFormat], float],
    bounds: tuple[float, float],
) -> list[tuple[CacheFormat, float]]:
    """Formats and what they were found to cost, each aimed by what the one before showed.   bounds: budget, floor."""
    budget, floor = bounds
    # What is left at 8 bits beside the codes' own error: int8 queries and weights of attention.
    rounding = max(0.0, floor - float(costs[:, :, -1].sum()))
    tried: list[tuple[CacheFormat, float]] = []
    ratio = 1.0
    for _ in range(MAX_TRIES):
        format, predicted = _assign(groups, costs, (AIM * budget - rounding) / ratio, n_layers)
        if any(format == one for one, _ in tried):
            break
        found = measure(format)
        tried.append((format, found))
        if NEAR * budget <= found <= budget:
            break
        ratio = max(found - rounding, 0.1 * predicted) / predicted
    return tried


def _assign(
    groups: Sequence[NDArray[Any]], costs: NDArray[np.float64], budget: float, n_layers: int
) -> tuple[CacheFormat, float]:
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
    return _format(bits), spent


def _format(bits: NDArray[Any]) -> CacheFormat:
    return CacheFormat(tuple((int(keys), int(values)) for keys, values in bits))

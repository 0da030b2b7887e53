"""How good a model is at a text, and how far another strays from it: perplexity and divergence.

Both read the text in windows of n tokens that don't overlap, each from an empty cache and without an opening token.
Within a window every token but the first is predicted, from those before it in the window; the last, shorter window
counts too. All predictions weigh the same. Logarithms are natural.
What it doesn't do: judge the replies.
Enter at `perplexity` and `divergence`. Source: docs/reference/metrics-of-quality.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import exp, inf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError
from solvent.machine.engine.sample import is_whole, log_sum_exp

if TYPE_CHECKING:
    from solvent.machine.engine.model import Model

DEFAULT_WINDOW = 1024
# Logits are read for so many tokens at a time: 128 · 49,152 · (4 + 8 + 8) bytes are 126 MB.
PIECE_TOKENS = 128
LARGEST_EXPONENT = 709.0  # e^709.8 is the largest float64


@dataclass(frozen=True, slots=True)
class Perplexity:
    """exp(mean_nll), infinite from 710 nats on.   mean_nll: nats per predicted token.   standard_error: of mean_nll,
    over predicted tokens taken as independent, which flatters it; None of a single one.   n_predicted: tokens that
    count.   window: tokens."""

    perplexity: float
    mean_nll: float
    standard_error: float | None
    n_predicted: int
    n_windows: int
    window: int

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Divergence:
    """KL(against ‖ model) over predictions, in nats: mean, 99.9th percentile (linear between neighbours), largest.

    same_top: the share of predictions where both find the same token most probable."""

    mean_kl: float
    p999_kl: float
    max_kl: float
    same_top: float
    n_predicted: int
    n_windows: int
    window: int

    def document(self) -> dict[str, Any]:
        return asdict(self)


def perplexity(
    model: Model, tokens: Sequence[int], window: int | None = None, n_windows: int | None = None
) -> Perplexity:
    """exp(−(1/N) Σ ln p(token | tokens before it in its window)), N the predicted tokens of all windows.

    window: tokens; None takes 1,024 or the model's context, whichever is less.   n_windows: only so many, from the
    start; None takes all.
    Exactness: float64 from the logits on.
    Raises: EngineError (fewer than two tokens, a window outside 2 … context; logits that are no finite numbers)."""
    pieces = list(_windows(model.config.context, tokens, window, n_windows))
    losses = []
    for piece in pieces:
        for targets, logits in _predictions(model, piece):
            values = logits.astype(np.float64)
            losses.append(log_sum_exp(values)[:, 0] - values[np.arange(len(targets)), targets])
    nll = np.concatenate(losses)
    mean = float(nll.mean())
    error = float(nll.std(ddof=1)) / sqrt(len(nll)) if len(nll) > 1 else None
    return Perplexity(exp(mean) if mean < LARGEST_EXPONENT else inf, mean, error, len(nll), len(pieces), len(pieces[0]))


def divergence(
    model: Model, against: Model, tokens: Sequence[int], window: int | None = None, n_windows: int | None = None
) -> Divergence:
    """KL(P ‖ Q) = Σ p · (ln p − ln q) at each prediction, P what `against` says, Q what `model` says.

    window, n_windows: as for `perplexity`, in the smaller of the two contexts.
    Exactness: float64 from the logits on.
    Raises: EngineError (vocabularies of different size; as perplexity)."""
    if model.config.n_vocab != against.config.n_vocab:
        raise EngineError("against", f"a vocabulary of {against.config.n_vocab}", f"the model's {model.config.n_vocab}")
    context = min(model.config.context, against.config.context)
    pieces = list(_windows(context, tokens, window, n_windows))
    kls, same = [], []
    for piece in pieces:
        both = zip(_predictions(model, piece), _predictions(against, piece), strict=True)
        for (_, logits), (_, reference) in both:
            q, p = logits.astype(np.float64), reference.astype(np.float64)
            same.append(q.argmax(axis=1) == p.argmax(axis=1))
            q -= log_sum_exp(q)
            p -= log_sum_exp(p)
            kls.append((np.exp(p) * (p - q)).sum(axis=1))
    kl, tops = np.concatenate(kls), np.concatenate(same)
    return Divergence(
        float(kl.mean()),
        float(np.quantile(kl, 0.999)),
        float(kl.max()),
        float(tops.mean()),
        len(kl),
        len(pieces),
        len(pieces[0]),
    )


def _windows(context: int, tokens: Sequence[int], window: int | None, n_windows: int | None) -> Iterator[Sequence[int]]:
    """The windows of at least two tokens."""
    size = min(DEFAULT_WINDOW, context) if window is None else window
    if not is_whole(size, 2, context):
        raise EngineError("window", str(size), f"2 to {context}, the context")
    if n_windows is not None and not is_whole(n_windows, 1):
        raise EngineError("n_windows", str(n_windows), "1 or more, a whole number")
    if len(tokens) < 2:
        raise EngineError("text", f"{len(tokens)} tokens", "at least two: the first is not predicted")
    starts = range(0, len(tokens) - 1, size)
    for start in starts[:n_windows]:
        yield tokens[start : start + size]


def _predictions(model: Model, window: Sequence[int]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Targets (T,) and the logits (T, n_vocab) that predict them, a piece of the window at a time."""
    sequence = model.new_sequence(len(window))
    for start in range(0, len(window) - 1, PIECE_TOKENS):
        piece = window[start : min(start + PIECE_TOKENS, len(window) - 1)]
        logits = model.extend(sequence, piece, "all")
        if not np.isfinite(logits).all():
            raise EngineError("logits", "not finite", "numbers", "the model's weights are damaged or overflow")
        yield np.asarray(window[start + 1 : start + 1 + len(piece)], np.int64), logits

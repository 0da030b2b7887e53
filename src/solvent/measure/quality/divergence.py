"""How far variants of a model stray from a reference on a text: KL, first choices, perplexity, over the same windows.

A window is read piece by piece through each variant's own sequence, and only its second half is scored, so that every
scored token has at least half a window behind it. The reference is read once for all variants.
What it doesn't do: know what a variant is; a caller gives models with their sequences.
Enter at `text_divergence`. The metrics: docs/reference/metrics-of-quality.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvent.errors import MeasureError
from solvent.measure.quality.paired import Difference, difference, mean
from solvent.measure.quality.scorer import PIECE_TOKENS, TokenModel, TokenSequence, log_softmax

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reader:
    """One variant: its model, and what makes an empty sequence of so many tokens."""

    model: TokenModel
    new_sequence: Callable[[int], TokenSequence]


@dataclass(frozen=True, slots=True)
class Windows:
    """size: tokens of a window, the context.   n_scored: at least so many predictions together."""

    size: int
    n_scored: int

    @property
    def n_windows(self) -> int:
        return -(-self.n_scored // (self.size // 2))


@dataclass(slots=True)
class Strayed:
    """What one variant did at every scored token: KL(reference ‖ variant) and its own surprise, nats; whether its first
    choice is the reference's."""

    kl: list[Floats] = field(default_factory=list)
    nll: list[Floats] = field(default_factory=list)
    same: list[NDArray[np.bool_]] = field(default_factory=list)

    def piece_means(self) -> list[float]:
        """Mean KL of each piece of 128 tokens or fewer: neighbours aren't independent, pieces nearly are."""
        return [float(piece.mean()) for piece in self.kl]

    def document(self) -> dict[str, Any]:
        """The metrics as JSON-ready fields, with 95% intervals by a bootstrap of pieces (None of a single one)."""
        kl, nll, same = np.concatenate(self.kl), np.concatenate(self.nll), np.concatenate(self.same)
        known = len(self.kl) > 1
        kls = mean(self.piece_means()) if known else None
        tops = mean([float(piece.mean()) for piece in self.same]) if known else None
        nlls = mean([float(piece.mean()) for piece in self.nll]) if known else None
        return {
            "n_predicted": len(kl),
            "mean_kl": float(kl.mean()), "mean_kl_low": kls and kls.low, "mean_kl_high": kls and kls.high,
            "median_kl": float(np.median(kl)), "p99_kl": float(np.quantile(kl, 0.99)),
            "p999_kl": float(np.quantile(kl, 0.999)), "max_kl": float(kl.max()),
            "same_top": float(same.mean()), "same_top_low": tops and tops.low, "same_top_high": tops and tops.high,
            "mean_nll": float(nll.mean()), "perplexity": exp(float(nll.mean())),
            "perplexity_low": nlls and exp(nlls.low), "perplexity_high": nlls and exp(nlls.high),
        }  # fmt: skip


def text_divergence(
    reference: Reader,
    variants: Mapping[str, Reader],
    tokens: Sequence[int],
    windows: Windows,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Strayed]:
    """Reads the text's windows with the reference and all variants; "reference" is in the result with its own surprise.

    KL(P ‖ Q) = Σ p · (ln p − ln q), P the reference's, Q the variant's. Exactness: float64 from the logits on.
    Raises: MeasureError (a window of fewer than 4 tokens or an odd number; too little text)"""
    if windows.size < 4 or windows.size % 2:
        raise MeasureError("window", str(windows.size), "an even number of tokens, at least 4")
    if len(tokens) < windows.n_windows * windows.size:
        need = windows.n_windows * windows.size
        raise MeasureError("text", f"{len(tokens)} tokens", f"{need}: {windows.n_windows} windows of {windows.size}")
    found = {name: Strayed() for name in ("reference", *variants)}
    for n_done in range(windows.n_windows):
        window = list(tokens[n_done * windows.size : (n_done + 1) * windows.size])
        streams = [_predictions(reader, window) for reader in (reference, *variants.values())]
        for rows in zip(*streams, strict=True):
            _add(found, window, rows)
        if progress is not None:
            progress(n_done + 1, windows.n_windows)
    return found


def kl_difference(this: Strayed, other: Strayed) -> Difference:
    """Mean KL of one variant less another's on the same pieces, with its paired interval."""
    return difference(this.piece_means(), other.piece_means())


def _add(found: dict[str, Strayed], window: Sequence[int], rows: Sequence[tuple[int, NDArray[np.float32]]]) -> None:
    """Adds one piece: rows of the reference first, then of the variants in order."""
    start, reference = rows[0]
    p = log_softmax(reference)
    targets = np.asarray(window[start + 1 : start + 1 + len(p)], np.int64)
    at, top, weights = np.arange(len(p)), p.argmax(axis=1), np.exp(p)
    for strayed, (_, logits) in zip(found.values(), rows, strict=True):
        q = p if logits is reference else log_softmax(logits)
        strayed.kl.append((weights * (p - q)).sum(axis=1))
        strayed.nll.append(-q[at, targets])
        strayed.same.append(q.argmax(axis=1) == top)


def _predictions(reader: Reader, window: Sequence[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """First place and logits of each piece that predicts tokens of the second half."""
    sequence = reader.new_sequence(len(window))
    first = len(window) // 2 - 1
    for start in range(0, first, PIECE_TOKENS):
        reader.model.extend(sequence, list(window[start : min(start + PIECE_TOKENS, first)]), "none")
    for start in range(first, len(window) - 1, PIECE_TOKENS):
        piece = list(window[start : min(start + PIECE_TOKENS, len(window) - 1)])
        yield start, reader.model.extend(sequence, piece, "all")

"""Divergence of variants over a text's windows, against the definition computed token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from solvent.errors import MeasureError
from solvent.measure.quality.divergence import Reader, Strayed, Windows, kl_difference, text_divergence

N_VOCAB = 50
TOKENS = np.random.default_rng(5).integers(0, N_VOCAB, 3000).tolist()


@dataclass
class Text:
    context: int
    tokens: list[int] = field(default_factory=list)

    @property
    def n_tokens(self) -> int:
        return len(self.tokens)

    def truncate(self, n_tokens: int) -> None:
        del self.tokens[n_tokens:]


class Model:
    """Logits from all tokens so far, off by a share of noise."""

    def __init__(self, noise: float) -> None:
        draw = np.random.default_rng(6)
        table, shift = draw.normal(size=(40, N_VOCAB)), draw.normal(size=(40, N_VOCAB))
        self.table = (2 * table + noise * shift).astype(np.float32)

    def row(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.table[(sum(tokens) + len(tokens)) % 40]
        return found

    def extend(self, text: Text, tokens: Sequence[int], logits: str) -> NDArray[np.float32]:
        rows = []
        for token in tokens:
            text.tokens.append(token)
            assert text.n_tokens <= text.context
            rows.append(self.row(text.tokens))
        return np.array(rows if logits == "all" else [], np.float32)


def reader(noise: float) -> Reader:
    return Reader(Model(noise), Text)  # type: ignore[arg-type]


def softmax(row: NDArray[np.float32]) -> NDArray[np.float64]:
    values = np.exp(row.astype(np.float64))
    found: NDArray[np.float64] = values / values.sum()
    return found


def by_hand(noise: float, windows: Windows) -> tuple[list[float], list[float], list[bool]]:
    """The definition: second half of each window, one token after the other."""
    p_model, q_model = Model(0.0), Model(noise)
    kls, nlls, same = [], [], []
    for n in range(windows.n_windows):
        window = TOKENS[n * windows.size : (n + 1) * windows.size]
        for at in range(windows.size // 2, windows.size):
            p, q = softmax(p_model.row(window[:at])), softmax(q_model.row(window[:at]))
            kls.append(float((p * np.log(p / q)).sum()))
            nlls.append(float(-np.log(q[window[at]])))
            same.append(bool(p.argmax() == q.argmax()))
    return kls, nlls, same


def test_the_metrics_are_the_definitions() -> None:
    # 300 is more than a piece of 128, and no multiple of one.
    windows = Windows(600, 850)
    assert windows.n_windows == 3
    found = text_divergence(reader(0.0), {"off": reader(0.3)}, TOKENS, windows)
    kls, nlls, same = by_hand(0.3, windows)
    document = found["off"].document()
    assert document["n_predicted"] == len(kls) == 900
    # Float32 tables in both, float64 sums of 50 terms: below 1e-12.
    assert document["mean_kl"] == pytest.approx(np.mean(kls), abs=1e-10)
    assert document["p999_kl"] == pytest.approx(np.quantile(kls, 0.999), abs=1e-10)
    assert document["same_top"] == pytest.approx(np.mean(same)) and 0.5 < document["same_top"] < 1
    assert document["perplexity"] == pytest.approx(np.exp(np.mean(nlls)), rel=1e-10)
    assert document["mean_kl_low"] < document["mean_kl"] < document["mean_kl_high"]
    whole = text_divergence(reader(0.0), {"off": reader(0.3)}, TOKENS[300:], windows)["off"].document()
    assert whole["mean_kl"] != pytest.approx(np.mean(kls), abs=1e-10)


def test_the_reference_does_not_stray_from_itself() -> None:
    found = text_divergence(reader(0.0), {"same": reader(0.0)}, TOKENS, Windows(100, 50))
    for name in ("reference", "same"):
        document = found[name].document()
        assert document["mean_kl"] == document["max_kl"] == 0 and document["same_top"] == 1
        assert document["n_predicted"] == 50


def test_variants_are_told_apart_in_pairs() -> None:
    some = {"near": reader(0.2), "far": reader(0.22)}
    found = text_divergence(reader(0.0), some, TOKENS, Windows(1000, 1500))
    gap = kl_difference(found["near"], found["far"])
    assert gap.low < gap.value < gap.high < 0
    level = found["near"].document()
    assert gap.high - gap.low < level["mean_kl_high"] - level["mean_kl_low"]


def test_windows_that_cannot_be_are_refused() -> None:
    for windows, said in ((Windows(2, 1), "even"), (Windows(101, 1), "even"), (Windows(2000, 3000), "3 windows")):
        with pytest.raises(MeasureError, match=said):
            text_divergence(reader(0.0), {}, TOKENS, windows)
    seen: list[tuple[int, int]] = []
    text_divergence(reader(0.0), {}, TOKENS, Windows(20, 25), lambda done, all_: seen.append((done, all_)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert Strayed().piece_means() == []

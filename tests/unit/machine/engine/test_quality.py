"""Perplexity and divergence against their formulas, written slowly, over models whose logits are known."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
from engine_fakes import FakeModel

from solvent.errors import EngineError
from solvent.machine.engine.quality import PIECE_TOKENS, divergence, perplexity

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(40, 40)) * 2
OTHER = TABLE + RANDOM.normal(size=(40, 40)) / 4
TOKENS = RANDOM.integers(0, 40, 700).tolist()


def log_p(table: np.ndarray) -> np.ndarray:
    table = table.astype(np.float32).astype(np.float64)
    return table - np.log(np.exp(table).sum(axis=1, keepdims=True))


def losses(window: int, n_windows: int | None = None) -> list[float]:
    """−ln p of every token but the first of each window."""
    found = []
    starts = list(range(0, len(TOKENS), window))[:n_windows]
    for start in starts:
        piece = TOKENS[start : start + window]
        found += [-log_p(TABLE)[now, following] for now, following in pairwise(piece)]
    return found


@pytest.mark.parametrize(
    ("window", "n_windows"),
    [(128, None), (128, 2), (2, None), (100, 1), (127, None), (PIECE_TOKENS - 3, 2)],
)
def test_perplexity_by_its_formula(window: int, n_windows: int | None) -> None:
    model = FakeModel(TABLE)
    found = perplexity(model, TOKENS, window, n_windows)  # type: ignore[arg-type]
    expected = losses(window, n_windows)
    assert found.n_predicted == len(expected)
    # Sums of 700 float64 terms of about 4: 700 · 2^-53 · 4 = 3e-13.
    assert found.mean_nll == pytest.approx(np.mean(expected), abs=1e-12)
    assert found.mean_nll != pytest.approx(np.mean(expected) + 2e-12, abs=1e-12)
    assert found.perplexity == pytest.approx(np.exp(np.mean(expected)), rel=1e-12)
    assert found.standard_error == pytest.approx(np.std(expected, ddof=1) / np.sqrt(len(expected)), rel=1e-9)
    # No token is read but those that predict one, and each window begins anew.
    assert all(sequence.n_tokens == sequence.context - 1 for sequence in model.sequences)
    assert json.loads(json.dumps(found.document()))["window"] == window


def test_windows_are_read_in_pieces() -> None:
    model = FakeModel(TABLE, context=700)
    found = perplexity(model, TOKENS)  # type: ignore[arg-type]
    assert found.window == 700 and found.n_windows == 1 and found.n_predicted == 699
    assert {n for _, n in model.calls} == {PIECE_TOKENS, 699 % PIECE_TOKENS}
    assert found.mean_nll == pytest.approx(np.mean(losses(700)), abs=1e-12)


def test_a_last_window_of_one_token_predicts_nothing() -> None:
    model = FakeModel(TABLE)
    assert perplexity(model, TOKENS[:101], 100).n_windows == 1  # type: ignore[arg-type]
    assert perplexity(model, TOKENS[:102], 100).n_predicted == 100  # type: ignore[arg-type]


def test_divergence_by_its_formula() -> None:
    model, against = FakeModel(OTHER), FakeModel(TABLE)
    found = divergence(model, against, TOKENS, 100)  # type: ignore[arg-type]
    rows = [token for start in range(0, 700, 100) for token in TOKENS[start : start + 99]]
    p, q = log_p(TABLE)[rows], log_p(OTHER)[rows]
    kl = (np.exp(p) * (p - q)).sum(axis=1)
    assert found.n_predicted == len(kl) == 693
    assert found.mean_kl == pytest.approx(kl.mean(), abs=1e-12)
    assert found.max_kl == pytest.approx(kl.max(), abs=1e-12)
    assert found.p999_kl == pytest.approx(np.quantile(kl, 0.999), abs=1e-12)
    assert found.same_top == np.mean(p.argmax(axis=1) == q.argmax(axis=1))
    assert 0 < found.same_top < 1
    turned = divergence(against, model, TOKENS, 100)  # type: ignore[arg-type]
    assert turned.mean_kl != pytest.approx(found.mean_kl, rel=1e-3), "the order of the two matters"


def test_a_model_does_not_stray_from_itself() -> None:
    found = divergence(FakeModel(TABLE), FakeModel(TABLE), TOKENS)  # type: ignore[arg-type]
    assert (found.mean_kl, found.max_kl, found.same_top) == (0, 0, 1)
    one = divergence(FakeModel(TABLE), FakeModel(TABLE), TOKENS[:5])  # type: ignore[arg-type]
    assert (one.n_predicted, one.n_windows, one.window) == (4, 1, 5)


@pytest.mark.parametrize(
    ("tokens", "window", "n_windows", "said"),
    [
        ([], None, None, "text: 0 tokens; expected at least two"),
        ([1], None, None, "text: 1 tokens"),
        ([1, 2], 1, None, "window: 1; expected 2 to 128"),
        ([1, 2], 129, None, "window: 129"),
        ([1, 2], None, 0, "n_windows: 0"),
        ([1, 2], 2.5, None, "window: 2.5; expected 2 to 128"),
    ],
)
def test_what_cannot_be_measured_is_said(
    tokens: list[int], window: int | None, n_windows: int | None, said: str
) -> None:
    for measure in (
        lambda m: perplexity(m, tokens, window, n_windows),
        lambda m: divergence(m, m, tokens, window, n_windows),
    ):
        with pytest.raises(EngineError, match=said):
            measure(FakeModel(TABLE))


def test_a_model_that_is_almost_always_wrong_has_a_perplexity_that_no_float_holds() -> None:
    found = perplexity(FakeModel(1000 * np.eye(40)), [1, 2, 3])  # type: ignore[arg-type]
    assert found.perplexity == np.inf and found.mean_nll == 1000 and found.standard_error == 0
    assert perplexity(FakeModel(TABLE), [1, 2]).standard_error is None  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_have_no_perplexity(bad: float) -> None:
    broken = TABLE.copy()
    broken[1, 5] = bad
    for measure in (lambda m: perplexity(m, [1, 2]), lambda m: divergence(FakeModel(TABLE), m, [1, 2])):
        with pytest.raises(EngineError, match="logits: not finite"):
            measure(FakeModel(broken))


def test_windows_of_a_comparison_fit_both_contexts() -> None:
    short, long = FakeModel(TABLE, context=8), FakeModel(TABLE, context=128)
    for model, against in ((short, long), (long, short)):
        assert divergence(model, against, TOKENS).window == 8  # type: ignore[arg-type]
        with pytest.raises(EngineError, match="window: 9; expected 2 to 8, the context"):
            divergence(model, against, TOKENS, 9)  # type: ignore[arg-type]


def test_vocabularies_of_different_size_are_refused() -> None:
    small = FakeModel(TABLE[:30, :30])
    with pytest.raises(EngineError, match="against: a vocabulary of 30; expected the model's 40"):
        divergence(FakeModel(TABLE), small, TOKENS)  # type: ignore[arg-type]


def test_the_fields_are_what_they_are_called() -> None:
    found = perplexity(FakeModel(TABLE), TOKENS)  # type: ignore[arg-type]
    assert found.document() == dataclasses.asdict(found)

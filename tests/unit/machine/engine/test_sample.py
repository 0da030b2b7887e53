"""Sampling: each filter by its definition, the draw by counting, log-probabilities by formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.errors import EngineError
from solvent.machine.engine.sample import Draws, Sampling, kept_tokens, log_probabilities, penalised, sample

logits_of = st.lists(st.integers(-40, 40).map(lambda n: n / 8), min_size=1, max_size=400).map(
    lambda values: np.array(values, np.float32)
)


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    values = logits.astype(np.float64) / temperature
    weights = np.exp(values - values.max())
    return weights / weights.sum()


def kept_by_definition(logits: np.ndarray, sampling: Sampling) -> list[int]:
    """The definition, written slowly: most probable first, of equals the lower token."""
    p = probabilities(logits, sampling.temperature)
    tokens = sorted(range(len(p)), key=lambda token: (-p[token], token))
    if sampling.top_k:
        tokens = tokens[: sampling.top_k]
    if sampling.top_p < 1:
        total = sum(p[tokens])
        n = 1
        # A hair of slack: sums in another order differ in the last bits, and the values here are far apart.
        while sum(p[tokens[:n]]) < sampling.top_p * total * (1 - 1e-12):
            n += 1
        tokens = tokens[:n]
    return sorted(token for token in tokens if p[token] >= sampling.min_p * p[tokens[0]] * (1 - 1e-12))


@given(
    logits_of,
    st.floats(0.1, 4),
    st.integers(0, 410),
    st.sampled_from([1.0, 0.999, 0.9, 0.5, 0.1, 1e-9]),
    st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
def test_filters_keep_what_their_definition_says(
    logits: np.ndarray, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    sampling = Sampling(temperature, top_k, top_p, min_p)
    scaled = (logits.astype(np.float64) - logits.max()) / temperature
    kept = kept_tokens(scaled, sampling)
    expected = kept_by_definition(logits, sampling)
    assert (list(range(len(logits))) if kept is None else kept.tolist()) == expected


def test_top_p_keeps_the_token_that_reaches_the_share() -> None:
    scaled = np.log(np.array([0.5, 0.3, 0.2]))
    for share, n in ((0.5, 1), (0.51, 2), (0.8, 2), (0.81, 3)):
        kept = kept_tokens(scaled, Sampling(1.0, top_p=share))
        assert kept is not None and len(kept) == n, share


def test_top_p_of_a_flat_vocabulary_sorts_more_than_its_first_candidates() -> None:
    kept = kept_tokens(np.zeros(50_000), Sampling(1.0, top_p=0.5))
    assert kept is not None and kept.tolist() == list(range(25_000))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1.0),
        Sampling(0.5),
        Sampling(1.0, top_k=3),
        Sampling(2.0, top_p=0.8),
        Sampling(1.0, min_p=0.2),
        Sampling(1.5, top_k=5, top_p=0.9, min_p=0.1, repeat_penalty=1.5),
    ],
)
def test_draws_have_the_probabilities_that_the_definition_gives(sampling: Sampling) -> None:
    logits = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -3.0], np.float32)
    context = [0, 4, 4]
    final = np.where(logits > 0, logits / sampling.repeat_penalty, logits * sampling.repeat_penalty)
    final = np.where(np.isin(np.arange(6), context), final, logits)
    kept = kept_by_definition(final, sampling)
    p = np.zeros(6)
    p[kept] = probabilities(final, sampling.temperature)[kept]
    p /= p.sum()
    draw, n = Draws(0), 20_000
    counts = np.bincount([sample(logits, sampling, context, draw) for _ in range(n)], minlength=6)
    assert set(np.flatnonzero(counts)) <= set(kept)
    # Five standard deviations of a binomial: one count in 1.7 million strays further, and the seed is fixed.
    assert (np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p)) + 1e-9).all()
    # A fault of 5% of the largest probability, which is seven deviations here, would be seen.
    shifted = p.copy()
    first, second = np.argsort(-p)[:2] if len(kept) > 1 else (0, 1)
    shifted[first] -= 0.05
    shifted[second] += 0.05
    assert not (np.abs(counts - n * shifted) <= 5 * np.sqrt(n * shifted.clip(0) * (1 - shifted.clip(0))) + 1e-9).all()


@pytest.mark.parametrize("u", [0.0, 0.25, 0.4999, 0.5, 1 - 2**-53])
def test_the_draw_takes_the_first_token_whose_sum_passes_it(u: float) -> None:
    class Fixed:
        def random(self) -> float:
            return u

    logits = np.log(np.array([0.25, 0.25, 0.5])).astype(np.float32)
    expected = int(np.searchsorted([0.25, 0.5, 1.0], u, side="right"))
    # float32 logarithms move the borders by 1e-7; 0.25 and 0.5 stand on them, so either side is right there.
    token = sample(logits, Sampling(1.0), [], Fixed())  # type: ignore[arg-type]
    assert token == expected or (u in (0.25, 0.5) and token == expected - 1)


def test_greedy_takes_the_largest_and_of_equals_the_first() -> None:
    logits = np.array([1, 3, 3, 2], np.float32)
    assert sample(logits, Sampling(), [], Draws(0)) == 1
    assert sample(logits, Sampling(repeat_penalty=2.0), [1], Draws(0)) == 2
    assert sample(logits, Sampling(top_k=1, temperature=1.0), [], Draws(0)) == 1


def test_temperature_near_zero_is_greedy_and_does_not_overflow() -> None:
    logits = np.array([1000, 1000.5, -1000], np.float32)
    assert {sample(logits, Sampling(1e-6), [], Draws(i)) for i in range(50)} == {1}


def test_the_penalty_divides_positive_and_multiplies_negative_logits_once() -> None:
    logits = np.array([2, -2, 4, 0], np.float32)
    assert penalised(logits, 2.0, [0, 1, 1, 3]).tolist() == [1, -4, 4, 0]
    assert penalised(logits, 1.0, [0]).tolist() == [2, -2, 4, 0]
    assert logits.tolist() == [2, -2, 4, 0], "the model's logits stay"


def test_a_seed_makes_the_same_draws_and_every_index_has_its_own() -> None:
    logits = np.zeros(1000, np.float32)

    def tokens(seed: int, index: int = 0) -> list[int]:
        draw = Draws(seed, index)
        return [sample(logits, Sampling(1.0), [], draw) for _ in range(5)]

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2) and tokens(1) != tokens(1, 1)


@given(logits_of, st.integers(0, 8))
def test_log_probabilities_are_those_of_the_model(logits: np.ndarray, n_top: int) -> None:
    token = len(logits) // 2
    found = log_probabilities(logits, token, n_top)
    expected = np.log(probabilities(logits))
    # Sums of 400 terms in float64, each relative error 2^-53: 400 · 1.1e-16 · the largest logarithm (about 20).
    assert found.chosen == pytest.approx(expected[token], abs=1e-12)
    order = sorted(range(len(logits)), key=lambda t: (-logits[t], t))[:n_top]
    assert [t for t, _ in found.top] == order
    assert [p for _, p in found.top] == pytest.approx(expected[order].tolist(), abs=1e-12)
    assert found.chosen != pytest.approx(expected[token] + 2e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("repeat_penalty", 0.0),
        ("repeat_penalty", float("nan")),
        ("seed", -1),
        ("seed", 1.5),
        ("temperature", "hot"),
        ("temperature", None),
        ("top_k", float("inf")),
        ("top_k", True),
    ],
)
def test_a_setting_outside_its_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(EngineError, match=f"{name}: {value}; expected"):
        Sampling(**{name: value})


def test_a_whole_number_may_be_larger_than_a_float() -> None:
    """Python's whole numbers have no end: neither a bug nor a limit."""
    sampling = Sampling(1.0, top_k=10**400, seed=10**400)
    assert sample(np.array([0, 30], np.float32), sampling, [], Draws(10**400)) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_error(bad: float) -> None:
    for sampling in (Sampling(), Sampling(1.0)):
        with pytest.raises(EngineError, match="logits"):
            sample(np.array([0, bad], np.float32), sampling, [], Draws(0))


def test_a_temperature_next_to_nothing_takes_the_likeliest_without_a_warning() -> None:
    logits = np.array([1, 3, 2], np.float32)
    assert {sample(logits, Sampling(temperature=1e-320), [], Draws(i)) for i in range(20)} == {1}


@pytest.mark.parametrize("penalty", [1e-320, 9e-4, 1001.0, float("inf"), float("nan")])
def test_a_penalty_that_would_overflow_logits_is_refused(penalty: float) -> None:
    with pytest.raises(EngineError, match=r"repeat_penalty: .*; expected 0\.001 to 1000; 1 is off"):
        Sampling(repeat_penalty=penalty)

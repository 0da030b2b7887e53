"""Prompts that begin alike: what is common is read once, and not a bit of what follows changes."""

from __future__ import annotations

from functools import cache
from typing import Any

import engine_fakes
import engine_models
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.engine import models
from solvent.machine.engine.generate import Settings, generate
from solvent.machine.engine.model import Model
from solvent.machine.engine.prefix import (
    FEW_TOK,
    STEP_TOK,
    Prefixes,
    end_of_step,
    fork_point,
    n_common,
    n_read_together,
)

needs_native = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")
TOKENISER = engine_fakes.tokeniser(272)
TEXT = [(7 * i + i * i) % 250 for i in range(1500)]


@cache
def model(cache: str = "f16") -> Model:
    file = engine_models.tiny("llama", "f32", context=1600)
    return Model(file, models.config(file), threads=1, cache=cache)


class Counting:
    """The model, and how many tokens it was given to read."""

    def __init__(self, model: Model) -> None:
        self.model, self.n_read = model, 0
        self.config, self.cache = model.config, model.cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def extend(self, sequence: Any, tokens: Any, logits: Any = "last") -> Any:
        self.n_read += len(tokens)
        return self.model.extend(sequence, tokens, logits)

    def greedy(self, sequence: Any, tokens: Any) -> int:
        self.n_read += 1 if isinstance(tokens, int) else len(tokens)
        return self.model.greedy(sequence, tokens)


def replies(prompts: list[list[int]], cache: str = "f16", prefixes: Prefixes | None = None) -> list[Any]:
    """(tokens, log-probabilities, tokens known) of each prompt."""
    found: list[Any] = [([], [], []) for _ in prompts]
    settings = Settings.of(max_tokens=3, logprobs=0)
    for step in generate(model(cache), TOKENISER, prompts, settings, prefixes):
        for list_, value in zip(found[step.prompt], (step.token, step.logprob, step.n_known_tok), strict=True):
            list_.append(value)
    return found


def of(n_same: int, n_own: int, salt: int) -> list[int]:
    return [*TEXT[:n_same], *((salt + 3 * i) % 250 for i in range(n_own))]


def first_logits(prompt: list[int], cache: str, prefixes: Prefixes) -> tuple[Any, int]:
    """Of the token after a prompt, by the calls that generate makes."""
    sequence = prefixes.begin(model(cache), prompt, 1600)
    n_known = sequence.n_tokens
    end = end_of_step(n_known, len(prompt))
    if n_known < end < len(prompt):
        model(cache).extend(sequence, prompt[n_known:end], "none")
    rest = prompt[sequence.n_tokens :]
    logits = model(cache).extend(sequence, rest)
    prefixes.add(sequence, prompt)
    return logits, n_known


CASES = [(300, 20, 30), (512, 40, 40), (600, 5, 200), (530, 1, 1), (700, 300, 3), (1030, 200, 250), (1000, 25, 90)]


@needs_native
@pytest.mark.parametrize("cache", ["f16", "tq4", "tq3-2"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_logits_after_a_fork_are_those_of_a_prompt_read_whole(case: tuple[int, int, int], cache: str) -> None:
    n_same, n_first, n_second = case
    first, second = of(n_same, n_first, 1), of(n_same, n_second, 2)
    prefixes = Prefixes()
    first_logits(first, cache, prefixes)
    shared, n_known = first_logits(second, cache, prefixes)
    alone, none = first_logits(second, cache, Prefixes())
    assert none == 0 and n_same - STEP_TOK < n_known <= n_same and n_known > 0
    assert np.array_equal(shared, alone)
    # A prompt that is read again from where its steps differ sums attention otherwise: the equality can fail.
    if n_same > STEP_TOK and n_second < FEW_TOK // 16:
        sequence = model(cache).new_sequence()
        model(cache).extend(sequence, second[: len(second) - 6], "none")
        other = model(cache).extend(sequence, second[len(second) - 6 :])
        assert not np.array_equal(other, alone)


@needs_native
@pytest.mark.parametrize("cache", ["f16", "tq4"])
def test_a_batch_reads_its_common_prefix_once_and_says_the_same(cache: str) -> None:
    prompts = [of(400, 10, 1), of(400, 30, 2), of(400, 5, 3), of(200, 8, 4)]
    together = replies(prompts, cache)
    assert [known[0] for _, _, known in together] == [0, 400, 400, 200]
    for prompt, (tokens, logprobs, known) in zip(prompts, together, strict=True):
        ((alone, alone_logprobs, _),) = replies([prompt], cache)
        assert tokens == alone and logprobs == pytest.approx(alone_logprobs, abs=1e-3)
        assert logprobs[0] == alone_logprobs[0] and known[1:] == [0, 0]
    counting = Counting(model(cache))
    pool = Prefixes()
    pool.begin = lambda model_, prompt, context: Prefixes.begin(pool, model(cache), prompt, context)  # type: ignore[method-assign]
    list(generate(counting, TOKENISER, prompts, Settings.of(max_tokens=1), pool))  # type: ignore[arg-type]
    assert counting.n_read == 410 + 30 + 5 + 8


@needs_native
def test_what_was_read_in_one_call_begins_the_next() -> None:
    pool = Prefixes()
    ((_, _, known),) = replies([of(300, 20, 1)], prefixes=pool)
    assert known[0] == 0 and len(pool.read) == 1
    # The reply went on in that sequence; only the prompt begins others.
    assert pool.read[0].sequence.n_tokens == 322 and len(pool.read[0].tokens) == 320
    again = replies([of(300, 20, 1)], prefixes=pool)
    assert again[0][2][0] == 319 and again[0][:2] == replies([of(300, 20, 1)])[0][:2]


@needs_native
def test_what_another_model_or_cache_read_is_refused() -> None:
    pool = Prefixes()
    replies([of(30, 2, 1)], prefixes=pool)
    with pytest.raises(EngineError, match="another model"):
        replies([of(30, 3, 1)], "tq4", pool)
    with pytest.raises(EngineError, match="at most 0"):
        Prefixes().add(model().new_sequence(), [1])


def test_a_sequence_without_room_is_not_taken() -> None:
    short, long = engine_fakes.FakeModel(np.eye(259)), 120
    pool = Prefixes()
    sequence = short.new_sequence(10)
    sequence.tokens = [1] * 9
    pool.add(sequence, [1] * 9)  # type: ignore[arg-type]
    assert pool.begin(short, [1] * 9 + [2], 10).n_tokens == 9  # type: ignore[arg-type]
    assert pool.begin(short, [1] * 9 + [2], long).n_tokens == 0  # type: ignore[arg-type]


@given(st.integers(0, 3000), st.integers(0, 400), st.integers(1, 400))
def test_steps_are_those_without_a_fork(n_same: int, n_more: int, n_own: int) -> None:
    """Beyond the first step, every token lies in a step of many tokens in both prompts and in the rest, or in the very
    steps that it lies in without a fork."""
    n_source, n_prompt = n_same + n_more, n_same + n_own
    n = fork_point(n_same, n_source, n_prompt)
    assert 0 <= n <= min(n_same, n_prompt - 1)
    assert n >= n_same - STEP_TOK - FEW_TOK
    if n <= STEP_TOK or n % STEP_TOK == 0:
        return
    end = min(n // STEP_TOK * STEP_TOK + STEP_TOK, n_prompt)
    assert end - n > FEW_TOK and n <= n_read_together(n_source)
    assert end_of_step(n, n_prompt) == end


def test_common_beginnings() -> None:
    assert (n_common([1, 2, 3], [1, 2, 4]), n_common([1], [1, 2]), n_common([], [1]), n_common([2], [1])) == (
        2,
        1,
        0,
        0,
    )

"""Generation over a model whose next token follows from the last: every rule by itself, exactly."""

from __future__ import annotations

from typing import Any

import engine_fakes
import numpy as np
import pytest
from engine_fakes import FakeModel, speaking
from hypothesis import given
from hypothesis import strategies as st

from solvent.errors import EngineError
from solvent.machine.engine.generate import Settings, Step, StopText, generate
from solvent.machine.engine.reply import Reply, record
from solvent.machine.engine.sample import Sampling

TOKENISER = engine_fakes.tokeniser()


def run(model: FakeModel, prompt: str, **options: Any) -> list[Step]:
    tokens = [TOKENISER.encode(prompt)]
    return list(generate(model, TOKENISER, tokens, Settings.of(**options)))  # type: ignore[arg-type]


def text(steps: list[Step], prompt: int = 0) -> str:
    return "".join(step.text for step in steps if step.prompt == prompt)


def test_a_reply_goes_on_until_an_end_token_which_is_not_shown() -> None:
    steps = run(speaking("abcdef"), "a")
    assert text(steps) == "bcdef"
    assert [step.finish_reason for step in steps] == [None] * 5 + ["stop"]
    assert steps[-1].token == 256 and steps[-1].text == ""


@pytest.mark.parametrize("token", [257, 258])
def test_every_end_token_ends_a_reply_and_so_does_an_opening_one(token: int) -> None:
    model = speaking("ab")
    model.table[ord("b"), token] = 9.0
    assert run(model, "a")[-1].token == token and run(model, "a")[-1].finish_reason == "stop"


def test_max_tokens() -> None:
    steps = run(speaking("abcdef"), "a", max_tokens=3)
    assert text(steps) == "bcd" and steps[-1].finish_reason == "length" and len(steps) == 3


def test_the_last_token_is_never_read_back() -> None:
    model = speaking("abcdef")
    run(model, "ab", max_tokens=3)
    assert model.sequences[0].tokens == list(b"abcd")


def test_a_full_context_ends_a_reply() -> None:
    steps = run(speaking("abcdefgh", context=4), "ab")
    # Two tokens of the prompt and two of the reply are in the cache; the third of the reply is the last.
    assert text(steps) == "cde" and steps[-1].finish_reason == "context"


def test_a_sequence_is_no_longer_than_it_can_grow() -> None:
    model = speaking("abcdef")
    run(model, "ab", max_tokens=5)
    assert model.sequences[0].context == 7


@pytest.mark.parametrize(
    ("prompt", "options", "said"),
    [
        ("", {}, "prompt: no token"),
        ("abcd", {}, "prompt: 4 tokens; expected fewer than 4, the context"),
        ("abc", {"context": 3}, "fewer than 3"),
        ("a", {"context": 5}, "context: 5; expected at most 4"),
        ("a", {"context": 0}, "context: 0"),
        ("a", {"max_tokens": 0}, "max_tokens: 0; expected 1 or more, a whole number"),
        ("a", {"max_tokens": 1.5}, "max_tokens: 1.5; expected 1 or more, a whole number"),
        ("a", {"context": 3.5}, "context: 3.5"),
        ("a", {"stop": None}, "stop: None"),
        ("a", {"stop": ""}, "stop: ''; expected a text that isn't empty"),
        ("a", {"stop": ["x", ""]}, "stop: ''"),
        ("a", {"logprobs": -1}, "logprobs"),
        ("a", {"logprobs": 101}, "logprobs: 101; expected 0 to 100"),
        ("a", {"temperatur": 1}, "options: temperatur"),
        ("a", {"temperature": float("nan")}, "temperature: nan"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_model_reads(prompt: str, options: Any, said: str) -> None:
    model = speaking("abcdef", context=4)
    with pytest.raises(EngineError, match=said):
        run(model, prompt, **options)
    assert model.calls == []


def test_a_bound_itself_is_within_bounds() -> None:
    assert Settings.of(logprobs=100, max_tokens=1, context=1, top_p=1, min_p=1).logprobs == 100


def test_no_prompt_and_a_token_outside_are_refused() -> None:
    with pytest.raises(EngineError, match="prompts: none"):
        generate(speaking("ab"), TOKENISER, [])  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="prompt 1: token 259; expected 0 to 258"):
        generate(speaking("ab"), TOKENISER, [[1], [259]])  # type: ignore[arg-type]
    for wrong in (1.5, None, "a"):
        with pytest.raises(EngineError, match=r"prompt: token .*; expected 0 to 258"):
            generate(speaking("ab"), TOKENISER, [[1, wrong]])  # type: ignore[arg-type, list-item]


def test_a_prompt_is_read_at_once_and_makes_logits_only_where_they_are_asked_for() -> None:
    model = FakeModel(np.eye(259), context=4000)
    for options, call in (({}, "greedy"), ({"logprobs": 0}, "extend"), ({"temperature": 1.0}, "extend")):
        model.calls.clear()
        settings = Settings.of(max_tokens=1, **options)
        steps = list(generate(model, TOKENISER, [[1] * 600], settings))  # type: ignore[arg-type]
        assert model.calls == [(call, 600)] and len(steps) == 1


def test_greedy_alone_takes_the_short_way_and_says_the_same() -> None:
    short, long = speaking("abcdef"), speaking("abcdef")
    with_logits = run(long, "a", logprobs=0)
    assert [s.token for s in run(short, "a")] == [s.token for s in with_logits]
    assert {name for name, _ in short.calls} == {"greedy"}
    assert {name for name, _ in long.calls} == {"extend", "decode"}


def test_log_probabilities_of_the_chosen_and_the_most_probable() -> None:
    step = run(speaking("ab"), "a", logprobs=2, max_tokens=1)[0]
    # One logit of 5 among 259, the others 0.
    total = np.log(np.exp(5) + 258)
    assert step.logprob == pytest.approx(5 - total, abs=1e-12)
    assert step.top == ((ord("b"), pytest.approx(5 - total)), (0, pytest.approx(-total)))
    assert run(speaking("ab"), "a")[0].logprob is None


def test_prompts_decode_together_and_each_gets_its_own_reply() -> None:
    model = speaking("abcdef")
    steps = list(generate(model, TOKENISER, [[ord("d")], [ord("a")], [ord("e")]], Settings()))  # type: ignore[arg-type]
    assert [text(steps, i) for i in range(3)] == ["ef", "bcdef", "f"]
    # Decoding shrinks as replies end; the last one alone and greedy takes the short way.
    assert [n for name, n in model.calls if name == "decode"] == [3, 2]
    assert model.calls[-1] == ("greedy", 1)


def test_a_seed_gives_the_same_reply_whatever_else_is_in_the_batch() -> None:
    table = np.random.default_rng(0).normal(size=(259, 259))
    table[:, 256:] = -99
    settings = Settings.of(temperature=1.0, seed=7, max_tokens=12)

    def tokens(prompts: list[list[int]], which: int) -> list[int]:
        steps = generate(FakeModel(table), TOKENISER, prompts, settings)  # type: ignore[arg-type]
        return [step.token for step in steps if step.prompt == which]

    assert tokens([[1]], 0) == tokens([[1], [2], [3]], 0)
    assert tokens([[5], [2]], 1) == tokens([[9], [2], [3]], 1)
    assert tokens([[1], [1]], 0) != tokens([[1], [1]], 1), "prompts have draws of their own"
    other = Settings.of(temperature=1.0, seed=8, max_tokens=12)
    assert tokens([[1]], 0) != [s.token for s in generate(FakeModel(table), TOKENISER, [[1]], other)]  # type: ignore[arg-type]


def test_settings_without_a_seed_draw_one_and_say_it() -> None:
    assert Settings.of().sampling.seed != Settings.of().sampling.seed
    assert Settings.of(seed=3).sampling == Sampling(seed=3)


@pytest.mark.parametrize("stop", ["de", "d", "bcdefgh", "b"])
def test_a_stop_string_ends_the_reply_and_is_not_shown(stop: str) -> None:
    steps = run(speaking("abcdefghij"), "a", stop=stop)
    assert text(steps) == "bcdefghij".partition(stop)[0]
    assert steps[-1].finish_reason == "stop"
    assert steps[-1].token == ord(stop[-1]), "it stops at the token that completes the stop string"


def test_text_held_back_for_a_stop_string_that_does_not_come_is_shown_in_the_end() -> None:
    steps = run(speaking("abcdef"), "a", stop=["efX", "bX"])
    assert text(steps) == "bcdef"
    assert [step.text for step in steps] == ["", "bc", "d", "", "", "ef"]
    assert text(run(speaking("abcdef"), "a", stop="deX", max_tokens=4)) == "bcde"


def test_no_step_cuts_a_character() -> None:
    data = "ż🙂é"
    for stop in ((), ("€",)):
        steps = run(speaking("a" + data), "a", stop=stop)
        assert text(steps) == data
        assert all("\ufffd" not in step.text for step in steps)


def test_a_character_that_stays_incomplete_is_shown_as_such() -> None:
    assert text(run(speaking("a🙂"), "a", max_tokens=2)) == "\ufffd"


def test_a_stop_string_is_found_across_the_bytes_of_a_character() -> None:
    assert text(run(speaking("ab🙂c"), "a", stop="🙂")) == "b"


def test_an_interruption_leaves_the_model_usable() -> None:
    class Interrupted(FakeModel):
        def greedy(self, sequence: Any, tokens: Any) -> int:
            if tokens == ord("c"):
                raise KeyboardInterrupt
            return super().greedy(sequence, tokens)

    model = Interrupted(speaking("abcdef").table)
    reply = Reply(1)
    with pytest.raises(KeyboardInterrupt):
        for _ in record(generate(model, TOKENISER, [[ord("a")]], Settings()), [reply]):  # type: ignore[arg-type]
            pass
    assert reply.text == "bc" and reply.finish_reason is None
    assert text(run(model, "d")) == "ef"


def test_a_reply_says_what_came_and_how_fast() -> None:
    reply = Reply(3, seed=1)
    for step, now in zip(run(speaking("abcd"), "a", logprobs=1), (0.5, 0.6, 0.8, 1.5), strict=True):
        reply.add(step, now)
    assert str(reply) == "bcd" and reply.finish_reason == "stop"
    assert reply.prompt_tok_per_s == 6 and reply.decode_tok_per_s == 3
    document = reply.document()
    assert document["n_output_tok"] == 4 == len(document["logprobs"])
    assert document["top_logprobs"][0][0]["token"] == ord("b")
    assert Reply(3).decode_tok_per_s is None and Reply(3).prompt_tok_per_s is None


@given(st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4), st.lists(st.text("abc"), max_size=9))
def test_stop_text_is_the_text_before_the_first_stop_string(stops: list[str], pieces: list[str]) -> None:
    filtered = StopText(stops)
    shown = ""
    for piece in pieces:
        shown += filtered.feed(piece)
        # Never shown before it is certain: all that was shown is what the whole text begins with.
        assert "".join(pieces).startswith(shown)
    whole = "".join(pieces)
    found = [whole.find(stop) for stop in stops if stop in whole]
    if not filtered.found:
        shown += filtered.close()
    assert filtered.found == bool(found)
    # The stop string that is complete first ends the text; where several are, the one that starts first.
    if found:
        end = min(whole.find(stop) + len(stop) for stop in stops if stop in whole)
        assert len(shown) <= end and any(whole.startswith(stop, len(shown)) for stop in stops)
        assert not any(stop in shown for stop in stops)
    else:
        assert shown == whole

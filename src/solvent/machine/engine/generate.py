"""Text from a model, token by token: prompts in, a stream of steps out.

Several prompts decode together, and what they begin with alike is read once (prefix.py). A step is made after each
token: text comes as soon as it is certain, which is when its last byte is there and no stop string can begin in it; a
stop string is never shown. Whatever ends the iteration (an exception, Ctrl-C between two tokens or within a prompt,
the caller's `break`) leaves the model as it was.
What it doesn't do: chat (chat.py), choose a token (sample.py).
Enter at `generate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import numpy as np

from solvent.errors import EngineError
from solvent.machine.engine.prefix import Prefixes, end_of_step
from solvent.machine.engine.sample import Draws, Sampling, fresh_seed, is_whole, log_probabilities, sample
from solvent.machine.engine.tokeniser import Tokeniser

if TYPE_CHECKING:
    from solvent.machine.engine.model import Model

# "stop": an end token or a stop string; "length": max_tokens; "context": the context is full.
FinishReason = Literal["stop", "length", "context"]
MAX_TOP = 100


class Options(TypedDict, total=False):
    """The fields of Settings and Sampling, flat, as keywords; a single stop text needs no tuple."""

    max_tokens: int | None
    stop: str | Sequence[str]
    logprobs: int | None
    context: int | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    seed: int | None


@dataclass(frozen=True, slots=True)
class Settings:
    """What to generate.

    max_tokens: per prompt; None goes on until the reply or the context ends.   stop: texts that end the reply.
    logprobs: None, or how many of the most probable tokens to list at each step (0: only the chosen one's).
    context: tokens of prompt and output together; None takes the model's.

    Raises: EngineError (a value outside its range)."""

    max_tokens: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    context: int | None = None

    def __post_init__(self) -> None:
        for name, low, high in (("max_tokens", 1, inf), ("logprobs", 0, MAX_TOP), ("context", 1, inf)):
            value = getattr(self, name)
            if value is not None and not is_whole(value, low, high):
                bounds = f"{low} or more" if high == inf else f"{low} to {high}"
                raise EngineError(name, str(value), f"{bounds}, a whole number")
        if not isinstance(self.stop, tuple):
            raise EngineError("stop", repr(self.stop), "texts in a tuple")
        for text in self.stop:
            if not isinstance(text, str) or not text:
                raise EngineError("stop", repr(text), "a text that isn't empty")

    def document(self) -> dict[str, Any]:
        """The settings as flat JSON-ready fields; the seed only where something is drawn."""
        sampling = asdict(self.sampling)
        if self.sampling.temperature == 0:
            sampling["seed"] = None
        own = ("max_tokens", "stop", "logprobs", "context")
        return {**{name: getattr(self, name) for name in own}, **sampling}

    @classmethod
    def of(cls, **options: Unpack[Options]) -> Settings:
        """Settings from flat keywords, with a fresh seed where none is given.

        Raises: EngineError (a value outside its range, a keyword that isn't known)."""
        given: dict[str, Any] = dict(options)
        names = [f.name for f in fields(Sampling)]
        sampling = {name: given.pop(name) for name in names if name in given}
        unknown = given.keys() - Options.__annotations__.keys()
        if unknown:
            raise EngineError("options", ", ".join(sorted(unknown)), "some of " + ", ".join(Options.__annotations__))
        if sampling.get("seed") is None:
            sampling["seed"] = fresh_seed()
        stop = given.get("stop", ())
        given["stop"] = (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, Sequence) else stop
        return cls(sampling=Sampling(**sampling), **given)


@dataclass(frozen=True, slots=True)
class Step:
    """One token of one reply.

    prompt: which of the prompts.   text: what became certain with this token, often "" or more than its own; the
    texts of all steps joined are the reply.   logprob, top: ln p of the token and of the most probable ones, or None.
    finish_reason: set on the last step of each prompt.   n_known_tok: on a prompt's first step, tokens of the prompt
    that weren't read, since another sequence had read them."""

    prompt: int
    token: int
    text: str
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    finish_reason: FinishReason | None = None
    n_known_tok: int = 0


def generate(
    model: Model,
    tokeniser: Tokeniser,
    prompts: Sequence[Sequence[int]],
    settings: Settings | None = None,
    prefixes: Prefixes | None = None,
) -> Iterator[Step]:
    """Continues every prompt; yields a step per prompt and token, in the prompts' order within each round.

    prompts: tokens of each.   Every prompt is checked before the model reads the first.   prefixes: what was read
    before, to begin with; each prompt is added when it is read. Prompts of one call share what they begin with anyway.
    Exactness: with one seed a prompt's reply doesn't depend on the others but for the rounding of batched products.
    Raises: EngineError (no prompt, an empty one, a token outside the vocabulary, a prompt that fills the context)."""
    settings = settings or Settings()
    context = min(settings.context or model.config.context, model.config.context)
    if settings.context is not None and settings.context > context:
        raise EngineError("context", str(settings.context), f"at most {context}, the model's")
    if not prompts:
        raise EngineError("prompts", "none", "at least one")
    for i, prompt in enumerate(prompts):
        _check_prompt(f"prompt {i}" if len(prompts) > 1 else "prompt", prompt, model.config.n_vocab, context)
    if settings.sampling.seed is None:
        settings = replace(settings, sampling=replace(settings.sampling, seed=fresh_seed()))
    replies = [_Growing(i, list(prompt), tokeniser, settings, context) for i, prompt in enumerate(prompts)]
    return _run(model, replies, Prefixes() if prefixes is None else prefixes)


def _check_prompt(where: str, prompt: Sequence[int], n_vocab: int, context: int) -> None:
    if not len(prompt):
        raise EngineError(where, "no token", "at least one", "write something, or begin with the opening token (bos)")
    if len(prompt) >= context:
        raise EngineError(where, f"{len(prompt)} tokens", f"fewer than {context}, the context", "shorten it")
    wrong = [token for token in prompt if not is_whole(token, 0, n_vocab - 1)]
    if wrong:
        raise EngineError(where, f"token {wrong[0]!r}"[:60], f"0 to {n_vocab - 1}, the vocabulary")


def _run(model: Model, replies: list[_Growing], prefixes: Prefixes) -> Iterator[Step]:
    active = []
    most_tok = max(reply.most_tok for reply in replies)
    for reply in replies:
        prompt = list(reply.tokens)
        reply.sequence = prefixes.begin(model, prompt, most_tok)
        first = reply.first(model)
        prefixes.add(reply.sequence, prompt)
        yield first
        if not reply.finished:
            active.append(reply)
    while active:
        yield from _round(model, active)
        active = [reply for reply in active if not reply.finished]


def _round(model: Model, active: list[_Growing]) -> Iterator[Step]:
    """One token of every active reply. Alone and greedy, the model finds the largest logit without making all."""
    first = active[0]
    if len(active) == 1 and first.takes_likeliest:
        yield first.take(model.greedy(first.sequence, first.tokens[-1]), None)
        return
    rows = model.decode([reply.sequence for reply in active], [reply.tokens[-1] for reply in active])
    for reply, logits in zip(active, rows, strict=True):
        yield reply.take(reply.choose(logits), logits)


class _Growing:
    """One prompt's reply as it grows.   most_tok: tokens that its sequence may hold."""

    def __init__(self, index: int, prompt: list[int], tokeniser: Tokeniser, settings: Settings, context: int) -> None:
        self.index = index
        self.tokens = prompt
        self.settings = settings
        self.most_tok = context if settings.max_tokens is None else min(len(prompt) + settings.max_tokens, context)
        self.sequence: Any = None
        self.finished = False
        self._n_prompt = len(prompt)
        self._stop_ids = tokeniser.stop_ids
        self._stream = tokeniser.stream(prompt[-1])
        self._text = StopText(settings.stop)
        assert settings.sampling.seed is not None
        self._draw = Draws(settings.sampling.seed, index)

    @property
    def takes_likeliest(self) -> bool:
        """Whether the next token is the largest logit, and no other logit is asked for."""
        return self.settings.sampling.greedy and self.settings.logprobs is None

    def first(self, model: Model) -> Step:
        """Reads what isn't known of the prompt and takes the first token after it."""
        n_known = self.sequence.n_tokens
        end = end_of_step(n_known, len(self.tokens))
        if n_known < end < len(self.tokens):
            model.extend(self.sequence, self.tokens[n_known:end], "none")
            n_read = end
        else:
            n_read = n_known
        rest = self.tokens[n_read:]
        if self.takes_likeliest:
            step = self.take(model.greedy(self.sequence, rest), None)
        else:
            logits = model.extend(self.sequence, rest)
            step = self.take(self.choose(logits), logits)
        return replace(step, n_known_tok=n_known)

    def choose(self, logits: Any) -> int:
        return sample(logits, self.settings.sampling, self.tokens, self._draw)

    def take(self, token: int, logits: Any) -> Step:
        """Adds a token and says what became certain with it."""
        reason: FinishReason | None = None
        text = ""
        self.tokens.append(token)
        if token in self._stop_ids:
            reason = "stop"
        else:
            text = self._text.feed(self._stream.feed(token))
            if self._text.found:
                reason = "stop"
            elif len(self.tokens) - self._n_prompt == self.settings.max_tokens:
                reason = "length"
            elif self.sequence.n_tokens >= self.most_tok:
                reason = "context"
        if reason and not self._text.found:
            text += self._text.feed(self._stream.close()) + self._text.close()
        self.finished = reason is not None
        if self.settings.logprobs is None:
            return Step(self.index, token, text, finish_reason=reason)
        found = log_probabilities(np.asarray(logits), token, self.settings.logprobs)
        return Step(self.index, token, text, found.chosen, found.top, reason)


class StopText:
    """Lets text through up to the first stop string, holding back what might be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """The text that can be shown now. Nothing comes after a stop string was found."""
        if self.found:
            return ""
        text = self._held + text
        starts = [start for start in (text.find(stop) for stop in self._stops) if start >= 0]
        if starts:
            self.found, self._held = True, ""
            return text[: min(starts)]
        n_held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]

    def close(self) -> str:
        """What was held back, now that no stop string can follow."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of text that is a beginning of stop, but not all of it."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)

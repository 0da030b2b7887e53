"""A language model as a whole: its file, its tokeniser, its chat template and the native model behind one object.

`load("smollm2").generate("…")` is the short way; everything else here is thin over generate.py, chat.py, quality.py.
What it doesn't do: print, download, convert.
Enter at `load`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError
from solvent.machine.engine import quality
from solvent.machine.engine.chat import ChatTemplate
from solvent.machine.engine.find import find
from solvent.machine.engine.generate import Options, Settings, Step, generate
from solvent.machine.engine.memory import cache_token_bytes, check_fits, held
from solvent.machine.engine.model_file import ModelFile, open_model
from solvent.machine.engine.models import config as config_of
from solvent.machine.engine.pick_cache import WINDOW_TOK, CacheBudget, Picked, Tell, pick_cache
from solvent.machine.engine.picked_file import place, recall, remember
from solvent.machine.engine.precision import Precision, PrecisionOptions
from solvent.machine.engine.prefix import Prefixes
from solvent.machine.engine.reply import Reply, record
from solvent.machine.engine.saved_cache import SavedCache, open_saved, save
from solvent.machine.engine.tokeniser import Tokeniser, check_text
from solvent.machine.turboquant.cache_format import CacheFormat, parse

if TYPE_CHECKING:
    from solvent.machine.engine.model import Model

MAX_THREADS = 1024
AUTO = "auto"
Message = Mapping[str, Any]
Prompt = str | Sequence[int]


def load(
    path_or_name: str | Path,
    *,
    context: int | None = None,
    threads: int | None = None,
    cache: CacheFormat | CacheBudget | str = "f16",
    tell: Tell | None = None,
    **precision: Unpack[PrecisionOptions],
) -> LanguageModel:
    """Opens a model: a .gguf, a .bin of llama2.c, a directory with safetensors, or a short name ("smollm2").

    context: tokens that will be needed at a time, checked against the model's and against memory; None checks the
    weights alone.   threads: of the native model; None takes one a core.   head: the language-model head's form,
    "screened" (as the file has it, greedy tokens found by fewer bytes), "whole", "8-bit" or "6-bit": see head.py.
    activations: what vectors are rounded to before weights in blocks, "int8" or "int16": see precision.py.
    cache: what keys and values are kept as, a format or its name (tq4, tq4+tail256, …); "auto" or a CacheBudget has
    the fewest bytes within a divergence measured, once for a model and a question.   tell: is told how far that is.
    Raises: ModelFileError (no such file; what it holds can't be run), EngineError (it doesn't fit into memory; a budget
    that no format meets)."""
    head = Precision(**precision).head
    path = find(path_or_name)
    file = open_model(path)
    config = config_of(file)
    if context is not None and not 0 < context <= config.context:
        raise EngineError("context", str(context), f"1 to {config.context}, the model's")
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise EngineError("threads", str(threads), f"1 to {MAX_THREADS}")
    asked = CacheBudget() if cache == AUTO else parse(cache) if isinstance(cache, str) else cache
    format = parse("f16") if isinstance(asked, CacheBudget) else asked
    check_fits(str(path_or_name), held(config, file.tensors, head, context or 0, format))
    tokeniser = Tokeniser.of_file(file, str(path_or_name))
    from solvent.machine.engine.model import Model

    model = Model(file, config, threads=threads, cache=format, **precision)
    loaded = LanguageModel(str(path_or_name), file, model, tokeniser, context)
    if isinstance(asked, CacheBudget):
        loaded.take_budget(asked, tell)
    return loaded


class LanguageModel:
    """A model that answers. Threads may share it.

    name: as it was asked for.   file, config, model, tokeniser: its parts.   picked: the cache format that a budget
    had, or None; picked_file: where that is remembered; picked_now: whether it was measured now."""

    def __init__(
        self, name: str, file: ModelFile, model: Model, tokeniser: Tokeniser, context: int | None = None
    ) -> None:
        self.name = name
        self.file = file
        self.model = model
        self.config = model.config
        self.tokeniser = tokeniser
        self._context = context
        self.picked: Picked | None = None
        self.picked_file: Path | None = None
        self.picked_now = False

    @cached_property
    def template(self) -> ChatTemplate | None:
        """The chat template of the file, or None.   Raises: ModelFileError (it can't be used)"""
        return ChatTemplate.from_metadata(self.file.metadata)

    def generate(self, prompt: Prompt, *, prefixes: Prefixes | None = None, **options: Unpack[Options]) -> Reply:
        """Continues a prompt, text or tokens.

        prefixes: what was read before, to begin with (restore_cache).   options: see `Options`. Without max_tokens it
        goes on until the model ends the text or the context is full.
        Raises: EngineError (an empty prompt, one that fills the context, an option outside its range)."""
        return self.generate_batch([prompt], prefixes=prefixes, **options)[0]

    def generate_batch(
        self, prompts: Sequence[Prompt], *, prefixes: Prefixes | None = None, **options: Unpack[Options]
    ) -> list[Reply]:
        """Continues several prompts that decode together, at nearly the price of one; what they begin with alike is
        read once.

        Raises: EngineError (as generate, naming the prompt; no prompt)."""
        if isinstance(prompts, str):
            raise EngineError("prompts", "one text", "several in a list", "[text], or generate")
        settings = self.settings(**options)
        tokens = [self.tokens(prompt) for prompt in prompts]
        replies = [Reply(len(one), settings.sampling.seed) for one in tokens]
        for _ in record(generate(self.model, self.tokeniser, tokens, settings, prefixes), replies):
            pass
        return replies

    def stream(self, prompt: Prompt, **options: Unpack[Options]) -> Iterator[Step]:
        """As generate, a step at a time: `for step in model.stream("…"): print(step.text, end="")`."""
        return generate(self.model, self.tokeniser, [self.tokens(prompt)], self.settings(**options))

    def steps(
        self, tokens: Sequence[int], settings: Settings, reply: Reply, prefixes: Prefixes | None = None
    ) -> Iterator[Step]:
        """Continues tokens under settings, a step at a time, and fills the reply as they come.

        prefixes: what was read before, to begin with; the prompt is added to it when it is read."""
        return record(generate(self.model, self.tokeniser, [tokens], settings, prefixes), [reply])

    def take_budget(self, budget: CacheBudget, tell: Tell | None = None) -> Picked:
        """Picks the cache format for a budget, or recalls it, and keeps keys and values so from now on.

        Raises: EngineError (a budget that can't be met, a text too short; heads that codes have no layout for)"""
        window_tok = budget.window_tok or min(WINDOW_TOK, self.config.context)
        path = place(self.model, budget, window_tok)
        picked = recall(path, self.model)
        self.picked_now, self.picked_file = picked is None, path
        if picked is None:
            tokens = self.tokeniser.encode(budget.text_or_own(), bos=False)
            picked = pick_cache(self.model, tokens, budget.kl, window_tok, tell)
            self.picked_file = path if remember(path, picked) else None
        self.picked, self.model.cache = picked, picked.format
        return picked

    @property
    def cache_bytes_per_token(self) -> int:
        """Bytes of keys and values that a token of context adds, scales and centres counted, once sinks are full."""
        return cache_token_bytes(self.config, self.model.cache)

    def save_cache(self, prompt: Prompt, path: str | Path) -> int:
        """Reads a prompt, text or tokens, and saves its keys and values. → bytes of the file

        Raises: EngineError (an empty prompt, more than the context; the file can't be written)"""
        tokens = self.tokens(prompt)
        sequence = self.model.new_sequence()
        self.model.extend(sequence, tokens, "none")
        return save(sequence, tokens, Path(path))

    def restore_cache(self, saved: SavedCache | str | Path) -> Prefixes:
        """What a file holds, for `steps` and `generate` to begin with.

        Raises: EngineError (as open_saved and SavedCache.restore; a cache of another format than this model keeps)"""
        found = saved if isinstance(saved, SavedCache) else open_saved(Path(saved))
        if found.format != self.model.cache:
            raise EngineError(
                str(found.path),
                f"keys and values as {found.format.name}",
                f"{self.model.cache.name}, what this model keeps",
                "load the model with the file's format",
            )
        prefixes = Prefixes()
        prefixes.add(found.restore(self.model), found.tokens)
        return prefixes

    def spelt(self, reply: Reply) -> dict[str, Any]:
        """The reply's document, with the text of each token; a part of a character is U+FFFD."""
        document = reply.document()
        document["pieces"] = [self._spelt(token) for token in reply.tokens]
        for top in document.get("top_logprobs", ()):
            for one in top:
                one["text"] = self._spelt(one["token"])
        return document

    def _spelt(self, token: int) -> str:
        return self.tokeniser.token_bytes(token).decode("utf-8", "replace")

    def chat(self, messages: str | Sequence[Message], **options: Unpack[Options]) -> Reply:
        """The assistant's next message of a conversation; a text alone is the user's first message.

        Raises: EngineError (the file has no chat template, or it refuses the conversation; as generate)."""
        return self.generate(self.chat_tokens(messages), **options)

    def stream_chat(self, messages: str | Sequence[Message], **options: Unpack[Options]) -> Iterator[Step]:
        """As chat, a step at a time."""
        return self.stream(self.chat_tokens(messages), **options)

    def chat_tokens(self, messages: str | Sequence[Message]) -> list[int]:
        """The prompt of a conversation, as the model's template writes it; nothing is put before it.

        A message that spells a control token (`<|im_end|>`) gets that token, as in every engine that renders text
        first: strip such spellings from what strangers write.
        Raises: EngineError (no template; it refuses the conversation)."""
        if self.template is None:
            raise EngineError(
                self.name,
                "no chat template in the file",
                "",
                "continue a text of your own instead (generate, --no-chat)",
            )
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return self.tokeniser.encode(self.template.render(messages), bos=False)

    def prompt_tokens(self, prompt: str, chat: bool | None = None) -> list[int]:
        """The prompt as the user's first message of a chat, or as it is; None chats where the file has a template.

        Raises: EngineError (a chat without a template; as chat_tokens)"""
        check_text(prompt, "prompt")
        if chat is None:
            chat = self.template is not None
        if chat and not prompt.strip():
            raise EngineError("prompt", "empty", "something to answer")
        return self.chat_tokens(prompt) if chat else self.tokens(prompt)

    def tokens(self, prompt: Prompt) -> list[int]:
        """The tokens of a prompt: a text's with the opening token where the file asks for it; tokens as they are."""
        return self.tokeniser.encode(prompt) if isinstance(prompt, str) else list(prompt)

    def document(self) -> dict[str, Any]:
        """What was run, as JSON-ready fields."""
        return {
            "name": self.name,
            "file": str(self.file.path),
            "family": self.config.family,
            "context": self.config.context,
            "threads": self.model.threads,
            "kernel": self.model.kernel,
            "cache": self.model.cache.document(),
            "cache_name": self.model.cache.name,
            "cache_picked": None if self.picked is None else self.picked.document(),
            "head": self.model.head,
            "activations": self.model.activations,
        }

    def settings(self, **options: Unpack[Options]) -> Settings:
        """Options as Settings, with the context that the model was loaded for.   Raises: EngineError"""
        if self._context is not None:
            options.setdefault("context", self._context)
        return Settings.of(**options)

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Before softmax, what the model predicts after each token.   → (T, n_vocab) f32

        Raises: EngineError (no token, one outside the vocabulary, more than the context)."""
        if not len(tokens):
            raise EngineError("tokens", "none", "at least one")
        logits: NDArray[np.float32] = self.model.extend(self.model.new_sequence(len(tokens)), list(tokens), "all")
        return logits

    def perplexity(self, text: str, window: int | None = None, n_windows: int | None = None) -> quality.Perplexity:
        """See quality.perplexity."""
        return quality.perplexity(self.model, self.tokeniser.encode(text, bos=False), window, n_windows)

    def divergence(
        self, text: str, against: LanguageModel, window: int | None = None, n_windows: int | None = None
    ) -> quality.Divergence:
        """How far this model strays from `against` on a text: see quality.divergence.

        Raises: EngineError (the two cut the text into different tokens; as quality.divergence)."""
        tokens = self.tokeniser.encode(text, bos=False)
        if against.tokeniser.encode(text, bos=False) != tokens:
            raise EngineError("against", f"{against.name} cuts this text into other tokens", "the same tokeniser")
        return quality.divergence(self.model, against.model, tokens, window, n_windows)

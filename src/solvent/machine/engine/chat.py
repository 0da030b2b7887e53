"""A conversation to a prompt, by the chat template that the model's file carries.

Templates are Jinja programs written by whoever made the file, so they are hostile until shown otherwise: they run
in Jinja's immutable sandbox with few functions and filters, no value may grow past a bound, and every line that
runs is counted and timed. A template can't reach a file, an object of Python or the network.
What it doesn't do: turn the prompt into tokens; guard against a message that spells a control token.
Enter at `ChatTemplate`. Source: the `tokenizer.chat_template` key of GGUF; transformers' chat templating.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from solvent.errors import EngineError, ModelFileError

KEY = "tokenizer.chat_template"
MAX_SOURCE_CHARS = 1 << 18


class ChatTemplate:
    """A compiled chat template.   bos, eos: the texts that it may put in as bos_token and eos_token.

    Raises: ModelFileError (it doesn't parse, is too long, or wants what isn't offered)."""

    def __init__(self, source: str, bos: str = "", eos: str = "", where: str = KEY) -> None:
        from jinja2 import TemplateError

        from solvent.machine.engine.chat_sandbox import Budget, Refusal, environment

        self.source, self._where = source, where
        self._names = {"bos_token": bos, "eos_token": eos}
        if len(source) > MAX_SOURCE_CHARS:
            raise ModelFileError(where, f"{len(source)} characters", f"at most {MAX_SOURCE_CHARS}")
        try:
            with Budget():
                self._template = environment().from_string(source)
        except (TemplateError, RecursionError, SyntaxError, ValueError, MemoryError, Refusal) as error:
            raise ModelFileError(where, _said(error), "a Jinja chat template") from None

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> ChatTemplate | None:
        """The template of a model's file, or None where it has none.

        Raises: ModelFileError (as ChatTemplate; a template that is no text)."""
        source = metadata.get(KEY)
        if source is None:
            return None
        if not isinstance(source, str):
            raise ModelFileError(KEY, type(source).__name__, "a text")
        tokens = metadata.get("tokenizer.ggml.tokens", ())
        texts = []
        for name in ("bos", "eos"):
            token = metadata.get(f"tokenizer.ggml.{name}_token_id")
            texts.append(tokens[token] if isinstance(token, int) and 0 <= token < len(tokens) else "")
        return cls(source, *texts)

    def render(self, messages: Sequence[Mapping[str, Any]], *, reply: bool = True, **names: Any) -> str:
        """The prompt of a conversation.

        messages: each {"role": …, "content": …}, the oldest first.   reply: end where the assistant begins to speak.
        names: what else the template understands (`enable_thinking`, `tools`).
        Raises: EngineError (the template refuses the conversation; it runs too long or grows too large)."""
        from jinja2 import TemplateError

        from solvent.machine.engine.chat_sandbox import Budget, Refusal

        if not messages:
            raise EngineError("messages", "none", "at least one")
        if not isinstance(messages, Sequence):
            raise EngineError("messages", f"a {type(messages).__name__}", "a list of them")
        for i, message in enumerate(messages):
            if not isinstance(message, Mapping):
                raise EngineError(f"messages[{i}]", f"a {type(message).__name__}", "a mapping with role and content")
            if not isinstance(message.get("role"), str) or "content" not in message:
                raise EngineError(f"messages[{i}]", f"{sorted(map(str, message))}", "role, a text, and content")
        names = {"tools": None, **self._names, **names, "messages": [dict(m) for m in messages]}
        try:
            with Budget():
                text: str = self._template.render(**names, add_generation_prompt=reply)
        except (TemplateError, Refusal, RecursionError, ArithmeticError, LookupError) as error:
            raise EngineError("chat template", _said(error), "a conversation that it accepts") from None
        except (TypeError, ValueError, AttributeError, MemoryError) as error:
            raise EngineError("chat template", _said(error), "values that it can handle") from None
        return text


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "…"

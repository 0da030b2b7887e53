"""What `solvent run` reads and prints: the prompt, the card, the reply as it streams, what is said about it."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import typer

from solvent.errors import EngineError

if TYPE_CHECKING:
    from solvent.machine.engine.load import LanguageModel

SCHEMA = "solvent.run/1"
STDIN = "-"


def prepare_output() -> None:
    """A terminal that knows no emoji gets an escape, not an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def read_prompt(prompt: str | None) -> str:
    if prompt is not None and prompt != STDIN:
        return prompt
    if sys.stdin is None:
        raise EngineError("PROMPT", f"{prompt or 'missing'}, and standard input is closed", "a text")
    if prompt is None and sys.stdin.isatty():
        raise EngineError("PROMPT", "missing", "a text, or - to read one from standard input")
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EngineError("standard input", f"byte {error.start} isn't UTF-8", "text in UTF-8") from None


def explain(loaded: LanguageModel) -> None:
    from solvent.machine.engine.card import explanation
    from solvent.report.card_text import explanation_lines

    for line in explanation_lines(explanation(loaded.model)):
        typer.echo(line, err=True)


def show_card(loaded: LanguageModel, depth: int, as_json: bool) -> None:
    from solvent.machine.engine.card import card
    from solvent.report.card_text import card_lines

    found = card(loaded.model, loaded.name, depth)
    typer.echo(json.dumps(found) if as_json else "\n".join(card_lines(found)))


def show(text: str) -> None:
    from solvent.report.reply_text import harmless

    sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def finish(answer: dict[str, Any], loaded: LanguageModel, as_json: bool) -> None:
    from solvent.report.reply_text import logprob_lines, speed_line

    if as_json:
        json.dump({"schema": SCHEMA, "model": loaded.document(), **answer}, sys.stdout)
        sys.stdout.write("\n")
        return
    sys.stdout.write("\n")
    sys.stdout.flush()
    for line in logprob_lines(answer) if "logprobs" in answer else ():
        typer.echo(line, err=True)
    if answer["tokens"]:
        typer.echo(speed_line(answer), err=True)

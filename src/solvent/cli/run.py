"""`solvent run MODEL [PROMPT]`: a reply from a model, streamed. Parses, calls, prints."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from solvent.errors import EngineError

if TYPE_CHECKING:
    from solvent.machine.engine.head import Head
    from solvent.machine.engine.load import LanguageModel

SCHEMA = "solvent.run/1"
STDIN = "-"


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A .gguf, a .bin, a directory with safetensors, or smollm2.")
    ],
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="What to say; - reads it from standard input.")
    ] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Use the file's chat template; default: if it has one.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(metavar="N", help="Stop after N tokens.")] = 256,
    temperature: Annotated[float, typer.Option(metavar="T", help="0 takes the most probable token.")] = 0.0,
    top_k: Annotated[int, typer.Option(metavar="K", help="Draw from the K most probable; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(metavar="P", help="Draw from the fewest that hold the share P.")] = 1.0,
    min_p: Annotated[float, typer.Option(metavar="P", help="Draw from those at least P times the likeliest.")] = 0.0,
    repeat_penalty: Annotated[float, typer.Option(metavar="R", help="Penalise what was said; 1: don't.")] = 1.0,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Draw the same again.")] = None,
    stop: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="End before TEXT; repeatable.")] = None,
    kv: Annotated[
        str,
        typer.Option("--kv", metavar="FORMAT", help="Keep keys and values as f16, or in few bits: tq4, tq4-3, tq3."),
    ] = "f16",
    threads: Annotated[int | None, typer.Option(metavar="N", help="Threads; default: one a core.")] = None,
    context: Annotated[int | None, typer.Option(metavar="N", help="Tokens of prompt and reply together.")] = None,
    head: Annotated[
        str, typer.Option(metavar="FORM", help="Head of the model: screened, whole, 8-bit or 6-bit.")
    ] = "screened",
    logprobs: Annotated[
        int | None, typer.Option(metavar="N", help="Also give ln p of each token and of the N likeliest.")
    ] = None,
    as_card: Annotated[
        bool, typer.Option("--card", help="Instead of a reply: bytes and operations of a token, limit and share.")
    ] = False,
    depth: Annotated[int, typer.Option(metavar="N", help="With --card: tokens that are in the context.")] = 0,
    explain: Annotated[bool, typer.Option("--explain", help="Say which kernels run and how the weights lie.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reply as JSON, when it is complete.")] = False,
) -> None:
    """Continue a text with a model on this machine, or answer it where the model's file has a chat template."""
    from solvent.cli.progress import progress
    from solvent.machine.engine.generate import Settings
    from solvent.machine.engine.load import load
    from solvent.machine.engine.reply import Reply

    text = "" if as_card else _prompt(prompt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that knows no emoji gets an escape, not an error.
        sys.stdout.reconfigure(errors="backslashreplace")
    settings = Settings.of(
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repeat_penalty=repeat_penalty,
        seed=seed,
        stop=tuple(stop or ()),
        context=context,
        logprobs=logprobs,
    )
    with progress() as tell:
        tell(f"loading {model}", None)
        loaded = load(model, context=context, threads=threads, head=cast("Head", head), cache=kv)
    if explain:
        _explain(loaded)
    if as_card:
        return _card(loaded, depth, as_json)
    tokens = loaded.prompt_tokens(text, chat)
    reply = Reply(len(tokens), settings.sampling.seed)
    steps = loaded.steps(tokens, settings, reply)
    try:
        for step in steps:
            if not as_json:
                _show(step.text)
    finally:
        # After Ctrl-C too: what came is complete up to the last token.
        _finish({**loaded.spelt(reply), "settings": settings.document()}, loaded, as_json)


def _explain(loaded: LanguageModel) -> None:
    from solvent.machine.engine.card import explanation
    from solvent.report.card_text import explanation_lines

    for line in explanation_lines(explanation(loaded.model)):
        typer.echo(line, err=True)


def _card(loaded: LanguageModel, depth: int, as_json: bool) -> None:
    from solvent.machine.engine.card import card
    from solvent.report.card_text import card_lines

    found = card(loaded.model, loaded.name, depth)
    typer.echo(json.dumps(found) if as_json else "\n".join(card_lines(found)))


def _prompt(prompt: str | None) -> str:
    if prompt is None and sys.stdin.isatty():
        raise EngineError("PROMPT", "missing", "a text, or - to read one from standard input")
    if prompt is not None and prompt != STDIN:
        return prompt
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EngineError("standard input", f"byte {error.start} isn't UTF-8", "text in UTF-8") from None


def _show(text: str) -> None:
    from solvent.report.reply_text import harmless

    sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def _finish(answer: dict[str, Any], loaded: LanguageModel, as_json: bool) -> None:
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

"""`solvent run MODEL [PROMPT]`: a reply from a model, streamed. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from solvent.machine.engine.precision import PrecisionOptions


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
        str | None,
        typer.Option(
            "--kv",
            metavar="FORMAT",
            help="Keep keys and values as f16 (default), in few bits (tq4, tq4-3, tq4+sinks256+tail256), or auto.",
        ),
    ] = None,
    kv_budget: Annotated[
        float | None, typer.Option(metavar="KL", help="With --kv auto: nats a token that it may stray; default 0.02.")
    ] = None,
    kv_text: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --kv auto: text to measure on; default: our own.")
    ] = None,
    cache_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Begin from a prompt that --save-cache has saved.")
    ] = None,
    save_cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the prompt's keys and values, once it is read.")
    ] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Threads; default: one a core.")] = None,
    context: Annotated[int | None, typer.Option(metavar="N", help="Tokens of prompt and reply together.")] = None,
    head: Annotated[
        str, typer.Option(metavar="FORM", help="Head of the model: screened, whole, 8-bit or 6-bit.")
    ] = "screened",
    activations: Annotated[
        str, typer.Option(metavar="TYPE", help="Round vectors to int8, or int16: slower, next to nothing lost.")
    ] = "int8",
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
    from solvent.cli import run_cache, run_print
    from solvent.cli.progress import progress
    from solvent.machine.engine.generate import Settings
    from solvent.machine.engine.load import load
    from solvent.machine.engine.reply import Reply

    text = "" if as_card else run_print.read_prompt(prompt)
    run_print.prepare_output()
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
    asked = run_cache.CacheOptions(kv, kv_budget, kv_text, cache_file, save_cache)
    saved = asked.saved()
    precision = cast("PrecisionOptions", {"head": head, "activations": activations})
    with progress() as tell:
        tell(f"loading {model}", None)
        cache = asked.format(saved)
        loaded = load(model, context=context, threads=threads, cache=cache, tell=tell, **precision)
    if not as_json:
        run_cache.tell_picked(loaded)
    if explain:
        run_print.explain(loaded)
    if as_card:
        return run_print.show_card(loaded, depth, as_json)
    prefixes = run_cache.restored(loaded, saved)
    tokens = loaded.prompt_tokens(text, chat)
    reply = Reply(len(tokens), settings.sampling.seed)
    steps = loaded.steps(tokens, settings, reply, prefixes)
    notes: list[str] = []
    try:
        for step in steps:
            if not as_json:
                run_print.show(step.text)
            if save_cache is not None and len(reply.tokens) == 1:
                notes.append(run_cache.save_prompt(prefixes, save_cache))
    finally:
        # After Ctrl-C too: what came is complete up to the last token.
        run_print.finish({**loaded.spelt(reply), "settings": settings.document()}, loaded, as_json)
        for note in (*notes, *run_cache.restored_notes(reply, saved)):
            typer.echo(note, err=True)

"""`solvent measure TARGET`: what a model or server does in a second, and what that costs. Parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from solvent.errors import MeasureError

REQUESTS, UNTIL_PRECISE = 20, 10_000


def command(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A model (file, folder, smollm2), a URL, or an adapter.toml.")
    ],
    requests: Annotated[int | None, Option(metavar="N", help="At most; default 20, or as --precision needs.")] = None,
    concurrency: Annotated[int, Option(metavar="N", help="Requests under way at a time.")] = 1,
    sweep: Annotated[int | None, Option(metavar="N", help="Try concurrencies up to N and find the knee.")] = None,
    input_tok: Annotated[int, Option(metavar="N", help="Tokens of a prompt (their median).")] = 128,
    output_tok: Annotated[int, Option(metavar="N", help="Tokens of an answer (their median).")] = 64,
    spread: Annotated[float, Option(metavar="SIGMA", help="Draw log-normal lengths with this sigma.")] = 0.0,
    rate: Annotated[float | None, Option(metavar="R", help="Send R requests a second, at random times.")] = None,
    trace: Annotated[Path | None, Option(metavar="FILE", help="Requests of a trace (Azure, Mooncake).")] = None,
    rate_scale: Annotated[float, Option(metavar="F", help="Play the trace F times as fast.")] = 1.0,
    closed: Annotated[bool, Option("--closed", help="Of a trace take the lengths alone, not the times.")] = False,
    seed: Annotated[int, Option(metavar="N", help="Of lengths and times.")] = 0,
    warm_up: Annotated[int | None, Option(metavar="N", help="Requests before; default: one for each place.")] = None,
    max_time_s: Annotated[float | None, Option(metavar="S", help="Begin no request after S seconds.")] = None,
    precision: Annotated[
        float | None, Option(metavar="SHARE", help="Stop when half the interval is this share of the mean.")
    ] = None,
    precision_of: Annotated[str, Option(metavar="NAME", help="What it is of: latency, ttft or tpot.")] = "latency",
    slo: Annotated[list[str] | None, Option(metavar="NAME=S", help="For goodput: ttft, itl or latency.")] = None,
    model: Annotated[str | None, Option(metavar="NAME", help="Of a URL: the model to ask for.")] = None,
    api: Annotated[str, Option(metavar="API", help="Of a URL: chat or completions.")] = "chat",
    extra: Annotated[str, Option(metavar="JSON", help="Of a URL: more fields of each request.")] = "{}",
    key_env: Annotated[str, Option(metavar="NAME", help="Of a URL: the variable with its key.")] = "OPENAI_API_KEY",
    tokeniser: Annotated[str | None, Option(metavar="FILE", help="Of a URL: check its counts by this model's.")] = None,
    timeout_s: Annotated[float, Option(metavar="S", help="Of a URL: give an answer up after S seconds.")] = 600.0,
    keep_connections: Annotated[
        bool, Option("--keep-connections", help="Of a URL: use connections again, as a service does.")
    ] = False,
    server_pid: Annotated[int | None, Option(metavar="PID", help="Of a URL here: whose memory to read.")] = None,
    kv: Annotated[str | None, Option(metavar="NAME", help="Of a model: the cache's number format.")] = None,
    head: Annotated[str, Option(metavar="NAME", help="Of a model: its head's form, as for solvent run.")] = "screened",
    activations: Annotated[str, Option(metavar="TYPE", help="Of a model: int8 or int16, as for solvent run.")] = "int8",
    threads: Annotated[int | None, Option(metavar="N", help="Of a model: threads; default: one a core.")] = None,
    usd_per_hour: Annotated[float | None, Option(metavar="USD", help="What an hour of the machine costs.")] = None,
    offer: Annotated[str | None, Option(metavar="NAME", help="Take that from this [[offers]] machine.")] = None,
    project: Annotated[Path | None, Option(metavar="FILE", help="Project file of --offer; solvent.toml here.")] = None,
    usd_per_mtok: Annotated[str | None, Option(metavar="IN,OUT", help="Prices of a million tokens in and out.")] = None,
    quality: Annotated[
        list[Path] | None, Option(metavar="FILE", help="Score this .jsonl set, text, or .csv of your own scores.")
    ] = None,
    against: Annotated[
        str | None, Option(metavar="MODEL", help="Of --quality: compare with MODEL, MODEL@CACHE or @CACHE.")
    ] = None,
    items: Annotated[int, Option(metavar="N", help="Of --quality: items of each set at most.")] = 200,
    few_shot: Annotated[
        list[int] | None, Option(metavar="TOK", help="Of --quality sets: solved examples of TOK tokens before each.")
    ] = None,
    needle: Annotated[
        list[int] | None, Option(metavar="TOK", help="Of --quality texts: facts hidden in TOK tokens of it, asked for.")
    ] = None,
    out: Annotated[
        Path | None, Option("--out", "-o", metavar="FILE", help="Write the result; a run that was cut short goes on.")
    ] = None,
    compare: Annotated[Path | None, Option(metavar="OLD.json", help="Say what changed since this result.")] = None,
    across_machines: Annotated[bool, Option("--across-machines", help="Compare results of two machines.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print the result as JSON.")] = False,
) -> None:  # fmt: skip
    """Measure speed, memory, energy and cost per output of a model, a server or a command, under a load."""
    from solvent.cli.measure_quality import Quality, plan
    from solvent.cli.measure_run import Job, Terms, measured, older_of, show
    from solvent.cli.measure_score import add_quality
    from solvent.cli.measure_target import target_of
    from solvent.cli.measure_work import hourly_of, peak_memory_bytes, per_token_of, work_of
    from solvent.measure.load import Load
    from solvent.measure.metrics import Slo
    from solvent.measure.run import Setup

    if requests is None:
        requests = UNTIL_PRECISE if precision is not None else REQUESTS
    _check(requests, concurrency, sweep, warm_up, seed)
    terms = Terms(Slo.of(slo or []), hourly_of(usd_per_hour, offer, project), per_token_of(usd_per_mtok))
    older = older_of(compare, across_machines)
    places = sweep or concurrency
    http: dict[str, Any] = {"model": model, "api": api, "extra": extra, "key_env": key_env, "tokeniser": tokeniser}
    engine: dict[str, Any] = {"kv": kv, "threads": threads, "head": head, "activations": activations}
    wired = target_of(target, places, {**http, "timeout_s": timeout_s, "keep": keep_connections}, engine)
    wanted = Quality(quality or [], against, items, sorted({*(few_shot or [])}), sorted({*(needle or [])}))
    try:
        planned = plan(wanted, wired.loaded, kv)
        shape = {"input_tok": input_tok, "output_tok": output_tok, "spread": spread, "seed": seed, "rate": rate}
        traced = {"trace": trace, "rate_scale": rate_scale, "closed": closed, "tokeniser": tokeniser, "sweep": sweep}
        work = work_of({**shape, **traced}, wired, requests)
        load = Load(None if work.timed else concurrency, requests, max_time_s)
        first = warm_up if warm_up is not None else 1 if work.timed or sweep else places
        setup = Setup(
            wired.target, work.requests, load, first, precision, precision_of, sweep, wired.meter, wired.own_process,
            lambda: peak_memory_bytes(wired.own_process, server_pid),
        )  # fmt: skip
        document, finished = measured(Job(setup, wired, work.about), terms, out)
        add_quality(document, planned)
    finally:
        wired.close()
    show(document, finished, out, older, as_json)
    if not document["totals"]["answers"]:
        raise typer.Exit(1)


def _check(requests: int, concurrency: int, sweep: int | None, warm_up: int | None, seed: int) -> None:
    for name, found, least, most in (
        ("--requests", requests, 1, 10_000_000),
        ("--concurrency", concurrency, 1, 4096),
        ("--sweep", sweep, 1, 4096),
        ("--warm-up", warm_up, 0, 100_000),
        ("--seed", seed, 0, 2**63),
    ):
        if found is not None and not least <= found <= most:
            raise MeasureError(name, str(found), f"{least} to {most:,}")

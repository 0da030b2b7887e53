"""What the demo prints of each step: lines of text from the documents. Enter at the function of a step."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from solvent.cli.demo_measure import USD_PER_HOUR, Measured

WIDTH = 100
SHOWN_SCENARIOS = 3
LEGEND = (
    f"Dollars: this machine at an assumed ${USD_PER_HOUR} an hour, busy all the time. Tok/s: tokens of an answer once "
    "it has begun; 128 or 4,000 tokens are read before. Divergence: how far predictions stray from the model as it "
    "ships (0: not at all). Perplexity: how well a text is predicted (less is better). float and ternary: one small "
    "model, trained twice on Shakespeare, with whole weights and with weights of −1, 0 and 1."
)


def print_audits(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """Both verdicts, with the first product's headline."""
    from solvent.report.terminal import console_for, print_verdict

    print_verdict(first, console_for(sys.stdout))
    typer.echo("\nA second product, on a log that holds only times and token counts:")
    typer.echo(f"  {second['product']['name']}: {second['verdict']['title']}. {second['verdict']['line']}")


def headline(path: Path) -> str:
    """The verdict on a claims file, in a line."""
    from solvent.money.claims.check import check
    from solvent.money.claims.document import document
    from solvent.money.claims.file import load
    from solvent.report.claims_text import verdict

    return verdict(document(check(load(path))))


def measured_lines_of(measured: Measured, program: str) -> Iterator[str]:
    """Commands of two of the rows, the table of every format, the compressed cache in a long conversation, faults."""
    from solvent.measure.side_by_side import side_by_side
    from solvent.report.measured_text import measured_lines

    if measured.short:
        yield "Two of the rows below, as they may be typed:"
        yield from (f"{program} {typed}" for typed in measured.shown)
        yield ""
    document = side_by_side(measured.all)
    if measured.all:
        yield from measured_lines(document)
        yield ""
        yield from textwrap.wrap(LEGEND, WIDTH)
    if len(measured.long) == 2:
        yield ""
        yield from _long_lines(document, len(measured.short))
    yield from (f"not measured: {fault}" for fault in measured.faults)


def _long_lines(document: Mapping[str, Any], first: int) -> Iterator[str]:
    from solvent.report.measured_text import cell

    before, after = document["rows"][first : first + 2]
    n_tok = before["input_tok"]
    pairs = {key: (cell(document, before, key), cell(document, after, key)) for key in
             ("decode_tok_per_s", "cache_mb", "usd_per_thousand")}  # fmt: skip
    said = (
        f"With {n_tok:,} tokens of context, f16 cache → tq4: "
        f"{pairs['decode_tok_per_s'][0]} → {pairs['decode_tok_per_s'][1]} tok/s, "
        f"{pairs['cache_mb'][0]} → {pairs['cache_mb'][1]} MB of cache, "
        f"{pairs['usd_per_thousand'][0]} → {pairs['usd_per_thousand'][1]} per 1,000 outputs (prompt read each time), "
        f"at a divergence of {cell(document, after, 'mean_kl')} nats a token."
    )
    yield from textwrap.wrap(said, WIDTH)


def choice_lines(choice: Mapping[str, Any]) -> Iterator[str]:
    """The plan in a sentence, and which offers can't be and why, first reason each."""
    yield from textwrap.wrap(f"{choice['verdict']['line']}.", WIDTH)
    for one in choice["excluded"]:
        said = f"Not {one['offer']}: {one['reasons'][0]['line']}."
        yield from textwrap.wrap(said, WIDTH, subsequent_indent="  ")


def stress_lines(stress: Mapping[str, Any]) -> Iterator[str]:
    """The verdict, and the scenarios that cost most."""
    from solvent.report.stress_text import signal_words, usd

    yield from textwrap.wrap(stress["line"], WIDTH)
    if stress["plan_line"]:
        yield from textwrap.wrap(stress["plan_line"], WIDTH)
    worst = sorted((row for row in stress["scenarios"] if row["touches"]), key=lambda row: row["delta_usd"])
    for row in worst[:SHOWN_SCENARIOS]:
        yield f"{usd(row['outcome']['margin_usd']):>12}  {row['title']}"
    if stress["signals"]:
        yield from textwrap.wrap(signal_words(stress["signals"]), WIDTH)

"""The shipped ternary model beside its float twin: loss, bytes, work and cost per token, as a Markdown table.

Everything is measured on the files as they lie there, by the engine that runs them: the held-out tenth of the text
through `perplexity`, decoding by the processor's clock. The twin stands there also in the formats that rounding
gives, and rounded to ternary, which it wasn't trained for.

  python tools/ternary_table.py FOLDER TEXT [--usd-per-core-hour 0.04]      (TEXT may be a .zst)

Enter at `table`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from math import prod
from pathlib import Path
from statistics import median

import zstandard

from solvent.machine.engine.convert import Request, convert
from solvent.machine.engine.load import LanguageModel, load

HELD_OUT_SHARE = 0.1
WINDOW_TOK = 256
N_RUNS, RUN_TOK = 21, 200
TWIN = "float.gguf"
# What a core of a rented server costs, all in; an assumption, which scales the last column and changes no ratio.
USD_PER_CORE_HOUR = 0.04


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    nats_per_byte: float
    file_bytes: int
    read_bytes_per_tok: int
    multiplications_per_tok: int
    tok_per_s: float


def read_text(path: Path) -> str:
    """A text, or one packed as .zst."""
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompress(data)
    return data.decode("utf-8")


def held_out_start(text: str) -> int:
    """Where the held-out tenth begins: training saw what stands before."""
    return int(len(text) * (1 - HELD_OUT_SHARE))


def table(folder: Path, text: str, usd_per_core_hour: float) -> str:
    """The table, with one row for each file of FOLDER and each rounding of the twin."""
    lines = [
        "| model | held-out loss, nats a byte | file, kB | read a token, kB | multiplications a token, M | "
        "tokens a processor second | $ per million tokens |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows(folder, text[held_out_start(text) :]):
        usd_per_mtok = usd_per_core_hour / 3600 / row.tok_per_s * 1e6
        lines.append(
            f"| {row.name} | {row.nats_per_byte:.3f} | {row.file_bytes / 1e3:,.0f} | "
            f"{row.read_bytes_per_tok / 1e3:,.0f} | {row.multiplications_per_tok / 1e6:.2f} | "
            f"{row.tok_per_s:,.0f} | {usd_per_mtok:.5f} |"
        )
    return "\n".join(lines)


def rows(folder: Path, held_out: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        paths = {"ternary, trained so (TQ2_0)": folder / "ternary.gguf", "float twin (F16)": folder / TWIN}
        for kind in ("q8_0", "q4_0", "tq2_0"):
            path = Path(name) / f"{kind}.gguf"
            convert(load(folder / TWIN).file, path, Request(kind, head="f16"), lambda what, share: None)
            what = "twin rounded to ternary (TQ2_0)" if kind == "tq2_0" else f"twin in {kind.upper()}"
            paths[what] = path
        loaded = {what: load(path, threads=1) for what, path in paths.items()}
        rates = tok_per_s(list(loaded.values()))
        return [
            row(what, path, loaded[what], held_out, rate)
            for (what, path), rate in zip(paths.items(), rates, strict=True)
        ]


def row(name: str, path: Path, model: LanguageModel, held_out: str, rate: float) -> Row:
    tensors = model.file.tensors.values()
    return Row(
        name,
        nats_per_byte(model, held_out),
        path.stat().st_size,
        # With tied embeddings the head reads all of token_embd; the one row that is looked up is within it.
        sum(len(tensor.data) for tensor in tensors),
        # A ternary weight adds, subtracts or skips: what multiplies is the head.
        sum(prod(t.shape) for t in tensors if len(t.shape) == 2 and t.type not in ("tq1_0", "tq2_0")),
        rate,
    )


def nats_per_byte(model: LanguageModel, held_out: str) -> float:
    """−Σ ln p / bytes of the predicted tokens: all but the first of each window of 256."""
    tokens = model.tokeniser.encode(held_out, bos=False)
    found = model.perplexity(held_out, window=WINDOW_TOK)
    firsts = tokens[:: found.window][: found.n_windows]
    n_bytes = len(held_out.encode()) - sum(len(model.tokeniser.token_bytes(token)) for token in firsts)
    return found.mean_nll * found.n_predicted / n_bytes


def tok_per_s(loaded: list[LanguageModel]) -> list[float]:
    """Of each model, the median over runs that decode 200 tokens into an empty context, the models in turn.

    By the clock of the processor, which others on the machine don't move, and which is what costs."""
    rates: list[list[float]] = [[] for _ in loaded]
    for _ in range(N_RUNS):
        for model, found in zip(loaded, rates, strict=True):
            sequence = model.model.new_sequence()
            token = int(model.model.extend(sequence, [1]).argmax())
            started = time.process_time()
            for _ in range(RUN_TOK):
                token = model.model.greedy(sequence, token)
            found.append(RUN_TOK / (time.process_time() - started))
    return [median(found) for found in rates]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--usd-per-core-hour", type=float, default=USD_PER_CORE_HOUR)
    given = parser.parse_args()
    sys.stdout.write(table(given.folder, read_text(given.text), given.usd_per_core_hour) + "\n")


if __name__ == "__main__":
    main()

"""The demo's measurements: the commands that a user would type, each in a process of its own, and their results.

A process each, so that the most memory held is that of one format. What can't run (no model, no native kernels) is
said and left out. Enter at `measure_all`.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MODEL = "smollm2"
USD_PER_HOUR = "0.10"
# Short prompts compare formats; one long conversation is what a compressed cache is for. Few requests each: a demo.
SHORT = ("--requests", "6", "--input-tok", "128", "--output-tok", "64")
LONG = ("--requests", "2", "--warm-up", "0", "--input-tok", "4000", "--output-tok", "128")
# 16 predictions each, in windows of at most 2,048 tokens.
ITEMS = "64"
CONVERTED = ("q8_0", "q4_0")
TEXT_CHARACTERS = 12_000
LIMIT_S = 120


@dataclass(slots=True)
class Measured:
    """Results of `solvent measure`.   short: formats of the real model under one load, the shipped one first; these
    may be compared.   long: f16 and compressed cache.   pair: the float model and its ternary twin.
    files: of the short ones.   shown: command of the short and of the long load.
    faults: why something is missing, a line each."""

    short: list[dict[str, Any]] = field(default_factory=list)
    long: list[dict[str, Any]] = field(default_factory=list)
    pair: list[dict[str, Any]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    shown: tuple[str, str] = ("", "")
    faults: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[dict[str, Any]]:
        return [*self.short, *self.long, *self.pair]


def measure_all(examples: Path, out: Path, tell: Callable[[str, float | None], None]) -> Measured:
    """Measures into out/measure-*.json. No fault of a measurement ends the demo."""
    found = Measured()
    text = _text(examples / "shakespeare" / "tinyshakespeare.txt.zst", out / "text.txt")
    scored = ("--quality", str(text), "--items", ITEMS)
    twins = {name: str(examples / "shakespeare" / f"{name}.gguf") for name in ("float", "ternary")}
    with tempfile.TemporaryDirectory(prefix="solvent-demo-") as scratch:
        copies = {name: str(Path(scratch) / f"{MODEL}-{name}.gguf") for name in CONVERTED}
        jobs: list[tuple[list[dict[str, Any]], str, tuple[str, ...]]] = [
            (found.short, "q4_1", (MODEL, *SHORT, *scored)),
            *((found.short, name, (copies[name], *SHORT, *scored, "--against", MODEL)) for name in CONVERTED),
            (found.short, "q4_1-tq4", (MODEL, "--kv", "tq4", *SHORT, *scored)),
            (found.long, "long-f16", (MODEL, *LONG)),
            (found.long, "long-tq4", (MODEL, "--kv", "tq4", *LONG, *scored)),
            (found.pair, "float", (twins["float"], *SHORT, *scored)),
            (found.pair, "ternary", (twins["ternary"], *SHORT, *scored)),
        ]
        found.shown = tuple(_typed(jobs[i][2]) for i in (3, 5))  # type: ignore[assignment]
        for i, (into, name, words) in enumerate(jobs):
            if found.faults and not found.short and into is not found.pair:
                continue  # Without the model as it ships there is nothing to compare its formats with.
            tell(f"measuring {name}", i / len(jobs))
            if name in CONVERTED:
                _run(("convert", MODEL, copies[name], "--to", name, "--no-measure"))
            fault = _measure(words, out / f"measure-{name}.json", into)
            if fault and fault not in found.faults:
                found.faults.append(fault)
            if into is found.short and not fault:
                found.files.append(out / f"measure-{name}.json")
    return found


def _measure(words: tuple[str, ...], path: Path, into: list[dict[str, Any]]) -> str:
    """Adds the result; what went wrong, or nothing."""
    fault = _run(("measure", *words, "--usd-per-hour", USD_PER_HOUR, "--out", str(path)))
    if not fault:
        into.append(json.loads(path.read_text("utf-8")))
    return fault


def _run(words: tuple[str, ...]) -> str:
    """Runs `solvent …`; the last line that it said where it failed."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "solvent", *words], capture_output=True, text=True, encoding="utf-8",
            errors="replace", timeout=LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"solvent {words[0]} {words[1]}: not done after {LIMIT_S} s"
    said = (done.stderr.strip() or "no answer").splitlines()[-1]
    return said.removeprefix("solvent: ") if done.returncode else ""


def _typed(words: tuple[str, ...]) -> str:
    return shlex.join(("measure", *words, "--usd-per-hour", USD_PER_HOUR))


def _text(packed: Path, path: Path) -> Path:
    """The end of the plays, which neither of the twins was trained on."""
    import zstandard

    from solvent.report.write import write_whole

    with packed.open("rb") as file:
        whole = zstandard.ZstdDecompressor().stream_reader(file).read().decode("utf-8")
    write_whole(path, whole[-TEXT_CHARACTERS:].encode("utf-8"))
    return path

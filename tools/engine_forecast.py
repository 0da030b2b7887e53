"""Measures decoding steps of solvent's engine on this machine and examines their prediction.

    python tools/engine_forecast.py [--out DIR] [--quick] [--steps FILE]

Formats of SmolLM2 (its own, and converted) and the examples' tiny pair × caches × contexts × batches, one thread; each
step's time is the least of several, in seconds of CPU time, so that other programs cost it little. Every sequence of a
batch has a cache of its own; no context begins a tile or a chunk of the cache (`CONTEXTS`). Leaves out in turn every
format, context, batch, cache and model. Writes prediction-engine.md and -.json (the raw steps). --steps: no measuring,
the steps of that file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from benchmarks.machine import fingerprint  # noqa: E402

from solvent.choose.predict.engine_speed import Step, fit_rates, leave_out, terms  # noqa: E402
from solvent.machine import native  # noqa: E402

CONVERTED = ("q8_0", "q4_0", "f16")
TINY = ("float", "ternary")
# None is a multiple of 64 or 256: the first token of a tile centres its keys and that of a chunk takes new memory,
# which one step in 64 or 256 does. Measured again and again at such a place it would count as the cost of every step.
CONTEXTS = (24, 152, 536, 1500)
BATCHES = (1, 2, 4, 8)
CACHES = ("f16", "tq4", "tq3")
REPEATS = 12
PASS_BYTES = 30e6
FIELDS = {
    "weight_format": "format",
    "cached_tok": "context",
    "batch": "batch",
    "cache_format": "cache format",
    "model": "model",
}


def model_files(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(model, format, path) of what is measured; conversions are made in `folder`."""
    yield "smollm2", "q4_1", "smollm2"
    for form in CONVERTED:
        path = folder / f"smollm2-{form}.gguf"
        command = [sys.executable, "-m", "solvent", "convert", "smollm2", str(path), "--to", form, "--no-measure"]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=_environment())
        yield "smollm2", form, str(path)
    for name in TINY:
        yield f"shakespeare-{name}", name, str(ROOT / f"examples/shakespeare/{name}.gguf")


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def measured_steps(name: str, form: str, path: str, quick: bool) -> Iterator[Step]:
    """Steps of one file over contexts, batches and caches that its context length allows."""
    import solvent

    language = solvent.load(path, threads=1)
    model, config = language.model, language.config
    stacks = stacked(model)
    weight_bytes = float(sum(matrix.n_bytes for matrix, _ in stacks))
    tokens = np.random.default_rng(1).integers(0, config.n_vocab, 4096)
    batches = BATCHES[:2] if quick else BATCHES
    contexts = [c for c in (CONTEXTS[:2] if quick else CONTEXTS) if c + 2 <= config.context]
    found: list[Step] = []
    # Before the steps and after them: the least of both, as steps are the least of several.
    products = {batch: products_s(model, stacks, batch) for batch in batches}
    for cache in CACHES:
        for context in contexts:
            sequences = own_sequences(model, cache, tokens[:context].tolist(), max(batches))
            for batch in batches:
                some = sequences[:batch]
                seconds = min(_step_s(model, some, tokens[:batch].tolist(), context) for _ in range(REPEATS))
                found.append(
                    Step(
                        model=name,
                        weight_format=form,
                        cache_format=cache,
                        batch=batch,
                        cached_tok=context,
                        n_layers=config.n_layers,
                        width=config.width,
                        weight_bytes=weight_bytes,
                        products_s=products[batch],
                        cache_values=context * config.n_layers * 2.0 * config.kv_width,
                        coded_cache=cache != "f16",
                        seconds=seconds,
                    )
                )
    again = {batch: min(products[batch], products_s(model, stacks, batch)) for batch in batches}
    yield from (replace(step, products_s=again[step.batch]) for step in found)


def own_sequences(model: Any, cache: str, tokens: list[int], n: int) -> list[Any]:
    """n sequences of the same tokens, each with a cache of its own: those of forks would be read from one place."""
    first = model.new_sequence(len(tokens) + 1, cache)
    model.extend(first, tokens, "none")
    chunks = [first.native.chunk(i) for i in range(first.native.n_chunks)]
    others = [model.new_sequence(len(tokens) + 1, cache) for _ in range(n - 1)]
    for other in others:
        other.native.restore(len(tokens), chunks, first.native.coded_tok)
    return [first, *others]


def stacked(model: Any) -> list[tuple[Any, int]]:
    """One matrix for each type and width of the model's, all their rows under each other, with its columns."""
    groups: dict[tuple[str, int, float], list[Any]] = {}
    for name in model.matrices:
        if name != "token_embd.weight" or model.config.tied:
            tensor = model.file.tensors[name]
            groups.setdefault((tensor.type, tensor.shape[1], tensor.scale), []).append(tensor)
    found = []
    for (kind, columns, scale), tensors in groups.items():
        rows = sum(t.shape[0] for t in tensors)
        data = np.concatenate([t.data for t in tensors])
        per_token = model.config.int8_per_token and len(tensors) > 1
        found.append(
            (native.extension().Matrix(kind, rows, columns, data, scale, per_token, packed_for=model.kernel), columns)
        )
    return found


def products_s(model: Any, stacks: list[tuple[Any, int]], batch: int) -> float:
    """CPU seconds of one pass over all the matrices, for `batch` tokens together: the least of several passes."""
    inputs = [np.random.default_rng(1).standard_normal((batch, columns)).astype(np.float32) for _, columns in stacks]
    # A small model stays in the CPU's caches, in a step as here: many passes in one call hide the call's own cost.
    n_passes = max(1, int(PASS_BYTES // sum(matrix.n_bytes for matrix, _ in stacks)))
    best = float("inf")
    for _ in range(REPEATS):
        started = time.process_time()
        for (matrix, _), x in zip(stacks, inputs, strict=True):
            matrix.multiply(x, model.kernel, batch, n_passes)
        best = min(best, time.process_time() - started)
    return best / n_passes


def _step_s(model: Any, sequences: list[Any], tokens: list[int], context: int) -> float:
    started = time.process_time()
    model.decode(sequences, tokens)
    took = time.process_time() - started
    for sequence in sequences:
        sequence.truncate(context)
    return took


def page(steps: list[Step]) -> str:
    """The error tables: caches in f16, which every format of weights is measured with, and all caches together."""
    plain = [s for s in steps if not s.coded_cache]
    return "\n".join(
        [
            "# Prediction of the engine's speed on one machine",
            "",
            "    python tools/engine_forecast.py",
            "",
            f"{len(steps)} measured steps, one thread, CPU seconds. Error: |predicted/measured − 1| of the step's "
            "time, so of tokens/s to first order. Each row leaves out every step of one format (context, …) in turn; "
            "what its matrix products take is measured of the kernels alone. docs/explanation/prediction.md says how.",
            "",
            "## Caches in f16",
            "",
            *table(plain, ("weight_format", "cached_tok", "batch", "model")),
            "",
            "## All caches",
            "",
            *table(steps, tuple(FIELDS)),
            "",
        ]
    )


def table(steps: list[Step], left_out: tuple[str, ...]) -> list[str]:
    inside = np.abs(terms(steps) @ np.array(fit_rates(steps)) / np.array([s.seconds for s in steps]) - 1)
    lines = [
        "| left out | values | steps | median error | p90 | worst value | its median |",
        "|---|---|---|---|---|---|---|",
    ]
    for what in left_out:
        errors = np.abs(1 / leave_out(steps, what) - 1)
        values = np.array([str(getattr(s, what)) for s in steps])
        medians = {value: float(np.median(errors[values == value])) for value in np.unique(values)}
        worst = max(medians, key=lambda v: medians[v])
        lines.append(
            f"| {FIELDS[what]} | {', '.join(medians)} | {len(steps)} | {np.median(errors):.1%} "
            f"| {np.quantile(errors, 0.9):.1%} | {worst} | {medians[worst]:.1%} |"
        )
    return [
        *lines,
        f"| nothing (fit) | | {len(steps)} | {np.median(inside):.1%} | {np.quantile(inside, 0.9):.1%} | | |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/published")
    parser.add_argument("--quick", action="store_true", help="two contexts, two batches")
    parser.add_argument("--steps", type=Path, help="a file that this tool wrote")
    args = parser.parse_args()
    machine = fingerprint()
    if args.steps:
        told = json.loads(args.steps.read_text("utf-8"))
        machine, steps = told["machine"], [Step(**s) for s in told["steps"]]
    else:
        steps = []
        with tempfile.TemporaryDirectory() as folder:
            for name, form, path in model_files(Path(folder)):
                steps += measured_steps(name, form, path, args.quick)
                print(f"{name} {form}: {len(steps)} steps", file=sys.stderr, flush=True)
    text = page(steps)
    document = {"schema": "solvent.engine-steps/1", "machine": machine, "steps": [asdict(s) for s in steps]}
    (args.out / "prediction-engine.json").write_text(json.dumps(document, indent=0) + "\n", "utf-8")
    (args.out / "prediction-engine.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()

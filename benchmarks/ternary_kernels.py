"""Ternary kernels alone: decode over a matrix of 1 GiB, prefill over one that fits the cache, on one thread.

Every kernel set of this CPU in turn, with a read of as many bytes in the same rounds; medians with p10–p90.
`python benchmarks/ternary_kernels.py [--publish]`. Weights are random; results are checked for being equal.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvent.machine import native

COLUMNS = 2560
DECODE_ROWS = 2_100_000  # 1.34 GB of 2-bit codes, 1.08 GB of five to a byte
PREFILL_ROWS = 6912
TOGETHER = 128
ROUNDS = 9
# Products between one rounding of the activations and one copy of the results: the kernel is timed, not those.
PASSES = 8
PUBLISHED = Path(__file__).parent / "published" / "ternary-kernels.md"


def matrix(n_rows: int, kernel: str) -> Any:
    """Random TQ2_0 blocks of 256 weights with one scale, as BitNet has them: packed for a kernel set."""
    blocks = np.random.default_rng(0).integers(0, 256, (n_rows * COLUMNS // 256, 66), dtype=np.uint8)
    blocks[:, :64] &= 0x55  # codes 0 and 1
    blocks[:, 64:] = np.frombuffer(np.float16(1).tobytes(), np.uint8)
    return native.extension().Matrix(
        "tq2_0", n_rows, COLUMNS, blocks.reshape(-1), per_token=True, n_threads=2, packed_for=kernel
    )


def rounds(arms: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Each arm once a round, after a round to warm up."""
    found: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(ROUNDS + 1):
        for name, arm in arms.items():
            value = arm()
            if turn:
                found[name].append(value)
    return found


def timed(weights: int, run: Callable[[], NDArray[np.float32]], expected: NDArray[np.float32]) -> Callable[[], float]:
    """G weights (times tokens) a second."""

    def once() -> float:
        start = time.perf_counter()
        found = run()
        took = time.perf_counter() - start
        assert np.array_equal(found, expected), "kernels differ"
        return weights / took / 1e9

    return once


def line(name: str, values: list[float], *more: str) -> str:
    low, high = np.quantile(values, [0.1, 0.9])
    return " | ".join((f"| {name}", f"{statistics.median(values):.0f} ({low:.0f}–{high:.0f})", *more)) + " |"


def matrices(n_rows: int, names: list[str]) -> dict[str, Any]:
    """The same weights for each kernel set, as it wants them: one matrix to a layout."""
    made: dict[bool, Any] = {}
    for name in names:
        made.setdefault(native.packs_fives(name), None)
    for fives in made:
        made[fives] = matrix(n_rows, next(name for name in names if native.packs_fives(name) == fives))
    return {name: made[native.packs_fives(name)] for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--publish", action="store_true")
    names = [name for name in native.kernels() if name != "scalar"]
    x = np.random.default_rng(1).standard_normal((TOGETHER, COLUMNS)).astype(np.float32)
    small = matrices(PREFILL_ROWS, names)
    expected = small[names[0]].multiply(x, names[0], TOGETHER)
    prefill = rounds(
        {
            name: timed(
                PREFILL_ROWS * COLUMNS * TOGETHER * PASSES,
                lambda k=name: small[k].multiply(x, k, TOGETHER, PASSES),
                expected,
            )
            for name in names
        }
    )
    large = matrices(DECODE_ROWS, names)
    expected = large[names[0]].multiply(x[:1], names[0], 1)
    arms = {
        name: timed(DECODE_ROWS * COLUMNS, lambda k=name: large[k].multiply(x[:1], k, 1), expected) for name in names
    }
    least = min(one.n_bytes for one in large.values())
    arms["read"] = lambda: native.extension().read_bandwidth(least, 1, 1) / 1e9
    decode = rounds(arms)
    read = statistics.median(decode.pop("read"))

    def decoded(name: str, values: list[float]) -> str:
        bytes_a_weight = large[name].n_bytes / (DECODE_ROWS * COLUMNS)
        limit = read / bytes_a_weight
        return line(name, values, f"{8 * bytes_a_weight:.2g}", f"{statistics.median(values) / limit:.0%}")

    text = "\n".join(
        [
            "# Ternary kernels, one thread",
            "",
            f"Random weights, K = {COLUMNS}, {ROUNDS} rounds with the arms in turn, medians (p10–p90), `python"
            " benchmarks/ternary_kernels.py --publish`. Packing isn't counted; rounding the activations to int8 and"
            " copying the results is, once per eight products of prefill.",
            "",
            f"Decode, {DECODE_ROWS * COLUMNS / 1e9:.1f} G weights, {least / 2**30:.2f} GiB at the least. Memory read"
            f" over as many bytes: {read:.1f} GB/s.",
            "",
            "| kernel | G weights/s | bits a weight | share of the limit |",
            "|---|---:|---:|---:|",
            *(decoded(name, values) for name, values in decode.items()),
            "",
            f"Prefill, {TOGETHER} tokens together, {PREFILL_ROWS} rows.",
            "",
            "| kernel | G weights · tokens/s |",
            "|---|---:|",
            *(line(name, values) for name, values in prefill.items()),
            "",
        ]
    )
    print(text)
    if parser.parse_args().publish:
        PUBLISHED.write_text(text, "utf-8")


if __name__ == "__main__":
    main()

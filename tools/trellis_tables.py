"""Computes the tables of trellis codes and writes src/solvent/machine/turboquant/trellis.toml.

Generalised Lloyd: code vectors with a table (Viterbi), set each of its 64 values to the mean of what was coded by it,
again. The result depends on the start, so many starts run on few vectors and the best of them on many. Starts are
quantiles of the normal distribution over the windows: shuffled, or structured so that every state can reach an
evenly spread set of values and neighbouring values lead to different states.

    python tools/trellis_tables.py [BITS …]      # writes the file; 5 minutes on one core
    python tools/trellis_tables.py --check 4      # prints the distortion of the published table on fresh vectors
"""

from __future__ import annotations

import argparse
import tomllib
from statistics import NormalDist

import numpy as np

from solvent.machine.turboquant.codebook import F32, MAX_TRELLIS_BITS, SIZE, TRELLIS_FILE, lloyd_max, rounded
from solvent.machine.turboquant.trellis import nearest_codes, windows_of

HEAD_SIZE = 64
N_STARTS, START_VECTORS, START_ROUNDS = 48, 256, 25
N_FINALISTS, FINAL_VECTORS, FINAL_ROUNDS = 3, 4096, 50
CHECK_VECTORS = 8192
HEAD = """# Tables of trellis codes: the value of each window of six bits, for coordinates of unit variance.
# Computed by tools/trellis_tables.py on random points of the sphere in 64 dimensions; mse_D is the mean squared error
# on 8192 fresh points in D dimensions (tail-biting chains, values rounded as kernels have them), scalar_D is that of
# the best scalar code of the same bits.
"""


def sphere(n: int, head_size: int, seed: int) -> F32:
    """n points on the sphere of radius √D. → (n, D)"""
    points = np.random.default_rng(seed).standard_normal((n, head_size)).astype(np.float32)
    scaled: F32 = points * np.sqrt(np.float32(head_size) / (points * points).sum(axis=1, keepdims=True))
    return scaled


def starts(bits: int) -> list[F32]:
    levels = np.array([NormalDist(0, 1.03).inv_cdf((k + 0.5) / SIZE) for k in range(SIZE)], np.float32)
    random = np.random.default_rng(bits)
    n_own, n_states = 1 << bits, SIZE >> bits
    mirrored = np.array([int(f"{own:0{bits}b}"[::-1], 2) for own in range(n_own)])
    windows = np.arange(SIZE)
    tables = []
    for number in range(N_STARTS):
        own_order = mirrored if number % 3 == 1 else random.permutation(n_own)
        rank = own_order[windows // n_states] * n_states + random.permutation(n_states)[windows % n_states]
        tables.append(levels[rank] if number % 3 else random.permutation(levels))
    return tables


def lloyd(vectors: F32, table: F32, bits: int, rounds: int) -> tuple[float, F32]:
    """The table after so many rounds, and its error before the last."""
    error = float("inf")
    for _ in range(rounds):
        windows = windows_of(nearest_codes(vectors, table, bits), bits).ravel()
        error = float(np.mean((vectors.ravel() - table[windows]) ** 2))
        count = np.bincount(windows, minlength=SIZE)
        total = np.bincount(windows, weights=vectors.ravel(), minlength=SIZE)
        table = np.where(count > 0, total / np.maximum(count, 1), table).astype(np.float32)
    return error, table


def train(bits: int) -> F32:
    few, many = sphere(START_VECTORS, HEAD_SIZE, 1), sphere(FINAL_VECTORS, HEAD_SIZE, 2)
    tried = sorted((lloyd(few, table, bits, START_ROUNDS) for table in starts(bits)), key=lambda pair: pair[0])
    finals = sorted(
        (lloyd(many, table, bits, FINAL_ROUNDS) for _, table in tried[:N_FINALISTS]), key=lambda pair: pair[0]
    )
    return np.round(finals[0][1], 5)


def mse(table: F32, bits: int, head_size: int, n: int = CHECK_VECTORS) -> float:
    """Mean squared error on fresh vectors, with values as kernels have them and no scale fitted."""
    vectors, values = sphere(n, head_size, 9), rounded(table)
    decoded = values[windows_of(nearest_codes(vectors, values, bits), bits)]
    return float(np.mean((vectors - decoded) ** 2))


def section(bits: int, table: F32) -> str:
    lines = [f"[bits_{bits}]"]
    for head_size in (64, 128):
        lines += [f"mse_{head_size} = {mse(table, bits, head_size):.5f}"]
        lines += [f"scalar_{head_size} = {lloyd_max(bits, head_size)[1]:.5f}"]
    rows = ["  " + ", ".join(f"{value:.5f}" for value in row) + "," for row in table.reshape(8, 8)]
    return "\n".join([*lines, "table = [", *rows, "]", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bits", nargs="*", type=int, default=list(range(1, MAX_TRELLIS_BITS + 1)))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    known = tomllib.loads(TRELLIS_FILE.read_text("utf-8")) if TRELLIS_FILE.exists() else {}
    tables = {int(name[5:]): np.array(part["table"], np.float32) for name, part in known.items()}
    for bits in options.bits:
        if not options.check:
            tables[bits] = train(bits)
        print(section(bits, tables[bits]).split("table")[0], flush=True)
    if not options.check:
        TRELLIS_FILE.write_text(HEAD + "\n".join(section(bits, tables[bits]) for bits in sorted(tables)), "utf-8")


if __name__ == "__main__":
    main()

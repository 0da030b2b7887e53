"""Codebooks of TurboQuant: what each code stands for, in units of the vector's root mean square.

A rotated vector's coordinate has one known distribution, that of a coordinate of a random point on a sphere; so the
best levels (Lloyd–Max) are computed once and fit every model. Scalar codes and trellis codes share one form: a
table of 64 values looked up by a window of six bits of the vector's bit stream. Trellis tables can't be computed on
the spot; tools/trellis_tables.py writes them to trellis.toml.
Enter at `codebook`, `rounded`. Source: arXiv:2504.19874 §3.1; layout in docs/reference/turboquant-format.md.
"""

from __future__ import annotations

import math
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solvent.errors import KernelError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

WINDOW = 6
SIZE = 1 << WINDOW
MAX_TABLE_BITS = 6
MAX_TRELLIS_BITS = 5
SMALLEST_HEAD = 8
# Of 8-bit codes: 127 steps reach 4.5 root mean squares; a coordinate of a head of 128 lies beyond once in 300,000.
UNIFORM_REACH = 4.5
TRELLIS_FILE = Path(__file__).with_name("trellis.toml")
LLOYD_STEPS, NEWTON_STEPS = 100, 100
NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)


@cache
def codebook(bits: int, head_size: int, trellis: bool) -> F32:
    """The values of the 64 windows, for coordinates of unit variance.

    bits: 1–6 per element, with a trellis 1–5.   head_size: D ≥ 8.   → (64,) f32, read-only
    The element's own bits are on top of a window. A scalar table depends on them only.
    Exactness: scalar levels to 1e-7 of the optimum; trellis tables as published in trellis.toml.
    Raises: KernelError (bits or head size that no table exists for).
    Source: arXiv:2504.19874 Eq. 4; trellis: arXiv:2406.11235 §3 (a shift register of bits as the state)"""
    widest = MAX_TRELLIS_BITS if trellis else MAX_TABLE_BITS
    if not 1 <= bits <= widest:
        kind = "trellis" if trellis else "scalar"
        raise KernelError("turboquant", f"{bits} bits per element", f"1 to {widest} for {kind} codes")
    check_head_size(head_size)
    if trellis:
        table = trellis_table(bits)
    else:
        levels, _ = lloyd_max(bits, head_size)
        table = np.repeat(levels, SIZE >> bits).astype(np.float32)
    table.flags.writeable = False
    return table


def check_head_size(head_size: int) -> None:
    if head_size < SMALLEST_HEAD:
        raise KernelError("turboquant", f"head size {head_size}", f"{SMALLEST_HEAD} or more")


def byte_table(table: F32) -> tuple[NDArray[np.uint8], float]:
    """t8 = 128 + round(table · 127 / max |table|), the form in which kernels look values up.

    table: (64,) f32.   → (64,) u8 in 1..255, and the step max |table| / 127
    Exactness: one rounding to f32 of the quotient, ties to even."""
    largest = np.float32(np.abs(table).max())
    codes = np.rint(table * (np.float32(127) / largest)).astype(np.int32) + 128
    return codes.astype(np.uint8), float(largest / np.float32(127))


def rounded(table: F32) -> F32:
    """The values as the kernels have them: (t8 − 128) · max |table| / 127. (64,) f32 → (64,) f32"""
    codes, step = byte_table(table)
    values: F32 = (codes.astype(np.float32) - np.float32(128)) * np.float32(step)
    return values


@cache
def lloyd_max(bits: int, head_size: int) -> tuple[F64, float]:
    """The levels that minimise E(x − c(x))² over x = √D · (a coordinate of a uniform point on the sphere in D).

    bits: 1–8.   head_size: D.   → (2^bits,) ascending levels, and the mean squared error at them
    By Newton's method on "each level is the mean of its cell, each border lies half-way".
    Exactness: to 1e-12; the density is even, so the levels are made so.
    Source: S. Lloyd, Least squares quantization in PCM, 1982; J. Max, 1960"""
    if not 1 <= bits <= 8:
        raise KernelError("turboquant", f"{bits} bits per element", "1 to 8")
    check_head_size(head_size)
    half = 1 << (bits - 1)
    levels = start_levels(half, head_size)
    for _ in range(LLOYD_STEPS):
        mass, moment = cells(levels, head_size)
        levels = moment / mass
    for _ in range(NEWTON_STEPS):
        step = newton_step(levels, head_size)
        # No level may pass its neighbour: far from the optimum a full step can.
        narrowest = np.diff(levels, prepend=0.0).min()
        largest = np.abs(step).max()
        levels = levels - step * (1.0 if largest < 0.4 * narrowest else 0.4 * narrowest / largest)
        if largest < 1e-13:
            break
    mass, _ = cells(levels, head_size)
    both = np.concatenate([-levels[::-1], levels])
    return both, float(1 - 2 * np.sum(mass * levels**2))


def start_levels(half: int, head_size: int) -> F64:
    """The positive levels by the companding rule: quantiles of density^(1/3), here from sums over a fine grid."""
    grid = np.linspace(0, min(math.sqrt(head_size), 9.0), 20_001)
    share = np.cumsum(np.cbrt(density(grid, head_size)))
    levels: F64 = np.interp((np.arange(half) + 0.5) / half * share[-1], share, grid)
    return levels


def density(x: F64, head_size: int) -> F64:
    """f(x) = Γ(D/2) / (√(πD) · Γ((D−1)/2)) · (1 − x²/D)^((D−3)/2) on |x| ≤ √D. Source: arXiv:2504.19874 Lemma 1"""
    d = head_size
    log_front = math.lgamma(d / 2) - math.lgamma((d - 1) / 2) - 0.5 * math.log(math.pi * d)
    return np.exp(log_front + (d - 3) / 2 * np.log1p(-np.minimum(x * x / d, 1 - 1e-15)))


def borders(levels: F64, head_size: int) -> F64:
    """0, the half-way points, and the edge of what can occur (beyond 12 the density is below 1e-30)."""
    edge = max(min(math.sqrt(head_size), 12.0), levels[-1])
    return np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [edge]])


def cells(levels: F64, head_size: int) -> tuple[F64, F64]:
    """Mass and first moment of the density over each cell of positive levels."""
    edges = borders(levels, head_size)
    middle, reach = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    x = middle[:, None] + reach[:, None] * NODES
    weighted = density(x, head_size) * WEIGHTS * reach[:, None]
    return weighted.sum(axis=1), (weighted * x).sum(axis=1)


def newton_step(levels: F64, head_size: int) -> F64:
    """J⁻¹ g for g_i = c_i · P_i − M_i; J is tridiagonal, since a border moves with the levels beside it."""
    mass, moment = cells(levels, head_size)
    edges = borders(levels, head_size)
    at_edge = density(edges, head_size)
    # The middle border stays at 0 by symmetry and the outermost at the edge.
    at_edge[0] = at_edge[-1] = 0.0
    right = (levels - edges[1:]) * at_edge[1:] / 2
    left = (levels - edges[:-1]) * at_edge[:-1] / 2
    jacobian = np.diag(mass + right - left) + np.diag(right[:-1], 1) - np.diag(left[1:], -1)
    return np.asarray(np.linalg.solve(jacobian, levels * mass - moment), np.float64)


@cache
def trellis_table(bits: int) -> F32:
    """The table of trellis.toml. bits: 1–5.   → (64,) f32"""
    return np.array(tomllib.loads(TRELLIS_FILE.read_text("utf-8"))[f"bits_{bits}"]["table"], np.float32)


@cache
def distortion(bits: int, head_size: int, trellis: bool) -> float:
    """Mean squared error of a code at unit variance.

    Exactness: of scalar codes that of lloyd_max; of a trellis the measured one of trellis.toml, at the nearer of its
    two head sizes; of 8 bits the even steps' (4.5/127)²/12."""
    if bits == 8:
        return (UNIFORM_REACH / 127) ** 2 / 12
    if not trellis:
        return lloyd_max(bits, head_size)[1]
    figures = tomllib.loads(TRELLIS_FILE.read_text("utf-8"))[f"bits_{bits}"]
    return float(figures["mse_64" if head_size < 96 else "mse_128"])

"""PolarQuant, the polar-coordinate form that popular accounts of TurboQuant explain; for comparison, no cache uses it.

A rotated vector's coordinates are paired into a radius and an angle, the radii paired again, L times over; the angles
are rounded, one radius per 2^L coordinates is kept in half precision. The angles' distributions are known and
independent, so their levels are computed once, as TurboQuant's are.
Enter at `Polar`. Source: arXiv:2502.02617 §3 (Definition 1, Lemma 2), §4.1 (L = 4; 4, 2, 2, 2 bits).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from solvent.errors import KernelError
from solvent.machine.turboquant.rotation import rotate, rotate_back

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

GRID = 1 << 14
LLOYD_ROUNDS = 400
RADIUS_BITS = 16


class Polar:
    """level_bits: of the angles of level 1 (in [0, 2π)), 2, … (in [0, π/2]), e.g. (4, 2, 2, 2)."""

    def __init__(self, level_bits: tuple[int, ...], head_size: int) -> None:
        self.level_bits, self.head_size = level_bits, head_size
        self.block = 1 << len(level_bits)
        if head_size % self.block:
            raise KernelError("polar", f"head size {head_size}", f"a multiple of {self.block}")
        self.levels = [angle_levels(level, bits) for level, bits in enumerate(level_bits, 1)]

    @property
    def bits_per_element(self) -> float:
        """Angles and radius: (Σ bits_ℓ · 2^(L−ℓ) + 16) / 2^L"""
        angles = sum(bits * (self.block >> level) for level, bits in enumerate(self.level_bits, 1))
        return (angles + RADIUS_BITS) / self.block

    @property
    def error(self) -> float:
        """E‖x − x̂‖² / ‖x‖² = 2 − 2 Π E cos(ψ_ℓ − ψ̂_ℓ), for exact radii.

        By induction: unit vectors a, b of the level below keep c = E⟨a, â⟩, independent of the angle ψ that joins
        them, and E⟨x, x̂⟩ = E(cos ψ cos ψ̂ c + sin ψ sin ψ̂ c) = c · E cos(ψ − ψ̂)."""
        kept = 1.0
        for level, levels in enumerate(self.levels, 1):
            kept *= mean_cosine(level, levels)
        return 2 - 2 * kept

    def decoded(self, vectors: F32) -> F32:
        """What comes back of (N, D) vectors."""
        radii, angles = to_polar(rotate(vectors).reshape(-1, self.block), len(self.level_bits))
        rounded = [nearest_angle(part, levels) for part, levels in zip(angles, self.levels, strict=True)]
        back = from_polar(radii.astype(np.float16).astype(np.float64), rounded)
        return rotate_back(back.reshape(vectors.shape).astype(np.float32))


def to_polar(blocks: F32, depth: int) -> tuple[F64, list[F64]]:
    """Radius (N, 1) and the angles of each level, (N, block/2), (N, block/4), …"""
    radii, angles = blocks.astype(np.float64), []
    for level in range(depth):
        first, second = radii[:, 0::2], radii[:, 1::2]
        angle = np.arctan2(second, first)
        angles.append(np.mod(angle, 2 * math.pi) if level == 0 else angle)
        radii = np.hypot(first, second)
    return radii, angles


def from_polar(radii: F64, angles: list[F64]) -> F64:
    """The inverse of `to_polar`."""
    for angle in reversed(angles):
        radii = np.stack([radii * np.cos(angle), radii * np.sin(angle)], axis=-1).reshape(len(radii), -1)
    return radii


def angle_density(level: int) -> tuple[F64, F64]:
    """A grid over the level's angles and its mass there: uniform at level 1, then ∝ sin(2ψ)^(2^(ℓ−1) − 1)."""
    reach = 2 * math.pi if level == 1 else math.pi / 2
    grid = (np.arange(GRID) + 0.5) / GRID * reach
    mass = np.ones(GRID) if level == 1 else np.sin(2 * grid) ** ((1 << (level - 1)) - 1)
    return grid, mass / mass.sum()


def angle_levels(level: int, bits: int) -> F64:
    """The levels of least squared error, by Lloyd's rounds on the grid. → (2^bits,)"""
    grid, mass = angle_density(level)
    below, moment = np.concatenate([[0], np.cumsum(mass)]), np.concatenate([[0], np.cumsum(mass * grid)])
    levels = np.interp((np.arange(1 << bits) + 0.5) / (1 << bits), below[1:], grid)
    for _ in range(LLOYD_ROUNDS if level > 1 else 0):
        edges = np.concatenate([[0], np.searchsorted(grid, (levels[1:] + levels[:-1]) / 2), [GRID]])
        levels = np.diff(moment[edges]) / np.diff(below[edges])
    return levels


def nearest_angle(angles: F64, levels: F64) -> F64:
    """Of evenly spaced levels on the full circle the cells wrap by themselves: levels lie half a cell from 0 and 2π."""
    return np.asarray(levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, angles)])


def mean_cosine(level: int, levels: F64) -> float:
    """E cos(ψ − ψ̂)"""
    grid, mass = angle_density(level)
    return float(np.sum(mass * np.cos(grid - nearest_angle(grid, levels))))

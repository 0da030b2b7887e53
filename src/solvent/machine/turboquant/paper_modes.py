"""The two algorithms of the TurboQuant paper as it states them, for comparison; the cache uses neither.

Both rotate by a dense random orthogonal matrix and store a vector's norm. `PaperMse` rounds each coordinate to the
Lloyd–Max levels. `PaperProduct` does so with one bit less and spends that bit on the signs of a Gaussian sketch of the
residual, which makes scalar products unbiased, at the price of π/2 times the error of the codes with a bit less.
Enter at `PaperMse`, `PaperProduct`. Source: arXiv:2504.19874 Alg. 1 and 2, Theorems 1 and 2; bounds with the exact
constants (the paper's table truncates them: 0.03 for 0.0345, 0.009 for 0.0095).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from solvent.machine.turboquant.codebook import lloyd_max

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def random_rotation(head_size: int, random: np.random.Generator) -> F64:
    """Orthogonal, uniform over the group: Q of a Gaussian matrix, its columns' signs made those of R. → (D, D)"""
    q, r = np.linalg.qr(random.standard_normal((head_size, head_size)))
    return np.asarray(q * np.sign(np.diag(r)))


class PaperMse:
    """Algorithm 1: y = Πx/‖x‖, each coordinate to its nearest level; b bits an element and a norm.

    Error: E‖x − x̂‖² / ‖x‖² = D_b, the Lloyd–Max error of the density on the sphere; ≤ (√3 π / 2) 4^−b, ≥ 4^−b."""

    def __init__(self, bits: int, head_size: int, random: np.random.Generator) -> None:
        self.bits, self.head_size = bits, head_size
        self.rotation = random_rotation(head_size, random)
        self.levels, self.error = lloyd_max(bits, head_size)

    def encode(self, vectors: F64) -> tuple[I64, F64]:
        """(N, D) → codes (N, D) < 2^b, norms (N,)"""
        norms = np.linalg.norm(vectors, axis=1)
        unit = vectors @ self.rotation.T / np.where(norms > 0, norms, 1)[:, None] * math.sqrt(self.head_size)
        return np.searchsorted((self.levels[1:] + self.levels[:-1]) / 2, unit), norms

    def decode(self, codes: I64, norms: F64) -> F64:
        """→ (N, D)"""
        return np.asarray(norms[:, None] / math.sqrt(self.head_size) * self.levels[codes] @ self.rotation)


class PaperProduct:
    """Algorithm 2: b − 1 bits as above and one sign of S·residual; unbiased: E⟨y, x̂⟩ = ⟨y, x⟩ over Π and S.

    x̂ = x̂_mse + √(π/2)/D · ‖r‖ · Sᵀ sign(S r), S iid N(0, 1), r = x − x̂_mse.
    Variance of ⟨y, x̂⟩: at most (π/2) · D_(b−1) · ‖x‖² ‖y‖² / D (Lemma 4 with E‖r‖² = D_(b−1) ‖x‖²)."""

    def __init__(self, bits: int, head_size: int, random: np.random.Generator) -> None:
        self.bits, self.head_size = bits, head_size
        # At one bit nothing is left for levels: the whole vector is the residual.
        self.mse = PaperMse(bits - 1, head_size, random) if bits > 1 else None
        self.sketch = random.standard_normal((head_size, head_size))
        self.variance = math.pi / 2 * (self.mse.error if self.mse else 1.0) / head_size

    def decoded(self, vectors: F64) -> F64:
        """What comes back of (N, D) vectors: D·(b−1) bits of codes, D signs and two norms each."""
        rough = self.mse.decode(*self.mse.encode(vectors)) if self.mse else np.zeros_like(vectors)
        residual = vectors - rough
        signs = np.where(residual @ self.sketch.T >= 0, 1.0, -1.0)
        back = math.sqrt(math.pi / 2) / self.head_size * (signs @ self.sketch)
        return np.asarray(rough + np.linalg.norm(residual, axis=1)[:, None] * back)

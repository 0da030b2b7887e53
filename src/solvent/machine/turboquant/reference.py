"""The codec in plain NumPy, the truth for the native kernels: residuals of rotated vectors to codes and a scale.

One vector r (rotated, its centre taken off): u = r / rms(r); codes: the nearest values of the codebook to u; scale s.
It decodes to s · values. What it doesn't do: rotate (rotation.py), centre and keep (centring.py), attend
(attention_reference.py).
Enter at `encode`, `decode`, `scale_codes`. Source: arXiv:2504.19874 Alg. 1; the unbiased scale: arXiv:2405.12497 §3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError
from solvent.machine.turboquant.codebook import UNIFORM_REACH, WINDOW, byte_table, codebook
from solvent.machine.turboquant.trellis import nearest_codes, windows_of

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

UNIFORM_BITS = 8
LARGEST_SCALE_CODE = 255
STEPS_PER_OCTAVE = 16
SMALLEST_EXPONENT, LARGEST_EXPONENT = -127, 100


@dataclass(frozen=True)
class Code:
    """How the vectors of one side (keys or values) of one layer are coded.

    settled: codes are chosen a second time for the scale as it is stored. Rounding the scale to 8 bits then costs
    nothing, where it else adds 1.56e-4 of ‖r‖²: 7 % of the error at 5 bits, three fifths of it at 8. An unbiased scale
    is no longer quite unbiased."""

    bits: int
    head_size: int
    trellis: bool = False
    unbiased: bool = True
    settled: bool = False

    def levels(self) -> tuple[I32, float]:
        """What each window (b ≤ 6) or each code (b = 8) stands for: an integer in −127..127, times one step."""
        if self.bits == UNIFORM_BITS:
            return np.arange(256, dtype=np.int32) - 128, UNIFORM_REACH / 127
        codes, step = byte_table(codebook(self.bits, self.head_size, self.trellis))
        return codes.astype(np.int32) - 128, step


def nearest(unit: F32, code: Code) -> U8:
    """The codes whose values lie nearest to u: of each element, or with a trellis of the vector as a whole.

    unit: (N, D) f32 with mean square 1.   → (N, D) u8
    Exactness: a value on the border of two cells goes up."""
    levels, step = code.levels()
    if code.bits == UNIFORM_BITS:
        return np.asarray(np.clip(np.rint(unit / np.float32(step)), -127, 127) + 128).astype(np.uint8)
    values = (levels * np.float32(step)).astype(np.float32)
    if code.trellis:
        return nearest_codes(unit, values, code.bits)
    ascending = values[:: 1 << (WINDOW - code.bits)]
    between = (ascending[1:] + ascending[:-1]) / np.float32(2)
    return np.searchsorted(between, unit, side="right").astype(np.uint8)


def level_codes(codes: U8, code: Code) -> I32:
    """The integers of −127..127 that the codes stand for. (N, D) u8 → (N, D) i32"""
    levels, _ = code.levels()
    taken: I32 = levels[codes if code.bits == UNIFORM_BITS else windows_of(codes, code.bits)]
    return taken


def decode(codes: U8, scales: F32, code: Code) -> F32:
    """s · values. codes: (N, D) u8.   scales: (N,) f32.   → (N, D) f32"""
    _, step = code.levels()
    out: F32 = level_codes(codes, code).astype(np.float32) * (scales * np.float32(step))[:, None]
    return out


def encode(residuals: F32, code: Code) -> tuple[U8, F32]:
    """Codes and scales of residuals r.

    residuals: (N, D) f32.   → (N, D) u8; (N,) f32, 0 for the zero vector
    Unbiased: s = ‖r‖² / ⟨r, c⟩, so ⟨s·c, r⟩ = ‖r‖² and a scalar product keeps its mean over rotations;
    else s = ⟨r, c⟩ / ⟨c, c⟩, which has the least squared error. c are the values of the codes.
    Raises: EngineError (a number that isn't finite)."""
    if not np.isfinite(residuals).all():
        raise EngineError("turboquant", "a key or value that is no finite number", "finite numbers")
    r = residuals.astype(np.float64)
    square = (r * r).sum(axis=1)
    rms = np.sqrt(square / code.head_size)
    unit = (r / np.where(rms > 0, rms, 1)[:, None]).astype(np.float32)
    codes = nearest(unit, code)
    values = decode(codes, np.ones(len(codes), np.float32), code).astype(np.float64)
    along = (r * values).sum(axis=1)
    # ⟨r, c⟩ is positive: c has the sign of r where it isn't small, and a codebook without error would give ‖r‖²/rms.
    top, bottom = (square, along) if code.unbiased else (along, (values * values).sum(axis=1))
    scales = np.where(rms > 0, top / np.where(rms > 0, bottom, 1), 0)
    if code.settled:
        # Every scale that can be stored is a whole sixteenth of an octave, whatever its exponent.
        octave = np.log2(np.where(rms > 0, scales, 1))
        scales = np.where(rms > 0, np.exp2(np.rint(STEPS_PER_OCTAVE * octave) / STEPS_PER_OCTAVE), 0)
        codes = nearest((r / np.where(rms > 0, scales, 1)[:, None]).astype(np.float32), code)
    return codes, scales.astype(np.float32)


def least_exponent(scales: F32) -> I32:
    """The smallest e with which s still has a code: ⌈log2 s − 1/32⌉. (…,) f32 → (…,) i32, −127 or more

    Raises: EngineError (beyond 2^100: no attention score is finite then)."""
    with np.errstate(divide="ignore"):
        octave = np.maximum(np.log2(scales.astype(np.float64)), SMALLEST_EXPONENT)
    if (octave > LARGEST_EXPONENT).any():
        raise EngineError("turboquant", "a key or value beyond 2^100", "numbers that attention can multiply")
    return np.ceil(octave - 0.5 / STEPS_PER_OCTAVE).astype(np.int32)


def scale_codes(scales: F32, exponents: I32) -> U8:
    """code = clamp(255 + round(16 · (log2 s − e)), 0, 255); 0 stands for the zero vector.

    scales: (…,) f32 ≥ 0.   exponents: e, broadcast against them.   → u8
    Exactness: s within 2^(±1/32) (2.2 %); below 2^(e − 15.97) it becomes 0."""
    with np.errstate(divide="ignore"):
        octave = np.log2(scales.astype(np.float64))
    steps = np.rint(STEPS_PER_OCTAVE * (np.where(scales > 0, octave, -1e6) - exponents))
    codes: U8 = np.clip(LARGEST_SCALE_CODE + steps, 0, LARGEST_SCALE_CODE).astype(np.uint8)
    return codes


def scales_of(codes: U8, exponents: I32) -> F32:
    """s = 2^(e + (code − 255)/16), and 0 for code 0."""
    octave = exponents + (codes.astype(np.float64) - LARGEST_SCALE_CODE) / STEPS_PER_OCTAVE
    return np.where(codes > 0, np.exp2(octave), 0).astype(np.float32)

"""The two-bit panels in which ternary weights lie in memory: packed and unpacked in plain NumPy.

A panel is 16 rows. Along the columns it is cut into units of 64 bytes, each 16 rows × 16 columns k0 … k0 + 15:
byte 4·r + i, for row r and i = 0 … 3, holds the codes of columns

    bits 0–1: k0 + i      bits 2–3: k0 + 4 + i      bits 4–5: k0 + 8 + i      bits 6–7: k0 + 12 + i

so that one shift and one mask give each row four neighbouring columns in 32 bits: the shape of a dot product of bytes.
code = weight + 1. Rows and columns that fill up the last panel and unit are zeros (code 1). Units follow each other
along the columns, panels along the rows. Scales lie apart.
Enter at `packed_panels`, `unpacked_panels`. The reasons: docs/reference/weight-panels.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int8]
Panels = NDArray[np.uint8]

PANEL_ROWS = 16
UNIT_COLUMNS = 16
UNIT_BYTES = 64


def packed_panels(codes: Codes, column_multiple: int = UNIT_COLUMNS) -> Panels:
    """Ternary codes (M, K), int8 −1, 0, 1, in panels.

    column_multiple: columns are filled up with zeros to a multiple of this, itself a multiple of 16.
    → (ceil(M / 16), units, 64) uint8, units = ceil(K / column_multiple) · column_multiple / 16
    Exactness: exact; `unpacked_panels` gives the codes back.
    Raises: ValueError (a code that is not −1, 0 or 1).
    Source: docs/reference/weight-panels.md"""
    assert column_multiple % UNIT_COLUMNS == 0
    if codes.size and (codes.min() < -1 or codes.max() > 1):
        raise ValueError("a ternary code is -1, 0 or 1")
    n_rows, n_columns = codes.shape
    filling = ((0, -n_rows % PANEL_ROWS), (0, -n_columns % column_multiple))
    filled = (np.pad(codes, filling) + 1).astype(np.uint8)
    # rows → (panel, r); columns → (unit, quarter, i); stored as (panel, unit, r, i), quarters side by side in a byte.
    parts = filled.reshape(len(filled) // PANEL_ROWS, PANEL_ROWS, -1, 4, 4).transpose(0, 2, 3, 1, 4)
    low, second, third, high = (parts[:, :, quarter] for quarter in range(4))
    packed = (low | second << 2 | third << 4 | high << 6).astype(np.uint8)
    return packed.reshape(len(filled) // PANEL_ROWS, -1, UNIT_BYTES)


def unpacked_panels(panels: Panels, shape: tuple[int, int]) -> Codes:
    """The codes of a matrix of `shape` (M, K) from its panels (P, units, 64): int8 −1, 0, 1.

    Exactness: exact.   Source: docs/reference/weight-panels.md"""
    n_panels, n_units, _ = panels.shape
    quarters = np.stack([panels >> shift & 3 for shift in (0, 2, 4, 6)], axis=2)
    parts = quarters.reshape(n_panels, n_units, 4, PANEL_ROWS, 4).transpose(0, 3, 1, 2, 4)
    codes = parts.reshape(n_panels * PANEL_ROWS, n_units * UNIT_COLUMNS)[: shape[0], : shape[1]]
    return codes.astype(np.int8) - np.int8(1)


def panel_bytes(shape: tuple[int, int], column_multiple: int = UNIT_COLUMNS) -> int:
    """Bytes of the panels of a matrix (M, K): two bits a weight, and what fills up."""
    n_rows, n_columns = shape
    units = -(-n_columns // column_multiple) * (column_multiple // UNIT_COLUMNS)
    return -(-n_rows // PANEL_ROWS) * units * UNIT_BYTES

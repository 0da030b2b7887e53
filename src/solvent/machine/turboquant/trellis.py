"""Trellis codes: the nearest sequence of windows to a vector, found by the Viterbi algorithm over many vectors at once.

The bit stream of a vector is a shift register: each element pushes its own bits in on top and is decoded from the
newest six bits, so it may choose among 2^b of 64 values, and which ones depends on the bits before. The stream is a
circle (tail-biting), so no state is stored. What it doesn't do: choose the table; tools/trellis_tables.py does.
Enter at `nearest_codes`. Source: arXiv:2406.11235 §3 and §3.3 (tail-biting in two passes).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solvent.machine.turboquant.codebook import F32, SIZE, WINDOW

U8 = NDArray[np.uint8]
IDX = NDArray[np.intp]
MANY_VECTORS = 256
# More than any path costs: at most 8192 elements of squared distance 100.
NO_PATH = np.float32(1e12)


def nearest_codes(vectors: F32, table: F32, bits: int) -> U8:
    """The own bits of each element on the tail-biting path of least Σ (u − table[window])².

    vectors: (N, D) f32.   table: (64,) f32.   bits: 1–6.   → (N, D) u8, each < 2^bits
    First pass: any start; second pass: starts and ends in the state in which the first pass's best path ends.
    Exactness: costs are summed in f32, element by element; ties go to the lower state and the lower older bits.
    Not always the best of all circular paths: the state is taken from the first pass."""
    columns = np.ascontiguousarray(vectors.T)
    n_states = SIZE >> bits
    start = np.zeros((n_states, columns.shape[1]), np.float32)
    cost, _ = forward(columns, table, bits, start)
    state = cost.argmin(axis=0)
    start[:] = NO_PATH
    np.put_along_axis(start, state[None], np.float32(0), axis=0)
    _, back = forward(columns, table, bits, start)
    windows, _ = trace_back(back, state, bits)
    return np.ascontiguousarray((windows >> (WINDOW - bits)).T)


def forward(columns: F32, table: F32, bits: int, cost: F32) -> tuple[F32, U8]:
    """Least cost of reaching each state after the last element, and for each element and state the bits dropped.

    columns: (D, N).   cost: (S, N) before the first element, S = 2^(6−bits).   → (S, N); (D, S, N) u8"""
    n_branches, n_states = 1 << bits, SIZE >> bits
    back = np.empty((len(columns), n_states, columns.shape[1]), np.uint8)
    for element, row in enumerate(columns):
        distance = row - table[:, None]
        distance *= distance
        # A window is own · S + older; the state after it is its top bits: window >> bits.
        reached = (distance.reshape(n_branches, n_states, -1) + cost).reshape(n_states, n_branches, -1)
        cost, back[element] = least_branch(reached)
    return cost, back


def least_branch(reached: F32) -> tuple[F32, U8]:
    """The least of the branches into each state, and which. (S, branches, N) → (S, N); (S, N) u8"""
    if reached.shape[2] < MANY_VECTORS:
        return reached.min(axis=1), reached.argmin(axis=1).astype(np.uint8)
    # NumPy's argmin over a middle axis copies; one pass a branch is three times as fast for many vectors.
    cost = reached[:, 0].copy()
    dropped = np.zeros(cost.shape, np.uint8)
    for branch in range(1, reached.shape[1]):
        better = reached[:, branch] < cost
        np.copyto(cost, reached[:, branch], where=better)
        dropped[better] = branch
    return cost, dropped


def trace_back(back: U8, state: IDX, bits: int) -> tuple[U8, IDX]:
    """The windows of the path that ends in `state`, and the state that it starts from. → (D, N) u8; (N,)"""
    windows = np.empty((back.shape[0], back.shape[2]), np.uint8)
    each = np.arange(back.shape[2])
    for element in range(len(back) - 1, -1, -1):
        window = (state << bits) | back[element, state, each]
        windows[element] = window
        state = window & ((SIZE >> bits) - 1)
    return windows, state


def windows_of(codes: U8, bits: int) -> U8:
    """The six newest bits of the circular stream at each element: its own bits on top of those before it.

    codes: (N, D) own bits.   bits: 1–6.   → (N, D) u8 < 64"""
    window = codes.astype(np.int32) << (WINDOW - bits)
    for back in range(1, -(-WINDOW // bits)):
        shift = WINDOW - bits * (back + 1)
        older = np.roll(codes, back, axis=1).astype(np.int32)
        window |= older << shift if shift >= 0 else older >> -shift
    return window.astype(np.uint8)

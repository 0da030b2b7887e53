"""One layer of a TurboQuantCache on the native kernels: a sequence of its own for each row of a batch.

Padding on the left isn't stored: a row begins at its first real token, so every mask that is left is causal and any
other is refused. Attention runs on one thread.
Enter at `NativeRows`, `runs_natively`. The bytes: docs/reference/turboquant-format.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.turboquant.cache_format import CHUNK_TOK, CacheFormat
from solvent.machine.turboquant.native_cache import LARGEST_HEAD, native_format

F32 = NDArray[np.float32]

WHERE = "TurboQuantCache"
# Sequences grow by chunks; this only bounds them.
LONGEST_TOK = 1 << 24


def runs_natively(head_sizes: set[int]) -> bool:
    """Whether this installation has kernels for heads of these sizes: 64, 128, 256, keys' and values' alike."""
    return native.available() and len(head_sizes) == 1 and head_sizes <= {64, 128, LARGEST_HEAD}


class NativeRows:
    """Keys and values of one layer, of all rows of a batch.

    n_tok: tokens of the batch, padding counted, as masks count them.   padding: of each row, on its left."""

    def __init__(self, format: CacheFormat, n_rows: int, n_kv_heads: int, head_size: int) -> None:
        made = native_format(format, 1, head_size)
        new = native.extension().Sequence
        self.rows: list[Any] = [new(1, n_kv_heads, head_size, LONGEST_TOK, made) for _ in range(n_rows)]
        self.padding = [0] * n_rows
        self.has_tail = format.tail_tok > 0
        self.kernels = native.kernel()
        self.n_tok = 0

    @property
    def n_bytes(self) -> int:
        """Bytes of all chunks, those of 256 tokens that aren't full counted whole."""
        return sum(row.n_bytes for row in self.rows)

    def step(self, keys: F32, values: F32, queries: F32, mask: NDArray[np.bool_] | None) -> F32:
        """Packs new tokens and attends with their queries.

        keys, values: (B, T, H, D).   queries: (B, T, Hq, D), already times 1/√D.   mask: (B, T, tokens) or None: all
        before.   → (B, T, Hq, D), zeros for padding
        Raises: EngineError (a mask that isn't causal with padding on the left; a number that isn't finite)."""
        first, count = self.n_tok, keys.shape[1]
        if first == 0 and mask is not None:
            self.padding = [leading(row[-1]) for row in mask]
        check_mask(mask, self.padding, first, count)
        out = np.zeros(queries.shape, np.float32)
        for index, (row, padding) in enumerate(zip(self.rows, self.padding, strict=True)):
            real = slice(min(max(padding - first, 0), count), count)
            if real.start == count:
                continue
            own = [np.ascontiguousarray(part[index, real], np.float32) for part in (keys, values, queries)]
            out[index, real] = self.step_row(row, *own)
        self.n_tok += count
        return out

    def step_row(self, row: Any, keys: F32, values: F32, queries: F32) -> F32:
        """Of one row's real tokens. With a tail chunk by chunk, so that what a token sees as codes depends on its place
        alone. (T, H, D) → (T, Hq, D)"""
        out, done = np.empty(queries.shape, np.float32), 0
        while done < len(keys):
            before = row.n_tokens
            count = min(len(keys) - done, CHUNK_TOK - before % CHUNK_TOK if self.has_tail else len(keys))
            part = slice(done, done + count)
            n_keys = np.arange(before + 1, before + 1 + count, dtype=np.int32)
            try:
                row.store(0, keys[part], values[part], self.kernels)
            except ValueError as error:
                raise EngineError(WHERE, str(error), "finite numbers") from error
            out[part] = row.attend(0, queries[part], n_keys, self.kernels)
            row.advance(count)
            done += count
        return out

    def __deepcopy__(self, memo: dict[int, Any]) -> NativeRows:
        """Rows that go their own way; full chunks are shared. A filled cache is copied for prompts that begin alike."""
        copied = object.__new__(NativeRows)
        copied.rows = [row.fork() for row in self.rows]
        copied.padding, copied.kernels, copied.n_tok = list(self.padding), self.kernels, self.n_tok
        copied.has_tail = self.has_tail
        memo[id(self)] = copied
        return copied

    def __reduce__(self) -> Any:
        raise EngineError(WHERE, "a pickle asked for", "codes stay in this process", "fill the cache again from tokens")

    def crop(self, n_tok: int) -> None:
        """Forgets all but the first tokens. Raises: EngineError (more than are held)."""
        if not 0 <= n_tok <= self.n_tok:
            raise EngineError(WHERE, f"a crop to {n_tok} tokens", f"0 to the {self.n_tok} held")
        for row, padding in zip(self.rows, self.padding, strict=True):
            row.truncate(min(max(n_tok - padding, 0), row.n_tokens))
        self.n_tok = n_tok

    def select(self, rows: NDArray[np.intp]) -> None:
        """Keeps these rows, in this order; one that is taken twice shares its full chunks."""
        self.rows = [self.rows[index].fork() for index in rows]
        self.padding = [self.padding[index] for index in rows]


def leading(seen: NDArray[np.bool_]) -> int:
    """Tokens before the first that is seen; all, if none is."""
    return int(seen.argmax()) if seen.any() else len(seen)


def check_mask(mask: NDArray[np.bool_] | None, padding: list[int], first: int, count: int) -> None:
    """Raises: EngineError (queries that see anything but all tokens between the padding and themselves)."""
    wanted_mask = "a causal mask with padding on the left"
    if mask is None:
        if any(padding):
            raise EngineError(WHERE, "no attention mask after one with padding", wanted_mask)
        return
    position, token = np.arange(first, first + count)[:, None], np.arange(first + count)
    for row, missing in zip(mask, padding, strict=True):
        wanted = (token >= missing) & (token <= position)
        # What padding itself sees doesn't matter.
        real = np.arange(first, first + count) >= missing
        if row.shape != wanted.shape or not np.array_equal(row[real], wanted[real]):
            raise EngineError(WHERE, "another attention mask", wanted_mask, f"set attn_implementation to {'sdpa'!r}")

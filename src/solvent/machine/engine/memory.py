"""How much memory a model takes, and how much there is: what the system can give without swapping, or the control
group's limit.

Enter at `held` and `check_fits`. Source: docs/reference/weight-panels.md (bytes a matrix takes);
proc(5), MemAvailable; the kernel's cgroup-v2 document.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.engine.config import Config, tensor_shapes
from solvent.machine.engine.head import BITS, Head, head_tensor, head_used
from solvent.machine.engine.model_file import Tensor
from solvent.machine.turboquant.cache_format import CHUNK_TOK, HALF_BITS, CacheFormat, bits_per_element, full_tok

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
# Interpreter, libraries, vocabulary and scratch of the step, beside weights and cache.
PROGRAM_BYTES = 64 << 20
F16_CACHE = CacheFormat()
# Bits a weight in panels; floats are the file's own rows. Ternary types: with a scale per block, as outside of BitNet.
TERNARY_BITS = {
    "tq1_0": 2.0625, "tq2_0": 2.0625, "q2_0_g64": 2.25, "q2_0_g128": 2.125, "i2_s": 2, "i2_s_arm": 2, "hf_ternary": 2,
}  # fmt: skip
PANEL_BITS = {
    "q4_0": 4.5, "q4_1": 5, "q8_0": 8.5, "q4_k": 4.625, "q5_k": 5.625, "q6_k": 6.5625, **TERNARY_BITS,
}  # fmt: skip
PANEL_ROWS, BLOCK = 16, 32
# Ternary weights of one scale a matrix, five to a byte: four bytes a row for so many columns.
FIVES_BYTES, FIVES_COLUMNS, FIVES_MOST_COLUMNS = 4, 20, 1 << 18
# Beside its codes a screened row has their scale, its length and that of what the codes leave out, float32.
SCREEN_BITS, SCREEN_ROW_BYTES = 3, 12
ROUNDED_BITS = {"8-bit": PANEL_BITS["q8_0"], "6-bit": PANEL_BITS["q6_k"]}


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that a running model keeps in memory.

    weights_bytes: of the blocks, as the kernels read them.   head_bytes: of the head in the form that it runs as;
    screened, that is its screen alone until all logits are asked for, which takes `whole_head_bytes` more.
    cache_bytes: keys and values of n_tokens tokens.   program_bytes: all else, an allowance."""

    weights_bytes: int
    head_bytes: int
    whole_head_bytes: int
    cache_bytes: int
    n_tokens: int
    program_bytes: int = PROGRAM_BYTES

    @property
    def total_bytes(self) -> int:
        """Without the whole head beside its screen."""
        return self.weights_bytes + self.head_bytes + self.cache_bytes + self.program_bytes


def held(
    config: Config,
    tensors: Mapping[str, Tensor],
    head: Head = "screened",
    context: int = 0,
    cache: CacheFormat = F16_CACHE,
    kernel: str | None = None,
) -> Held:
    """What the model will hold with a cache of `context` tokens in a format.

    kernel: what will run it; None: what `native.kernel` gives.

    Exactness: matrices to a page; of ternary ones in BitNet, one scale a matrix is taken for granted, and no code 3.
    The table of embeddings, unless it is the head, is read by rows and not held.
    Raises: EngineError (as head_used); KernelError (BitNet without native kernels, or not the one asked for)"""
    name = head_tensor(config)
    used = head_used(head, tensors[name].type, config)
    whole = panel_bytes(tensors[name])
    rows, columns = tensors[name].shape
    head_bytes, later = whole, 0
    if used == "screened":
        head_bytes, later = _panels(rows, columns, SCREEN_BITS) + SCREEN_ROW_BYTES * rows, whole
    elif used in BITS:
        head_bytes = _panels(rows, columns, ROUNDED_BITS[used])
    blocks = (tensors[one] for one in tensor_shapes(config) if one not in ("token_embd.weight", "output.weight"))
    fives = config.int8_per_token and native.packs_fives(kernel)
    weights = sum(panel_bytes(tensor, fives=fives) for tensor in blocks)
    return Held(weights, head_bytes, later, cache_bytes(config, context, cache), context)


def panel_bytes(tensor: Tensor, *, fives: bool = False) -> int:
    """rows, filled up to 16 · columns, filled up to 32 · bits / 8 of a matrix in panels; the file's bytes of floats.

    fives: ternary weights have one scale a matrix and lie five to a byte, columns filled up to 20 for 4 bytes."""
    if len(tensor.shape) < 2 or tensor.type not in PANEL_BITS:
        return tensor.data.nbytes
    rows, columns = tensor.shape
    if fives and tensor.type in TERNARY_BITS and columns <= FIVES_MOST_COLUMNS:
        return (
            _filled(rows, PANEL_ROWS) * _filled(_filled(columns, BLOCK), FIVES_COLUMNS) * FIVES_BYTES // FIVES_COLUMNS
        )
    return _panels(rows, columns, PANEL_BITS[tensor.type])


def _panels(rows: int, columns: int, bits: float) -> int:
    return int(_filled(rows, PANEL_ROWS) * _filled(columns, BLOCK) * bits / 8)


def _filled(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def check_fits(name: str, needed: Held) -> None:
    """Raises: EngineError, with the numbers, where a model doesn't fit into memory."""
    available = available_bytes()
    if available is not None and needed.total_bytes > available:
        raise EngineError(
            name,
            f"{_gib(needed.weights_bytes)} of weights, {_gib(needed.head_bytes)} of head, "
            f"{_gib(needed.cache_bytes)} of cache for {needed.n_tokens} tokens and "
            f"{_gib(needed.program_bytes)} for the program",
            f"at most {_gib(available)}, the memory available here",
            "take a smaller number format, a smaller head or a shorter context",
        )


def check_room(where: str, n_bytes: int) -> None:
    """Raises: EngineError where so many bytes more don't fit into memory."""
    available = available_bytes()
    if available is not None and n_bytes > available:
        raise EngineError(where, f"{_gib(n_bytes)} more", f"at most {_gib(available)}, the memory available here")


def cache_bytes(config: Config, n_tokens: int, cache: CacheFormat = F16_CACHE) -> int:
    """n_tokens · layers · 2 (key and value) · kv_width · bits of an element / 8, scales and centres counted; of tokens
    in full precision f16's 16 bits."""
    full = full_tok(cache, n_tokens)
    bits = bits_per_element(cache.of_layers(config.n_layers), config.head_size)
    elements = config.n_layers * 2 * config.kv_width
    return ceil((n_tokens - full) * elements * bits / 8) + full * elements * HALF_BITS // 8


def cache_token_bytes(config: Config, cache: CacheFormat = F16_CACHE) -> int:
    """What a token adds to a cache whose sinks and tail are full: bytes of its codes."""
    return cache_bytes(config, 1, replace(cache, sink_tok=0, tail_tok=0))


def full_precision_tok(cache: CacheFormat) -> int:
    """Tokens of sinks, tail and the chunk being filled, at most, in a context that is longer than they are."""
    return cache.sink_tok + (cache.tail_tok + CHUNK_TOK if cache.tail_tok else 0)


def available_bytes() -> int | None:
    """Memory that can be had now: the least of the system's and of the control group's; None where neither says."""
    found = [value for value in (_system_bytes(), _cgroup_bytes()) if value is not None]
    return min(found, default=None)


def _system_bytes() -> int | None:
    try:
        for line in MEMINFO.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _cgroup_bytes() -> int | None:
    """The limit less what is used and can't be dropped; cached files can."""
    try:
        limit = int((CGROUP / "memory.max").read_text("ascii"))
        used = int((CGROUP / "memory.current").read_text("ascii"))
        parts = dict(line.split() for line in (CGROUP / "memory.stat").read_text("ascii").splitlines())
        return max(0, limit - used + int(parts.get("inactive_file", 0)) + int(parts.get("active_file", 0)))
    except (OSError, ValueError):  # no control group, or "max": no limit
        return None


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.2f} GiB" if n_bytes >= 1 << 28 else f"{n_bytes / 2**20:.0f} MiB"

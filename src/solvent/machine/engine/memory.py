"""How much memory a model may take here: what the system can give without swapping, or the control group's limit.

Enter at `available_bytes` and `check_fits`. Source: proc(5), MemAvailable; the kernel's cgroup-v2 document.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from solvent.errors import EngineError
from solvent.machine.engine.config import Config
from solvent.machine.engine.model_file import Tensor

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
# Interpreter, libraries, vocabulary and scratch of the step, beside weights and cache.
PROGRAM_BYTES = 64 << 20
# A key or value in the cache is a 16-bit float.
CACHE_BYTES_PER_VALUE = 2


def check_fits(name: str, config: Config, tensors: Iterable[Tensor], context: int) -> None:
    """Raises: EngineError, with the numbers, where weights and a cache of `context` tokens don't fit into memory."""
    weight_bytes = sum(tensor.data.nbytes for tensor in tensors)
    cache_bytes = cache_bytes_per_token(config) * context
    available = available_bytes()
    if available is not None and weight_bytes + cache_bytes + PROGRAM_BYTES > available:
        raise EngineError(
            name,
            f"{_gib(weight_bytes)} of weights, {_gib(cache_bytes)} of cache for {context} tokens and "
            f"{_gib(PROGRAM_BYTES)} for the program",
            f"at most {_gib(available)}, the memory available here",
            "take a smaller number format or a shorter context",
        )


def cache_bytes_per_token(config: Config) -> int:
    """layers · 2 (key and value) · kv_width · 2 bytes."""
    return config.n_layers * 2 * config.kv_width * CACHE_BYTES_PER_VALUE


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

"""Memory of caches goes back to the system when nobody holds it, though others live in the same mapping."""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solvent.machine import native
from solvent.machine.turboquant.cache_format import CacheFormat, parse
from solvent.machine.turboquant.native_cache import native_format

if not native.available():
    pytest.skip("no native kernels in this installation", allow_module_level=True)
if not sys.platform.startswith("linux"):
    pytest.skip("reads what Linux says of a process", allow_module_level=True)

LAYERS, HEADS, D, CHUNK = 4, 8, 128, 256
F16_TOKEN = LAYERS * HEADS * 2 * D * 2
# What else a test run touches meanwhile, and pages of 2 MiB at the ends of what is freed.
SLACK = 12 << 20


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def filled(format: CacheFormat, n_tok: int) -> Any:
    made = native_format(format, LAYERS, D)
    sequence: Any = native.extension().Sequence(LAYERS, HEADS, D, 1 << 16, made)
    part = np.random.default_rng(1).standard_normal((CHUNK, HEADS, D)).astype(np.float32)
    for _ in range(n_tok // CHUNK):
        for layer in range(LAYERS):
            sequence.store(layer, part, part, native.kernel())
        sequence.advance(CHUNK)
    return sequence


def test_a_dropped_cache_is_given_back() -> None:
    """Of two that share a mapping: 128 MB of 130 go back at once, not when the other is dropped too."""
    small = filled(CacheFormat(), 2 * CHUNK)
    before = resident_bytes()
    large = filled(CacheFormat(), 32 * CHUNK)
    assert large.n_bytes > 32 * CHUNK * F16_TOKEN
    during = resident_bytes()
    assert during - before > large.n_bytes - SLACK
    fork = large.fork()
    del large
    assert resident_bytes() > during - SLACK  # the fork holds it
    fork.truncate(16 * CHUNK)
    half = resident_bytes()
    assert half < during - 16 * CHUNK * F16_TOKEN + SLACK
    del fork
    assert resident_bytes() < before + SLACK
    # What is left is whole: pages of the neighbour aren't taken along.
    assert small.chunk(1) == filled(CacheFormat(), 2 * CHUNK).chunk(1)


def test_what_leaves_a_tail_is_given_back() -> None:
    """40 MB of codes and a tail instead of 128 MB in full precision."""
    small = filled(parse("tq4s+tail256"), 2 * CHUNK)
    before = resident_bytes()
    kept = filled(parse("tq4s+tail256"), 32 * CHUNK)
    assert kept.n_bytes < 0.33 * 32 * CHUNK * F16_TOKEN
    assert kept.n_bytes - SLACK < resident_bytes() - before < kept.n_bytes + SLACK
    assert small.n_tokens == 2 * CHUNK

"""How fast one thread fills caches of several formats with random vectors, and attends to all that they hold.

One query token over a cache that is much larger than the processor's own; formats in turn within each round, so that
what else the machine does meets all alike. The best round of each counts; the bandwidth is read in the same run.

    python tools/cache_attention.py --head-size 64 --kv-heads 3 --group 3 --tokens 32768 --layers 80 f16 tq4s tq4
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvent.machine import native
from solvent.machine.turboquant.cache_format import bits_per_element, parse
from solvent.machine.turboquant.native_cache import native_format

CHUNK = 256
SAMPLE_TOK = 4 * CHUNK  # encoded once; a larger cache holds them again and again
LARGE_BYTES = 1 << 30


def filled(name: str, options: argparse.Namespace, vectors: tuple[NDArray[np.float32], ...]) -> tuple[Any, float]:
    """A cache of all tokens, and the seconds that a layer of the sample took to encode into memory already touched."""
    extension, kernels = native.extension(), native.kernel(None)
    kept = native_format(parse(name), options.layers, options.head_size)
    shape = options.layers, options.kv_heads, options.head_size, options.tokens
    sample = extension.Sequence(*shape, kept)
    for layer in range(options.layers):
        sample.store(layer, *vectors, kernels)
    encode_s = np.inf
    for _ in range(options.rounds):
        start = time.perf_counter()
        sample.store(0, *vectors, kernels)
        encode_s = min(encode_s, time.perf_counter() - start)
    sample.advance(SAMPLE_TOK)
    chunks = [sample.chunk(i) for i in range(SAMPLE_TOK // CHUNK)]
    whole = extension.Sequence(*shape, kept)
    later = [chunks[1 + i % (len(chunks) - 1)] for i in range(options.tokens // CHUNK - 1)]
    whole.restore(options.tokens, [chunks[0], *later], options.tokens)
    return whole, encode_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("formats", nargs="+", help="the first is what the others are compared with")
    parser.add_argument("--head-size", type=int, default=64)
    parser.add_argument("--kv-heads", type=int, default=3)
    parser.add_argument("--group", type=int, default=3, help="query heads that share a key-value head")
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--layers", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    options.tokens = options.tokens // CHUNK * CHUNK
    random = np.random.default_rng(0)
    size = SAMPLE_TOK, options.kv_heads, options.head_size
    vectors = tuple(random.standard_normal(size).astype(np.float32) for _ in range(2))
    caches = {name: filled(name, options, vectors) for name in options.formats}
    n_query_heads = options.kv_heads * options.group
    q = random.standard_normal((1, n_query_heads, options.head_size)) * (2 / np.sqrt(options.head_size))
    n_keys = np.array([options.tokens], np.int32)
    best = dict.fromkeys(caches, np.inf)
    bandwidth = native.extension().read_bandwidth(LARGE_BYTES, 1, 3)
    for _ in range(options.rounds):
        for name, (cache, _s) in caches.items():
            start = time.perf_counter()
            for layer in range(options.layers):
                cache.attend(layer, q.astype(np.float32), n_keys, native.kernel(None))
            best[name] = min(best[name], time.perf_counter() - start)
    print(f"bandwidth {bandwidth / 1e9:.1f} GB/s, kernels {native.kernel(None)}")
    first = options.formats[0]
    half_bytes = 2 * SAMPLE_TOK * options.kv_heads * options.head_size * 2
    for name, (cache, encode_s) in caches.items():
        bits = bits_per_element(parse(name), options.head_size)
        print(
            f"{name:8} {bits:6.3f} bits, {cache.n_bytes / 1e6:6.0f} MB, {1e3 * best[name]:7.2f} ms,"
            f" {100 * cache.n_bytes / best[name] / bandwidth:4.0f}% of the bandwidth, {best[first] / best[name]:.2f}x"
            f" as fast for {caches[first][0].n_bytes / cache.n_bytes:.2f}x fewer bytes;"
            f" filled at {half_bytes / encode_s / 1e9:.2f} GB/s of f16"
        )


if __name__ == "__main__":
    main()

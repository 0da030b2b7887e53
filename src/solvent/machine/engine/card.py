"""The card of a model on this machine: what a token moves and computes, the limit that sets, and the share reached.

A decoded token reads every weight once and its cache once, so the memory's speed over a buffer of that size bounds
tokens per second. Both are measured here, in turn, in one run.
What it doesn't do: cost (measure/). Enter at `card`. Source: docs/reference/model-card.md.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.engine.head import BITS, head_tensor
from solvent.machine.engine.memory import cache_bytes, cache_token_bytes, full_precision_tok, held

if TYPE_CHECKING:
    from solvent.machine.engine.model import Model

SCHEMA = "solvent.card/1"
# Tokens per round, and rounds; limit and decode are measured in turn in each.
TOKENS = 16
ROUNDS = 7
_ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the model costs per decoded token.   operations: multiplications and additions; twice as many
    of weights in blocks where activations are int16."""

    name: str
    bytes: int
    operations: int

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "bytes": self.bytes, "operations": self.operations}


def parts(model: Model, depth: int = 0, greedy: bool = True) -> list[Part]:
    """Bytes and operations of one decoded token, by part, with `depth` tokens before it.

    Weights: what the kernels read, scales included.   Head: 3-bit codes where greedy decoding screens it (the rows
    that are computed again are left out: on SmolLM2 some 1 in 100, 3 to 4% of the head's bytes); rounded to 8 or 6
    bits where that was asked for.
    Cache: depth · layers · 2 · kv_width · bits of an element / 8, 16 of sinks and tail; 2 · 2 · q_width operations a
    cached token and layer.
    Vectors (norms, activations) stay in the CPU's caches and are left out."""
    config = model.config
    sums = {"attention weights": 0, "feed-forward weights": 0}
    weights = {"attention weights": 0, "feed-forward weights": 0}
    for name, matrix in model.matrices.items():
        pieces = name.split(".")
        if pieces[0] != "blk":
            continue
        part = "attention weights" if pieces[2] in _ATTENTION else "feed-forward weights"
        sums[part] += matrix.n_bytes
        rows, columns = model.file.tensors[name].shape
        weights[part] += rows * columns * _n_products(model, name)
    screened = greedy and model.head == "screened"
    head_bytes = model.native.screen_bytes if screened else model.head_matrix.n_bytes
    form = "screened" if screened else model.head if model.head in BITS else ""
    found = [Part(name, sums[name], 2 * weights[name]) for name in sums]
    products = 1 if screened else _n_products(model, head_tensor(config))
    found.append(Part(f"head, {form}" if form else "head", head_bytes, 2 * config.n_vocab * config.width * products))
    found.append(Part("cache", cache_bytes(config, depth, model.cache), 4 * depth * config.n_layers * config.q_width))
    return found


def _n_products(model: Model, name: str) -> int:
    return 2 if model.activations == "int16" and model.takes_blocks(name) else 1


def explanation(model: Model) -> dict[str, Any]:
    """Which kernels run, which could, and how the weights lie: per type of the file, matrices and bytes read."""
    types: dict[str, dict[str, int]] = {}
    for name, matrix in model.matrices.items():
        one = types.setdefault(model.file.tensors[name].type, {"matrices": 0, "copied": 0, "bytes": 0})
        one["matrices"] += 1
        one["copied"] += matrix.is_copy
        one["bytes"] += matrix.n_bytes
    return {
        "kernel": model.kernel,
        "runnable": list(native.kernels()),
        "features": list(native.cpu_features()),
        "threads": model.threads,
        "types": types,
        "screen_bytes": model.native.screen_bytes,
        "head": model.head,
        "activations": model.activations,
    }


def card(model: Model, name: str, depth: int = 0) -> dict[str, Any]:
    """The card as a document: parts, limit and measurement, each with its method.

    limit: bytes of a token over the bandwidth, the median of what `model.threads` threads read over a buffer of as
    many bytes.   decode: greedy, median of rounds at a cache of `depth` tokens; share: decode ÷ limit.
    Raises: EngineError (depth beyond the context)"""
    config = model.config
    n_tokens = min(TOKENS, config.context - depth)
    if depth < 0 or n_tokens < 1:
        raise EngineError("depth", str(depth), f"0 to {config.context - 1}, the model's context less one")
    found = parts(model, depth)
    total_bytes = sum(part.bytes for part in found)
    sequence = model.new_sequence(depth + n_tokens)
    if depth:
        tokens = np.random.default_rng(1).integers(0, config.n_vocab, depth)
        model.extend(sequence, tokens, "none")
    seconds, bandwidths = [], []
    for turn in range(ROUNDS + 1):
        bandwidth = native.extension().read_bandwidth(total_bytes, model.threads, 3)
        took = _decode_s(model, sequence, depth, n_tokens)
        if turn:  # the first warms up
            bandwidths.append(bandwidth)
            seconds.append(took)
    limit_s = total_bytes / statistics.median(bandwidths)
    decode_s = statistics.median(seconds)
    return {
        "schema": SCHEMA,
        "model": name,
        "family": config.family,
        "kernel": model.kernel,
        "threads": model.threads,
        "depth": depth,
        "parts": [part.document() for part in found],
        "bytes_per_token": total_bytes,
        "operations_per_token": sum(part.operations for part in found),
        "cache": model.cache.document(),
        "cache_bytes_per_token_of_context": cache_token_bytes(config, model.cache),
        "cache_full_precision_bytes": cache_bytes(config, full_precision_tok(model.cache)),
        "head": model.head,
        "activations": model.activations,
        "held": _held(model, depth + n_tokens),
        "bandwidth_bytes_per_s": statistics.median(bandwidths),
        "limit_tok_per_s": 1 / limit_s,
        "decode_tok_per_s": 1 / decode_s,
        "decode_tok_per_s_low": 1 / max(seconds),
        "decode_tok_per_s_high": 1 / min(seconds),
        "share_of_limit": limit_s / decode_s,
        "method": {"bytes": "counted", "bandwidth": "measured", "decode": "measured", "rounds": ROUNDS},
    }


def _held(model: Model, context: int) -> dict[str, int]:
    """What the model keeps in memory; whole_head: on top, once all logits were asked for of a screened head."""
    found = held(model.config, model.file.tensors, model.head, context, model.cache, model.kernel)
    return {
        "weights_bytes": found.weights_bytes,
        "head_bytes": found.head_bytes,
        "whole_head_bytes": found.whole_head_bytes,
        "cache_bytes": found.cache_bytes,
    }


def _decode_s(model: Model, sequence: Any, depth: int, n_tokens: int) -> float:
    """Seconds per greedy token after `depth` tokens."""
    sequence.truncate(depth)
    token = 0
    start = time.perf_counter()
    for _ in range(n_tokens):
        token = model.greedy(sequence, token)
    return (time.perf_counter() - start) / n_tokens

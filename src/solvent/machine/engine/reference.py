"""The forward pass of every family in plain NumPy: the truth that the native model is tested against.

No cache, no batching, nothing fast: all tokens at once, one operation a line. It computes in the type of the
weights: float32 as models are meant to run, or float64, which tells rounding from fault.
What it doesn't do: read files (quants.dequantise makes its weights), choose tokens.
Enter at `forward`. Source: arXiv:2302.13971; arXiv:2402.17764 §2 (BitNet); arXiv:2104.09864 §3.4.2 (RoPE).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError
from solvent.machine.engine.config import Config

Array = NDArray[np.floating[Any]]
Weights = Mapping[str, Array]

INT8_BLOCK = 32

# arXiv:2402.17764 Eq. 2–3 with 8 bits; a row whose largest element is below the floor keeps that floor as its scale.
LARGEST_CODE = 127
SMALLEST_MAX = 1e-5


@dataclass(frozen=True, slots=True)
class Rounding:
    """Where an engine rounds and the model itself doesn't, so that the native step can be compared closely.

    cache_type: a NumPy type to which keys and values are rounded, as a cache holds them; None: they aren't.
    int8_linears, int8_head: activations become int8 with one scale for each 32 columns before the blocks' linear
    layers (instead of int8 per token) and before the head, as kernels for block formats take them.
    n_outliers: elements of a token that are left as they are when blocks are rounded.
    int8_only: the linear layers that int8_linears is for; empty: all."""

    cache_type: type | None = None
    int8_linears: bool = False
    int8_head: bool = False
    n_outliers: int = 0
    int8_only: tuple[str, ...] = ()


EXACT = Rounding()


def forward(config: Config, weights: Weights, tokens: Sequence[int], rounding: Rounding = EXACT) -> Array:
    """logits[t] = head · RMSNorm(blocks(embedding of tokens[0 … t])), each token seeing itself and those before.

    weights: GGUF name → array of the shapes of `tensor_shapes`, all of one floating type.
    tokens: T of them.   → (T, n_vocab), of the weights' type.
    Exactness: every operation rounds in the weights' type, except that linear layers on int8 activations sum exactly
    (float64 holds ternary dots of any size here) and round once.
    Raises: EngineError (no token, a token outside the vocabulary, more tokens than the context)."""
    _check_tokens(config, tokens)
    x: Array = weights["token_embd.weight"][np.asarray(tokens)]
    for layer in range(config.n_layers):
        block = {
            name.partition(f"blk.{layer}.")[2]: w for name, w in weights.items() if name.startswith(f"blk.{layer}.")
        }
        turns = rope_turns(config, len(tokens), weights.get("rope_freqs.weight"))
        x = x + attention_layer(config, block, x, turns, rounding)
        x = x + feed_forward_layer(config, block, x, rounding)
    x = rms_norm(x, weights["output_norm.weight"], config.norm_eps)
    x = int8_blocks(x, rounding.n_outliers) if rounding.int8_head else x
    logits: Array = x @ weights["token_embd.weight" if config.tied else "output.weight"].T
    return logits


def attention_layer(config: Config, block: Weights, x: Array, turns: Array, rounding: Rounding = EXACT) -> Array:
    """What attention adds to the residual stream x (T, width), normalised first.   → (T, width)

    turns: `rope_turns`, one row a token."""
    n_tokens = len(x)
    x = rms_norm(x, block["attn_norm.weight"], config.norm_eps)
    q = linear(config, block, "attn_q", x, rounding).reshape(n_tokens, config.n_heads, config.head_size)
    k = linear(config, block, "attn_k", x, rounding).reshape(n_tokens, config.n_kv_heads, config.head_size)
    v = linear(config, block, "attn_v", x, rounding).reshape(n_tokens, config.n_kv_heads, config.head_size)
    if config.qk_norm:
        q = rms_norm(q, block["attn_q_norm.weight"], config.norm_eps)
        k = rms_norm(k, block["attn_k_norm.weight"], config.norm_eps)
    q, k = rope(q, turns, config.rope_pairs), rope(k, turns, config.rope_pairs)
    if rounding.cache_type is not None:
        k, v = k.astype(rounding.cache_type).astype(x.dtype), v.astype(rounding.cache_type).astype(x.dtype)
    y = attention(q, k, v).reshape(n_tokens, config.q_width)
    if config.sub_norms:
        y = rms_norm(y, block["attn_sub_norm.weight"], config.norm_eps)
    return linear(config, block, "attn_output", y, rounding)


def feed_forward_layer(config: Config, block: Weights, x: Array, rounding: Rounding = EXACT) -> Array:
    """down · (activation(gate · n) × (up · n)), n = RMSNorm(x): what it adds to x (T, width).   → (T, width)"""
    x = rms_norm(x, block["ffn_norm.weight"], config.norm_eps)
    activation = {"silu": silu, "relu2": relu2}[config.activation]
    gate, up = linear(config, block, "ffn_gate", x, rounding), linear(config, block, "ffn_up", x, rounding)
    y: Array = activation(gate) * up
    if config.sub_norms:
        y = rms_norm(y, block["ffn_sub_norm.weight"], config.norm_eps)
    return linear(config, block, "ffn_down", y, rounding)


def linear(config: Config, block: Weights, name: str, x: Array, rounding: Rounding = EXACT) -> Array:
    """y = W·x (+ bias), on int8 activations where the configuration says so.   x: (T, K).   → (T, M)"""
    w = block[f"{name}.weight"]
    y: Array
    if rounding.int8_linears and (not rounding.int8_only or name in rounding.int8_only):
        y = int8_blocks(x, rounding.n_outliers) @ w.T
    elif config.int8_per_token:
        y = int8_linear(w, x)
    else:
        y = x @ w.T
    bias = block.get(f"{name}.bias")
    return y if bias is None else y + bias


def int8_linear(w: Array, x: Array) -> Array:
    """y = (W·q) / s with q, s = quantised_activations(x).

    w: (M, K), ternary codes times their scale.   x: (T, K).   → (T, M)
    Exactness: the sum is made in float64, where it is exact for ternary codes times one scale with K < 2^22 (24 bits
    of the scale, 7 of the code, 22 of K), then divided and rounded to x's type.
    Source: arXiv:2402.17764 §2; transformers integrations/bitnet.py, BitLinear.forward"""
    q, scale = quantised_activations(x)
    y: Array = (q.astype(np.float64) @ w.astype(np.float64).T / scale.astype(np.float64)).astype(x.dtype)
    return y


def quantised_activations(x: Array) -> tuple[NDArray[np.int8], Array]:
    """q = clamp(round(x · s), −128, 127), s = 127 / max(|x|, 1e-5), one s a row; x ≈ q / s.

    x: (T, K).   → q: (T, K) int8,  s: (T, 1).
    Exactness: s = 127 / max rounds once, then x · s once, in x's type; ties go to the even code. (torch makes s as
    127 · (1 / max), which may differ in its last bit: a code then differs only where x · s lies next to a tie.)
    Source: arXiv:2402.17764 Eq. 2; transformers integrations/bitnet.py, activation_quant"""
    largest = np.maximum(np.abs(x).max(axis=-1, keepdims=True), x.dtype.type(SMALLEST_MAX))
    scale = x.dtype.type(LARGEST_CODE) / largest
    codes = np.clip(nearest(x * scale), -LARGEST_CODE - 1, LARGEST_CODE)
    return codes.astype(np.int8), scale


def int8_blocks(x: Array, n_outliers: int = 0) -> Array:
    """x rounded to int8 codes with one scale for each 32 columns: round(x · 127 / max) · (max / 127).

    x: (T, K).   n_outliers: of each token, the elements largest in magnitude, the first of equals, that stay as they
    are and count as 0 in their blocks.   → (T, K), of x's type
    Exactness: scale and code round in x's type; ties go to the even code.
    Source: llama.cpp ggml-quants.c, quantize_row_q8_0 (which keeps the scale in half precision and no outliers)"""
    n_tokens, n_columns = x.shape
    apart = np.argsort(-np.abs(x), axis=1, kind="stable")[:, :n_outliers]
    rest = x.copy()
    np.put_along_axis(rest, apart, 0, axis=1)
    blocks = np.pad(rest, ((0, 0), (0, -n_columns % INT8_BLOCK))).reshape(n_tokens, -1, INT8_BLOCK)
    largest = np.abs(blocks).max(axis=-1, keepdims=True)
    inverse = x.dtype.type(LARGEST_CODE) / np.where(largest > 0, largest, 1)
    y: Array = nearest(blocks * inverse) * (largest / x.dtype.type(LARGEST_CODE))
    y = y.reshape(n_tokens, -1)[:, :n_columns]
    np.put_along_axis(y, apart, np.take_along_axis(x, apart, axis=1), axis=1)
    return y


def nearest(x: Array) -> Array:
    """The nearest whole numbers; ties go to the even one. Every rounding to int8 goes through here."""
    y: Array = np.rint(x)
    return y


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """y = x / sqrt(mean(x²) + eps) × weight, along the last axis. Source: arXiv:1910.07467 Eq. 4"""
    mean_square = np.mean(x * x, axis=-1, keepdims=True)
    y: Array = x / np.sqrt(mean_square + x.dtype.type(eps)) * weight
    return y


def silu(x: Array) -> Array:
    """x · sigmoid(x), written so that nothing overflows."""
    small = np.exp(-np.abs(x))
    y: Array = x * np.where(x >= 0, 1 / (1 + small), small / (1 + small))
    return y


def relu2(x: Array) -> Array:
    """max(x, 0)²"""
    positive = np.maximum(x, 0)
    y: Array = positive * positive
    return y


def rope_turns(config: Config, n_tokens: int, factors: Array | None) -> Array:
    """angle[t, i] = t · base^(−2i/d) / factors[i], in float64.   → (T, d/2)"""
    turns_per_token = config.rope_base ** (-np.arange(0, config.head_size, 2, dtype=np.float64) / config.head_size)
    turns: Array = np.outer(np.arange(n_tokens), turns_per_token / (1.0 if factors is None else factors))
    return turns


def rope(x: Array, turns: Array, pairs: str) -> Array:
    """Each pair (a, b) of a head turned by its angle: (a·cos − b·sin, a·sin + b·cos).

    x: (T, H, D).   turns: (T, D/2).   pairs: "adjacent": a, b = x[2i], x[2i+1]; "halves": x[i], x[i + D/2].
    Source: arXiv:2104.09864 §3.4.2"""
    cos = np.cos(turns).astype(x.dtype)[:, None, :]
    sin = np.sin(turns).astype(x.dtype)[:, None, :]
    half = x.shape[-1] // 2
    first, second = {
        "adjacent": (slice(0, None, 2), slice(1, None, 2)),
        "halves": (slice(0, half), slice(half, None)),
    }[pairs]
    a, b = x[..., first], x[..., second]
    y = np.empty_like(x)
    y[..., first] = a * cos - b * sin
    y[..., second] = a * sin + b * cos
    return y


def attention(q: Array, k: Array, v: Array) -> Array:
    """softmax(q·kᵀ / sqrt(D), over tokens not later) · v; H/KV query heads in a row share a head of k and v.

    q: (T, H, D).   k, v: (T, KV, D).   → (T, H, D)"""
    n_tokens, n_heads, head_size = q.shape
    later = np.triu(np.ones((n_tokens, n_tokens), dtype=bool), 1)
    y = np.empty_like(q)
    for head in range(n_heads):
        kv_head = head // (n_heads // k.shape[1])
        scores = q[:, head] @ k[:, kv_head].T / np.sqrt(q.dtype.type(head_size))
        scores = np.exp(
            np.where(later, -np.inf, scores - scores.max(axis=1, keepdims=True, where=~later, initial=-np.inf))
        )
        y[:, head] = scores / scores.sum(axis=1, keepdims=True) @ v[:, kv_head]
    return y


def _check_tokens(config: Config, tokens: Sequence[int]) -> None:
    if not 0 < len(tokens) <= config.context:
        raise EngineError("tokens", f"{len(tokens)} of them", f"1 to {config.context}, the context")
    for place, token in enumerate(tokens):
        if not 0 <= token < config.n_vocab:
            raise EngineError(f"token {place}", str(token), f"0 to {config.n_vocab - 1}, the vocabulary")

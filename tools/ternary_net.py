"""The networks that tools/train_ternary.py trains: BitNet b1.58, and Llama as its float twin.

Both have RMSNorm, RoPE (pairs i, i + d/2), grouped queries, a gated feed-forward and tied embeddings, in the same
sizes. BitNet adds SubLN before the output and the down projection, squared ReLU in place of SiLU, and two quantisers
to each projection. The control has BitNet's graph without the quantisers: what it loses to the twin is the graph's,
what BitNet loses to it is the quantisers'. The products run in bfloat16, where integers up to 256 are exact.
Enter at `Network`. Source: arXiv:2402.17764 §2, arXiv:2504.12285 §2 (SubLN, squared ReLU).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_SCALE = 1e-5


@dataclass(frozen=True, slots=True)
class Shape:
    """K of every ternary projection is a multiple of 256, as TQ2_0 wants it."""

    n_vocab: int = 512
    n_layers: int = 3
    width: int = 256
    n_heads: int = 4
    n_kv_heads: int = 2
    head_size: int = 64
    ff_width: int = 512
    context: int = 256
    norm_eps: float = 1e-5
    rope_base: float = 10000.0


@dataclass(frozen=True, slots=True)
class Graph:
    """bitnet: SubLN and squared ReLU, else Llama's SiLU.   ternary: weights and activations are quantised."""

    bitnet: bool
    ternary: bool


GRAPHS = {"ternary": Graph(True, True), "float": Graph(False, False), "control": Graph(True, False)}


def ternary_codes(weights: Tensor) -> tuple[Tensor, Tensor]:
    """q = clamp(round(W / s), −1, 1), s = mean |W| over the whole tensor; W̃ = q·s.

    weights: (M, K) → q (M, K) in {−1, 0, 1}, s ().   Source: arXiv:2402.17764 Eq. 1–3.
    """
    scale = weights.abs().mean().clamp_min(SMALLEST_SCALE)
    return (weights / scale).round_().clamp_(-1, 1), scale


def int8_codes(x: Tensor) -> tuple[Tensor, Tensor]:
    """q = clamp(round(x·127 / a), −128, 127), a = max |x| per token; x̃ = q·a/127.

    x: (…, K) → q (…, K), a/127 (…, 1).   Rounding is half to even.   Source: arXiv:2402.17764 Eq. 4–5.
    """
    largest = x.abs().amax(-1, keepdim=True).clamp_min(SMALLEST_SCALE)
    return (x * (127 / largest)).round_().clamp_(-128, 127), largest / 127


class TernaryProduct(torch.autograd.Function):
    """y = x̃·W̃ᵀ forward; backward both quantisers count as the identity (straight-through estimation).

    x: (T, K), each weight (Mᵢ, K) with a scale of its own → (T, ΣMᵢ). The codes are multiplied as integers and
    scaled afterwards, as the engine does; `dtype` is that of the products.
    """

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, x: Tensor, *weights: Tensor) -> Tensor:
        pairs = [ternary_codes(weight) for weight in weights]
        codes = torch.cat([q for q, _ in pairs]).to(dtype)
        row_scale = torch.cat([scale.expand(len(q)) for q, scale in pairs])
        x_codes, x_scale = int8_codes(x)
        x_codes = x_codes.to(dtype)
        ctx.save_for_backward(x_codes, x_scale, codes, row_scale)
        ctx.rows = [len(weight) for weight in weights]
        return (x_codes @ codes.T).float() * x_scale * row_scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_codes, x_scale, codes, row_scale = ctx.saved_tensors
        (dy,) = gradients
        dx = ((dy * row_scale).to(codes.dtype) @ codes).float()
        dw = ((dy * x_scale).to(codes.dtype).T @ x_codes).float()
        return None, dx, *dw.split(ctx.rows)


def product(x: Tensor, weights: list[Tensor], *, ternary: bool, dtype: torch.dtype) -> list[Tensor]:
    """x·Wᵢᵀ for weights that read the same x: (…, K) → [(…, Mᵢ)]."""
    flat = x.reshape(-1, x.shape[-1])
    if ternary:
        y = TernaryProduct.apply(dtype, flat, *weights)
    else:
        y = (flat.to(dtype) @ torch.cat(weights).to(dtype).T).float()
    rows = [len(weight) for weight in weights]
    return [part.reshape(*x.shape[:-1], -1) for part in y.split(rows, dim=1)]


class Layer(nn.Module):
    """One block: x += attention(norm(x)), x += feed-forward(norm(x)). Weights have their GGUF names."""

    def __init__(self, shape: Shape, graph: Graph) -> None:
        super().__init__()
        q_width, kv_width = shape.n_heads * shape.head_size, shape.n_kv_heads * shape.head_size
        # Residual branches start small enough that their sum over the layers keeps the variance of one.
        branch_std = 0.02 / math.sqrt(2 * shape.n_layers)
        self.attn_q = _weight(q_width, shape.width)
        self.attn_k = _weight(kv_width, shape.width)
        self.attn_v = _weight(kv_width, shape.width)
        self.attn_output = _weight(shape.width, q_width, branch_std)
        self.ffn_gate = _weight(shape.ff_width, shape.width)
        self.ffn_up = _weight(shape.ff_width, shape.width)
        self.ffn_down = _weight(shape.width, shape.ff_width, branch_std)
        self.attn_norm = nn.Parameter(torch.ones(shape.width))
        self.ffn_norm = nn.Parameter(torch.ones(shape.width))
        if graph.bitnet:
            self.attn_sub_norm = nn.Parameter(torch.ones(q_width))
            self.ffn_sub_norm = nn.Parameter(torch.ones(shape.ff_width))


def _weight(n_out: int, n_in: int, std: float = 0.02) -> nn.Parameter:
    return nn.Parameter(torch.randn(n_out, n_in) * std)


class Network(nn.Module):
    """tokens (B, T) → logits (B, T, n_vocab)."""

    def __init__(self, shape: Shape, graph: Graph, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape, self.graph, self.dropout = shape, graph, dropout
        self.token_embd = _weight(shape.n_vocab, shape.width)
        self.layers = nn.ModuleList(Layer(shape, graph) for _ in range(shape.n_layers))
        self.output_norm = nn.Parameter(torch.ones(shape.width))
        frequency = shape.rope_base ** (-torch.arange(0, shape.head_size, 2) / shape.head_size)
        angle = torch.outer(torch.arange(shape.context), frequency)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, tokens: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        x = self._drop(self.token_embd[tokens])
        for layer in self.layers:
            x = x + self._drop(self._attention(layer, x, dtype))
            x = x + self._drop(self._feed_forward(layer, x, dtype))
        x = self._norm(x, self.output_norm)
        return product(x, [self.token_embd], ternary=False, dtype=dtype)[0]

    def _attention(self, layer: Layer, x: Tensor, dtype: torch.dtype) -> Tensor:
        shape = self.shape
        h = self._norm(x, layer.attn_norm)
        q, k, v = product(h, [layer.attn_q, layer.attn_k, layer.attn_v], ternary=self.graph.ternary, dtype=dtype)
        q, k, v = (part.unflatten(-1, (-1, shape.head_size)).transpose(1, 2) for part in (q, k, v))
        group = shape.n_heads // shape.n_kv_heads
        q, k = self._rotate(q), self._rotate(k).repeat_interleave(group, 1)
        v = v.repeat_interleave(group, 1)
        y = functional.scaled_dot_product_attention(q.to(dtype), k.to(dtype), v.to(dtype), is_causal=True)
        y = y.transpose(1, 2).flatten(-2).float()
        if self.graph.bitnet:
            y = self._norm(y, layer.attn_sub_norm)
        return product(y, [layer.attn_output], ternary=self.graph.ternary, dtype=dtype)[0]

    def _feed_forward(self, layer: Layer, x: Tensor, dtype: torch.dtype) -> Tensor:
        h = self._norm(x, layer.ffn_norm)
        gate, up = product(h, [layer.ffn_gate, layer.ffn_up], ternary=self.graph.ternary, dtype=dtype)
        if self.graph.bitnet:
            h = self._norm(functional.relu(gate).square() * up, layer.ffn_sub_norm)
        else:
            h = functional.silu(gate) * up
        return product(h, [layer.ffn_down], ternary=self.graph.ternary, dtype=dtype)[0]

    def _drop(self, x: Tensor) -> Tensor:
        """Dropout of what enters the residual stream, in training only."""
        return functional.dropout(x, self.dropout, self.training)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), weight, self.shape.norm_eps)

    def _rotate(self, x: Tensor) -> Tensor:
        """RoPE over (B, H, T, D) with pairs (i, i + D/2)."""
        n_tokens = x.shape[-2]
        cos, sin = self.cos[:n_tokens], self.sin[:n_tokens]
        low, high = x.chunk(2, -1)
        return torch.cat([low * cos - high * sin, low * sin + high * cos], -1)

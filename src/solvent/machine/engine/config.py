"""What a model is: its sizes, its choices, and the tensors that follow from them.

Every family that the engine runs is one transformer graph with switches; `Config` holds the switches, and the
native model and the NumPy reference read nothing else. A tensor's name is its GGUF name, whatever the file.
What it doesn't do: read or validate a file (models/).
Enter at `Config` and `tensor_shapes`.
"""

from __future__ import annotations

from dataclasses import dataclass

# The linear layers of a block, in the order of their use. In BitNet these, and only these, are ternary.
LINEARS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@dataclass(frozen=True, slots=True)
class Config:
    """The sizes and switches of one model.

    width: of the residual stream.   head_size: of one query, key or value; n_heads · head_size may differ from width.
    rope_pairs: which elements turn together: "adjacent" (2i, 2i+1) or "halves" (i, i + head_size/2).
    activation: "silu" or "relu2" (max(x, 0)²), of the gate, which then multiplies the up projection.
    sub_norms: RMSNorm before attn_output and before ffn_down (BitNet).   qk_norm: RMSNorm of each head (Qwen3).
    tied: the head is the embedding; there is no output.weight.
    int8_per_token: what enters a block's linear layers is rounded to int8 with one scale a token (BitNet)."""

    family: str  # "llama" "qwen2" "qwen3" "bitnet" "bitnet-silu"
    n_layers: int
    width: int
    n_heads: int
    n_kv_heads: int
    head_size: int
    ff_width: int
    n_vocab: int
    context: int
    norm_eps: float
    rope_base: float
    rope_pairs: str
    activation: str
    sub_norms: bool
    qk_norm: bool
    qkv_bias: bool
    tied: bool
    int8_per_token: bool

    @property
    def q_width(self) -> int:
        """Rows of attn_q, and columns of attn_output."""
        return self.n_heads * self.head_size

    @property
    def kv_width(self) -> int:
        """Rows of attn_k and of attn_v: what one token adds to each of the two caches of a layer."""
        return self.n_kv_heads * self.head_size


def block_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The tensors that each block has: name within the block → (rows, columns), or (size,) for a vector."""
    shapes: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (config.width,),
        "attn_q.weight": (config.q_width, config.width),
        "attn_k.weight": (config.kv_width, config.width),
        "attn_v.weight": (config.kv_width, config.width),
        "attn_output.weight": (config.width, config.q_width),
        "ffn_norm.weight": (config.width,),
        "ffn_gate.weight": (config.ff_width, config.width),
        "ffn_up.weight": (config.ff_width, config.width),
        "ffn_down.weight": (config.width, config.ff_width),
    }
    if config.qkv_bias:
        shapes["attn_q.bias"] = (config.q_width,)
        shapes["attn_k.bias"] = shapes["attn_v.bias"] = (config.kv_width,)
    if config.qk_norm:
        shapes["attn_q_norm.weight"] = shapes["attn_k_norm.weight"] = (config.head_size,)
    if config.sub_norms:
        shapes["attn_sub_norm.weight"] = (config.q_width,)
        shapes["ffn_sub_norm.weight"] = (config.ff_width,)
    return shapes


def tensor_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that a model of this configuration needs, by its GGUF name.

    `rope_freqs.weight` (head_size/2,), which divides the rotation frequencies (Llama 3), may come on top."""
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (config.n_vocab, config.width)}
    block = block_shapes(config)
    for layer in range(config.n_layers):
        shapes.update({f"blk.{layer}.{name}": shape for name, shape in block.items()})
    shapes["output_norm.weight"] = (config.width,)
    if not config.tied:
        shapes["output.weight"] = (config.n_vocab, config.width)
    return shapes

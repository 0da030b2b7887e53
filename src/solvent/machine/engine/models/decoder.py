"""The configuration of a decoder, from metadata and tensors: what all families share.

Each family says in `Switches` how its graph differs; everything else is read from the file and checked here: every
key against its bounds, every tensor for presence, shape and type, and that there is no tensor that the graph
wouldn't use, since to ignore one computes something else than the file describes.
Enter at `decoder_config`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from solvent.errors import ModelFileError
from solvent.machine.engine.config import LINEARS, Config, tensor_shapes
from solvent.machine.engine.models.metadata import Keys, architecture, shown

if TYPE_CHECKING:
    from solvent.machine.engine.model_file import ModelFile, Tensor

# Far above any model that exists, far below what overflows.
MOST = 1 << 20
MOST_CONTEXT_TOK = 1 << 24

VECTOR_TYPES = ("f32", "f16", "bf16")
# Formats whose models were trained with activations of int8 per token, whatever the family.
# TQ1_0, TQ2_0 and Q2_0 hold models that weren't (TriLM, Bonsai), so they don't say.
INT8_TYPES = ("i2_s", "i2_s_arm", "hf_ternary")


@dataclass(frozen=True, slots=True)
class Switches:
    """How a family's graph differs; the words are those of `Config`. qkv_bias: the biases must be there."""

    family: str
    rope_pairs: str
    activation: str = "silu"
    sub_norms: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    int8_per_token: bool = False


def decoder_config(file: ModelFile, graphs: Mapping[str, Switches]) -> Config:
    """The configuration of a file of one of the architectures in `graphs`: name → how its graph differs.

    Raises: ModelFileError (a key or a tensor that is missing, wrong, or asks for another graph), naming it."""
    name = architecture(file, tuple(graphs))
    keys, switches = Keys(file, name), graphs[name]
    _refuse_other_graphs(keys)
    n_vocab, width = _embedding_shape(file)
    keys.only("embedding_length", (width,), "the columns of token_embd.weight")
    keys.only("vocab_size", (n_vocab,), "the rows of token_embd.weight")
    n_heads = keys.integer("attention.head_count", 1, MOST)
    n_kv_heads = keys.integer("attention.head_count_kv", 1, n_heads, n_heads)
    if n_heads % n_kv_heads:
        raise keys.fault("attention.head_count_kv", str(n_kv_heads), f"a divisor of the {n_heads} query heads")
    config = Config(
        family=switches.family,
        n_layers=keys.integer("block_count", 1, len(file.tensors)),
        width=width,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_size=_head_size(keys, width, n_heads),
        ff_width=keys.integer("feed_forward_length", 1, MOST),
        n_vocab=n_vocab,
        context=keys.integer("context_length", 1, MOST_CONTEXT_TOK),
        norm_eps=keys.real("attention.layer_norm_rms_epsilon", 1e-12, 0.1),
        rope_base=keys.real("rope.freq_base", 1.0, 1e12, 10_000.0),
        rope_pairs=_rope_pairs(file, switches.rope_pairs),
        activation=switches.activation,
        sub_norms=switches.sub_norms,
        qk_norm=switches.qk_norm,
        qkv_bias=switches.qkv_bias or "blk.0.attn_q.bias" in file.tensors,
        tied="output.weight" not in file.tensors,
        int8_per_token=switches.int8_per_token or _has_int8_types(file),
    )
    _check_tokens(file, n_vocab)
    _check_tensors(file, config)
    return config


def _refuse_other_graphs(keys: Keys) -> None:
    """Keys whose presence means that the model isn't the graph that the engine computes."""
    keys.only("expert_count", (0,), "mixtures of experts don't run here")
    keys.only("attention.causal", (True,), "only causal attention runs here")
    keys.only("rope.scaling.type", ("none", "linear"), "of scaled rotations only rope_freqs.weight runs here")
    for key in ("rope.scaling.factor", "rope.scale_linear"):
        keys.only(key, (1.0, 0.0), "of scaled rotations only rope_freqs.weight runs here")
    for key in ("attention.clamp_kqv", "attention.max_alibi_bias", "attn_logit_softcapping", "final_logit_softcapping"):
        keys.only(key, (0.0,), "this graph isn't computed here")
    for key in ("embedding_scale", "residual_scale", "logit_scale"):
        keys.only(key, (1.0, 0.0), "this graph isn't computed here")
    context = keys.integer("context_length", 1, MOST_CONTEXT_TOK)
    window = keys.integer("attention.sliding_window", 0, MOST_CONTEXT_TOK, 0)
    if 0 < window < context:
        raise keys.fault("attention.sliding_window", str(window), f"none, or at least the context of {context}")


def _embedding_shape(file: ModelFile) -> tuple[int, int]:
    """(n_vocab, width), from token_embd.weight: the tensor is the fact, the keys must agree."""
    tensor = _tensor(file, "token_embd.weight")
    if len(tensor.shape) != 2 or not all(1 <= size <= MOST for size in tensor.shape):
        raise ModelFileError(
            f"{file.path.name}: token_embd.weight",
            f"shape {shown(tensor.shape)}",
            f"(vocabulary, width), each from 1 to {MOST}",
        )
    return tensor.shape[0], tensor.shape[1]


def _head_size(keys: Keys, width: int, n_heads: int) -> int:
    """Size of a head: attention.key_length, else width / heads; even, since RoPE turns pairs."""
    divisible = width % n_heads == 0
    head_size = keys.integer("attention.key_length", 1, MOST, width // n_heads if divisible else None)
    if head_size % 2:
        raise keys.fault("attention.key_length", str(head_size), "an even head size, of which RoPE turns the pairs")
    keys.only("attention.value_length", (head_size,), "keys and values have one size here")
    keys.only("rope.dimension_count", (head_size,), "the whole head turns here")
    return head_size


def _rope_pairs(file: ModelFile, usual: str) -> str:
    value = file.metadata.get("solvent.rope_pairs", usual)
    if not isinstance(value, str) or value not in ("adjacent", "halves"):
        raise ModelFileError(f"{file.path.name}: solvent.rope_pairs", shown(value), "adjacent or halves")
    return value


def _has_int8_types(file: ModelFile) -> bool:
    """Whether the blocks' linear layers are of a format that implies int8 activations; all of them or none.

    Raises: ModelFileError (some are and some aren't: the graph has one switch for all)."""
    linears = [t for t in file.tensors.values() if t.name.startswith("blk.") and t.name.split(".")[-2] in LINEARS]
    linears = [t for t in linears if t.name.endswith(".weight")]
    ternary = [t for t in linears if t.type in INT8_TYPES]
    if ternary and len(ternary) < len(linears):
        odd = next(t for t in linears if t.type not in INT8_TYPES)
        raise ModelFileError(
            f"{file.path.name}: {odd.name}", f"type {odd.type}", f"{ternary[0].type} as in {ternary[0].name}"
        )
    return bool(ternary)


def _check_tokens(file: ModelFile, n_vocab: int) -> None:
    """A tokeniser mustn't make tokens that have no embedding; rows without a token are padding."""
    tokens = file.metadata.get("tokenizer.ggml.tokens", ())
    n_tokens = len(tokens) if isinstance(tokens, Sequence) else None
    if n_tokens is None or n_tokens > n_vocab:
        raise ModelFileError(
            f"{file.path.name}: tokenizer.ggml.tokens",
            shown(tokens) if n_tokens is None else f"{n_tokens} tokens",
            f"at most {n_vocab} tokens, the rows of token_embd.weight",
        )


def _check_tensors(file: ModelFile, config: Config) -> None:
    """Every tensor of the graph is there with its shape and a type that can be read, and no other is."""
    expected = tensor_shapes(config)
    if "rope_freqs.weight" in file.tensors:
        expected["rope_freqs.weight"] = (config.head_size // 2,)
    for name, shape in expected.items():
        _check_tensor(file, name, shape)
    unused = next((name for name in file.tensors if name not in expected), None)
    if unused is not None:
        raise ModelFileError(
            f"{file.path.name}: {unused[:96]}",
            "a tensor that this graph doesn't use",
            f"the {len(expected)} tensors of a {config.family} model of {config.n_layers} blocks",
        )
    if "rope_freqs.weight" in file.tensors:
        _check_rope_factors(file)


def _check_tensor(file: ModelFile, name: str, shape: tuple[int, ...]) -> None:
    from solvent.machine.engine.quants import TYPES

    tensor = _tensor(file, name)
    where = f"{file.path.name}: {name}"
    if tuple(tensor.shape) != shape:
        raise ModelFileError(where, f"shape {shown(tensor.shape)}", f"shape {shape}")
    allowed = VECTOR_TYPES if len(shape) == 1 else tuple(TYPES)
    if tensor.type not in allowed:
        raise ModelFileError(where, f"type {shown(tensor.type)}", f"one of {', '.join(allowed)}")


def _check_rope_factors(file: ModelFile) -> None:
    """Frequencies are divided by these."""
    from solvent.machine.engine.quants import dequantise

    factors = dequantise(file.tensors["rope_freqs.weight"])
    if not all(1e-6 < factor < 1e6 for factor in factors.tolist()):
        raise ModelFileError(f"{file.path.name}: rope_freqs.weight", "a factor out of range", "factors around 1 to 32")


def _tensor(file: ModelFile, name: str) -> Tensor:
    tensor = file.tensors.get(name)
    if tensor is None:
        raise ModelFileError(f"{file.path.name}: {name}", "missing", "this tensor")
    return tensor

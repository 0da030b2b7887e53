"""config.json of Hugging Face's models as GGUF metadata, and its tensors' names as GGUF's.

Only a translation: whether the numbers make a model is for models/<family>.py to judge. A name or a model type that
has no translation is an error, since to leave a tensor out computes another model.
Enter at `metadata_of` and `gguf_name`. Source: transformers configuration_{llama,qwen2,qwen3,bitnet}.py; gguf's
tensor_mapping.py for the names.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvent.errors import ModelFileError
from solvent.machine.engine.json_file import Fields
from solvent.machine.engine.model_file import shown

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
# Within a block; inner_attn_ln and ffn_layernorm are what 1bitLLM's models call BitNet's two norms.
BLOCK_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "self_attn.inner_attn_ln": "attn_sub_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "mlp.ffn_layernorm": "ffn_sub_norm",
}
BLOCK = re.compile(r"model\.layers\.(0|[1-9]\d{0,4})\.(.+)\.(weight|bias|weight_scale)")
# Computed from the configuration; some files hold them all the same.
COMPUTED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq|model\.rotary_emb\.inv_freq")
ACTIVATIONS = {"llama": ("silu",), "qwen2": ("silu",), "qwen3": ("silu",), "bitnet": ("silu", "relu2")}


def gguf_name(name: str, where: str) -> str | None:
    """A tensor's GGUF name; None for one that is computed and needn't be read.

    Raises: ModelFileError (no translation)."""
    if name in NAMES:
        return NAMES[name]
    match = BLOCK.fullmatch(name)
    if match and match[2] in BLOCK_NAMES:
        return f"blk.{match[1]}.{BLOCK_NAMES[match[2]]}.{match[3]}"
    if COMPUTED.fullmatch(name):
        return None
    raise ModelFileError(
        f"{where}: tensor {shown(name)}", "a name of no known meaning", "a Llama, Qwen or BitNet tensor"
    )


def metadata_of(config: Fields) -> dict[str, Any]:
    """GGUF metadata that say what config.json says.

    `solvent.rope_pairs` is "halves": Hugging Face's files aren't permuted for adjacent pairs.
    Raises: ModelFileError (a model type that isn't read, a value of the wrong kind), naming the key."""
    arch = _architecture(config)
    n_heads = config.integer("num_attention_heads")
    if n_heads == 0:
        raise config.fault("num_attention_heads", "at least one")
    metadata: dict[str, Any] = {
        "general.architecture": arch,
        f"{arch}.block_count": config.integer("num_hidden_layers"),
        f"{arch}.context_length": config.integer("max_position_embeddings"),
        f"{arch}.embedding_length": config.integer("hidden_size"),
        f"{arch}.feed_forward_length": config.integer("intermediate_size"),
        f"{arch}.attention.head_count": n_heads,
        f"{arch}.attention.head_count_kv": config.integer("num_key_value_heads", n_heads),
        f"{arch}.attention.layer_norm_rms_epsilon": config.real("rms_norm_eps", 1e-6),
        f"{arch}.rope.freq_base": _rope(config).real("rope_theta", 10_000.0),
        f"{arch}.vocab_size": config.integer("vocab_size"),
        "solvent.rope_pairs": "halves",
    }
    head_size = config.integer("head_dim", config.integer("hidden_size") // n_heads)
    for key in ("attention.key_length", "attention.value_length"):
        metadata[f"{arch}.{key}"] = head_size
    turning = _rope(config).real("partial_rotary_factor", config.real("partial_rotary_factor", 1.0))
    metadata[f"{arch}.rope.dimension_count"] = int(turning * head_size)
    if config.flag("use_sliding_window"):
        metadata[f"{arch}.attention.sliding_window"] = config.integer("sliding_window")
    kind = _rope_kind(config)
    if kind not in ("default", "llama3"):
        metadata[f"{arch}.rope.scaling.type"] = kind
        metadata[f"{arch}.rope.scaling.factor"] = _rope(config).real("factor", 1.0)
    return metadata


def _architecture(config: Fields) -> str:
    kind = config.text("model_type")
    if "BitnetForCausalLM" in config.items("architectures"):
        kind = "bitnet"
    if kind not in ACTIVATIONS:
        raise config.fault("model_type", f"one of {', '.join(ACTIVATIONS)}", "convert it to GGUF, or use another model")
    activation = config.text("hidden_act", "silu")
    if activation not in ACTIVATIONS[kind]:
        raise config.fault("hidden_act", " or ".join(ACTIVATIONS[kind]))
    return "bitnet-b1.58" if activation == "relu2" else kind


def _rope(config: Fields) -> Fields:
    """What says how positions turn: `rope_parameters`, or the older `rope_scaling` beside `rope_theta`."""
    if config.has("rope_parameters"):
        return config.fields("rope_parameters")
    older = config.fields("rope_scaling")
    theta = {"rope_theta": config.values["rope_theta"]} if config.has("rope_theta") else {}
    return Fields(older.where, {**older.values, **theta})


def _rope_kind(config: Fields) -> str:
    rope = _rope(config)
    return rope.text("rope_type", rope.text("type", "default"))


def rope_factors(config: Fields) -> NDArray[np.float32] | None:
    """What divides each rotation frequency in Llama 3's long contexts, as GGUF's rope_freqs.weight; None elsewhere.

    1 for wavelengths shorter than old/high, `factor` for those longer than old/low, and between the two
    1 / ((1 − s)/factor + s) with s = (old/wavelength − low)/(high − low).   → (head_size/2,) float32
    Exactness: computed in double precision, rounded once.   Raises: ModelFileError (a factor that is missing or ≤ 0).
    Source: transformers modeling_rope_utils.py, _compute_llama3_parameters"""
    if _rope_kind(config) != "llama3":
        return None
    rope = _rope(config)
    factor, low, high = (rope.real(key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    old, base = rope.real("original_max_position_embeddings"), rope.real("rope_theta", 10_000.0)
    n_heads = config.integer("num_attention_heads")
    head_size = config.integer("head_dim", config.integer("hidden_size") // max(n_heads, 1))
    if not (factor > 0 and 0 < low < high and old > 0 and base > 1 and 2 <= head_size <= 1 << 16):
        key = "rope_parameters" if config.has("rope_parameters") else "rope_scaling"
        raise config.fault(key, "0 < low_freq_factor < high_freq_factor, and the rest positive")
    wavelengths = 2 * math.pi * base ** (np.arange(0, head_size, 2) / head_size)
    with np.errstate(over="ignore"):  # low and high next to 0, and next to each other
        smooth = np.clip((old / wavelengths - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)

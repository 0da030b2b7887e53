"""Makes tests/golden/engine/*.json: logits of tiny random models, computed by transformers in float32.

Each case is a model of tests/engine_models.py, named by its seed, carried into the transformers class of its family.
Where linear layers round activations to int8, a rounding difference of a float32 sum can flip a code, which is no
fault; such cases take the first seed whose activations all keep CLEAR of a tie, so that no flip can happen.
Needs torch==2.13.0 and transformers==5.23.0. Run: python tools/golden_engine.py
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
# BitLinear's methods are compiled unless this says otherwise; they mean the same.
os.environ["TORCHDYNAMO_DISABLE"] = "1"

import engine_models  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers.integrations.bitnet import AutoBitLinear, BitLinear  # noqa: E402

from solvent.machine.engine import models  # noqa: E402
from solvent.machine.engine.config import LINEARS, Config  # noqa: E402
from solvent.machine.engine.model_file import ModelFile, Tensor  # noqa: E402

# Distance of x · s from the nearest tie, in codes: about ten times the error of a float32 sum at 127.
CLEAR = 5e-4
PLAIN = {"width": 64, "n_heads": 4, "head_size": 16, "ff_width": 128, "n_vocab": 48}
# Few activations, so that a seed without near-ties is soon found.
INT8 = {"width": 32, "n_heads": 4, "head_size": 8, "ff_width": 64, "n_vocab": 48}
TOKENS = [1, 17, 17, 5, 46, 0, 30, 9]
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}

# Name → family, types of tensors, sizes, tokens, and how transformers computes the linear layers.
CASES: dict[str, dict[str, Any]] = {
    "llama_adjacent": {"family": "llama", "sizes": PLAIN},
    "llama_halves": {"family": "llama", "sizes": {**PLAIN, "rope_pairs": "halves", "tied": False}},
    "llama3_rope": {"family": "llama", "sizes": {**PLAIN, "rope_freqs": True, "rope_base": 500_000.0}},
    "llama_hf_ternary": {
        "family": "llama",
        "types": "hf_ternary",
        "sizes": {**INT8, "rope_pairs": "halves"},
        "linear": "BitLinear",
    },
    "qwen2": {"family": "qwen2", "sizes": PLAIN},
    "qwen3": {"family": "qwen3", "sizes": {**PLAIN, "n_heads": 8}},
    "bitnet_float_activations": {"family": "bitnet", "sizes": {**PLAIN, "int8_per_token": False}},
    "bitnet": {"family": "bitnet", "sizes": INT8, "linear": "AutoBitLinear"},
    "bitnet_silu": {"family": "bitnet-silu", "sizes": INT8, "linear": "AutoBitLinear"},
}

# GGUF's name within a block → transformers'.
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_sub_norm": "self_attn.attn_sub_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_sub_norm": "mlp.ffn_sub_norm",
}
CLASSES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    "bitnet": (transformers.BitNetConfig, transformers.BitNetForCausalLM),
    "bitnet-silu": (transformers.BitNetConfig, transformers.BitNetForCausalLM),
}


def main() -> None:
    folder = ROOT / "tests" / "golden" / "engine"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, case in CASES.items():
        document = golden(case)
        (folder / f"{name}.json").write_text(json.dumps(document) + "\n", "utf-8")
        print(f"{name}: seed {document['seed']}, largest logit {np.abs(document['logits']).max():.3g}", file=sys.stderr)


def golden(case: dict[str, Any]) -> dict[str, Any]:
    """One golden document: what makes the model again, and the logits of transformers' model of it."""
    linear = case.get("linear", "Linear")
    tokens = TOKENS if linear == "Linear" else TOKENS[:4]
    types = case.get("types", "f32")
    seed = next(s for s in range(1000) if linear == "Linear" or clearance(case, types, s, tokens) > CLEAR)
    file = engine_models.tiny(case["family"], types, seed, **case["sizes"])
    model = transformers_model(file, models.config(file), linear, case["sizes"])
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0].numpy()
    document = {
        "made_by": f"tools/golden_engine.py with transformers {transformers.__version__} "
        f"{type(model).__name__} ({linear}), torch {torch.__version__}, float32",
        "family": case["family"],
        "types": types,
        "seed": seed,
        "sizes": {**case["sizes"]},
        "weights_crc32": engine_models.checksum(file),
        "tokens": tokens,
        "logits": [[float(f"{value:.9g}") for value in row] for row in logits.astype(float)],
    }
    if case["sizes"].get("rope_freqs"):
        document["rope_factors"] = [float(f"{value:.9g}") for value in llama3_factors(model)]
    return document


def clearance(case: dict[str, Any], types: str, seed: int, tokens: list[int]) -> float:
    """How far the activation nearest to a tie is from it, in codes."""
    file = engine_models.tiny(case["family"], types, seed, **case["sizes"])
    return engine_models.clearance(models.config(file), engine_models.weights(file), tokens)


def transformers_model(file: ModelFile, config: Config, linear: str, sizes: dict[str, Any]) -> torch.nn.Module:
    """The model of `file` as transformers computes it, in float32 with its plain attention."""
    make_config, make_model = CLASSES[config.family]
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_base}
    if sizes.get("rope_freqs"):
        rope |= {"rope_type": "llama3", **LLAMA3}
    hf_config = make_config(
        hidden_size=config.width,
        intermediate_size=config.ff_width,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        head_dim=config.head_size,
        vocab_size=config.n_vocab,
        max_position_embeddings=config.context,
        rms_norm_eps=config.norm_eps,
        rope_parameters=rope,
        hidden_act={"silu": "silu", "relu2": "relu2"}[config.activation],
        tie_word_embeddings=config.tied,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
        attn_implementation="eager",
    )
    model = make_model(hf_config).to(torch.float32).eval()
    state = {hf_name(name): hf_values(tensor, config) for name, tensor in file.tensors.items()}
    state.pop("rope_freqs.weight", None)
    if linear != "Linear":
        replace_linears(model, file, linear, state)
    if config.tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=False)
    loaded = model.state_dict()
    unset = [name for name in loaded if name not in state and not name.endswith("weight_scale")]
    assert not unset and set(state) <= set(loaded), (unset, set(state) - set(loaded))
    return model


def replace_linears(model: torch.nn.Module, file: ModelFile, linear: str, state: dict[str, torch.Tensor]) -> None:
    """The blocks' linear layers become transformers' BitNet ones: AutoBitLinear multiplies by its scale, BitLinear
    divides by it and takes packed codes."""
    for name, tensor in file.tensors.items():
        if len(tensor.shape) != 2 or name.split(".")[-2] not in LINEARS:
            continue
        values = engine_models.weights(file)[name]
        scale = float(np.abs(values).max())
        path = hf_name(name).removesuffix(".weight")
        rows, columns = tensor.shape
        if linear == "AutoBitLinear":
            layer = AutoBitLinear(columns, rows, bias=False, dtype=torch.float32)
            state[f"{path}.weight"] = torch.from_numpy(np.rint(values / scale).astype(np.float32))
            layer.weight_scale.fill_(scale)
        else:
            layer = BitLinear(columns, rows, bias=False, dtype=torch.float32)
            state[f"{path}.weight"] = torch.from_numpy(tensor.data.reshape(rows // 4, columns).copy())
            layer.weight_scale.fill_(1 / scale)
        model.set_submodule(path, layer)


def hf_name(name: str) -> str:
    if name.startswith("blk."):
        _, layer, part, kind = name.split(".")
        return f"model.layers.{layer}.{NAMES[part]}.{kind}"
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    part, kind = name.split(".")
    return f"{names.get(part, part)}.{kind}"


def hf_values(tensor: Tensor, config: Config) -> torch.Tensor:
    """The tensor's values; adjacent pairs of queries and keys become halves, as transformers has them."""
    values = engine_models.dequantise(tensor)
    part = tensor.name.split(".")[-2]
    if config.rope_pairs == "adjacent" and part in ("attn_q", "attn_k"):
        heads = values.reshape(-1, config.head_size // 2, 2, *values.shape[1:])
        values = heads.swapaxes(1, 2).reshape(values.shape)
        assert tensor.type == "f32" or part not in LINEARS, "packed codes would have to be permuted too"
    return torch.from_numpy(np.ascontiguousarray(values))


def llama3_factors(model: torch.nn.Module) -> np.ndarray:
    """What transformers' llama3 rotation divides the frequencies by."""
    rotary = model.model.rotary_emb
    plain, _ = rotary.compute_default_rope_parameters(model.config)
    return (plain / rotary.inv_freq).double().numpy()


if __name__ == "__main__":
    main()

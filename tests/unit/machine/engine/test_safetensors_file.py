"""Directories of Hugging Face's: what transformers and safetensors write is read the same; lies are named.

torch and transformers aren't needed: safetensors' own NumPy writer makes the files, and the packing and the two
meanings of a scale are written out here from transformers' definitions."""

from __future__ import annotations

import json
import os
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from solvent.errors import ModelFileError
from solvent.machine.engine import hf_tokeniser, json_file, models, safetensors_file
from solvent.machine.engine.model_file import open_model
from solvent.machine.engine.quants import dequantise
from solvent.machine.engine.tokeniser import Tokeniser

CONFIG: dict[str, Any] = {
    "model_type": "llama", "hidden_act": "silu", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 16, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
}  # fmt: skip
TERNARY = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}
ROPE: dict[str, Any] = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192, "rope_theta": 500000.0,
}  # fmt: skip
Q = "model.layers.0.self_attn.q_proj.weight"


def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    shapes = {
        "model.embed_tokens.weight": (16, 8), Q: (8, 8), "model.layers.0.self_attn.k_proj.weight": (4, 8),
        "model.layers.0.self_attn.v_proj.weight": (4, 8), "model.layers.0.self_attn.o_proj.weight": (8, 8),
        "model.layers.0.mlp.gate_proj.weight": (12, 8), "model.layers.0.mlp.up_proj.weight": (12, 8),
        "model.layers.0.mlp.down_proj.weight": (8, 12), "model.layers.0.input_layernorm.weight": (8,),
        "model.layers.0.post_attention_layernorm.weight": (8,), "model.norm.weight": (8,), "lm_head.weight": (16, 8),
    }  # fmt: skip
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def made(folder: Path, tensors: dict[str, np.ndarray], **changed: Any) -> Path:
    save_file(tensors, folder / "model.safetensors")
    config = {key: value for key, value in {**CONFIG, **changed}.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def packed(ternary: np.ndarray) -> np.ndarray:
    """transformers' pack_weights: rows r, r + M/4, … in bits 0–1, 2–3, …"""
    codes = (ternary + 1).astype(np.uint8).reshape(4, -1, ternary.shape[1])
    return codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6


def test_names_metadata_and_weights(tmp_path: Path) -> None:
    tensors = arrays()
    model = open_model(made(tmp_path, tensors))
    assert set(model.tensors) == {
        "token_embd.weight", "output_norm.weight", "output.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight",
        "blk.0.attn_k.weight", "blk.0.attn_v.weight", "blk.0.attn_output.weight", "blk.0.ffn_norm.weight",
        "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight",
    }  # fmt: skip
    assert (dequantise(model.tensors["blk.0.ffn_down.weight"]) == tensors["model.layers.0.mlp.down_proj.weight"]).all()
    assert (dequantise(model.tensors["blk.0.ffn_norm.weight"])
            == tensors["model.layers.0.post_attention_layernorm.weight"]).all()  # fmt: skip
    expected = {
        "general.architecture": "llama", "llama.block_count": 1, "llama.embedding_length": 8,
        "llama.attention.head_count": 2, "llama.attention.head_count_kv": 1, "llama.attention.key_length": 4,
        "llama.rope.freq_base": 10000.0, "llama.context_length": 64, "solvent.rope_pairs": "halves",
    }  # fmt: skip
    assert expected.items() <= model.metadata.items()
    assert open_model(tmp_path / "model.safetensors").tensors.keys() == model.tensors.keys()


def test_half_precision_and_shards(tmp_path: Path) -> None:
    """F16 and BF16, in two files named by an index; BF16 by hand, as NumPy has none."""
    tensors = arrays()
    halves = {name: value.astype(np.float16) for name, value in tensors.items() if name != Q}
    save_file(halves, tmp_path / "model-00001-of-00002.safetensors")
    raw = (tensors[Q].view(np.uint32) >> 16).astype("<u2").tobytes()
    write_raw(tmp_path / "model-00002-of-00002.safetensors", {Q: ("BF16", (8, 8), raw)})
    shards = dict.fromkeys(halves, "model-00001-of-00002.safetensors") | {Q: "model-00002-of-00002.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}), "utf-8")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), "utf-8")
    model = open_model(tmp_path)
    assert model.tensors["token_embd.weight"].type == "f16" and model.tensors["blk.0.attn_q.weight"].type == "bf16"
    cut_off = (tensors[Q].view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    assert (dequantise(model.tensors["blk.0.attn_q.weight"]) == cut_off).all()
    save_file(halves | {Q: np.ones((8, 8), np.float16)}, tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelFileError, match=r"tensor .*q_proj.weight: a tensor that another file holds too"):
        open_model(tmp_path)
    save_file(halves, tmp_path / "model-00001-of-00002.safetensors")
    shards["model.norm.bias"] = "model-00002-of-00002.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}), "utf-8")
    with pytest.raises(ModelFileError, match=r"tensor model.norm.bias: in no file"):
        open_model(tmp_path)
    for file in ("../b.safetensors", ["b.safetensors"], "b.bin", ""):
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": file}}), "utf-8")
        with pytest.raises(ModelFileError, match=r"weight_map: .*expected names of .safetensors files beside it"):
            open_model(tmp_path)


def write_raw(path: Path, tensors: dict[str, tuple[str, tuple[int, ...], bytes]]) -> None:
    header, at = {}, 0
    for name, (kind, shape, raw) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(raw for _, _, raw in tensors.values()))


@pytest.mark.parametrize(
    ("layer", "stored", "factor"),
    [("autobitlinear", 0.25, 0.25), ("bitlinear", 4.0, 0.25), (..., 4.0, 0.25), ("autobitlinear", 1.25, 1.25)],
)
def test_packed_ternary_under_both_scale_conventions(tmp_path: Path, layer: Any, stored: float, factor: float) -> None:
    """AutoBitLinear's y = (W·x)·scale, BitLinear's y = (W·x)/scale; BitLinear where no layer is named."""
    ternary = np.random.default_rng(4).integers(-1, 2, (8, 8))
    tensors = arrays() | {Q: packed(ternary), f"{Q}_scale": np.array([stored], np.float32)}
    quantised = {key: value for key, value in {**TERNARY, "linear_class": layer}.items() if value is not ...}
    model = open_model(made(tmp_path, tensors, quantization_config=quantised))
    tensor = model.tensors["blk.0.attn_q.weight"]
    assert tensor.type == "hf_ternary" and tensor.shape == (8, 8) and tensor.scale == factor
    assert (dequantise(tensor) == factor * ternary).all()


@pytest.mark.parametrize(
    ("changed", "scale", "said"),
    [
        ({"linear_class": "autobitlinear"}, [50.0], r"q_proj.weight_scale: 50, so weights of ±50 .*bitlinear divides"),
        ({"linear_class": "bitlinear"}, [0.02], r"q_proj.weight_scale: 0.02, so weights of ±50 under .*bitlinear"),
        ({"linear_class": "bitlinear"}, [0.0], "weights of ±inf"),
        ({"linear_class": "bitlinear"}, [float("nan")], "weights of ±nan"),
        ({"linear_class": "autobitlinear"}, [-0.5], "weights of ±-0.5"),
        ({"linear_class": "other"}, [0.5], "linear_class: 'other'"),
        ({"quant_method": "gptq"}, [0.5], "quant_method: 'gptq'; expected \"bitnet\", since there are packed"),
        ({}, [0.5, 0.5], r"q_proj.weight_scale: missing, or no single float"),
        ({}, None, r"q_proj.weight_scale: missing, or no single float"),
    ],
)
def test_a_scale_read_the_wrong_way_round_is_seen(tmp_path: Path, changed: Any, scale: Any, said: str) -> None:
    tensors = arrays() | {Q: packed(np.ones((8, 8)))}
    if scale is not None:
        tensors[f"{Q}_scale"] = np.array(scale, np.float32)
    with pytest.raises(ModelFileError, match=said):
        open_model(made(tmp_path, tensors, quantization_config={**TERNARY, **changed}))


def test_packed_weights_have_two_dimensions_and_names_one_meaning(tmp_path: Path) -> None:
    tensors = arrays() | {Q: np.ones(16, np.uint8), f"{Q}_scale": np.ones(1, np.float32)}
    with pytest.raises(ModelFileError, match=r"q_proj.weight: shape \(16,\) in U8"):
        open_model(made(tmp_path, tensors, quantization_config=TERNARY))
    norms = ("attn_sub_norm", "inner_attn_ln")
    twice = arrays() | {f"model.layers.0.self_attn.{name}.weight": np.ones(8, np.float32) for name in norms}
    with pytest.raises(ModelFileError, match=r"a second blk.0.attn_sub_norm.weight"):
        open_model(made(tmp_path, twice))


def test_a_master_copy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="a master copy, to be made ternary at every start"):
        open_model(made(tmp_path, arrays(), quantization_config={**TERNARY, "quantization_mode": "online"}))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model_type": "mamba"}, "config.json: model_type: 'mamba'; expected one of llama, qwen2"),
        ({"model_type": ...}, "config.json: model_type: missing"),
        ({"hidden_act": "gelu"}, "config.json: hidden_act: 'gelu'; expected silu"),
        ({"hidden_size": "8"}, "config.json: hidden_size: '8'; expected a whole number"),
        ({"hidden_size": True}, "config.json: hidden_size: True"),
        ({"num_attention_heads": 0}, "config.json: num_attention_heads: 0"),
        ({"rms_norm_eps": float("nan")}, "config.json: rms_norm_eps: nan"),
        ({"rope_parameters": []}, r"config.json: rope_parameters: \[\]"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "rope_parameters: factor: missing"),
        ({"rope_parameters": ROPE | {"factor": 0}}, "rope_parameters: .*expected 0 < low_freq_factor"),
        ({"rope_parameters": ROPE | {"low_freq_factor": 4.0}}, "rope_parameters: .*expected 0 < low_freq_factor"),
        ({"rope_parameters": ROPE, "head_dim": 1 << 30}, "rope_parameters: .*expected 0 < low_freq_factor"),
        ({"rope_parameters": ROPE | {"low_freq_factor": 0}}, "rope_parameters: .*expected 0 < low_freq_factor"),
        ({"rope_scaling": ROPE | {"factor": 0}}, "rope_scaling: .*expected 0 < low_freq_factor"),
        ({"partial_rotary_factor": "x"}, "partial_rotary_factor: 'x'; expected a finite number"),
        ({"model_type": 1}, "model_type: 1; expected text"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings: 1; expected true or false"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quant_method: 'gptq'; expected \"bitnet\", or no"),
    ],
)
def test_a_configuration_that_cant_be_read_is_named(tmp_path: Path, changed: Any, said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        open_model(made(tmp_path, arrays(), **changed))


def test_tied_qwen_bitnet_and_llama_3(tmp_path: Path) -> None:
    tied = open_model(made(tmp_path, arrays(), tie_word_embeddings=True))
    assert "output.weight" not in tied.tensors
    extra = {
        "model.layers.0.self_attn.q_norm.weight": np.ones(4, np.float32),
        "model.layers.0.self_attn.q_proj.bias": np.ones(8, np.float32),
        "model.layers.0.self_attn.attn_sub_norm.weight": np.ones(8, np.float32),
        "model.layers.0.mlp.ffn_sub_norm.weight": np.ones(12, np.float32),
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32),
    }
    names = open_model(made(tmp_path, arrays() | extra, model_type="qwen3", head_dim=4)).tensors
    assert names.keys() >= {
        "blk.0.attn_q_norm.weight", "blk.0.attn_q.bias", "blk.0.attn_sub_norm.weight", "blk.0.ffn_sub_norm.weight",
    }  # fmt: skip
    assert len(names) == len(arrays()) + 4
    for act, architecture in (("relu2", "bitnet-b1.58"), ("silu", "bitnet")):
        bitnet = open_model(made(tmp_path, arrays(), model_type="bitnet", hidden_act=act))
        assert bitnet.metadata["general.architecture"] == architecture
    with pytest.raises(ModelFileError, match=r"tensor model.layers.0.mlp.experts.weight: a name of no known meaning"):
        open_model(made(tmp_path, arrays() | {"model.layers.0.mlp.experts.weight": np.ones(4, np.float32)}))


def test_long_contexts_of_llama_3_get_their_factors(tmp_path: Path) -> None:
    """Head size 8, base 500,000: wavelengths 2π·base^(i/4), by Llama 3.1's numbers, and what transformers computes."""
    model = open_model(made(tmp_path, arrays(), rope_parameters=ROPE, head_dim=8))
    factors = dequantise(model.tensors["rope_freqs.weight"])
    # Wavelengths 6.28, 167.1, 4442.9, 118142: below 8192/4, below it, between (s = 0.2813), above 8192.
    smooth = (8192 / (2 * np.pi * 500000**0.5) - 1) / 3
    expected = [1.0, 1.0, 1 / ((1 - smooth) / 8 + smooth), 8.0]
    # One rounding to float32.
    assert np.allclose(factors, expected, rtol=2**-24, atol=0)
    assert not np.allclose(factors, np.array(expected) * (1 + 2**-22), rtol=2**-24, atol=0)
    older = {**ROPE, "type": "llama3"}
    theta = older.pop("rope_theta")
    del older["rope_type"]
    same = open_model(made(tmp_path, arrays(), rope_scaling=older, rope_theta=theta, head_dim=8))
    assert (dequantise(same.tensors["rope_freqs.weight"]) == factors).all()
    assert same.metadata["llama.rope.freq_base"] == 500000.0


def test_factors_out_of_any_range_are_no_warning(tmp_path: Path) -> None:
    """low and high below 1e-300: the division overflows, and s is 1 as for every wavelength far below them."""
    wild = {**ROPE, "low_freq_factor": 1e-320, "high_freq_factor": 2e-320}
    model = open_model(made(tmp_path, arrays(), rope_parameters=wild, head_dim=8))
    assert dequantise(model.tensors["rope_freqs.weight"]).tolist() == [1, 1, 1, 1]


def test_a_head_of_which_a_part_turns_is_refused(tmp_path: Path) -> None:
    for where in ({"partial_rotary_factor": 0.5}, {"rope_parameters": {"partial_rotary_factor": 0.5}}):
        with pytest.raises(ModelFileError, match=r"llama.rope.dimension_count: 2; expected 4 \(the whole head turns"):
            models.config(open_model(made(tmp_path, arrays(), **where)))


def test_what_config_json_says_about_the_graph_is_not_passed_over(tmp_path: Path) -> None:
    """1bitLLM's models call themselves Llama by type; a window over fewer tokens is another attention; without
    head_dim a head has width / heads elements."""
    folder = made(tmp_path, arrays(), architectures=["BitnetForCausalLM"])
    assert open_model(folder).metadata["general.architecture"] == "bitnet"
    for window, refused in ((32, True), (64, False)):
        folder = made(tmp_path, arrays(), use_sliding_window=True, sliding_window=window)
        if refused:
            with pytest.raises(ModelFileError, match=r"attention\.sliding_window: 32; expected none, or at least"):
                models.config(open_model(folder))
        else:
            assert models.config(open_model(folder)).context == 64
    folder = made(tmp_path, arrays(), rope_parameters=ROPE)
    assert open_model(folder).tensors["rope_freqs.weight"].shape == (2,)


@pytest.mark.parametrize("kind", ["yarn", "linear", "dynamic", "longrope"])
def test_a_scaling_of_positions_that_isnt_computed_is_refused(kind: str, tmp_path: Path) -> None:
    for key in ("rope_type", "type"):
        folder = made(tmp_path, arrays(), rope_scaling={key: kind, "factor": 4.0})
        with pytest.raises(ModelFileError, match=r"llama\.rope\.scaling\.(type|factor): .*of scaled rotations only"):
            models.config(open_model(folder))


def raw_header(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def claim(kind: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0\0", "header: 0 bytes in a file of 2"),
        (raw_header({}, length=1 << 62), "header: 4611686018427387904 bytes"),
        (raw_header(b"not json"), r"header: no JSON"),
        (raw_header(b"[" * 100_000), r"header: no JSON"),
        (raw_header(b"[]"), "header: a JSON list"),
        (raw_header(b"\xff\xff"), "header: no JSON"),
        (raw_header(b'{"a": 1, "a": 2}'), "header: 'a' twice"),
        (raw_header(b'{"a": ' + b"9" * 5000 + b"}"), "header: no JSON"),
        (raw_header({"a": 1}), "tensor a: a JSON int"),
        (raw_header({"a": claim("F31")}, bytes(8)), "tensor a: .*types known: F32"),
        (raw_header({"a": claim(["F32"])}, bytes(8)), "tensor a: "),
        (raw_header({"a": claim(shape=[2.0])}, bytes(8)), "tensor a: "),
        (raw_header({"a": claim(shape=[-2])}, bytes(8)), "tensor a: "),
        (raw_header({"a": claim(shape=[1, 1, 1, 1, 2])}, bytes(8)), "tensor a: .*shape of up to 4"),
        (raw_header({"a": claim(shape=[True, 2])}, bytes(8)), "tensor a: "),
        (raw_header({"a": claim(shape=[1] * 5)}, bytes(8)), "tensor a: "),
        (raw_header({"a": claim(shape=None)}, bytes(8)), "tensor a: "),
        (raw_header({"a": claim(offsets=[0])}, bytes(8)), "tensor a: data_offsets"),
        (raw_header({"a": claim(offsets=[8, 0])}, bytes(8)), r"tensor a: data_offsets \[8, 0\]"),
        (raw_header({"a": claim(offsets=[0, 16])}, bytes(8)), r"tensor a: data_offsets \[0, 16\]; expected a span"),
        (raw_header({"a": claim(shape=[3])}, bytes(8)), r"tensor a: 8 bytes for shape \[3\] in F32; expected 12"),
        (raw_header({"a": claim(shape=[1 << 62, 1 << 62])}, bytes(8)), "tensor a: 8 bytes for shape"),
        (raw_header({"a": claim(shape=[0], offsets=[0, 0])}), "tensor a: 0 bytes"),
        (raw_header({"a": claim(), "b": claim()}, bytes(8)), "tensor b: offset 0; expected 8"),
        (raw_header({"a": claim(), "b": claim(offsets=[4, 12])}, bytes(12)), "tensor b: offset 4; expected 8"),
        (raw_header({"a": claim(offsets=[4, 12])}, bytes(12)), "tensor a: offset 4; expected 0"),
        (raw_header({"a": claim()}, bytes(12)), "12 bytes of data; expected 8"),
        (raw_header({"model.norm.weight": claim("I64", (1,))}, bytes(8)), "tensor model.norm.weight: I64"),
    ],
)
def test_a_lie_in_a_header_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    made(tmp_path, arrays())
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelFileError, match=said):
        open_model(tmp_path)


def test_more_tensors_than_any_model_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path, arrays())
    monkeypatch.setattr(safetensors_file, "MAX_TENSORS", len(arrays()) - 1)
    with pytest.raises(ModelFileError, match="header: 12 tensors; expected at most 11"):
        open_model(folder)


def test_what_isnt_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"a folder without config.json; expected config.json and safetensors"):
        open_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), "utf-8")
    with pytest.raises(ModelFileError, match=r"0 .safetensors files and no index"):
        open_model(tmp_path)


LETTERS = [*"!\"#$%&'()*+,-./0123456789", "Ġ", *"abcdefghijklmnopqrstuvwxyz", "Ċ"]
TOKENS = [*LETTERS, "th", "the", "Ġthe", "ab"]
BPE: dict[str, Any] = {
    "added_tokens": [{"id": len(TOKENS), "content": "<|im_end|>", "special": True}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "model": {
        "type": "BPE", "vocab": {text: i for i, text in enumerate(TOKENS)},
        "merges": ["t h", ["th", "e"], "Ġ the", "a b"],
    },
}  # fmt: skip


def with_tokeniser(folder: Path, tokenizer: Any, **files: Any) -> Path:
    n = len(TOKENS) + 3
    made(folder, arrays() | {"model.embed_tokens.weight": np.ones((n, 8), np.float32)}, vocab_size=n)
    for name, value in {"tokenizer": tokenizer, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(value), "utf-8")
    return folder


def test_a_byte_level_tokeniser_tokenises_as_the_library_does(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    own = {"eos_token": {"content": "<|im_end|>"}, "chat_template": "{{ messages }}", "add_bos_token": False}
    folder = with_tokeniser(tmp_path, BPE, tokenizer_config=own, generation_config={"eos_token_id": [1, len(TOKENS)]})
    metadata = open_model(folder).metadata
    assert metadata["tokenizer.ggml.pre"] == "gpt-2" and metadata["tokenizer.chat_template"] == "{{ messages }}"
    assert metadata["tokenizer.ggml.eos_token_id"] == len(TOKENS) and metadata["tokenizer.ggml.eot_token_id"] == 1
    assert metadata["tokenizer.ggml.token_type"][-3:].tolist() == [3, 5, 5]
    theirs = Tokenizer.from_str(json.dumps({**BPE, "version": "1.0", "normalizer": None, "post_processor": None,
        "decoder": None, "truncation": None, "padding": None,
        "added_tokens": [{**BPE["added_tokens"][0], "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False}], "model": {**BPE["model"], "merges": ["t h", "th e", "Ġ the", "a b"]}}))  # fmt: skip
    for text in ("the cab then the\nfathom<|im_end|>ab", " the the's"):
        assert Tokeniser.from_metadata(metadata).encode(text) == theirs.encode(text).ids


def test_a_sentencepiece_tokeniser_merges_in_the_same_order(tmp_path: Path) -> None:
    """Scores that stand for the order of merges: "ab" before "bc", though "bc" comes first in the vocabulary."""
    pieces = ["<unk>", "<s>", "</s>", "▁", "a", "b", "c", "bc", "ab", "▁ab"]
    vocabulary = {text: i for i, text in enumerate([*pieces, *(f"<0x{b:02X}>" for b in range(32))])}
    tokenizer = {
        "added_tokens": [{"id": i, "content": pieces[i], "special": True} for i in range(3)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "vocab": vocabulary,
                  "merges": ["a b", "b c", "▁ ab"]},
    }  # fmt: skip
    folder = with_tokeniser(tmp_path, tokenizer, tokenizer_config={"bos_token": "<s>", "eos_token": "</s>"})
    metadata = open_model(folder).metadata
    assert metadata["tokenizer.ggml.add_bos_token"] is True and metadata["tokenizer.ggml.add_space_prefix"] is True
    assert metadata["tokenizer.ggml.token_type"][[0, 1, 3, 10]].tolist() == [2, 3, 1, 6]
    assert Tokeniser.from_metadata(metadata).encode("abc") == [1, 9, 6]


def test_a_merge_must_make_a_token(tmp_path: Path) -> None:
    model = {"type": "BPE", "byte_fallback": True, "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}
    with pytest.raises(ModelFileError, match=r"merges\[0\]: 'a b'; expected a merge that makes a token"):
        open_model(with_tokeniser(tmp_path, {"model": model}))


def test_a_file_too_large_to_be_a_configuration_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_file, "MAX_BYTES", 10)
    with pytest.raises(ModelFileError, match=r"config.json: \d+ bytes; expected at most 10"):
        open_model(made(tmp_path, arrays()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {**BPE["model"], "vocab": {"a": 999}}}, "'a': id 999; expected 0 to"),
        ({"model": {**BPE["model"], "vocab": {"a": -1}}}, "'a': id -1"),
        ({"model": {**BPE["model"], "vocab": {"a": "0"}}}, "'a': id '0'"),
        ({"model": {**BPE["model"], "merges": ["abc"]}}, r"merges\[0\]: 'abc'"),
        ({"model": {**BPE["model"], "merges": [["a", 1]]}}, r"merges\[0\]"),
        ({"model": []}, r"tokenizer.json: model: \[\]; expected an object"),
        ({"added_tokens": [1]}, "added_tokens: id: missing"),
        ({"added_tokens": {}}, "added_tokens: {}; expected a list"),
    ],
)
def test_a_tokeniser_that_lies_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        open_model(with_tokeniser(tmp_path, {**BPE, **change}))


def test_an_unknown_way_of_cutting_words_is_named_when_the_tokeniser_is_made(tmp_path: Path) -> None:
    odd = {"type": "Split", "pattern": {"Regex": "[xyz]+"}, "behavior": "Isolated"}
    model = open_model(with_tokeniser(tmp_path, {**BPE, "pre_tokenizer": odd}))
    with pytest.raises(ModelFileError, match=r"tokenizer.ggml.pre: .*xyz"):
        Tokeniser.from_metadata(model.metadata)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among files here")
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_is_no_file_of_a_model(tmp_path: Path, name: str, kind: str) -> None:
    """Nobody waits for a writer, and nothing is read for ever."""
    folder = with_tokeniser(tmp_path, BPE)
    (folder / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("/dev/zero")
    with pytest.raises(ModelFileError, match=f"{name}: no regular file"):
        open_model(folder)


def test_a_link_to_a_file_elsewhere_is_that_file(tmp_path: Path) -> None:
    """As in Hugging Face's cache, whose snapshots are links."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for file in with_tokeniser(tmp_path / "blobs", BPE).iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(Path("..") / "blobs" / file.name)
    assert len(open_model(tmp_path / "snapshot").tensors) == len(arrays())


def test_a_template_longer_than_any_is_not_read(tmp_path: Path) -> None:
    folder = with_tokeniser(tmp_path, BPE)
    with (folder / "chat_template.jinja").open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(ModelFileError, match="8589934592 bytes; expected at most 1048576"):
        open_model(folder)


def test_a_key_that_stands_twice_among_very_many_is_found_at_once() -> None:
    text = ",".join(f'"{i}":0' for i in [*range(200_000), 150_000])
    start_s = time.thread_time()
    with pytest.raises(ModelFileError, match="'150000' twice"):
        json_file.parse_object(f"{{{text}}}".encode(), "a.json")
    # To count each key among all others would take minutes.
    assert time.thread_time() - start_s < 5


def test_an_embedding_of_more_rows_than_any_has_makes_no_vocabulary(tmp_path: Path) -> None:
    """A file with a hole of gigabytes costs its writer nothing."""
    folder = with_tokeniser(tmp_path, BPE)
    tracemalloc.start()
    with pytest.raises(ModelFileError, match="an embedding of 2000000000 rows; expected at most 1048576"):
        hf_tokeniser.tokeniser_metadata(folder, json_file.Fields("config.json", {}), 2_000_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20

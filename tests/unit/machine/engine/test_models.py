"""Configurations from files: what each family makes of its keys, and every key and tensor that must be refused."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import engine_models
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.errors import ModelFileError
from solvent.machine.engine import models
from solvent.machine.engine.model_file import ModelFile, Tensor, open_model


def changed(file: ModelFile, metadata: dict[str, Any] | None = None, **tensors: Tensor | None) -> ModelFile:
    """The file with keys and tensors set otherwise; None takes them away. Tensors by name with "__" for "."."""
    keys = {**file.metadata, **(metadata or {})}
    parts = {**file.tensors, **{name.replace("__", "."): tensor for name, tensor in tensors.items()}}
    return ModelFile(
        file.path,
        {k: v for k, v in keys.items() if v is not None},
        {k: v for k, v in parts.items() if v is not None},
    )


@pytest.mark.parametrize("family", engine_models.CONFIGS)
def test_a_file_gives_the_configuration_that_made_it(family: str) -> None:
    assert models.config(engine_models.tiny(family)) == engine_models.CONFIGS[family]


@pytest.mark.parametrize(
    ("architecture", "family", "activation"),
    [("bitnet", "bitnet-silu", "silu"), ("bitnet-25", "bitnet", "relu2"), ("bitnet-b1.58", "bitnet", "relu2")],
)
def test_bitnet_has_three_names_and_two_graphs(architecture: str, family: str, activation: str) -> None:
    file = engine_models.tiny("bitnet")
    keys = {key.replace("bitnet-b1.58", architecture): value for key, value in file.metadata.items()}
    config = models.config(ModelFile(file.path, {**keys, "general.architecture": architecture}, file.tensors))
    assert (config.family, config.activation, config.sub_norms) == (family, activation, True)
    assert config.int8_per_token
    assert config.rope_pairs == "halves"


def test_what_a_file_leaves_out_has_the_usual_value() -> None:
    """Older files say neither the size of a head nor the base; the heads of keys are then as many as of queries."""
    absent = ("attention.key_length", "attention.value_length", "rope.dimension_count", "rope.freq_base", "vocab_size")
    file = engine_models.tiny("llama", n_kv_heads=4)
    keys = {f"llama.{key}": None for key in (*absent, "attention.head_count_kv")}
    config = models.config(changed(file, {**keys, "solvent.rope_pairs": None}))
    assert config == dataclasses.replace(engine_models.LLAMA, n_kv_heads=4)
    assert models.config(changed(engine_models.tiny("qwen2"), {"solvent.rope_pairs": None})).rope_pairs == "halves"


def test_the_reader_says_which_pairs_turn() -> None:
    assert models.config(engine_models.tiny("llama", rope_pairs="halves")).rope_pairs == "halves"


def test_a_head_of_its_own_and_biases_are_seen() -> None:
    assert not models.config(engine_models.tiny("llama", tied=False)).tied
    assert models.config(engine_models.tiny("llama", qkv_bias=True)).qkv_bias
    assert models.config(engine_models.tiny("llama", rope_freqs=True)) == engine_models.LLAMA


@pytest.mark.parametrize("kind", engine_models.TYPES)
def test_formats_say_whether_activations_are_int8(kind: str) -> None:
    """I2_S and Hugging Face's packed ternary are trained with int8 activations in any family; the others aren't."""
    int8 = kind in ("i2_s", "i2_s_arm", "hf_ternary")
    assert models.config(engine_models.tiny("llama", kind)).int8_per_token == int8
    assert models.config(engine_models.tiny("bitnet", kind)).int8_per_token


def test_a_linear_harmless_scaling_of_one_passes() -> None:
    """Converters of BitNet write it."""
    keys = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 1.0}
    assert models.config(changed(engine_models.tiny("llama"), keys)) == engine_models.LLAMA


ABSURD: list[tuple[str, Any]] = [
    ("general.architecture", None),
    ("general.architecture", "gemma"),
    ("general.architecture", 7),
    ("llama.block_count", None),
    ("llama.block_count", 0),
    ("llama.block_count", -1),
    ("llama.block_count", 2**32 - 1),
    ("llama.block_count", "2"),
    ("llama.block_count", True),
    ("llama.block_count", 2.0),
    ("llama.context_length", None),
    ("llama.context_length", 0),
    ("llama.context_length", 2**31),
    ("llama.embedding_length", 0),
    ("llama.embedding_length", 257),
    ("llama.embedding_length", 2**40),
    ("llama.vocab_size", 271),
    ("llama.vocab_size", 2**62),
    ("llama.feed_forward_length", None),
    ("llama.feed_forward_length", 2**21),
    ("llama.feed_forward_length", np.array([512, 512])),
    ("llama.attention.head_count", None),
    ("llama.attention.head_count", 0),
    ("llama.attention.head_count", 2**63),
    ("llama.attention.head_count_kv", 0),
    ("llama.attention.head_count_kv", 3),
    ("llama.attention.head_count_kv", 5),
    ("llama.attention.key_length", 0),
    ("llama.attention.key_length", 63),
    ("llama.attention.value_length", 32),
    ("llama.rope.dimension_count", 32),
    ("llama.rope.dimension_count", "64"),
    ("llama.attention.layer_norm_rms_epsilon", None),
    ("llama.attention.layer_norm_rms_epsilon", 0.0),
    ("llama.attention.layer_norm_rms_epsilon", -1e-5),
    ("llama.attention.layer_norm_rms_epsilon", 1.0),
    ("llama.attention.layer_norm_rms_epsilon", float("nan")),
    ("llama.rope.freq_base", 0.0),
    ("llama.rope.freq_base", float("inf")),
    ("llama.rope.freq_base", float("nan")),
    ("llama.rope.scaling.type", "yarn"),
    ("llama.rope.scaling.factor", 4.0),
    ("llama.rope.scaling.factor", float("nan")),
    ("llama.rope.scale_linear", 8.0),
    ("llama.expert_count", 8),
    ("llama.attention.causal", False),
    ("llama.attention.sliding_window", 64),
    ("llama.logit_scale", 0.5),
    ("solvent.rope_pairs", "thirds"),
    ("solvent.rope_pairs", np.zeros(3)),
    ("tokenizer.ggml.tokens", ["x"] * 273),
]


@pytest.mark.parametrize(("key", "value"), ABSURD)
def test_an_absurd_key_is_named(key: str, value: Any) -> None:
    with pytest.raises(ModelFileError) as raised:
        models.config(changed(engine_models.tiny("llama"), {key: value}))
    assert str(raised.value).startswith(f"tiny-llama.gguf: {key}: ")
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("family", engine_models.CONFIGS)
def test_every_missing_tensor_is_named(family: str) -> None:
    file = engine_models.tiny(family)
    # output.weight says by its absence that the head is tied, and biases of Llamas that there are none.
    for name in file.tensors.keys() - {"output.weight"}:
        with pytest.raises(ModelFileError, match=re.escape(name)):
            models.config(changed(file, **{name.replace(".", "__"): None}))


@pytest.mark.parametrize("family", engine_models.CONFIGS)
def test_every_wrong_shape_and_type_is_named(family: str) -> None:
    file = engine_models.tiny(family)
    for name, tensor in file.tensors.items():
        faults = [
            dataclasses.replace(tensor, shape=(*tensor.shape[:-1], tensor.shape[-1] + 256)),
            dataclasses.replace(tensor, shape=(*tensor.shape, 1)),
            dataclasses.replace(tensor, shape=()),
            dataclasses.replace(tensor, type="q8_0" if len(tensor.shape) == 1 else "iq2_xxs"),
        ]
        for fault in faults:
            with pytest.raises(ModelFileError, match=re.escape(name) + "|embedding_length|vocab_size"):
                models.config(changed(file, **{name.replace(".", "__"): fault}))


@pytest.mark.parametrize("name", ["blk.2.attn_norm.weight", "blk.0.attn_output.bias", "blk.0.attn_q.scale", "medusa.0"])
def test_a_tensor_that_would_be_ignored_is_named(name: str) -> None:
    file = engine_models.tiny("llama")
    extra = dataclasses.replace(file.tensors["output_norm.weight"], name=name)
    with pytest.raises(ModelFileError, match=re.escape(f"{name}: a tensor that this graph doesn't use")):
        models.config(changed(file, **{name.replace(".", "__"): extra}))


def test_layers_half_int8_are_refused() -> None:
    with pytest.raises(ModelFileError, match=r"blk\.0\.ffn_down\.weight: type q8_0; expected i2_s as in blk"):
        models.config(engine_models.tiny("llama", {"linears": "i2_s", "ffn_down": "q8_0"}))


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rope_factor_that_divides_by_nothing_is_refused(factor: float) -> None:
    file = engine_models.tiny("llama", rope_freqs=True)
    tensor = file.tensors["rope_freqs.weight"]
    factors = engine_models.dequantise(tensor)
    factors[5] = factor
    bad = dataclasses.replace(tensor, data=np.frombuffer(factors.tobytes(), np.uint8))
    with pytest.raises(ModelFileError, match=r"rope_freqs\.weight"):
        models.config(changed(file, rope_freqs__weight=bad))


@pytest.mark.parametrize("family", engine_models.CONFIGS)
def test_a_model_written_and_read_is_the_same(family: str, tmp_path: Path) -> None:
    file = engine_models.tiny(family, "q2_0_g128", norm_eps=2.0**-17, n_vocab=259)
    again = open_model(engine_models.write(file, tmp_path / "tiny.gguf"))
    assert models.config(again) == models.config(file)
    assert engine_models.checksum(again) == engine_models.checksum(file)


TINY = engine_models.tiny("llama")
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=80), st.binary(max_size=8),
    st.lists(st.integers(), max_size=9), st.just(np.zeros((2, 2))),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*sorted(TINY.metadata), "llama.rope.scaling.type"]), JUNK, min_size=1))
def test_no_metadata_does_more_than_raise(keys: dict[str, Any]) -> None:
    """Whatever the values, there is a configuration or one line that says what is wrong."""
    try:
        config = models.config(changed(TINY, keys))
    except ModelFileError as error:
        assert len(str(error)) < 400
    else:
        assert config.n_heads % config.n_kv_heads == 0

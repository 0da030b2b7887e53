"""The tensors that follow from a configuration, counted on models that exist."""

from __future__ import annotations

import dataclasses
import math

import engine_models
import pytest

from solvent.machine.engine.config import Config, block_shapes, tensor_shapes

# Sizes of published models, from their config.json.
SMOLLM2 = dataclasses.replace(
    engine_models.LLAMA, n_layers=30, width=576, n_heads=9, n_kv_heads=3, ff_width=1536, n_vocab=49152
)
BITNET_2B = dataclasses.replace(
    engine_models.BITNET,
    n_layers=30,
    width=2560,
    n_heads=20,
    n_kv_heads=5,
    head_size=128,
    ff_width=6912,
    n_vocab=128256,
)
QWEN3_600M = dataclasses.replace(
    engine_models.CONFIGS["qwen3"],
    n_layers=28,
    width=1024,
    n_heads=16,
    n_kv_heads=8,
    head_size=128,
    ff_width=3072,
    n_vocab=151936,
    tied=True,
)
QWEN2_500M = dataclasses.replace(
    engine_models.CONFIGS["qwen2"], n_layers=24, width=896, n_heads=14, ff_width=4864, n_vocab=151936
)


@pytest.mark.parametrize(
    ("config", "n_tensors", "n_weights"),
    [
        (SMOLLM2, 272, 134_515_008),
        (BITNET_2B, 332, 2_412_820_480),
        (QWEN3_600M, 310, 596_049_920),
        (QWEN2_500M, 290, 494_032_768),
    ],
)
def test_published_models_have_their_published_size(config: Config, n_tensors: int, n_weights: int) -> None:
    shapes = tensor_shapes(config)
    assert len(shapes) == n_tensors
    assert sum(math.prod(shape) for shape in shapes.values()) == n_weights


def test_heads_may_be_wider_than_the_stream() -> None:
    assert QWEN3_600M.q_width == 2048
    assert QWEN3_600M.kv_width == 1024
    shapes = block_shapes(QWEN3_600M)
    assert shapes["attn_q.weight"] == (2048, 1024)
    assert shapes["attn_output.weight"] == (1024, 2048)
    assert shapes["attn_q_norm.weight"] == (128,)


def test_each_switch_brings_its_tensors() -> None:
    plain = set(block_shapes(engine_models.LLAMA))
    for switch, n_more in {"qkv_bias": 3, "qk_norm": 2, "sub_norms": 2}.items():
        more = set(block_shapes(dataclasses.replace(engine_models.LLAMA, **{switch: True}))) - plain
        assert len(more) == n_more
    untied = dataclasses.replace(engine_models.LLAMA, tied=False)
    assert set(tensor_shapes(untied)) - set(tensor_shapes(engine_models.LLAMA)) == {"output.weight"}

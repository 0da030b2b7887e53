"""Weights that are no finite numbers: tensors of blocks are refused by name, others spoil the logits for all to see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import engine_models
import numpy as np
import pytest
from kernel_products import random_matrix
from numpy.typing import NDArray

from solvent.errors import ModelFileError
from solvent.machine import native
from solvent.machine.engine import models
from solvent.machine.engine.model import Model
from solvent.machine.engine.model_file import ModelFile, Tensor
from solvent.machine.engine.quants import TYPES
from solvent.machine.turboquant.cache_format import parse
from solvent.machine.turboquant.native_cache import native_format

pytestmark = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")

WIDE = {"width": 256, "n_heads": 4, "n_kv_heads": 2, "head_size": 64, "ff_width": 256, "n_layers": 1}
SCALES = [
    *[(kind, at) for kind, (at, _) in engine_models.SCALES.items()],
    *[(kind, at) for kind, (at, _) in engine_models.MINIMUMS.items()],
]


def with_half(tensor: Tensor, at: int, value: float) -> Tensor:
    """The tensor with a half of one of its middle blocks set."""
    blocks = tensor.data.reshape(-1, TYPES[tensor.type][1]).copy()
    blocks[len(blocks) // 2, at : at + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)
    return replace(tensor, data=blocks.reshape(-1))


def broken(file: ModelFile, name: str, value: float) -> ModelFile:
    """The file with one element of an F32 tensor set, or one scale of a tensor of blocks."""
    tensor = file.tensors[name]
    if tensor.type == "f32":
        values: NDArray[np.float32] = np.array(tensor.data).view(np.float32).copy()
        values[len(values) // 2 + 3] = value
        changed = replace(tensor, data=values.view(np.uint8))
    else:
        changed = with_half(tensor, engine_models.SCALES[tensor.type][0], value)
    return replace(file, tensors={**file.tensors, name: changed})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize(("kind", "at"), SCALES)
def test_no_matrix_is_packed_whose_scales_are_no_numbers(kind: str, at: int, per_token: bool, value: float) -> None:
    tensor = with_half(random_matrix(kind, 48, 512), at, value)
    with pytest.raises(ValueError, match=r"the scale of .* no finite number"):
        native.extension().Matrix(tensor.type, *tensor.shape, tensor.data, per_token=per_token, n_threads=2)


def test_one_scale_of_all_blocks_is_looked_at_too() -> None:
    blocks = random_matrix("tq2_0", 16, 512).data.reshape(-1, 66).copy()
    blocks[:, 64:] = np.frombuffer(np.float16(np.inf).tobytes(), np.uint8)
    with pytest.raises(ValueError, match="the scale of all blocks is no finite number"):
        native.extension().Matrix("tq2_0", 16, 512, blocks.reshape(-1), per_token=True)


@pytest.mark.parametrize("kind", ["q8_0", "q4_k", "tq2_0"])
def test_the_tensor_is_named(kind: str) -> None:
    file = broken(engine_models.tiny("llama", kind, **WIDE), "blk.0.ffn_up.weight", np.nan)
    match = r"tiny-\w+\.gguf: tensor blk\.0\.ffn_up\.weight: the scale of a block is no finite number"
    with pytest.raises(ModelFileError, match=match):
        Model(file, models.config(file))


@pytest.mark.parametrize("kernel", native.kernels() if native.available() else ())
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "role", ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "attn_norm"]
)
@pytest.mark.parametrize("family", ["llama", "bitnet", "bitnet-silu"])
def test_one_float_that_is_no_number_reaches_the_logits(family: str, role: str, value: float, kernel: str) -> None:
    """One element of a float tensor among tensors of blocks: activations on their way to int8 must not lose it."""
    block = "q8_0" if family == "llama" else "i2_s"
    file = engine_models.tiny(family, {"linears": block, role: "f32"}, **WIDE)
    model = Model(broken(file, f"blk.0.{role}.weight", value), models.config(file), kernel=kernel)
    for tokens in ([5, 200, 17], list(range(40))):
        assert not np.isfinite(model.extend(model.new_sequence(), tokens)).all(), len(tokens)


@pytest.mark.parametrize("kernel", native.kernels() if native.available() else ())
@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FC00001, 0x7FC00037, 0x7FC000FF, 0x7FC00180, 0xFFC00155])
def test_attention_keeps_what_is_no_number_whatever_its_bits(bits: int, kernel: str) -> None:
    """A NaN's own low bits aren't an exponent: e^NaN by adding them could be 10^-18, and the fault be lost."""
    sequence: Any = native.extension().Sequence(1, 1, 64, 256, native_format(parse("f16"), 1, 64))
    keys, values = np.random.default_rng(1).standard_normal((2, 150, 1, 64)).astype(np.float32)
    sequence.store(0, keys, values, kernel)
    sequence.advance(150)
    queries = np.zeros((1, 1, 64), np.float32)
    queries.view(np.uint32)[0, 0, 5] = bits
    assert np.isnan(sequence.attend(0, queries, np.array([150], np.int32), kernel)).all()

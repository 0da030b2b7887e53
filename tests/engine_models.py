"""Tiny random models of every family and number format, for the engine's tests.

`tiny("llama", "q4_1")` is a `ModelFile` in memory whose tensors are real bytes of the format: random codes under
scales that keep activations sane, so that no quantiser is needed. The numbers come from splitmix64, which no library
can change, so golden files can name a model by its seed. `weights` gives what the reference computes with.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from solvent.machine.engine import reference
from solvent.machine.engine.config import LINEARS, Config, tensor_shapes
from solvent.machine.engine.gguf_write import write_gguf
from solvent.machine.engine.model_file import ModelFile, Tensor
from solvent.machine.engine.quants import TYPES, dequantise, n_bytes

LLAMA = Config(
    family="llama",
    n_layers=2,
    width=256,
    n_heads=4,
    n_kv_heads=2,
    head_size=64,
    ff_width=512,
    n_vocab=272,
    context=128,
    norm_eps=1e-5,
    rope_base=10_000.0,
    rope_pairs="adjacent",
    activation="silu",
    sub_norms=False,
    qk_norm=False,
    qkv_bias=False,
    tied=True,
    int8_per_token=False,
)
HALVES = dataclasses.replace(LLAMA, rope_pairs="halves")
BITNET = dataclasses.replace(HALVES, family="bitnet", activation="relu2", sub_norms=True, int8_per_token=True)
CONFIGS = {
    "llama": LLAMA,
    "qwen2": dataclasses.replace(HALVES, family="qwen2", qkv_bias=True, norm_eps=1e-6, rope_base=1e6),
    # As in the real ones, the heads together are wider than the stream.
    "qwen3": dataclasses.replace(HALVES, family="qwen3", qk_norm=True, n_heads=8, tied=False, rope_base=1e6),
    "bitnet": dataclasses.replace(BITNET, rope_base=5e5),
    "bitnet-silu": dataclasses.replace(BITNET, family="bitnet-silu", activation="silu"),
}
ARCHITECTURES = {"bitnet": "bitnet-b1.58", "bitnet-silu": "bitnet"}
TERNARY = ("tq1_0", "tq2_0", "i2_s", "i2_s_arm", "q2_0_g64", "q2_0_g128", "hf_ternary")

# Type → (byte of the scale, standard deviation of codes · scale 1).
SCALES = {
    "q8_0": (0, 74.0),
    "q4_0": (0, 4.6),
    "q4_1": (0, 4.6),
    "q4_k": (0, 258.0),
    "q5_k": (0, 520.0),
    "q6_k": (208, 1369.0),
    "tq1_0": (52, 0.82),
    "tq2_0": (64, 0.82),
    "q2_0_g64": (0, 0.82),
    "q2_0_g128": (0, 0.82),
}
# Type → (byte of the second scale, its ratio to the first that centres the weights on 0).
MINIMUMS = {"q4_1": (2, -7.5), "q4_k": (2, 7.5), "q5_k": (2, 15.5)}


def tiny(family: str, types: str | Mapping[str, str] = "f32", seed: int = 0, **sizes: Any) -> ModelFile:
    """A random model: `types` of all linear layers, or by role ("attn_q", …, "linears", "token_embd", "output").

    sizes: fields of Config to set otherwise.   rope_freqs=True adds Llama 3's factors.
    token_embd and output are F32 unless named; BitNet's F32 linears hold ternary values times one scale."""
    rope_freqs = sizes.pop("rope_freqs", False)
    config = dataclasses.replace(CONFIGS[family], **sizes)
    roles = {"linears": types} if isinstance(types, str) else dict(types)
    shapes = tensor_shapes(config)
    if rope_freqs:
        shapes["rope_freqs.weight"] = (config.head_size // 2,)
    tensors = {}
    for name, shape in shapes.items():
        role = name.split(".")[-2]
        kind = roles.get(role, roles.get("linears", "f32") if role in LINEARS else "f32") if len(shape) == 2 else "f32"
        ternary = config.sub_norms and role in LINEARS and len(shape) == 2
        tensors[name] = random_tensor(name, kind, shape, seed, ternary=ternary)
    return ModelFile(Path(f"tiny-{family}.gguf"), metadata(config), tensors)


def weights(file: ModelFile, dtype: type = np.float32) -> dict[str, NDArray[Any]]:
    """The tensors' values by name, as the reference takes them."""
    return {name: dequantise(tensor).astype(dtype) for name, tensor in file.tensors.items()}


def write(file: ModelFile, path: Path) -> Path:
    """The model as a GGUF file; all types but hf_ternary, which GGUF doesn't have."""
    write_gguf(path, file.metadata, file.tensors.values())
    return path


def metadata(config: Config) -> dict[str, Any]:
    """GGUF keys of a configuration, with a tokeniser of one token a byte and three control tokens."""
    architecture = ARCHITECTURES.get(config.family, config.family)
    own = {
        "block_count": config.n_layers,
        "context_length": config.context,
        "embedding_length": config.width,
        "feed_forward_length": config.ff_width,
        "attention.head_count": config.n_heads,
        "attention.head_count_kv": config.n_kv_heads,
        "attention.key_length": config.head_size,
        "attention.value_length": config.head_size,
        "attention.layer_norm_rms_epsilon": config.norm_eps,
        "rope.freq_base": config.rope_base,
        "rope.dimension_count": config.head_size,
        "vocab_size": config.n_vocab,
    }
    return {
        "general.architecture": architecture,
        "general.name": f"tiny {config.family}",
        **{f"{architecture}.{key}": value for key, value in own.items()},
        "solvent.rope_pairs": config.rope_pairs,
        **tokeniser_metadata(config.n_vocab),
    }


def tokeniser_metadata(n_vocab: int) -> dict[str, Any]:
    """GPT-2's alphabet of bytes without merges: token b is byte b; 256, 257 and 258 are control tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    alphabet = [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = [*alphabet, *control, *(f"<|pad_{i}|>" for i in range(n_vocab))][:n_vocab]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array([1] * min(n_vocab, 256) + [3] * max(n_vocab - 256, 0), np.int32),
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.bos_token_id": min(257, n_vocab - 1),
        "tokenizer.ggml.eos_token_id": min(256, n_vocab - 1),
        "tokenizer.ggml.add_bos_token": False,
    }


def random_tensor(name: str, kind: str, shape: tuple[int, ...], seed: int, *, ternary: bool = False) -> Tensor:
    """A tensor of random bytes that mean weights of about 1/sqrt(K), or 1 ± 0.5 (norms), or RoPE's factors."""
    key = zlib.crc32(name.encode()) << 20 ^ seed
    if kind in ("f32", "f16", "bf16"):
        data = _float_bytes(_values(name, shape, key, ternary=ternary), kind)
    else:
        data = _block_bytes(kind, shape, key)
    data.flags.writeable = False
    scale = 1.22 / math.sqrt(shape[-1]) if kind == "hf_ternary" else 1.0
    return Tensor(name, kind, shape, data, scale)


def _values(name: str, shape: tuple[int, ...], key: int, *, ternary: bool) -> NDArray[np.float32]:
    u = uniform(key, math.prod(shape)).reshape(shape)
    if name.endswith("norm.weight"):
        return 1 + u / 2
    if name == "rope_freqs.weight":
        return np.linspace(1, 8, shape[0], dtype=np.float32)
    if name.endswith("bias"):
        return u / 2
    if ternary:
        return np.rint(np.float32(1.499) * u) * np.float32(1.22 / math.sqrt(shape[-1]))
    return u * np.float32(0.4 if name == "token_embd.weight" else 1.73 / math.sqrt(shape[-1]))


def _float_bytes(values: NDArray[np.float32], kind: str) -> NDArray[np.uint8]:
    if kind == "bf16":
        # Cut off, not rounded: any bfloat16 will do.
        return np.frombuffer((values.view(np.uint32) >> 16).astype("<u2").tobytes(), np.uint8).copy()
    return np.frombuffer(values.astype("<f4" if kind == "f32" else "<f2").tobytes(), np.uint8).copy()


def _block_bytes(kind: str, shape: tuple[int, ...], key: int) -> NDArray[np.uint8]:
    n_weights, size = TYPES[kind]
    assert shape[-1] % n_weights == 0 or kind == "hf_ternary", f"{kind} has blocks of {n_weights}, the row {shape[-1]}"
    n_blocks = math.prod(shape) // n_weights
    data = np.zeros(n_bytes(kind, shape), np.uint8)
    blocks = data[: n_blocks * size].reshape(n_blocks, size)
    blocks[:] = (splitmix64(key, blocks.size) >> np.uint64(56)).astype(np.uint8).reshape(blocks.shape)
    if kind in TERNARY and kind != "tq1_0":
        blocks[:] = _without_threes(blocks)
    if kind in SCALES:
        start, deviation = SCALES[kind]
        scale = (1 + uniform(key + 1, n_blocks) / 2) / np.float32(deviation * math.sqrt(shape[-1]))
        _set_f16(blocks, start, scale)
        if kind in MINIMUMS:
            start, ratio = MINIMUMS[kind]
            _set_f16(blocks, start, scale * np.float32(ratio))
    if kind.startswith("i2_s"):
        data[-32:-28] = np.frombuffer(np.float32(1.22 / math.sqrt(shape[-1])).tobytes(), np.uint8)
    return data


# Two-bit formats, in which the byte 0xAA is four codes of +1.
TRAP_TYPES = ("i2_s", "i2_s_arm", "tq2_0", "q2_0_g64", "q2_0_g128", "hf_ternary")


def int16_trap(kind: str) -> tuple[Tensor, NDArray[np.int8], int]:
    """(16 rows of 2,560 weights, all +1; one token of activations, all 127; the exact dot of every row: 325,120).

    A kernel that sums (code + 1) · x, here 254 each and 650,240 in all, in 16 bits over too many columns wraps, as
    the published AVX2 kernel for I2_S does (−398,336). Random weights never show it."""
    n_rows, n_columns = 16, 2560
    data = np.full(n_bytes(kind, (n_rows, n_columns)), 0xAA, np.uint8)
    if kind in SCALES:
        n_weights, size = TYPES[kind]
        _set_f16(data.reshape(-1, size), SCALES[kind][0], np.ones(n_rows * n_columns // n_weights, np.float32))
    if kind.startswith("i2_s"):
        data[-32:-28] = np.frombuffer(np.float32(1).tobytes(), np.uint8)
    tensor = Tensor("blk.0.attn_q.weight", kind, (n_rows, n_columns), data)
    return tensor, np.full((1, n_columns), 127, np.int8), 127 * n_columns


def _without_threes(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two-bit codes 3, which no ternary format has, become 1."""
    threes = packed & packed >> 1 & 0x55
    return packed & ~(threes << 1)


def _set_f16(blocks: NDArray[np.uint8], start: int, values: NDArray[np.float32]) -> None:
    blocks[:, start : start + 2] = np.frombuffer(values.astype("<f2").tobytes(), np.uint8).reshape(-1, 2)


def uniform(key: int, n: int) -> NDArray[np.float32]:
    """n numbers in [−1, 1), multiples of 2^−23, the same everywhere and for ever."""
    return ((splitmix64(key, n) >> np.uint64(40)).astype(np.float32) - np.float32(1 << 23)) / np.float32(1 << 23)


def splitmix64(key: int, n: int) -> NDArray[np.uint64]:
    """n words of the generator that starts at `key`. Source: Steele et al., OOPSLA 2014, Fig. 15–17."""
    start = np.uint64((key * 0x9E3779B97F4A7C15) % 2**64)
    z = start + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def checksum(file: ModelFile) -> int:
    """CRC-32 of all tensors' bytes, so that a golden file knows its model again."""
    crc = 0
    for tensor in file.tensors.values():
        crc = zlib.crc32(tensor.data, crc)
    return crc


def clearance(
    config: Config,
    weights: Mapping[str, NDArray[Any]],
    tokens: list[int],
    rounding: reference.Rounding = reference.EXACT,
) -> float:
    """How far the int8 activation that is nearest to a tie is from it, in codes, over a whole forward pass.

    Above the rounding error of what is compared, no code can flip, and logits may be compared closely."""
    closest = 0.5
    nearest = reference.nearest

    def watched(x: NDArray[Any]) -> NDArray[Any]:
        nonlocal closest
        closest = min(closest, float(np.abs(np.abs(x) % 1 - 0.5).min()))
        return nearest(x)

    with mock.patch.object(reference, "nearest", watched):
        reference.forward(config, weights, tokens, rounding)
    return closest

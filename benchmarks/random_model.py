"""Files of random ternary weights in the shape of BitNet-b1.58-2B-4T: speed without its 1.1 GB download.

Every format holds the same weights (-1, 0, 1 at 29, 42 and 29%), one scale a tensor, exact in float16. llama.cpp knows
only the earlier graph with SiLU (architecture `bitnet`), the others the one with squared ReLU: the same bytes and
matrix products. The vocabulary is made up. Enter at `make_model`.
Source: arXiv:2504.12285 (shape); block layouts: docs/reference/ternary-format.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from solvent.machine.engine.model_file import Tensor

Bytes = NDArray[np.uint8]
LAYERS, WIDTH, HEADS, KV_HEADS, HEAD, FF_WIDTH, VOCABULARY = 30, 2560, 20, 5, 128, 6912, 128_256
SHAPES = {
    "attn_q": (WIDTH, WIDTH), "attn_k": (KV_HEADS * HEAD, WIDTH), "attn_v": (KV_HEADS * HEAD, WIDTH),
    "attn_output": (WIDTH, WIDTH), "ffn_gate": (FF_WIDTH, WIDTH), "ffn_up": (FF_WIDTH, WIDTH),
    "ffn_down": (WIDTH, FF_WIDTH),
}  # fmt: skip
NORMS = {"attn_norm": WIDTH, "attn_sub_norm": WIDTH, "ffn_norm": WIDTH, "ffn_sub_norm": FF_WIDTH}
# A uniform byte → 0, 1, 2 (the weight plus one) at 75, 106 and 75 of 256.
TERNARY = np.repeat(np.array([0, 1, 2], np.uint8), [75, 106, 75])


@dataclass(frozen=True, slots=True)
class Format:
    """linear: type of the ternary matrices.   embedding: type of the table that is also the head.

    file_type: llama.cpp's number for the whole."""

    architecture: str
    linear: str
    embedding: str
    file_type: int


FORMATS = {
    "bitnet-2b-tq2_0": Format("bitnet", "tq2_0", "q6_k", 37),
    "bitnet-2b-tq2_0-head-f16": Format("bitnet", "tq2_0", "f16", 37),
    "bitnet-2b-i2_s": Format("bitnet-b1.58", "i2_s", "q6_k", 40),
    "bitnet-2b-i2_s-head-f16": Format("bitnet-b1.58", "i2_s", "f16", 40),
    "bitnet-2b-silu-f16": Format("bitnet", "f16", "f16", 1),
    "bitnet-2b-f16": Format("bitnet-b1.58", "f16", "f16", 1),
}


def make_model(path: Path, form: Format) -> None:
    """Writes the file; the whole model passes through memory (0.8 to 4.9 GB)."""
    from solvent.machine.engine.gguf_write import write_gguf

    write_gguf(path, _metadata(form), _tensors(form))


def _tensors(form: Format) -> Iterator[Tensor]:
    from solvent.machine.engine.model_file import Tensor

    def ones(name: str, size: int) -> Tensor:
        return Tensor(name, "f32", (size,), np.ones(size, "<f4").view(np.uint8))

    yield Tensor("token_embd.weight", form.embedding, (VOCABULARY, WIDTH), _embedding(form.embedding))
    yield ones("output_norm.weight", WIDTH)
    for layer in range(LAYERS):
        for name, size in NORMS.items():
            yield ones(f"blk.{layer}.{name}.weight", size)
        for part, shape in SHAPES.items():
            name = f"blk.{layer}.{part}.weight"
            plus_one = TERNARY[_random(name, shape[0] * shape[1])]
            yield Tensor(name, form.linear, shape, _packed(form.linear, plus_one, shape[1]))


def _random(name: str, n_bytes: int) -> Bytes:
    """Bytes that depend on the tensor's name alone, so that every format holds the same weights."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.frombuffer(np.random.Generator(np.random.SFC64(seed)).bytes(n_bytes), np.uint8)


def _packed(kind: str, plus_one: Bytes, n_columns: int) -> Bytes:
    """(M·K,) of 0, 1, 2 → the type's bytes. A scale of 1.3/√K keeps outputs near the inputs' size."""
    scale = np.array([1.3 / np.sqrt(n_columns)], "<f2")
    if kind == "f16":
        return ((plus_one.astype(np.int8) - 1).astype("<f2") * scale).view(np.uint8)
    if kind == "tq2_0":
        parts = plus_one.reshape(-1, 2, 4, 32)
        blocks = np.empty((len(parts), 66), np.uint8)
        joined = parts[:, :, 0] | parts[:, :, 1] << 2 | parts[:, :, 2] << 4 | parts[:, :, 3] << 6
        blocks[:, :64] = joined.reshape(-1, 64)
        blocks[:, 64:] = scale.view(np.uint8)
        return blocks.reshape(-1)
    parts = plus_one.reshape(-1, 4, 32)
    joined = parts[:, 0] << 6 | parts[:, 1] << 4 | parts[:, 2] << 2 | parts[:, 3]
    trailer = np.zeros(32, np.uint8)
    trailer[:4] = scale.astype("<f4").view(np.uint8)
    return np.concatenate([joined.reshape(-1), trailer])


def _embedding(kind: str) -> Bytes:
    """Q6_K blocks of random codes, scales 8 · 2⁻⁹; as f16 the same values, which it holds exactly."""
    from solvent.machine.engine.model_file import Tensor
    from solvent.machine.engine.quants import dequantise

    n_blocks = VOCABULARY * WIDTH // 256
    blocks = np.empty((n_blocks, 210), np.uint8)
    blocks[:, :192] = _random("token_embd.weight", n_blocks * 192).reshape(n_blocks, 192)
    blocks[:, 192:208] = 8
    blocks[:, 208:] = np.array([2.0**-9], "<f2").view(np.uint8)
    if kind == "q6_k":
        return blocks.reshape(-1)
    pieces = []
    for part in np.array_split(blocks, 16):
        values = dequantise(Tensor("token_embd.weight", "q6_k", (len(part), 256), part.reshape(-1)))
        pieces.append(values.astype("<f2").view(np.uint8).reshape(-1))
    return np.concatenate(pieces)


def _metadata(form: Format) -> dict[str, Any]:
    a = form.architecture
    # Byte-level BPE: the 256 byte letters, one merge (readers want the list), and made-up tokens for the rest.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(n) for n in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    tokens = [*letters, "th"]
    tokens += [f"<{n}>" for n in range(len(tokens), VOCABULARY)]
    return {
        "general.architecture": a, "general.name": "random weights, shape of BitNet-b1.58-2B-4T",
        "general.file_type": form.file_type, "general.quantization_version": 2,
        f"{a}.vocab_size": VOCABULARY, f"{a}.context_length": 4096, f"{a}.embedding_length": WIDTH,
        f"{a}.block_count": LAYERS, f"{a}.feed_forward_length": FF_WIDTH,
        f"{a}.attention.head_count": HEADS, f"{a}.attention.head_count_kv": KV_HEADS,
        f"{a}.attention.key_length": HEAD, f"{a}.attention.value_length": HEAD,
        f"{a}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{a}.rope.dimension_count": HEAD, f"{a}.rope.freq_base": 500_000.0,
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": ["t h"],
        "tokenizer.ggml.token_type": np.ones(VOCABULARY, np.int32),
        "tokenizer.ggml.bos_token_id": 300, "tokenizer.ggml.eos_token_id": 301, "tokenizer.ggml.add_bos_token": True,
    }  # fmt: skip

"""Reads llama2.c's .bin: seven integers, then float32 weights in a fixed order, with the tokeniser in a file beside.

The first version of the format only, which has no magic number: the file's size must be what the seven integers say.
Weights become GGUF tensors by position; they are views of the mapped file. The tokeniser is tok512.bin (by the size
of the vocabulary) or tokenizer.bin in the same folder; without one, the model has none.
Enter at `read_llama2c`. Source: llama2.c export.py (legacy_export), tokenizer.py, run.c.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from solvent.errors import ModelFileError
from solvent.machine.engine.model_file import Bytes, ModelFile, Tensor, map_file

HEADER = struct.Struct("<7i")
# export.py's constants: neither is in the file.
NORM_EPS, ROPE_BASE = 1e-5, 10_000.0
MAX_SIZE = 1 << 24
MAX_LAYERS = 10_000
MAX_TOKEN_BYTES = 1024
LATER_VERSIONS = b"24ka"  # "ak42", a magic number that the first version doesn't have


def read_llama2c(path: Path, data: Bytes) -> ModelFile:
    """The model in a mapped llama2.c file.

    data: (size,) uint8.   → float32 tensors as views of data, of a Llama whose pairs are adjacent.
    Exactness: no weight is copied or changed.
    Raises: ModelFileError (integers out of bounds, or a size that they don't give).   Source: llama2.c export.py"""
    width, ff_width, n_layers, n_heads, n_kv_heads, n_vocab, context = _header(path, data)
    tied, n_vocab = n_vocab > 0, abs(n_vocab)
    head_size = width // n_heads
    kv_width = n_kv_heads * head_size
    block = [
        ("attn_norm", (width,)), ("attn_q", (width, width)), ("attn_k", (kv_width, width)),
        ("attn_v", (kv_width, width)), ("attn_output", (width, width)), ("ffn_norm", (width,)),
        ("ffn_gate", (ff_width, width)), ("ffn_down", (width, ff_width)), ("ffn_up", (ff_width, width)),
    ]  # fmt: skip
    order: list[tuple[str, tuple[int, ...]]] = [("token_embd.weight", (n_vocab, width))]
    order += [(f"blk.{i}.{name}.weight", shape) for name, shape in block for i in range(n_layers)]
    order += [("output_norm.weight", (width,)), ("", (context, head_size))]  # sines and cosines that nobody reads
    order += [] if tied else [("output.weight", (n_vocab, width))]
    size = HEADER.size + sum(4 * math.prod(shape) for _, shape in order)
    if size != len(data):
        raise ModelFileError(
            str(path), f"{len(data)} bytes", f"{size}, as its header says", "it is no llama2.c model, or truncated"
        )  # fmt: skip
    tensors: dict[str, Tensor] = {}
    at = HEADER.size
    for name, shape in order:
        end = at + 4 * math.prod(shape)
        if name:
            tensors[name] = Tensor(name, "f32", shape, data[at:end])
        at = end
    metadata: dict[str, Any] = {
        "general.architecture": "llama",
        "llama.block_count": n_layers,
        "llama.context_length": context,
        "llama.embedding_length": width,
        "llama.feed_forward_length": ff_width,
        "llama.attention.head_count": n_heads,
        "llama.attention.head_count_kv": n_kv_heads,
        "llama.attention.layer_norm_rms_epsilon": NORM_EPS,
        "llama.rope.freq_base": ROPE_BASE,
        "llama.rope.dimension_count": head_size,
        "llama.vocab_size": n_vocab,
        "solvent.rope_pairs": "adjacent",
    }
    return ModelFile(path, metadata | _tokeniser(path, n_vocab), tensors)


def _header(path: Path, data: Bytes) -> tuple[int, ...]:
    if bytes(data[:4]) == LATER_VERSIONS or len(data) < HEADER.size:
        raise ModelFileError(
            str(path), "another version of llama2.c's format, or none", "the first (export.py version 0)"
        )
    numbers = HEADER.unpack(bytes(data[: HEADER.size]))
    width, ff_width, n_layers, n_heads, n_kv_heads, n_vocab, context = numbers
    sizes = (width, ff_width, abs(n_vocab), context)
    within = all(0 < size <= MAX_SIZE for size in sizes) and 0 < n_layers <= MAX_LAYERS and 0 < n_kv_heads <= n_heads
    # Heads have an even size, since positions turn pairs.
    if not within or n_heads > width or width % (2 * n_heads) or n_heads % n_kv_heads:
        raise ModelFileError(
            str(path), f"a header of {numbers}", "width, ff_width, layers, heads, KV heads, vocabulary, context",
            "it is no llama2.c model",
        )  # fmt: skip
    return numbers


def _tokeniser(path: Path, n_vocab: int) -> dict[str, Any]:
    """The tokeniser in the same folder; nothing where there is none."""
    for name in (f"tok{n_vocab}.bin", "tokenizer.bin"):
        beside = path.with_name(name)
        if beside.exists():
            break
    else:
        return {}
    return read_tokeniser(beside, bytes(map_file(beside)), n_vocab)


def read_tokeniser(beside: Path, data: bytes, n_vocab: int) -> dict[str, Any]:
    """The tokeniser in the bytes of a tok512.bin, as GGUF's SentencePiece metadata.

    Pieces are stored with spaces as they are; <s> and </s> with a line break on either side. Ids 0 to 2 are unknown,
    opening and closing; then come 256 bytes, then pieces with a score each.
    Raises: ModelFileError (pieces that end outside the file, or too few or many of them), naming the token."""
    if 8 * n_vocab > len(data):
        raise ModelFileError(str(beside), f"{len(data)} bytes", f"8 and more for each of {n_vocab} tokens")
    tokens: list[str] = []
    scores = np.zeros(n_vocab, np.float32)
    at = 4  # the length of the longest piece comes first
    for i in range(n_vocab):
        score, length = struct.unpack_from("<fi", data, at) if at + 8 <= len(data) else (0.0, -1)
        if not 0 <= length <= MAX_TOKEN_BYTES or at + 8 + length > len(data):
            raise ModelFileError(f"{beside}: token {i}", f"{length} bytes at {at}", f"a piece inside {len(data)} bytes")
        raw = data[at + 8 : at + 8 + length]
        try:
            tokens.append(raw.decode("utf-8").replace(" ", "\u2581"))
        except UnicodeDecodeError as error:
            raise ModelFileError(f"{beside}: token {i}", f"bytes {raw[:32]!r}", "UTF-8") from error
        scores[i] = score
        at += 8 + length
    if at != len(data):
        raise ModelFileError(
            str(beside), f"{len(data) - at} bytes behind token {n_vocab - 1}", "as many tokens as rows"
        )
    types = np.ones(n_vocab, np.int32)
    types[:3] = (2, 3, 3)
    types[3:259] = 6
    tokens[1:3] = [token.strip() for token in tokens[1:3]]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_space_prefix": True,
    }

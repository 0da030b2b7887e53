"""A sequence's keys and values in a file, so that a prompt's beginning is paid for once: saved, checked, restored.

Layout: 8 bytes "solvntKV", version and header length (u32 little-endian each), a header in JSON (the model's
fingerprint, the cache format, the tokens, the length of each chunk), the chunks as they lie in memory, and BLAKE2b-256
of all before it. A file is trusted only where its checksum holds and its parts fit each other.
What it doesn't do: share a cache between machines of other byte orders (both ends are little-endian).
Enter at `save` and `restore`.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

from solvent.errors import EngineError
from solvent.machine.engine.model import Model, Sequence
from solvent.machine.turboquant.cache_format import CacheFormat

MAGIC = b"solvntKV"
VERSION = 1
PREFIX = struct.Struct("<8sII")
DIGEST_BYTES = 32
MAX_HEADER_BYTES = 64 << 20


def save(sequence: Sequence, tokens: list[int], path: Path) -> None:
    """Writes what a sequence holds; the file appears whole or not at all.

    tokens: those in the sequence, in order: whoever restores it sees what it stands for.
    Raises: EngineError (tokens of another number; the file can't be written)"""
    if len(tokens) != sequence.n_tokens:
        raise EngineError("save", f"{len(tokens)} tokens", f"{sequence.n_tokens}, those in the sequence")
    native = sequence.native
    n_chunks = native.n_chunks
    header = {
        "model": sequence.model.fingerprint,
        "format": sequence.cache.document(),
        "tokens": [int(token) for token in tokens],
        "chunk_bytes": [native.chunk_bytes(i) for i in range(n_chunks)],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as out:
            for piece in (PREFIX.pack(MAGIC, VERSION, len(text)), text, *(native.chunk(i) for i in range(n_chunks))):
                digest.update(piece)
                out.write(piece)
            out.write(digest.digest())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise EngineError(str(path), f"can't be written ({error.strerror})", "a folder that can be written") from None


def restore(model: Model, path: Path, context: int | None = None) -> tuple[Sequence, list[int]]:
    """The sequence that a file holds, and its tokens.

    context: as for Model.new_sequence.
    Raises: EngineError (no such file; not a saved cache, another version, cut short or changed; another model's; more
    tokens than the context)"""
    data = _read(path)
    header, chunks = _parts(path, data)
    if header["model"] != model.fingerprint:
        raise EngineError(str(path), "the cache of another model", "one that this model's file filled")
    format = _format(path, header["format"])
    tokens = header["tokens"]
    if any(not 0 <= token < model.config.n_vocab for token in tokens):
        raise EngineError(str(path), "a token outside the vocabulary", f"0 to {model.config.n_vocab - 1}")
    sequence = model.new_sequence(context, format)
    if len(tokens) > sequence.context:
        raise EngineError(str(path), f"{len(tokens)} tokens", f"at most {sequence.context}, the context")
    try:
        sequence.native.restore(len(tokens), chunks)
    except ValueError as error:
        raise EngineError(str(path), str(error), "chunks of this format's size") from None
    return sequence, tokens


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineError(str(path), f"can't be read ({error.strerror})", "a saved cache") from None


def _parts(path: Path, data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The header, checked field by field, and the chunks."""
    if len(data) < PREFIX.size + DIGEST_BYTES or data[: len(MAGIC)] != MAGIC:
        raise EngineError(str(path), "no saved cache", "a file that begins with solvntKV")
    _, version, length = PREFIX.unpack_from(data)
    if version != VERSION:
        raise EngineError(str(path), f"version {version}", f"version {VERSION}", "make the cache again")
    body = memoryview(data)[:-DIGEST_BYTES]
    if hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() != data[-DIGEST_BYTES:]:
        raise EngineError(str(path), "a checksum that doesn't hold", "a file as it was written", "make the cache again")
    if length > min(MAX_HEADER_BYTES, len(body) - PREFIX.size):
        raise EngineError(str(path), f"a header of {length} bytes", "one that fits the file")
    header = _header(path, bytes(body[PREFIX.size : PREFIX.size + length]))
    sizes = header["chunk_bytes"]
    if PREFIX.size + length + sum(sizes) != len(body):
        raise EngineError(str(path), f"{len(body)} bytes", "as many as its header says")
    chunks, at = [], PREFIX.size + length
    for size in sizes:
        chunks.append(bytes(body[at : at + size]))
        at += size
    return header, chunks


def _header(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
        whole = isinstance(header["model"], str) and isinstance(header["format"], dict)
        lists = (header["tokens"], header["chunk_bytes"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise EngineError(str(path), "a header that can't be read", "JSON with model, format, tokens") from None
    for numbers in lists:
        whole = whole and isinstance(numbers, list) and all(type(n) is int and 0 <= n < 1 << 40 for n in numbers)
    if not whole:
        raise EngineError(str(path), "a header with fields of other kinds", "model, format, tokens and chunk_bytes")
    return dict(header)


def _format(path: Path, document: dict[str, Any]) -> CacheFormat:
    try:
        flags = {name: document[name] for name in ("trellis", "centred", "least_squares", "even")}
        pairs = tuple((keys, values) for keys, values in document["bits"])
    except (KeyError, TypeError, ValueError):
        raise EngineError(str(path), "a cache format that can't be read", "bits by layer and four flags") from None
    if not all(type(flag) is bool for flag in flags.values()):
        raise EngineError(str(path), "a flag that is neither true nor false", "a format as it was written")
    return CacheFormat(pairs, **flags)

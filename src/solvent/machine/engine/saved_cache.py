"""A sequence's keys and values in a file, so that a prompt's beginning is paid for once: saved, checked, restored.

Layout: 8 bytes "solvntKV", version and header length (u32 little-endian each), a header in JSON (the model's
fingerprint, the cache format, the tokens, the length of each chunk), the chunks as they lie in memory, and BLAKE2b-256
of all before it. A file is trusted only where its checksum holds and its parts fit each other and the model; until
then no more of it than the header is in memory.
What it doesn't do: share a cache between machines of other byte orders (both ends are little-endian).
Enter at `save` and `restore`.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from solvent.errors import EngineError
from solvent.machine.turboquant.cache_format import CHUNK_TOK, CacheFormat, format_of

if TYPE_CHECKING:
    import hashlib

    from solvent.machine.engine.model import Model, Sequence

MAGIC = b"solvntKV"
VERSION = 3
# Of files without sinks, tail and coded tokens. Before it keys had the bias of their projection.
FIRST_VERSION = 2
PREFIX = struct.Struct("<8sII")
DIGEST_BYTES = 32
# Two million tokens of seven digits.
MAX_HEADER_BYTES = 16 << 20
PIECE_BYTES = 1 << 20


def save(sequence: Sequence, tokens: list[int], path: Path) -> int:
    """Writes what a sequence holds; the file appears whole or not at all. → its bytes

    tokens: those in the sequence, in order: whoever restores it sees what it stands for.
    Raises: EngineError (tokens of another number, too many; the file can't be written)"""
    if len(tokens) != sequence.n_tokens:
        raise EngineError("save", f"{len(tokens)} tokens", f"{sequence.n_tokens}, those in the sequence")
    check_writable(path)
    native = sequence.native
    n_chunks = native.n_chunks
    sizes = [native.chunk_bytes(i) for i in range(n_chunks)]
    header = {
        "model": sequence.model.fingerprint,
        "format": sequence.cache.document(),
        "tokens": [int(token) for token in tokens],
        "chunk_bytes": sizes,
        "coded_tok": native.coded_tok,
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise EngineError("save", f"{len(tokens)} tokens", f"a header of at most {MAX_HEADER_BYTES} bytes")
    n_bytes = PREFIX.size + len(text) + sum(sizes) + DIGEST_BYTES
    digest = _digest()
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as out:
            for piece in (PREFIX.pack(MAGIC, VERSION, len(text)), text, *(native.chunk(i) for i in range(n_chunks))):
                digest.update(piece)
                out.write(piece)
            out.write(digest.digest())
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        expected = f"{n_bytes:,} bytes of free space there" if full else "a folder that can be written"
        raise EngineError(str(path), f"can't be written ({error.strerror})", expected) from None
    finally:
        # Gone where it became the file; there where something came between, Ctrl-C too.
        partial.unlink(missing_ok=True)
    return n_bytes


def check_writable(path: Path) -> None:
    """Raises: EngineError (a folder, no folder to write in), before work is done that would be lost."""
    folder = path.parent
    if not path.name or path.is_dir():
        raise EngineError(str(path), "a folder", "a file to write")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise EngineError(str(path), "can't be written", "a folder that exists and can be written")


@dataclass(frozen=True, slots=True)
class SavedCache:
    """A saved cache whose checksum held when it was opened.

    model: fingerprint of the one that filled it.   tokens: in order.   chunk_bytes: lengths of what follows the first
    `start` bytes.   coded_tok: where a tail is kept, the tokens from here on are in it."""

    path: Path
    model: str
    format: CacheFormat
    tokens: tuple[int, ...]
    chunk_bytes: tuple[int, ...]
    coded_tok: int
    start: int
    digest: bytes

    def restore(self, model: Model, context: int | None = None) -> Sequence:
        """The sequence.   context: as for Model.new_sequence.

        Raises: EngineError (another model's; a token outside its vocabulary; more tokens than the context; chunks of
        another size than the format's; a file that changed since)"""
        if self.model != model.fingerprint:
            expected = f"one that this model's file filled, with {model.activations} activations"
            raise EngineError(str(self.path), "the cache of another model", expected)
        if any(token >= model.config.n_vocab for token in self.tokens):
            raise EngineError(str(self.path), "a token outside the vocabulary", f"0 to {model.config.n_vocab - 1}")
        sequence = model.new_sequence(context, self.format)
        if len(self.tokens) > sequence.context:
            raise EngineError(str(self.path), f"{len(self.tokens)} tokens", f"at most {sequence.context}, the context")
        room = -(-len(self.tokens) // CHUNK_TOK) * CHUNK_TOK
        coded_tok = self.coded_tok if self.format.tail_tok else room
        if coded_tok > room or coded_tok % CHUNK_TOK:
            raise EngineError(str(self.path), f"codes up to token {coded_tok}", f"a chunk's end, up to {room}")
        wanted = sequence.native.sizes(len(self.tokens), coded_tok)
        if list(self.chunk_bytes) != wanted:
            raise EngineError(
                str(self.path), f"chunks of {_few(self.chunk_bytes)} bytes", f"{_few(wanted)}, this format's"
            )
        sequence.native.restore(len(self.tokens), self._chunks(), coded_tok)
        return sequence

    def _chunks(self) -> list[bytes]:
        with _opened(self.path) as file:
            digest = _digest(file.read(self.start))
            chunks = [file.read(size) for size in self.chunk_bytes]
        for chunk in chunks:
            digest.update(chunk)
        if digest.digest() != self.digest:
            raise EngineError(str(self.path), "changed while it was read", "a file that stays as it is")
        return chunks


def restore(model: Model, path: Path, context: int | None = None) -> tuple[Sequence, list[int]]:
    """The sequence that a file holds, and its tokens.   Raises: EngineError (as open_saved and SavedCache.restore)"""
    saved = open_saved(path)
    return saved.restore(model, context), list(saved.tokens)


def open_saved(path: Path) -> SavedCache:
    """A saved cache, its header read and its checksum checked.

    Raises: EngineError (no such file; not a saved cache, another version, cut short or changed)"""
    with _opened(path) as file:
        n_bytes = os.fstat(file.fileno()).st_size
        prefix = file.read(PREFIX.size)
        if len(prefix) < PREFIX.size or prefix[: len(MAGIC)] != MAGIC:
            raise EngineError(str(path), "no saved cache", "a file that begins with solvntKV")
        _, version, length = PREFIX.unpack(prefix)
        if version not in (FIRST_VERSION, VERSION):
            raise EngineError(str(path), f"version {version}", f"version {VERSION}", "make the cache again")
        room = n_bytes - PREFIX.size - DIGEST_BYTES
        if length > min(MAX_HEADER_BYTES, room):
            raise EngineError(str(path), f"a header of {length} bytes", f"one that fits a file of {n_bytes}")
        text = file.read(length)
        digest = _digest(prefix + text)
        for piece in _pieces(file, room - length):
            digest.update(piece)
        if file.read(DIGEST_BYTES) != digest.digest():
            raise EngineError(
                str(path), "a checksum that doesn't hold", "a file as it was written", "make the cache again"
            )
    header = _header(path, text, version)
    sizes = tuple(header["chunk_bytes"])
    if sum(sizes) != room - length:
        raise EngineError(str(path), f"{n_bytes} bytes", "as many as its header says")
    format = format_of(header["format"], str(path))
    tokens, start = tuple(header["tokens"]), PREFIX.size + length
    return SavedCache(path, header["model"], format, tokens, sizes, header["coded_tok"], start, digest.digest())


def _opened(path: Path) -> BinaryIO:
    """The file, open; not a pipe or a device, which may have no end."""
    try:
        # Opening a pipe would wait for who writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else "no path"
        raise EngineError(str(path), f"can't be read ({said})", "a saved cache") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise EngineError(str(path), "not a file", "a saved cache")
    return os.fdopen(descriptor, "rb")


def _pieces(file: BinaryIO, n_bytes: int) -> Iterator[bytes]:
    """The next bytes, few at a time; fewer where the file ends."""
    while n_bytes > 0 and (piece := file.read(min(n_bytes, PIECE_BYTES))):
        yield piece
        n_bytes -= len(piece)


def _header(path: Path, text: bytes, version: int) -> dict[str, Any]:
    try:
        header = json.loads(text)
        if version == FIRST_VERSION:
            header["coded_tok"] = len(header["chunk_bytes"]) * CHUNK_TOK
        whole = isinstance(header["model"], str) and isinstance(header["format"], dict)
        lists = (header["tokens"], header["chunk_bytes"], [header["coded_tok"]])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise EngineError(str(path), "a header that can't be read", "JSON with model, format, tokens") from None
    for numbers in lists:
        whole = whole and isinstance(numbers, list) and all(type(n) is int and 0 <= n < 1 << 40 for n in numbers)
    if not whole:
        expected = "model, format, tokens, chunk_bytes and coded_tok"
        raise EngineError(str(path), "a header with fields of other kinds", expected)
    return dict(header)


def _few(sizes: list[int] | tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes[:3])) + (f" … ({len(sizes)})" if len(sizes) > 3 else "") or "no"


def _digest(start: bytes = b"") -> hashlib.blake2b:
    import hashlib  # OpenSSL comes with it, 3 MB that a model needn't take

    return hashlib.blake2b(start, digest_size=DIGEST_BYTES)

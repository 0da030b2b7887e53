"""Packed keys or values of many heads in plain NumPy: tiles of tokens that share a centre.

Softmax ignores a constant added to all keys, so a tile's keys are coded as differences from a centre: the mean of the
tile before it as the cache itself decodes it. That needs no calibration and no state beside the bytes: what is coded
next depends on the cache's content alone, so that a cropped, forked or restored cache goes on as the original.
Token 0 is its tile's centre. Values have no centre. Each 128 tokens of a head share an exponent of their scales.
First and newest tokens may stay in half precision, rotated, until a chunk of 256 is newest no more and is coded.
Enter at `PackedHeads`. Layout in docs/reference/turboquant-format.md (there interleaved for kernels, here not).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError
from solvent.machine.turboquant.bit_stream import n_stream_bytes, pack, unpack
from solvent.machine.turboquant.cache_format import CHUNK_TOK
from solvent.machine.turboquant.reference import (
    LARGEST_SCALE_CODE,
    SMALLEST_EXPONENT,
    STEPS_PER_OCTAVE,
    Code,
    decode,
    encode,
    least_exponent,
    scale_codes,
    scales_of,
)
from solvent.machine.turboquant.rotation import rotate, rotate_back

F32 = NDArray[np.float32]
F16 = NDArray[np.float16]
U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
Stored = TypeVar("Stored", bound=np.generic)

# Short tiles first, so that the centre follows soon; then one per 128 tokens: 16 bits · D / 128 = D/8 bits a token.
EARLY_STARTS = (0, 16, 32, 64)
N_EARLY = len(EARLY_STARTS)
TILE = 128
NO_TAIL = 1 << 40  # a token that no cache reaches
# Octaves kept free above the first vector's scale, so that the exponent seldom has to grow.
SPARE_OCTAVES = 2


def tile_of(token: int) -> int:
    """The tile that a token belongs to: [0,16), [16,32), [32,64), [64,128), then 128 tokens each."""
    if token >= TILE:
        return N_EARLY - 1 + token // TILE
    return sum(1 for start in EARLY_STARTS[1:] if token >= start)


def tile_start(tile: int) -> int:
    """The first token of a tile."""
    return EARLY_STARTS[tile] if tile < N_EARLY else (tile - N_EARLY + 1) * TILE


class PackedHeads:
    """Vectors of n_heads sequences (heads, or batch × heads), all of one length, as bytes.

    streams (H, T, ⌈D·b/8⌉) u8 · scales (H, T) u8 · exponents (H, ⌈T/128⌉) i8 · centres (H, tiles, D) f16 if centred ·
    halves: (H, 256, D) f16 of each chunk in half precision: those before sink_tok, and with a tail from coded_tok on"""

    def __init__(self, code: Code, n_heads: int, centred: bool, sink_tok: int = 0, tail_tok: int = 0) -> None:
        self.code, self.n_heads, self.centred = code, n_heads, centred
        self.sink_tok, self.tail_tok = sink_tok, tail_tok
        self.n_tok = 0
        self.coded_tok = sink_tok if tail_tok else NO_TAIL
        self.halves: dict[int, F16] = {}
        self.streams: U8 = np.empty((n_heads, 0, n_stream_bytes(code.head_size, code.bits)), np.uint8)
        self.scales: U8 = np.empty((n_heads, 0), np.uint8)
        self.exponents: NDArray[np.int8] = np.empty((n_heads, 0), np.int8)
        self.centres: F16 = np.empty((n_heads, 0, code.head_size), np.float16)

    @property
    def n_bytes(self) -> int:
        """All that is stored for the tokens held: codes, scales, exponents, centres, halves."""
        end = min(self.coded_tok, self.n_tok)
        coded = max(0, end - self.sink_tok)
        n_tiles = tile_of(end - 1) + 1 - tile_of(self.sink_tok) if coded else 0
        centres = n_tiles * 2 * self.code.head_size if self.centred else 0
        per_token = int(self.streams.shape[2]) + 1
        halves = (self.n_tok - coded) * 2 * self.code.head_size
        return self.n_heads * (coded * per_token + -(-coded // TILE) + centres + halves)

    @property
    def n_tiles(self) -> int:
        return tile_of(self.n_tok - 1) + 1 if self.n_tok else 0

    def append(self, vectors: F32) -> None:
        """Codes new tokens after those held; one at a time or many at once gives the same bytes.

        vectors: (H, T, D), as the model has them (not rotated)
        Raises: EngineError (a number that isn't finite, or beyond half precision where a centre is made of it)."""
        if not np.isfinite(vectors).all():
            raise EngineError("turboquant", "a key or value that is no finite number", "finite numbers")
        with np.errstate(over="ignore", invalid="ignore"):
            rotated = rotate(vectors)  # what overflows here isn't coded either: `encode` looks at it
        self.reserve(self.n_tok + rotated.shape[1])
        done = 0
        while done < rotated.shape[1]:
            begin = self.n_tok // CHUNK_TOK * CHUNK_TOK
            while self.coded_tok < begin - self.tail_tok:
                self.code_chunk(self.coded_tok)
            part = rotated[:, done : done + begin + CHUNK_TOK - self.n_tok]
            self.append_whole(part) if self.is_full(self.n_tok) else self.append_codes(part)
            done += part.shape[1]

    def is_full(self, token: int) -> bool:
        """Whether a token is in half precision."""
        return token < self.sink_tok or token >= self.coded_tok

    def append_whole(self, rotated: F32) -> None:
        """In half precision. rotated: (H, n, D), all of one chunk."""
        with np.errstate(over="ignore"):
            halves = rotated.astype(np.float16)
        if not np.isfinite(halves).all():
            raise EngineError("turboquant", "a key or value beyond ±65504, rotated", "what half precision holds")
        chunk, at = divmod(self.n_tok, CHUNK_TOK)
        shape = (self.n_heads, CHUNK_TOK, self.code.head_size)
        self.halves.setdefault(chunk, np.zeros(shape, np.float16))[:, at : at + halves.shape[1]] = halves
        self.n_tok += halves.shape[1]

    def code_chunk(self, start: int) -> None:
        """Codes the chunk that begins at a token, from its halves; they are gone then."""
        rotated = self.halves.pop(start // CHUNK_TOK).astype(np.float32)
        held, self.n_tok, self.coded_tok = self.n_tok, start, start + CHUNK_TOK
        self.append_codes(rotated)
        self.n_tok = held

    def append_codes(self, rotated: F32) -> None:
        """rotated: (H, n, D)"""
        done = 0
        while done < rotated.shape[1]:
            tile = tile_of(self.n_tok)
            if self.n_tok == tile_start(tile):
                self.open_tile(tile, rotated[:, done])
            part = rotated[:, done : done + tile_start(tile + 1) - self.n_tok]
            self.append_to_tile(tile, part)
            done += part.shape[1]

    def reserve(self, n_tok: int) -> None:
        """Room for so many tokens: doubled when it runs out."""
        held = self.streams.shape[1]
        if n_tok <= held:
            return
        held = max(n_tok, 2 * held, EARLY_STARTS[1])
        tiles = tile_of(held - 1) + 1
        self.streams = grown(self.streams, held)
        self.scales = grown(self.scales, held)
        self.exponents = grown(self.exponents, -(-held // TILE))
        self.centres = grown(self.centres, tiles if self.centred else 0)

    def open_tile(self, tile: int, first: F32) -> None:
        """Sets the centre and the exponent that a tile starts with. first: (H, D) the rotated first token of it."""
        group = self.n_tok // TILE
        if self.n_tok % TILE == 0:
            self.exponents[:, group] = SMALLEST_EXPONENT
        if not self.centred:
            return
        # Token 0 says nothing about the mean of tile 0: models give it a key of its own (attention sinks).
        mean = first if tile == 0 else self.rotated(max(tile_start(tile - 1), 1), self.n_tok).mean(axis=1, dtype=float)
        with np.errstate(over="ignore"):
            centre = mean.astype(np.float16)
        if not np.isfinite(centre).all():
            raise EngineError("turboquant", "a key beyond ±65504 or no finite number", "what half precision holds")
        self.centres[:, tile] = centre

    def append_to_tile(self, tile: int, rotated: F32) -> None:
        """rotated: (H, n, D), all of one tile."""
        start, count = self.n_tok, rotated.shape[1]
        residuals = rotated - self.centres[:, tile, None].astype(np.float32) if self.centred else rotated.copy()
        if self.centred and start == 0:
            # Its centre, but for the rounding to half precision, which isn't worth a code.
            residuals[:, 0] = 0
        codes, scales = encode(residuals.reshape(-1, self.code.head_size), self.code)
        scales = scales.reshape(self.n_heads, count)
        self.streams[:, start : start + count] = pack(codes, self.code.bits).reshape(self.n_heads, count, -1)
        group = start // TILE
        old = self.exponents[:, group].astype(np.int32)
        new = np.maximum(grown_exponents(old, scales), least_exponent(scales).max(axis=1))
        self.rescale(group, new - old)
        self.scales[:, start : start + count] = scale_codes(scales, new[:, None])
        self.exponents[:, group] = new
        self.n_tok += count

    def rescale(self, group: int, octaves: I32) -> None:
        """The codes so far of 128 tokens whose exponent grew: 16 less an octave, down to the zero vector."""
        span = slice(group * TILE, self.n_tok)
        kept = self.scales[:, span].astype(np.int32) - STEPS_PER_OCTAVE * octaves[:, None]
        self.scales[:, span] = np.clip(kept, 0, LARGEST_SCALE_CODE)

    def codes(self, start: int, end: int) -> U8:
        """(H, end − start, D) u8"""
        return unpack(self.streams[:, start:end], self.code.bits, self.code.head_size)

    def token_scales(self, start: int, end: int) -> F32:
        """(H, end − start) f32"""
        exponents = self.exponents[:, [token // TILE for token in range(start, end)]].astype(np.int32)
        return scales_of(self.scales[:, start:end], exponents)

    def token_centres(self, start: int, end: int) -> F32:
        """(H, end − start, D) f32: zeros where nothing is centred."""
        if not self.centred:
            return np.zeros((self.n_heads, end - start, self.code.head_size), np.float32)
        return self.centres[:, [tile_of(token) for token in range(start, end)]].astype(np.float32)

    def rotated(self, start: int, end: int) -> F32:
        """What is held, still rotated: centre + s · values, or halves. (H, end − start, D) f32"""
        if self.halves:
            cuts = [start, *range((start // CHUNK_TOK + 1) * CHUNK_TOK, end, CHUNK_TOK), end]
            parts = [self.rotated_in_chunk(a, b) for a, b in pairwise(cuts)]
            return np.concatenate(parts, axis=1)
        return self.decoded(start, end)

    def rotated_in_chunk(self, start: int, end: int) -> F32:
        """rotated, within one chunk."""
        if not self.is_full(start):
            return self.decoded(start, end)
        chunk, at = divmod(start, CHUNK_TOK)
        return self.halves[chunk][:, at : at + end - start].astype(np.float32)

    def decoded(self, start: int, end: int) -> F32:
        """centre + s · values, of codes."""
        codes, scales = self.codes(start, end), self.token_scales(start, end)
        flat = decode(codes.reshape(-1, self.code.head_size), scales.ravel(), self.code)
        return self.token_centres(start, end) + flat.reshape(codes.shape)

    def vectors(self) -> F32:
        """What is held, as the model had it. (H, T, D) f32"""
        return rotate_back(self.rotated(0, self.n_tok))

    def crop(self, n_tok: int) -> None:
        """Forgets all but the first tokens; exponents stay, and codes of what left a tail.

        Raises: EngineError (more than are held)."""
        if not 0 <= n_tok <= self.n_tok:
            raise EngineError("turboquant", f"a crop to {n_tok} tokens", f"0 to the {self.n_tok} held")
        self.n_tok = n_tok
        n_chunks = -(-n_tok // CHUNK_TOK)
        if self.tail_tok:
            self.coded_tok = max(self.sink_tok, min(self.coded_tok, n_chunks * CHUNK_TOK))
        self.halves = {chunk: halves for chunk, halves in self.halves.items() if chunk < n_chunks}

    def select(self, heads: NDArray[np.intp]) -> None:
        """Keeps these sequences, in this order; one may be taken several times."""
        self.n_heads = len(heads)
        self.streams, self.scales = self.streams[heads], self.scales[heads]
        self.exponents, self.centres = self.exponents[heads], self.centres[heads]
        self.halves = {chunk: halves[heads] for chunk, halves in self.halves.items()}


def grown_exponents(old: I32, scales: F32) -> I32:
    """The exponents, and where none is set yet ⌈log2 s⌉ + 2 of the first s that isn't 0. (H,), (H, n) → (H,)"""
    first = np.take_along_axis(scales, (scales > 0).argmax(axis=1)[:, None], axis=1)[:, 0]
    with np.errstate(divide="ignore"):
        octave = np.ceil(np.log2(first.astype(np.float64))) + SPARE_OCTAVES
    unset = (old == SMALLEST_EXPONENT) & (octave > SMALLEST_EXPONENT)
    return np.where(unset, octave, old).astype(np.int32)


def grown(array: NDArray[Stored], size: int) -> NDArray[Stored]:
    """The array with its second axis of the new size; what is new is 0."""
    out: NDArray[Stored] = np.zeros((array.shape[0], size, *array.shape[2:]), array.dtype)
    out[:, : array.shape[1]] = array
    return out

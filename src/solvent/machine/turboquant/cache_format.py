"""What a cache keeps keys and values as: f16, or codes of 1 to 8 bits, per layer, by names such as `tq4`.

Names: f16; tqK (K bits for keys and values alike), tqK-V (K bits for keys, V for values; either may be f16), with `s`
behind it for scalar codes instead of a trellis's: tq4, tq4-3, tq4s, tqf16-4. Baselines: q4_0 and q8_0, even steps
without centres, turned all the same, one scale a head. Behind any of codes: +sinksN and +tailN keep the first and the
newest N tokens in f16 (tq4+sinks256+tail512). Where a layer differs, the format is built in Python.
What it doesn't do: encode (native code; reference.py is the plain form), choose bits (engine/pick_cache.py).
Enter at `parse`, `CacheFormat`. The bytes: docs/reference/turboquant-format.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from solvent.errors import EngineError

F16 = 0
BITS = (F16, 1, 2, 3, 4, 5, 6, 8)
TRELLIS_BITS = (2, 3, 4, 5)
CHUNK_TOK = 256  # tokens that are stored together
HALF_BITS = 16
EXPONENT_BITS = 4 * 8  # of a head's scales in a chunk
NAME = re.compile(r"tq(\d)(?:-(\d|f16))?(s?)|tqf16-(\d)(s?)")
KEPT = re.compile(r"(sinks|tail)(\d{1,9})")
MOST_KEPT_TOK = 1 << 24


@dataclass(frozen=True, slots=True)
class CacheFormat:
    """Bits of keys and values by layer; one pair stands for all layers.

    bits: (keys, values) per layer; 0 is f16.   trellis: codes of 2 to 5 bits are paths through a trellis, a quarter
    less error at the same bits.   centred: keys are coded less the mean of the tile of tokens before theirs.
    least_squares: scales that minimise the error instead of keeping products unbiased.   even: steps of one size.
    sink_tok, tail_tok: tokens kept in f16, the first and the newest before those of the last 256 being filled, which
    are then in f16 too; 0 or multiples of 256. What leaves the tail becomes codes.
    Raises: EngineError (bits that don't exist; tokens that are no multiple of 256, or of a format that is all f16)"""

    bits: tuple[tuple[int, int], ...] = ((F16, F16),)
    trellis: bool = True
    centred: bool = True
    least_squares: bool = False
    even: bool = False
    sink_tok: int = 0
    tail_tok: int = 0

    def __post_init__(self) -> None:
        for pair in self.bits:
            for bits in pair:
                # True and 4.0 are equal to bits, and no bits.
                if type(bits) is not int or bits not in BITS:
                    raise EngineError("cache format", f"{bits!r:.40} bits", "1 to 6, 8, or 0 for f16")
        for name, n_tok in (("sinks", self.sink_tok), ("tail", self.tail_tok)):
            if type(n_tok) is not int or n_tok % CHUNK_TOK or not 0 <= n_tok <= MOST_KEPT_TOK:
                expected = f"a multiple of {CHUNK_TOK} up to {MOST_KEPT_TOK}"
                raise EngineError("cache format", f"{name} of {n_tok!r:.40} tokens", expected, _nearest(name, n_tok))
        if self.is_f16 and (self.sink_tok or self.tail_tok):
            found = "sinks or a tail of a cache that is f16 as a whole"
            raise EngineError("cache format", found, "codes for the other tokens", "write f16, or tq4 in its place")

    @property
    def name(self) -> str:
        """A name that `parse` takes; where there is none, what the format is."""
        kinds = set(self.bits)
        if len(kinds) != 1:
            return "bits by layer"
        if self.is_f16:
            return "f16"
        one = replace(self, bits=tuple(kinds))
        keys, values = (bits or "f16" for bits in one.bits[0])
        sides = f"tq{keys}" if keys == values else f"tq{keys}-{values}"
        kept = "".join(f"+{name}{n}" for name, n in (("sinks", self.sink_tok), ("tail", self.tail_tok)) if n)
        names = (f"{name}{kept}" for name in (*BASELINES, sides, f"{sides}s") if not kept or name != "f16")
        return next((name for name in names if parse(name) == one), "codes of another kind")

    @property
    def is_f16(self) -> bool:
        return all(pair == (F16, F16) for pair in self.bits)

    def of_layers(self, n_layers: int) -> CacheFormat:
        """With a pair for each layer.   Raises: EngineError (pairs for another number of layers)"""
        if len(self.bits) == 1:
            return replace(self, bits=self.bits * n_layers)
        if len(self.bits) != n_layers:
            raise EngineError("cache format", f"bits for {len(self.bits)} layers", f"{n_layers}, those of the model")
        return self

    def uses_trellis(self, bits: int) -> bool:
        return self.trellis and not self.even and bits in TRELLIS_BITS

    def document(self) -> dict[str, Any]:
        """What tells this format from others, JSON-ready."""
        return {
            "bits": [list(pair) for pair in self.bits],
            "trellis": self.trellis,
            "centred": self.centred,
            "least_squares": self.least_squares,
            "even": self.even,
            "sink_tok": self.sink_tok,
            "tail_tok": self.tail_tok,
        }


BASELINES = {
    "f16": CacheFormat(),
    "q8_0": CacheFormat(((8, 8),), trellis=False, centred=False, least_squares=True, even=True),
    "q4_0": CacheFormat(((4, 4),), trellis=False, centred=False, least_squares=True, even=True),
}


def parse(name: str) -> CacheFormat:
    """The format of a name.   Raises: EngineError (no such name)"""
    codes, *rest = name.split("+")
    kept: dict[str, int] = {}
    for part in rest:
        found = KEPT.fullmatch(part)
        if not found or found[1] in kept:
            expected = "sinks and tail once each, with a number of tokens"
            raise EngineError(
                "cache format", f"{name!r:.60}", expected, f"write {codes:.20}+sinks{CHUNK_TOK}+tail{CHUNK_TOK}"
            )
        kept[found[1]] = int(found[2])
    return replace(_parse_codes(codes, name), sink_tok=kept.get("sinks", 0), tail_tok=kept.get("tail", 0))


def _parse_codes(codes: str, name: str) -> CacheFormat:
    if codes in BASELINES:
        return BASELINES[codes]
    found = NAME.fullmatch(codes)
    if not found:
        expected = "f16, q8_0, q4_0, or tq with the bits of keys and of values"
        raise EngineError("cache format", f"{name!r:.60}", expected, "write tq4, tq4-3 or tq3s")
    if found[4]:
        return CacheFormat(((F16, int(found[4])),), trellis=not found[5])
    key = int(found[1])
    value = key if found[2] is None else F16 if found[2] == "f16" else int(found[2])
    return CacheFormat(((key, value),), trellis=not found[3])


def _nearest(name: str, n_tok: object) -> str:
    """How to write the multiple that is nearest to what was asked for."""
    n_tok = n_tok if type(n_tok) is int else 0
    return f"write {name}{min(max(round(n_tok / CHUNK_TOK), 1) * CHUNK_TOK, MOST_KEPT_TOK)}"


def format_of(document: Mapping[str, Any], where: str) -> CacheFormat:
    """The format of a document that `CacheFormat.document` made; what one without sinks and tail was written by knew
    neither.   Raises: EngineError (it says something else)"""
    try:
        flags = {name: document[name] for name in ("trellis", "centred", "least_squares", "even")}
        kept = {name: document.get(name, 0) for name in ("sink_tok", "tail_tok")}
        pairs = tuple((keys, values) for keys, values in document["bits"])
    except (KeyError, TypeError, ValueError):
        raise EngineError(where, "a cache format that can't be read", "bits by layer and four flags") from None
    if not all(type(flag) is bool for flag in flags.values()):
        raise EngineError(where, "a flag that is neither true nor false", "a format as it was written")
    try:
        return CacheFormat(pairs, **flags, **kept)
    except EngineError as error:
        raise EngineError(where, error.found, error.expected) from None


def bits_per_element(format: CacheFormat, head_size: int) -> float:
    """Bits that one element of a key or value takes in a full chunk of codes, scales and centres counted; of tokens
    outside of sinks and tail, that is.

    (Σ over layers of keys' and values' bytes of 256 tokens)·8 / (256·2·D·layers), as native code lays them out."""
    chunk_bits = [
        sum(
            _part_bits(bits, head_size, keys and format.centred) for bits, keys in zip(pair, (True, False), strict=True)
        )
        + (EXPONENT_BITS if pair != (F16, F16) else 0)
        for pair in format.bits
    ]
    return sum(chunk_bits) / (len(format.bits) * CHUNK_TOK * 2 * head_size)


def full_tok(format: CacheFormat, n_tok: int) -> int:
    """Of the first n tokens read, those kept in full precision: sinks, and the chunks from the tail's first on up to
    the one that the last token is in."""
    if not format.tail_tok:
        return min(n_tok, format.sink_tok)
    begin = (n_tok - 1) // CHUNK_TOK * CHUNK_TOK - format.tail_tok
    return n_tok - max(0, begin - format.sink_tok)


def _part_bits(bits: int, head_size: int, centred: bool) -> int:
    if bits == F16:
        return CHUNK_TOK * head_size * HALF_BITS
    return CHUNK_TOK * (head_size * bits + 8) + (2 * head_size * HALF_BITS if centred else 0)

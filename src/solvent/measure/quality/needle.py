"""Needles in a haystack: facts put into a long text at several depths, and asked for at its end.

Each haystack holds as many needles as there are depths, and is read once for all its questions. A small model misses
needles also with an uncompressed cache, so two variants are compared pair by pair, never by level.
What it doesn't do: score (scorer.py). The haystack's text is the user's.
Enter at `needle_items`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from solvent.errors import MeasureError
from solvent.measure.quality.items import Item, ItemSet

DEPTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
# Names that no text is likely to hold; the numbers can't be guessed.
NAMES = ("Quillmoor", "Brantivale", "Ostrevik", "Zephyrine", "Calderport", "Mirenfold", "Tavrosk", "Ulverstane")
NEEDLE = " The secret number of {name} is {number}. "
QUESTION = "\n\nWhat is the secret number of {name}? The secret number of {name} is"


def needle_items(
    text: str,
    encode: Callable[[str], list[int]],
    n_tok: int,
    n_haystacks: int = 4,
    depths: Sequence[float] = DEPTHS,
    seed: int = 0,
) -> ItemSet:
    """n_haystacks × depths questions over texts of just under n_tok tokens, needles and question included.

    text: what haystacks are cut from, one behind the other.
    Raises: MeasureError (too little text; more depths than names; too few tokens)"""
    if not 0 < len(depths) <= len(NAMES) or not all(0 <= depth <= 1 for depth in depths):
        raise MeasureError("depths", str(list(depths))[:60], f"1 to {len(NAMES)} shares from 0 to 1")
    numbers = random.Random(seed)
    items, at = [], 0
    for haystack in range(n_haystacks):
        names = numbers.sample(NAMES, len(depths))
        facts = [(name, str(numbers.randrange(100_000, 1_000_000))) for name in names]
        extra_tok = sum(len(encode(NEEDLE.format(name=name, number=number))) for name, number in facts)
        # A needle splits a word's tokens where it is put in: two tokens each, and the question's own tokens.
        room_tok = n_tok - extra_tok - 2 * len(facts) - 2 * len(encode(QUESTION.format(name=names[0]))) - 8
        if room_tok < 16:
            raise MeasureError("needles", f"{n_tok} tokens", "room for the needles and some text around them")
        hay, at = _cut(text, at, room_tok, encode)
        context = _with_needles(hay, facts, depths)
        items += [
            Item(f"needle-{n_tok}:{haystack}@{depth:g}", context + QUESTION.format(name=name), (f" {number}",), 0)
            for (name, number), depth in zip(facts, depths, strict=True)
        ]
    return ItemSet(f"needle-{n_tok}", "continuation", tuple(items))


def _cut(text: str, at: int, n_tok: int, encode: Callable[[str], list[int]]) -> tuple[str, int]:
    """Text of at most n_tok tokens from a place on, and the place behind it."""
    n_chars = n_tok * 8
    piece = text[at : at + n_chars]
    for _ in range(40):
        found_tok = len(encode(piece))
        if found_tok <= n_tok:
            break
        piece = piece[: int(len(piece) * min(n_tok / found_tok, 0.999))]
    if len(encode(piece)) < 0.9 * n_tok:
        raise MeasureError("haystack", f"{len(text)} characters", "more text: every haystack takes its own part")
    return piece, at + len(piece)


def _with_needles(hay: str, facts: Sequence[tuple[str, str]], depths: Sequence[float]) -> str:
    """The text with each fact behind the first end of a sentence past its depth."""
    parts, start = [], 0
    for (name, number), depth in sorted(zip(facts, depths, strict=True), key=lambda pair: pair[1]):
        wanted = int(len(hay) * depth)
        found = hay.find(". ", wanted, min(len(hay), wanted + 400))
        place = max(start, found + 1 if found >= 0 else wanted)
        parts += [hay[start:place], NEEDLE.format(name=name, number=number).rstrip()]
        start = place
    return "".join([*parts, hay[start:]])

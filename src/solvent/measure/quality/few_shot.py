"""Solved examples packed before a question, to a given number of tokens.

A long context is only read if something in it is worth reading: packing 2k or 8k tokens of examples shows what a
compressed cache loses there.
What it doesn't do: score. Enter at `pack`.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from solvent.errors import MeasureError
from solvent.measure.quality.items import Item, ItemSet, shots


def pack(items: ItemSet, encode: Callable[[str], list[int]], n_tok: int, seed: int = 0) -> tuple[str, ItemSet]:
    """Examples of at most n_tok tokens together, and the items that aren't among them.

    The set is shuffled by seed; the examples are as many from its start as fit, the others keep the file's order.
    Raises: MeasureError (not one example fits; no item would be left)"""
    if n_tok < 1:
        return "", items
    order = list(items.items)
    random.Random(seed).shuffle(order)
    chosen: list[Item] = []
    used_tok = 0
    for item in order:
        # The tokens of a text are at most the sum of its parts', so the sum never packs too many.
        used_tok += len(encode(f"{item.text}\n\n"))
        if used_tok > n_tok:
            break
        chosen.append(item)
    if not chosen:
        raise MeasureError("few-shot", f"{n_tok} tokens", "room for at least one example")
    taken = {item.id for item in chosen}
    left = tuple(item for item in items.items if item.id not in taken)
    if not left:
        raise MeasureError("few-shot", f"all {len(order)} items are examples", "fewer tokens, or a larger set")
    return shots(chosen), ItemSet(items.name, items.kind, left)

"""A picked cache format for a terminal. It takes the document. What it doesn't do: measure, or print.

Enter at `picked_line`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

F16_BITS = 16


def picked_line(picked: Mapping[str, Any], per_token_bytes: int) -> str:
    """Bits by layers, bytes a token, and the divergence with where it was measured."""
    bits, window = picked["bits_per_element"], picked["window_tok"]
    return (
        f"kv auto: {bits:.2f} bits an element, {F16_BITS / bits:.2f} times less than f16, {per_token_bytes:,} bytes a"
        f" token ({_sides(picked['format']['bits'])}); mean KL {picked['mean_kl']:.4f} of {picked['budget_kl']:g} nats"
        f" a token over {picked['n_scored']:,} tokens at contexts of {window // 2:,} to {window:,}"
    )


def _sides(bits: Sequence[Sequence[int]]) -> str:
    """keys 4–6, values 3–5"""
    return ", ".join(f"{name} {_range([pair[i] for pair in bits])}" for i, name in enumerate(("keys", "values")))


def _range(bits: Sequence[int]) -> str:
    low, high = min(bits), max(bits)
    return f"{low} bits" if low == high else f"{low} to {high}, mostly {Counter(bits).most_common(1)[0][0]}"

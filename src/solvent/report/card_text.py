"""A model's card for a terminal: a line for each part, then the limit and the share of it that was reached.

It takes the card's document. What it doesn't do: measure, or print. Enter at `card_lines`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from solvent.errors import printable


def card_lines(card: Mapping[str, Any]) -> Iterator[str]:
    """The card, line by line; MB and GB are powers of ten."""
    depth = card["depth"]
    after = f", after {depth:,} {'token' if depth == 1 else 'tokens'} of context" if depth else ""
    threads = "1 thread" if card["threads"] == 1 else f"{card['threads']} threads"
    rounded = ", int16 activations" if card["activations"] == "int16" else ""
    yield f"{printable(card['model'])} ({card['family']}), {card['kernel']} kernels, {threads}{rounded}{after}"
    yield ""
    yield f"{'one decoded token':<24}{'MB':>10}{'share':>8}{'M operations':>15}"
    total = card["bytes_per_token"]
    for part in card["parts"]:
        share = part["bytes"] / total
        yield f"  {part['name']:<22}{part['bytes'] / 1e6:>10.2f}{share:>8.1%}{part['operations'] / 1e6:>15.1f}"
    yield f"  {'all':<22}{total / 1e6:>10.2f}{'':>8}{card['operations_per_token'] / 1e6:>15.1f}"
    yield ""
    bandwidth = card["bandwidth_bytes_per_s"] / 1e9
    limit, decode = card["limit_tok_per_s"], card["decode_tok_per_s"]
    low, high = card["decode_tok_per_s_low"], card["decode_tok_per_s_high"]
    yield f"memory reads {bandwidth:.1f} GB/s over as many bytes: at most {limit:,.0f} tok/s"
    yield f"measured     {decode:,.0f} tok/s ({low:,.0f} to {high:,.0f}): {card['share_of_limit']:.0%} of the limit"
    held = card["held"]
    yield (
        f"memory holds {held['weights_bytes'] / 1e6:,.1f} MB of weights, {held['head_bytes'] / 1e6:,.1f} MB of head"
        + (f" ({held['whole_head_bytes'] / 1e6:,.1f} MB more for all logits)" if held["whole_head_bytes"] else "")
        + f", {held['cache_bytes'] / 1e6:,.1f} MB of cache"
    )
    yield f"each token of context adds {card['cache_bytes_per_token_of_context'] / 1e3:.1f} kB to the cache"
    if card["cache_full_precision_bytes"]:
        full, kept = card["cache_full_precision_bytes"] / 1e6, card["cache"]
        yield f"sinks of {kept['sink_tok']:,} and a tail of {kept['tail_tok']:,} tokens in f16: {full:.1f} MB at most"


def explanation_lines(explanation: Mapping[str, Any]) -> Iterator[str]:
    """Which kernels were chosen among which, and how the weights of each type lie."""
    others = [name for name in explanation["runnable"] if name != explanation["kernel"]]
    yield f"kernels {explanation['kernel']}; SOLVENT_KERNEL forces another: {', '.join(others) or 'there is none'}"
    yield f"features {' '.join(explanation['features'])}"
    yield f"threads {explanation['threads']}"
    for name, found in explanation["types"].items():
        how = "packed into panels of 16 rows" if found["copied"] else "read where the file is mapped"
        matrices = "1 matrix" if found["matrices"] == 1 else f"{found['matrices']} matrices"
        yield f"{name}: {matrices}, {found['bytes'] / 1e6:.2f} MB, {how}"
    if explanation["activations"] == "int16":
        yield "activations: int16, as two int8"
    if explanation["head"] in ("8-bit", "6-bit"):
        yield f"head: rounded to {explanation['head']}"
    if explanation["screen_bytes"]:
        yield f"head: screened by 3-bit codes, {explanation['screen_bytes'] / 1e6:.2f} MB, for greedy tokens"

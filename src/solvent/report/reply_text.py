"""A model's reply for a terminal: harmless text as it streams, how fast it came, and how sure the model was.

It takes documents, not the engine's records. What it doesn't do: lay out, or print.
Enter at `harmless`, `speed_line`, `logprob_lines`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from solvent.report.hostile import visible

_ENDS = {
    "stop": "the reply ended",
    "length": "cut at the limit of tokens",
    "context": "cut where the context was full",
    None: "interrupted",
}


def harmless(text: str) -> str:
    """The text with what a terminal would obey shown as escapes; line ends and tabs stay."""
    return "".join(c if c in "\n\t" else visible(c) for c in text)


def speed_line(reply: Mapping[str, Any]) -> str:
    """Tokens, seconds and tokens per second of prompt and reply, and what ended it; the seed where one was drawn."""
    parts = [
        _part("prompt", reply["n_prompt_tok"], reply["prompt_s"], reply["prompt_tok_per_s"], reply["n_known_tok"]),
        _part("reply", reply["n_output_tok"], reply["decode_s"], reply["decode_tok_per_s"]),
        _ENDS[reply["finish_reason"]],
    ]
    seed = reply["settings"]["seed"]
    return " · ".join([*parts, *([] if seed is None else [f"seed {seed}"])])


def logprob_lines(reply: Mapping[str, Any]) -> Iterator[str]:
    """A line for each token: its text, ln p, and the most probable tokens with theirs."""
    for piece, logprob, top in zip(reply["pieces"], reply["logprobs"], reply["top_logprobs"], strict=True):
        others = "  ".join(f"{_quoted(one['text'])} {one['logprob']:.3f}" for one in top)
        yield f"{_quoted(piece):<16} {logprob:8.3f}   {others}".rstrip()


def _quoted(text: str) -> str:
    return f'"{visible(text)}"'


def _part(name: str, n_tok: int, seconds: float, tok_per_s: float | None, n_known_tok: int = 0) -> str:
    rate = "" if tok_per_s is None else f", {tok_per_s:,.{0 if tok_per_s >= 100 else 1}f} tok/s"
    known = f" ({n_known_tok:,} restored)" if n_known_tok else ""
    return f"{name} {n_tok:,} tok{known} in {seconds:.2f} s{rate}"

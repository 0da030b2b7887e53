"""What one answer's timestamps say: latency, first token, gaps, both times per output token; and objectives met.

Names and definitions are those of AIPerf and vLLM; docs/reference/measurement.md has them as formulas. What an answer
doesn't say is None, never 0.
What it doesn't do: sum up over answers (figures.py).
Enter at `of_answer` and `Slo.of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

from solvent.errors import MeasureError

SLO_KEYS = {"ttft": "ttft_s", "itl": "tpot_s", "tpot": "tpot_s", "latency": "latency_s"}
Sample = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Metrics:
    """One answer that didn't fail. gaps_s: between pieces; gaps_per_tok_s: the same by the tokens of each piece."""

    latency_s: float
    ttft_s: float | None
    tpot_s: float | None
    tpot_total_s: float | None
    gaps_s: tuple[float, ...]
    gaps_per_tok_s: tuple[float, ...] | None
    prompt_tok: int | None
    output_tok: int | None
    n_outputs: float | None


def of_answer(sample: Sample) -> Metrics | None:
    """latency = last piece − sent; ttft = first piece − sent; tpot = (latency − ttft)/(n − 1); total = latency/n.

    None for an answer that failed or never ended. An answer that came in one piece has no first token of its own."""
    if sample["error"] is not None or sample["done_s"] is None:
        return None
    at_s: Sequence[float] = sample["chunk_s"]
    tok: Sequence[int | None] = sample["chunk_tok"]
    n_tok: int | None = sample["output_tok"]
    latency_s = (at_s[-1] if at_s else sample["done_s"]) - sample["sent_s"]
    streamed = bool(at_s) and not any(note.startswith("not_streamed") for note in sample["notes"])
    ttft_s = at_s[0] - sample["sent_s"] if streamed else None
    gaps_s = tuple(b - a for a, b in pairwise(at_s))
    per_tok = None
    if streamed and all(tok):
        per_tok = tuple(gap_s / (n or 1) for gap_s, n in zip(gaps_s, tok[1:], strict=True))
    several = n_tok is not None and n_tok > 1 and ttft_s is not None
    return Metrics(
        latency_s,
        ttft_s,
        (latency_s - ttft_s) / (n_tok - 1) if several and n_tok and ttft_s is not None else None,
        latency_s / n_tok if n_tok else None,
        gaps_s,
        per_tok,
        sample["prompt_tok"],
        n_tok,
        sample["n_outputs"],
    )


def sample_fault(sample: Sample) -> str:
    """What is wrong with a sample that was read from a file, or ""."""
    times, tok = sample.get("chunk_s"), sample.get("chunk_tok")
    if not isinstance(times, list) or not all(_is_number(one) for one in times):
        return "chunk_s isn't times"
    if not isinstance(tok, list) or len(tok) != len(times) or not all(one is None or _is_count(one) for one in tok):
        return "chunk_tok isn't a count for each piece"
    if not _is_number(sample.get("sent_s")):
        return "sent_s isn't a time"
    for name in ("done_s", "n_outputs"):
        if sample.get(name, "") is not None and not _is_number(sample.get(name)):
            return f"{name} isn't a number"
    for name in ("prompt_tok", "output_tok"):
        if sample.get(name, "") is not None and not _is_count(sample.get(name)):
            return f"{name} isn't a count"
    error, notes = sample.get("error", 0), sample.get("notes")
    if not (error is None or isinstance(error, str)) or not isinstance(notes, list):
        return "error and notes aren't texts"
    return "" if all(isinstance(note, str) for note in notes) else "a note isn't a text"


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and isfinite(found)


def _is_count(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 1 << 53


def fault_of(sample: Sample) -> str | None:
    """The name of an answer's error; None where it didn't fail."""
    error: str | None = sample["error"]
    if error is None:
        return "no_end" if sample["done_s"] is None else None
    return error.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Slo:
    """What an answer must keep to be good: at most so many seconds each; all of those named."""

    limits_s: Mapping[str, float]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Slo | None:
        """From texts such as ttft=0.5 or ttft=0.5,itl=0.05 (seconds); None from none.

        Raises: MeasureError (an unknown name, no number above 0)"""
        limits: dict[str, float] = {}
        for part in (part for text in texts for part in text.split(",")):
            name, _, value = part.partition("=")
            try:
                seconds = float(value)
            except ValueError:
                seconds = -1.0
            if name.strip() not in SLO_KEYS or not 0 < seconds < 1e6:
                raise MeasureError("--slo", repr(part), "NAME=SECONDS with " + ", ".join(SLO_KEYS))
            limits[name.strip()] = seconds
        return cls(limits) if limits else None

    def met(self, metrics: Metrics) -> bool:
        """All that is named is known and kept; tpot of a single token has nothing to keep."""
        for name, limit_s in self.limits_s.items():
            found_s = getattr(metrics, SLO_KEYS[name])
            if found_s is None and SLO_KEYS[name] == "tpot_s" and metrics.output_tok == 1:
                continue
            if found_s is None or found_s > limit_s:
                return False
        return True

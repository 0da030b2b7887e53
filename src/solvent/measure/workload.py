"""What is asked of a target: requests from a shape of lengths or from a trace, and when each is due.

A request is a function of the seed and its number alone, so that an interrupted measurement goes on with the same ones.
What it doesn't do: read traces (trace.py), write prompts (prompts.py), send (load.py).
Enter at `Shape.requests`, `traced` and `poisson`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from solvent.errors import MeasureError
from solvent.measure.target import Request
from solvent.measure.trace import Row

MAX_TOK = 10_000_000
# Beyond this the largest of 1,000 lengths is 1,600 times the median.
MAX_SPREAD = 2.4
WritePrompt = Callable[[str, int], str]


@dataclass(frozen=True, slots=True)
class Shape:
    """Lengths of requests: median tokens in and out; spread σ of ln(tokens): 0 is fixed, else log-normal.

    Raises: MeasureError (a length or spread outside its range)"""

    input_tok: int
    output_tok: int
    spread: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, tok in (("--input-tok", self.input_tok), ("--output-tok", self.output_tok)):
            if not 1 <= tok <= MAX_TOK:
                raise MeasureError(name, str(tok), f"1 to {MAX_TOK:,}")
        if not 0 <= self.spread <= MAX_SPREAD:
            raise MeasureError("--spread", str(self.spread), f"0 to {MAX_SPREAD}")

    def lengths(self, i: int) -> tuple[int, int]:
        """Tokens in and out of request i: round(median · e^(σz)), z standard normal; from 1 to 20 medians."""
        if not self.spread:
            return self.input_tok, self.output_tok
        z = np.random.default_rng((self.seed, i)).standard_normal(2)
        found = [
            min(max(1, round(median * math.exp(self.spread * float(one)))), 20 * median)
            for median, one in zip((self.input_tok, self.output_tok), z, strict=True)
        ]
        return found[0], found[1]

    def requests(self, prefix: str = "r", write_prompt: WritePrompt | None = None) -> Iterator[Request]:
        """Endless requests that are due as soon as there is a place for them."""
        for i in count():
            input_tok, output_tok = self.lengths(i)
            name = f"{prefix}{i:06d}"
            prompt = write_prompt(name, input_tok) if write_prompt else None
            yield Request(name, None, prompt, input_tok, output_tok)

    def document(self) -> dict[str, Any]:
        kind = "log-normal" if self.spread else "fixed"
        about: dict[str, Any] = {"kind": kind, "input_tok": self.input_tok, "output_tok": self.output_tok}
        return {**about, "spread": self.spread, "seed": self.seed}


def poisson(requests: Iterator[Request], rate_per_s: float, n: int, seed: int) -> list[Request]:
    """The first n requests, due at the times of a Poisson process.

    Raises: MeasureError (a rate that isn't above 0)"""
    if not 0 < rate_per_s <= 1e6:
        raise MeasureError("--rate", str(rate_per_s), "requests per second, above 0")
    at_s = np.cumsum(np.random.default_rng((seed, 1)).exponential(1 / rate_per_s, n))
    return [_due(request, float(at)) for request, at in zip(requests, at_s, strict=False)]


def traced(
    rows: Sequence[Row], *, rate_scale: float = 1.0, closed: bool = False, write_prompt: WritePrompt | None = None
) -> list[Request]:
    """The requests of a trace: arrival times from its first, divided by rate_scale; closed leaves the times out.

    Raises: MeasureError (a scale that isn't above 0)"""
    if not 1e-6 <= rate_scale <= 1e9:
        raise MeasureError(
            "--rate-scale", str(rate_scale), "a number from 1e-6 to 1e9: 2 plays the trace at twice its rate"
        )
    first_s = rows[0].at_s
    requests = []
    for i, row in enumerate(rows):
        name = f"r{i:06d}"
        prompt = write_prompt(name, row.input_tok) if write_prompt else None
        at_s = None if closed else (row.at_s - first_s) / rate_scale
        requests.append(Request(name, at_s, prompt, row.input_tok, row.output_tok))
    return requests


def _due(request: Request, at_s: float) -> Request:
    return Request(request.id, at_s, request.prompt, request.prompt_tok, request.max_output_tok, request.payload)

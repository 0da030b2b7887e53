"""What a measurement sends and what it gets back: requests, answers with raw timestamps, and anything that answers.

A target is a URL, a model in this process, or a command; a measurement knows it by `answer` alone. Times are seconds
of one monotonic clock that starts with the measurement. What is unknown is None: a token count, a time, an output.
What it doesn't do: send (load.py), speak HTTP (http/), sum up (figures.py).
Enter at `Target`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Request:
    """One request to be made.

    at_s: when, from the start; None as soon as a place is free.   prompt: its text; None lets the target make one of
    prompt_tok tokens.   max_output_tok: how many to ask for.   payload: what else the target needs (an adapter's)."""

    id: str
    at_s: float | None
    prompt: str | None
    prompt_tok: int | None
    max_output_tok: int | None
    payload: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Answer:
    """What came back, with the clock's reading at every step.

    scheduled_s: when it should have been sent (None: closed loop).   started_s: when the client took it up.
    sent_s: when the request began to be handed over, the connection being there; latencies start here.
    chunk_s, chunk_tok: arrival and tokens (None: unknown) of each piece that carries output.   done_s: the end.
    n_outputs: outputs in the product's sense; None where it failed.   error: `name: detail` of what made it fail.
    notes: `name: detail` of faults that leave the times valid (a wrong token count).
    retry_after_s: what a refusing server asked for."""

    request_id: str
    scheduled_s: float | None
    sent_s: float
    chunk_s: list[float] = field(default_factory=list)
    chunk_tok: list[int | None] = field(default_factory=list)
    done_s: float | None = None
    prompt_tok: int | None = None
    output_tok: int | None = None
    n_outputs: float | None = None
    text: str = ""
    error: str | None = None
    started_s: float | None = None
    notes: list[str] = field(default_factory=list)
    retry_after_s: float | None = None

    def document(self) -> dict[str, Any]:
        """The answer as JSON-ready fields, without its text."""
        fields = asdict(self)
        del fields["text"]
        return fields


class Target(Protocol):
    """Something that answers requests. A fault of its own becomes `Answer.error`; it raises for the user's faults."""

    name: str
    kind: str

    async def answer(self, request: Request, clock: Clock) -> Answer:
        """Sends one request and waits for all of its answer."""
        ...

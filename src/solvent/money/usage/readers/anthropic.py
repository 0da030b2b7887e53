"""Anthropic messages as JSONL: message objects, batch results, and streams event by event.

In a stream `message_start` opens a message and every `message_delta` replaces the counts it names; the request
is counted once, with the last counts, at `message_stop` or where the next message starts.
What it doesn't do: know the time of a message: Anthropic sends none, so the line's wrapper or the project must.
Enter at `Reader`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from solvent.money.usage.readers.anthropic_usage import anthropic_buckets, provider_of_id
from solvent.money.usage.readers.envelope import around, inner, provider_of, time_of
from solvent.money.usage.readers.outcome import (
    Fault,
    NotARequest,
    Outcome,
    Reading,
    Row,
    Skip,
    carries,
    finish,
    mapping,
    service_of,
)  # fmt: skip

NAME = "anthropic"

_EVENTS = ("message_start", "message_delta", "message_stop", "content_block_start", "content_block_delta",
           "content_block_stop", "ping", "error")  # fmt: skip
_PATHS = (("result", "message"), ("response", "body"), ("response",), ("message",), ("body",), ("completion",))


def _message(record: dict[str, Any]) -> dict[str, Any]:
    if record.get("type") == "message" and "usage" in record:
        return record
    return inner(record, *_PATHS) or record


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is a message, a batch result or a stream event of Anthropic."""
    if record.get("type") in _EVENTS and ("message" in record or "delta" in record or "index" in record
                                          or record["type"] in ("message_stop", "ping")):  # fmt: skip
        return True
    if "custom_id" in record and type(record.get("result")) is dict:
        return True
    if "sessionId" in record:
        return False
    message = _message(record)
    return message.get("type") == "message" and type(message.get("usage")) is dict and "role" in message


class Reader:
    """One file of Anthropic messages; holds the message of an open stream."""

    def __init__(self, label: str, reading: Reading) -> None:
        self.reading = reading
        self.unknown_keys: list[str] = []
        self._open: tuple[dict[str, Any], dict[str, Any]] | None = None

    def feed(self, record: dict[str, Any], line: int) -> Iterable[Outcome]:
        event = record.get("type")
        if event.__class__ is str and event in _EVENTS:
            return self._stream(record, event)
        return (self._outcome(record, _message(record)),)

    def finish(self) -> Iterable[Outcome]:
        return self._close()

    def _stream(self, record: dict[str, Any], event: str) -> list[Outcome]:
        outcomes: list[Outcome] = []
        if event == "message_start":
            outcomes += self._close()
            message = dict(mapping(record.get("message")))
            message["usage"] = dict(mapping(message.get("usage")))
            self._open = (record, message)
        elif event == "message_delta" and self._open is not None:
            later = {k: v for k, v in mapping(record.get("usage")).items() if v is not None}
            self._open[1]["usage"].update(later)
        elif event == "message_delta" and carries(record.get("usage")):
            return [Fault("no_usage", "a `message_delta` whose `message_start` is missing").reject]
        elif event == "message_stop":
            outcomes += self._close()
        return outcomes or [NotARequest("an event of a stream")]

    def _close(self) -> list[Outcome]:
        if self._open is None:
            return []
        record, message = self._open
        self._open = None
        return [self._outcome(record, message)]

    def _outcome(self, record: dict[str, Any], message: dict[str, Any]) -> Outcome:
        try:
            return self._row(record, message)
        except Fault as fault:
            return fault.reject
        except Skip as skip:
            return skip.outcome

    def _row(self, record: dict[str, Any], message: dict[str, Any]) -> Row:
        usage = message.get("usage")
        if type(usage) is not dict:
            if message.get("type") in ("error", "errored", "canceled", "expired") or carries(record.get("error")):
                raise Skip("an error response")
            if mapping(record.get("result")).get("type") in ("errored", "canceled", "expired"):
                raise Skip("a batch request that didn't succeed")
            raise Fault("no_usage", "a message without `usage`")
        buckets = anthropic_buckets(usage, self.unknown_keys)
        places = (record,) if record is message else (record, mapping(record.get("request")), message)
        found = around(places)
        ident = message.get("id")
        found["request_id"] = f"{NAME}:{ident}" if type(ident) is str and ident else None
        found["at"] = time_of(places)
        found["model"] = message.get("model") or record.get("model")
        found["provider"] = provider_of_id(ident) or provider_of(places) or "anthropic"
        batch = "custom_id" in record and "result" in record
        found["service"] = "batch" if batch else service_of(usage.get("service_tier"), self.unknown_keys)
        return finish(self.reading, record, found, buckets)

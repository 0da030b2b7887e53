"""Codex CLI's session logs (`~/.codex/sessions/**/rollout-*.jsonl`): every model call of every session.

Newer versions write a `token_usage_record` per response; all write `token_count` events with counters that run
along the session. A counter that repeats is no request; one that grew is a request of the difference; one that
fell was reset by a resume, and the request is the event's own last usage. A record and the event that follows
it tell the same call once. Input holds its cached and written part, output its reasoning part.
What it doesn't do: keep prompts or answers; guess the model of old sessions that don't name it. Enter at `Reader`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from solvent.money.usage.readers.claude_code import CUSTOMER, last_part
from solvent.money.usage.readers.outcome import (
    Fault,
    NotARequest,
    Outcome,
    Reading,
    Row,
    Skip,
    count,
    finish,
    mapping,
    note_unknown,
    service_of,
)  # fmt: skip

NAME = "codex"

COUNTS = ("input_tokens", "cached_input_tokens", "cache_write_input_tokens", "output_tokens", "reasoning_output_tokens")
KNOWN = frozenset((*COUNTS, "total_tokens"))
_LINES = ("session_meta", "turn_context", "event_msg", "response_item", "compacted", "token_usage_record",
          "world_state", "ghost_snapshot")  # fmt: skip
_OTHER = NotARequest("a session line that isn't a model's reply")

Counts = tuple[int, int, int, int, int]


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is a line of a Codex session, or of `codex exec --json`."""
    kind = record.get("type")
    if type(kind) is not str:
        return False
    if kind in _LINES:
        return type(record.get("payload")) is dict or kind == "token_usage_record"
    if kind in ("thread.started", "turn.started", "turn.completed"):
        return True
    return kind == "item.completed" and "item" in record


def _counts(usage: dict[str, Any]) -> Counts:
    a, b, c, d, e = (count(usage, key) for key in COUNTS)
    return a, b, c, d, e


class Reader:
    """One session file, with what its lines have said so far."""

    def __init__(self, label: str, reading: Reading) -> None:
        self.reading = reading
        self.unknown_keys: list[str] = []
        self._session = label
        self._cwd: Any = None
        self._model: Any = None
        self._provider: Any = "openai"
        self._tier: Any = None
        self._total: Counts | None = None
        self._resets = 0
        self._told: Counts | None = None

    def feed(self, record: dict[str, Any], line: int) -> Iterable[Outcome]:
        try:
            return (self._read(record),)
        except Fault as fault:
            return (fault.reject,)
        except Skip as skip:
            return (skip.outcome,)

    def finish(self) -> Iterable[Outcome]:
        return ()

    def _read(self, record: dict[str, Any]) -> Outcome:
        kind, payload = record.get("type"), mapping(record.get("payload"))
        if kind == "token_usage_record":
            return self._recorded(record, payload or record)
        if kind == "event_msg" and payload.get("type") == "token_count":
            return self._counted(record, payload)
        if kind == "session_meta":
            ident = payload.get("id") or payload.get("session_id")
            if type(ident) is str and ident != self._session:
                self._session, self._total, self._resets = ident[:200], None, 0
            self._provider = payload.get("model_provider") or "openai"
            self._cwd = payload.get("cwd") or self._cwd
            self._model = payload.get("model") or self._model
        elif kind == "turn_context":
            self._cwd = payload.get("cwd") or self._cwd
            self._model = payload.get("model") or self._model
            self._tier = payload.get("service_tier")
        elif kind == "turn.completed":
            raise Fault("no_model", "`codex exec --json` prints no model and no time", "read ~/.codex/sessions instead")
        return _OTHER

    def _recorded(self, record: dict[str, Any], body: dict[str, Any]) -> Outcome:
        usage = body.get("usage")
        if type(usage) is not dict:
            raise Fault("no_usage", "a `token_usage_record` without `usage`")
        counts = _counts(usage)
        self._told = counts
        ident = body.get("response_id")
        if type(ident) is not str or not ident:
            ident = None
        return self._row(record, usage, counts, f"{NAME}:{ident}" if ident else None)

    def _counted(self, record: dict[str, Any], payload: dict[str, Any]) -> Outcome:
        info = payload.get("info", payload)
        if type(info) is not dict:
            raise Skip("a rate limit without usage")
        total, last = info.get("total_token_usage"), info.get("last_token_usage")
        if total is None and last is None and "input_tokens" in payload:
            total = payload
        last_counts = _counts(last) if type(last) is dict else None
        if type(total) is dict:
            counts, ident = self._difference(_counts(total), last_counts)
        elif last_counts is not None:
            counts = last_counts
            ident = f"{NAME}:{self._session}:{record.get('timestamp')}:" + ".".join(map(str, counts))
        else:
            raise Skip("a rate limit without usage")
        told, self._told = self._told, None
        if told is not None and told in (counts, last_counts):
            raise Skip("a counter of a response that was already read")
        if counts == (0, 0, 0, 0, 0):
            raise Skip("a counter that didn't grow")
        usage = last if type(last) is dict else total if type(total) is dict else {}
        if usage is not payload and not usage.keys() <= KNOWN:
            note_unknown(self.unknown_keys, usage, KNOWN, "usage")
        return self._row(record, {}, counts, ident)

    def _difference(self, total: Counts, last: Counts | None) -> tuple[Counts, str]:
        """What a counter grew by, and an id that copies of this event share."""
        before, self._total = self._total, total
        if before == total:
            raise Skip("a counter that didn't grow")
        if before is None:
            counts = last or total
        elif last != total and all(now >= then for now, then in zip(total, before, strict=True)):
            a, b, c, d, e = (now - then for now, then in zip(total, before, strict=True))
            counts = (a, b, c, d, e)
        else:
            self._resets += 1
            counts = last or total
        return counts, f"{NAME}:{self._session}:{self._resets}:" + ".".join(map(str, total))

    def _row(self, record: dict[str, Any], usage: dict[str, Any], counts: Counts, ident: str | None) -> Row:
        if not usage.keys() <= KNOWN:
            note_unknown(self.unknown_keys, usage, KNOWN, "usage")
        prompt, cached, written, completion, reasoning = counts
        if cached + written > prompt:
            raise Fault("contradiction", "more tokens cached than the prompt has")
        if reasoning > completion:
            raise Fault("contradiction", "more reasoning tokens than output tokens")
        provider = self._provider
        found = {
            "request_id": ident, "at": record.get("timestamp"),
            "customer": self.reading.constants.get("customer", CUSTOMER), "feature": last_part(self._cwd),
            "model": self._model, "provider": provider.lower() if type(provider) is str else None,
            "service": service_of(self._tier, self.unknown_keys),
        }  # fmt: skip
        return finish(self.reading, record, found, {
            "input_tok": prompt - cached - written, "cache_read_tok": cached, "cache_write_5m_tok": written,
            "output_tok": completion - reasoning, "reasoning_tok": reasoning,
        })  # fmt: skip

"""Claude Code's session logs (`~/.claude/projects/**/*.jsonl`): every model reply, by project folder.

One reply is written once per content block, with counts that grow while it streams, and resumed sessions copy
lines: all carry the same message and request id, so they collapse when duplicates are dropped and the snapshot
with the most output counts. Sidechains (sub-agents) are requests; their echo in `progress` lines is not.
What it doesn't do: keep prompts, answers, file names: of the working folder only its last part. Enter at `Reader`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from solvent.money.usage.readers.anthropic_usage import anthropic_buckets, provider_of_id
from solvent.money.usage.readers.outcome import (
    Fault,
    NotARequest,
    Outcome,
    Reading,
    Row,
    finish,
    mapping,
    service_of,
)  # fmt: skip

NAME = "claude_code"
CUSTOMER = "you"

_LINES = {"user", "assistant", "system", "progress", "summary", "file-history-snapshot", "queue-operation",
          "attachment", "last-prompt", "custom-title", "permission-mode", "agent-name", "pr-link"}  # fmt: skip
_MARKS = ("sessionId", "uuid", "leafUuid", "messageId", "parentUuid")
_OTHER = NotARequest("a session line that isn't a model's reply")
_SYNTHETIC = NotARequest("a reply that the program itself wrote")


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is a line of a Claude Code session."""
    kind = record.get("type")
    return type(kind) is str and kind in _LINES and any(mark in record for mark in _MARKS)


class Reader:
    """One session file."""

    def __init__(self, label: str, reading: Reading) -> None:
        self.reading = reading
        self.unknown_keys: list[str] = []

    def feed(self, record: dict[str, Any], line: int) -> Iterable[Outcome]:
        if record.get("type") != "assistant":
            return (_OTHER,)
        message = mapping(record.get("message"))
        if message.get("model") == "<synthetic>" or record.get("isApiErrorMessage") is True:
            return (_SYNTHETIC,)
        try:
            return (self._row(record, message),)
        except Fault as fault:
            return (fault.reject,)

    def finish(self) -> Iterable[Outcome]:
        return ()

    def _row(self, record: dict[str, Any], message: dict[str, Any]) -> Row:
        usage = message.get("usage")
        if type(usage) is not dict:
            raise Fault("no_usage", "a reply without `usage`")
        buckets = anthropic_buckets(usage, self.unknown_keys)
        ident, request, model = message.get("id"), record.get("requestId"), message.get("model")
        claude = type(model) is str and "claude" in model
        found: dict[str, Any] = {
            "request_id": f"{NAME}:{ident}:{request}" if ident and ident.__class__ is str and request.__class__ is str
            else f"{NAME}:{ident}" if ident and ident.__class__ is str else None,
            "at": record.get("timestamp"),
            "customer": self.reading.constants.get("customer", CUSTOMER),
            "feature": last_part(record.get("cwd")),
            "model": model,
            "provider": provider_of_id(ident) or ("anthropic" if claude else None),
            "service": service_of(usage.get("service_tier"), self.unknown_keys),
        }  # fmt: skip
        return finish(self.reading, record, found, buckets)


def last_part(folder: Any) -> str | None:
    """The name of a project folder: the last part of its path, on any system."""
    if type(folder) is not str:
        return None
    return folder.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or None

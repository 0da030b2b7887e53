"""The OpenAI-compatible protocol: a request's bytes, and what an answer's events say, each fault under its name.

Names of faults: http_STATUS, server_error (an error event), garbage, died_midstream, timeout, too_many_bytes,
no_output; and of notes, which leave the times valid: wrong_token_count, wrong_prompt_count, bad_usage, no_usage,
not_streamed, no_end.
What it doesn't do: sockets (wire.py), retry: a retry hides a failure.
Enter at `request_bytes` and `read_answer`. Source: OpenAI API reference, chat/completions and completions, streaming.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import msgspec

from solvent.errors import printable
from solvent.measure.http.body import BadChunks, body_of, events
from solvent.measure.http.framing import Head
from solvent.measure.http.wire import Received
from solvent.measure.target import Answer, Request

Api = Literal["chat", "completions"]
MAX_COUNT = 100_000_000
MAX_RETRY_S = 3_600.0
# Text that is cut into tokens again may be cut otherwise than it was made, and an end token isn't in the text.
COUNT_SLACK_TOK = 2
COUNT_SLACK_SHARE = 0.05
_KINDS = {"timeout": "timeout", "too_many_bytes": "too_many_bytes", "garbage": "garbage"}
CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Asked:
    """How a server is asked. path: of the API, such as /v1.   extra: further fields of every request's body."""

    host: str
    path: str
    model: str
    api: Api = "chat"
    key: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def request_bytes(asked: Asked, request: Request, keep: bool = False) -> bytes:
    """The whole HTTP request.   keep: whether the connection is to be used again."""
    prompt = request.prompt or ""
    body: dict[str, Any] = {"model": asked.model, "stream": True, "stream_options": {"include_usage": True}}
    if asked.api == "chat":
        body["messages"] = [{"role": "user", "content": prompt}]
    else:
        body["prompt"] = prompt
    if request.max_output_tok is not None:
        body["max_tokens"] = request.max_output_tok
    content = json.dumps({**body, **asked.extra, **(request.payload or {})}).encode()
    place = "/chat/completions" if asked.api == "chat" else "/completions"
    lines = [
        f"POST {asked.path.rstrip('/')}{place} HTTP/1.1",
        f"Host: {asked.host}",
        "Content-Type: application/json",
        "Accept: text/event-stream",
        "Accept-Encoding: identity",
        f"Content-Length: {len(content)}",
        "Connection: keep-alive" if keep else "Connection: close",
    ]
    if asked.key:
        lines.append(f"Authorization: Bearer {asked.key}")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + content


def read_answer(
    answer: Answer, received: Received, count_tokens: CountTokens | None = None, secret: str | None = None
) -> Answer:
    """Fills an answer from what came. Nothing that a server sends raises; it becomes an error or a note.

    secret: is kept out of errors that repeat what the server said."""
    head = received.framing.head
    if head is None:
        answer.error = _told(_KINDS.get(received.ended, "died_midstream"), received.why or "no answer")
        return answer
    try:
        body = body_of(received.pieces, head.body_start, head.chunked)
    except BadChunks as fault:
        answer.error = _told("garbage", str(fault))
        return answer
    kind, coding = head.headers.get("content-type", ""), head.headers.get("content-encoding", "identity")
    if head.status != 200:
        answer.error = _told(f"http_{head.status}", _moved(head) + _without(secret, body.data, 200))
        answer.retry_after_s = _retry_after_s(head.headers.get("retry-after"))
        return answer
    if coding.lower() not in ("", "identity"):
        answer.error = _told("garbage", f"content coded as {coding!r}, which wasn't asked for")
        return answer
    said = _Said(secret)
    if "json" in kind:
        answer.notes.append("not_streamed: the server answered in one piece")
        if received.ended == "whole" or not (head.chunked or head.length):
            said.take(received.pieces[-1][0], body.data)
    else:
        for arrived_s, data in events(body):
            said.take(arrived_s, data)
        if not said.n_events and "event-stream" not in kind and received.ended == "whole":
            said.error = _told("garbage", f"content of type {kind!r}, and no event in it")
    _fill(answer, said, received)
    _count(answer, said, count_tokens)
    return answer


@dataclass(slots=True)
class _Said:
    """What the events of one answer said.   secret: is kept out of errors."""

    secret: str | None = None
    chunk_s: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    usage: Any = None
    finished: bool = False
    done: bool = False
    n_events: int = 0
    error: str = ""
    last_s: float | None = None
    hidden_tools: bool = False

    def take(self, arrived_s: float, data: bytes) -> None:
        if self.error or self.done:
            return
        self.n_events += 1
        if data.strip() == b"[DONE]":
            self.done, self.last_s = True, arrived_s
            return
        try:
            event = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = None
        if not isinstance(event, dict):
            shown = _without(self.secret, data, 60)
            self.error = _told("garbage", f"event {self.n_events} is no JSON object: {shown!r}")
            return
        if event.get("error"):
            self.error = _told("server_error", _without(self.secret, json.dumps(event["error"]).encode(), 200))
            return
        self.last_s = arrived_s
        if event.get("usage") is not None:
            self.usage = event["usage"]
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(choice, dict):
            self._choice(arrived_s, choice)

    def _choice(self, arrived_s: float, choice: dict[str, Any]) -> None:
        self.finished |= choice.get("finish_reason") is not None
        part = choice.get("delta") or choice.get("message") or {}
        part = part if isinstance(part, dict) else {}
        found = [choice.get("text"), part.get("content"), part.get("reasoning_content"), part.get("reasoning")]
        text = "".join(one for one in found if isinstance(one, str))
        self.hidden_tools |= bool(part.get("tool_calls"))
        if text or part.get("tool_calls"):
            self.chunk_s.append(arrived_s)
            self.texts.append(text)


def _fill(answer: Answer, said: _Said, received: Received) -> None:
    answer.chunk_s = said.chunk_s
    answer.chunk_tok = [None] * len(said.chunk_s)
    answer.text = "".join(said.texts)
    answer.done_s = said.last_s
    complete = said.done or said.finished or (bool(answer.notes) and said.n_events > 0)
    if said.error:
        answer.error = said.error
    elif received.ended in _KINDS and not complete:
        answer.error = _told(_KINDS[received.ended], received.why)
    elif not complete:
        answer.error = _told("died_midstream", f"{received.why or 'it ended'} after {len(said.chunk_s)} pieces")
    elif not said.chunk_s:
        answer.error = _told("no_output", "it ended without a piece of output")
    elif not said.done and not answer.notes:
        answer.notes.append("no_end: the stream ended without data: [DONE]")
    if answer.error is None:
        answer.n_outputs = 1.0


def _count(answer: Answer, said: _Said, count_tokens: CountTokens | None) -> None:
    """Tokens as the server counts them; by the tokeniser, where there is one and the two don't agree."""
    usage = said.usage if isinstance(said.usage, dict) else {}
    answer.prompt_tok = _whole(answer, usage, "prompt_tokens")
    answer.output_tok = _whole(answer, usage, "completion_tokens")
    if answer.error is None and answer.output_tok is None:
        answer.notes.append("no_usage: the server doesn't say how many tokens it made")
    if count_tokens is not None and answer.error is None and not said.hidden_tools:
        own_tok = count_tokens(answer.text)
        details = usage.get("completion_tokens_details")
        hidden = details.get("reasoning_tokens") if isinstance(details, dict) else None
        shown_tok = (answer.output_tok or 0) - (hidden if isinstance(hidden, int) and hidden > 0 else 0)
        if answer.output_tok is None:
            answer.output_tok = own_tok
        elif not counts_agree(shown_tok, own_tok) and not counts_agree(answer.output_tok, own_tok):
            answer.notes.append(_told("wrong_token_count", f"the server says {shown_tok}, the tokeniser {own_tok}"))
            answer.output_tok = own_tok
    # One more than the pieces is the token that ends a text, which isn't shown.
    if answer.output_tok is not None and 0 <= answer.output_tok - len(answer.chunk_s) <= 1:
        answer.chunk_tok = [1] * len(answer.chunk_s)


def counts_agree(said_tok: int, own_tok: int) -> bool:
    """|said − own| ≤ max(2, 5% of own): what cutting a text into tokens again may change."""
    return abs(said_tok - own_tok) <= max(COUNT_SLACK_TOK, COUNT_SLACK_SHARE * own_tok)


def _whole(answer: Answer, usage: dict[str, Any], key: str) -> int | None:
    found = usage.get(key)
    if found is None:
        return None
    if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= MAX_COUNT:
        return found
    answer.notes.append(_told("bad_usage", f"{key} is {json.dumps(found)[:60]}"))
    return None


def _retry_after_s(text: str | None) -> float | None:
    """Seconds of a Retry-After header, a number or a date; None where it is neither."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_S) if seconds == seconds else None


def _moved(head: Head) -> str:
    """Where a redirection points. It isn't followed: the key is for this host alone."""
    place = head.headers.get("location")
    return f"moved to {place[:120]!r}, which isn't followed " if place and 300 <= head.status < 400 else ""


def _without(secret: str | None, data: bytes, most: int) -> str:
    """The start of what a server said, without the secret that it may repeat."""
    text = data[: 16 * most].decode("utf-8", "replace")
    return (text.replace(secret, "[key]") if secret else text)[:most]


def _told(name: str, detail: str) -> str:
    return f"{name}: {printable(' '.join(detail.split()))[:240]}"

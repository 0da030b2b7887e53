"""An OpenAI-compatible URL as a target: each request has a connection to itself, its own or one that is free again.

Enter at `HttpTarget.of`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from solvent.errors import MeasureError
from solvent.measure.http.openai import Api, Asked, CountTokens, read_answer, request_bytes
from solvent.measure.http.wire import Bounds, Kept, Place, Refused, exchange
from solvent.measure.target import Answer, Clock, Request

_DEFAULT_PORTS = {"http": 80, "https": 443}


class HttpTarget:
    """A server that answers. Counts what it read, for `stamps`, and its connections, for `connections`.

    keep: whether connections are used again."""

    kind = "http"

    def __init__(
        self,
        name: str,
        place: Place,
        asked: Asked,
        bounds: Bounds | None = None,
        count_tokens: CountTokens | None = None,
        keep: bool = False,
    ) -> None:
        self.name = name
        self.asked = asked
        self._place = place
        self._bounds = bounds or Bounds()
        self._count_tokens = count_tokens
        self._keep = keep
        self._kept: Kept | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._n_requests = 0
        self._n_reused = 0
        self._n_reads = 0
        self._n_kernel = 0

    @classmethod
    def of(
        cls,
        url: str,
        asked: Mapping[str, Any],
        bounds: Bounds | None = None,
        count_tokens: CountTokens | None = None,
        keep: bool = False,
    ) -> HttpTarget:
        """A target from the base URL of an API, such as http://127.0.0.1:8000/v1.

        asked: model, api ("chat", "completions"), key, extra (a JSON object's text); all but model may be left out.
        Raises: MeasureError (not such a URL, a header that would break the request, extra isn't an object)"""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == -1 or parts.query or not url.isascii():
            raise MeasureError("TARGET", repr(url), "a URL such as http://127.0.0.1:8000/v1")
        if parts.username is not None or parts.password is not None:
            raise MeasureError("TARGET", "a password in the URL", "the key in an environment variable", "see --key-env")
        model, key = asked.get("model") or "", asked.get("key")
        if not model:
            raise MeasureError("--model", "nothing", "the model's name at this server")
        if any(not text.isascii() or not text.isprintable() or " " in text for text in (key or "", url)):
            raise MeasureError("TARGET", "a URL or key with spaces or special characters", "plain ASCII")
        api: Api = asked.get("api") or "chat"
        made = Asked(parts.netloc, parts.path, model, api, key, _object(asked.get("extra") or "{}"))
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        place = Place(parts.hostname, port or _DEFAULT_PORTS[parts.scheme], tls)
        return cls(url, place, made, bounds, count_tokens, keep)

    async def answer(self, request: Request, clock: Clock) -> Answer:
        answer = Answer(request.id, request.at_s, clock())
        answer.started_s = answer.sent_s
        if self._keep and self._loop is not asyncio.get_running_loop():
            # Connections belong to a loop, and end with it.
            self._loop, self._kept = asyncio.get_running_loop(), Kept()
            await self._kept.open()
        content = request_bytes(self.asked, request, self._keep)
        try:
            received = await exchange(self._place, content, self._bounds, clock, self._kept)
        except Refused as fault:
            answer.error = f"connect_failed: {fault}"
            return answer
        answer.sent_s = received.sent_s if received.sent_s is not None else answer.sent_s
        self._n_requests += 1
        self._n_reused += received.reused
        self._n_reads += len(received.pieces)
        self._n_kernel += received.n_kernel
        if received.reused and not received.pieces and received.ended in ("eof", "reset"):
            received.why += ", one of an earlier request; this one may have been taken and isn't sent again"
        return read_answer(answer, received, self._count_tokens, self.asked.key)

    @property
    def connections(self) -> str:
        """How connections were used, as a note of the result."""
        if not self._keep:
            return "each request had a connection of its own, made before it was sent: no handshake is in its times"
        share = f"{self._n_reused:,} of {self._n_requests:,} requests used a connection again"
        return f"{share}; others had a new one, made before they were sent: no handshake is in their times"

    @property
    def stamps(self) -> str:
        """Whose clock readings the arrivals are: "kernel", "reader", or "mixed"."""
        if not self._n_kernel:
            return "reader"
        return "kernel" if self._n_kernel >= self._n_reads else "mixed"


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise MeasureError("--extra", repr(text[:80]), 'a JSON object such as {"ignore_eos": true}')
    return found

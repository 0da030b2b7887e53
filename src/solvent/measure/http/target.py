"""An OpenAI-compatible URL as a target: one connection for each request, so that none waits behind another.

Enter at `HttpTarget.of`.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from solvent.errors import MeasureError
from solvent.measure.http.openai import Api, Asked, CountTokens, read_answer, request_bytes
from solvent.measure.http.wire import Bounds, Place, Refused, exchange
from solvent.measure.target import Answer, Clock, Request

_DEFAULT_PORTS = {"http": 80, "https": 443}


class HttpTarget:
    """A server that answers. Counts what it read, for `stamps`."""

    kind = "http"

    def __init__(
        self,
        name: str,
        place: Place,
        asked: Asked,
        bounds: Bounds | None = None,
        count_tokens: CountTokens | None = None,
    ) -> None:
        self.name = name
        self.asked = asked
        self._place = place
        self._bounds = bounds or Bounds()
        self._count_tokens = count_tokens
        self._n_reads = 0
        self._n_kernel = 0

    @classmethod
    def of(
        cls,
        url: str,
        asked: Mapping[str, Any],
        bounds: Bounds | None = None,
        count_tokens: CountTokens | None = None,
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
        return cls(url, place, made, bounds, count_tokens)

    async def answer(self, request: Request, clock: Clock) -> Answer:
        answer = Answer(request.id, request.at_s, clock())
        answer.started_s = answer.sent_s
        try:
            received = await exchange(self._place, request_bytes(self.asked, request), self._bounds, clock)
        except Refused as fault:
            answer.error = f"connect_failed: {fault}"
            return answer
        answer.sent_s = received.sent_s if received.sent_s is not None else answer.sent_s
        self._n_reads += len(received.pieces)
        self._n_kernel += received.n_kernel
        return read_answer(answer, received, self._count_tokens, self.asked.key)

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

"""A server that speaks enough of the OpenAI protocol to be measured, and misbehaves by the name of the model.

`with Server() as server:` listens on loopback; `server.url` is its base URL. The model's name says what it does:
good, plain (no stream), no-usage, no-done, dies, refuses (429), breaks (500), garbage, not-http, endless, wrong-count,
error-event, empty, silent (never answers), reads-only (closes at once), flaky (429, 500, dies and good in turn).
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from types import TracebackType
from typing import Any

TOKEN = {"id": "c", "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]}
END = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(document: Any) -> bytes:
    return b"data: " + (document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n\n"


def head(status: str = "200 OK", kind: str = "text/event-stream", more: str = "Transfer-Encoding: chunked") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}\r\n\r\n".encode()


def usage(n_prompt: int, n_output: int) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": n_prompt, "completion_tokens": n_output}}


def stream(n_prompt: int, n_output: int, n_said: int | None = None) -> list[bytes]:
    """The pieces of a good answer; n_said: what its usage claims."""
    said = usage(n_prompt, n_output if n_said is None else n_said)
    events = [event(TOKEN)] * n_output + [event(END), event(said), event(b"[DONE]")]
    return [head(), *map(chunk, events), b"0\r\n\r\n"]


class Server:
    """requests: the bodies that came, in their order.   gap_s: between the pieces of an answer."""

    def __init__(self, gap_s: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.gap_s = gap_s
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.set()
        # Wakes the accepting thread.
        socket.create_connection(self._listener.getsockname(), timeout=5).close()
        self._thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._tls.wrap_socket(plain, server_side=True) if self._tls else plain as connection:
                body = self._read(connection)
                if body is None:
                    return
                self.requests.append(body)
                for piece in self._pieces(body, len(self.requests)):
                    if self._closing.is_set():
                        return
                    connection.sendall(piece)
                    if self.gap_s:
                        time.sleep(self.gap_s)
                if body["model"] == "silent":
                    self._closing.wait(30)

    def _read(self, connection: socket.socket) -> dict[str, Any] | None:
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return None
            data += part
        start, _, rest = data.partition(b"\r\n\r\n")
        self.heads.append(start.decode())
        n_bytes = int(start.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(rest) < n_bytes:
            rest += connection.recv(65536)
        found: dict[str, Any] = json.loads(rest)
        return found

    def _pieces(self, body: dict[str, Any], number: int) -> Any:
        what = body["model"]
        if what == "flaky":
            what = ("good", "refuses", "breaks", "dies")[number % 4]
        prompt = body.get("prompt") or body["messages"][0]["content"]
        n_prompt, n_output = len(prompt.split()), body["max_tokens"]
        good = stream(n_prompt, n_output)
        whole = {"choices": [{"message": {"content": " word" * n_output}, "finish_reason": "stop"}]}
        plain = json.dumps({**whole, "usage": usage(n_prompt, n_output)["usage"]}).encode()
        refusal = head("429 Too Many Requests", "application/json", "Retry-After: 0.01\r\nContent-Length: 2")
        answers: dict[str, Any] = {
            "good": good,
            "plain": [head(kind="application/json", more=f"Content-Length: {len(plain)}"), plain],
            "no-usage": [*good[: n_output + 2], *good[-2:]],
            "no-done": [*good[:-2], good[-1]],
            "dies": good[: 1 + n_output // 2],
            "refuses": [refusal + b"{}"],
            "breaks": [head("500 Internal Server Error", "text/plain", "Content-Length: 4") + b"oops"],
            "garbage": [*good[:2], chunk(event(b"{nonsense")), *good[2:]],
            "not-http": [b"220 mail.example ESMTP\r\n"],
            "wrong-count": stream(n_prompt, n_output, 3 * n_output),
            "counts-end": stream(n_prompt, n_output, n_output + 1),
            "counts-two": stream(n_prompt, n_output, n_output + 2),
            "error-event": [*good[:2], chunk(event({"error": {"message": "out of memory"}}))],
            "empty": [head(), *good[-4:]],
            "silent": [],
            "reads-only": [],
        }
        if what == "endless":
            return self._endless()
        return answers[what]

    def _endless(self) -> Any:
        yield head()
        while True:
            yield chunk(event(TOKEN)) * 100

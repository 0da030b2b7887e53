"""Connections used again: only where the last response is whole and alone, and never to send anything twice."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
import warnings
from collections.abc import Callable

import pytest
from measure_server import chunk, event, head, stream

from solvent.measure.http import wire
from solvent.measure.http.target import HttpTarget
from solvent.measure.http.wire import Bounds
from solvent.measure.target import Answer, Request

GOOD = b"".join(stream(2, 2))
# From the place of a connection and of a request on it, to what is answered; None hangs up without a word.
Script = Callable[[int, int], bytes | None]


class Server:
    """requests: (connection, number on it) of every request that came whole."""

    def __init__(self, script: Script, hang_up_after: int | None = None) -> None:
        self.requests: list[tuple[int, int]] = []
        self.heads: list[bytes] = []
        self._script, self._hang_up_after = script, hang_up_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.hung_up = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def _accept(self) -> None:
        place = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, place), daemon=True).start()
            place += 1

    def _serve(self, connection: socket.socket, place: int) -> None:
        number, data = 0, b""
        with connection:
            while True:
                while b"\r\n\r\n" not in data or len(data) < _length(data):
                    part = connection.recv(1 << 16)
                    if not part:
                        return
                    data += part
                self.heads.append(data)
                data = data[_length(data) :]
                self.requests.append((place, number))
                answer = self._script(place, number)
                number += 1
                if answer is None:
                    return
                connection.sendall(answer)
                if number == self._hang_up_after:
                    connection.shutdown(socket.SHUT_WR)
                    self.hung_up.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _length(data: bytes) -> int:
    start, _, _ = data.partition(b"\r\n\r\n")
    return len(start) + 4 + int(start.lower().split(b"content-length:")[1].split(b"\r\n")[0])


async def asked(target: HttpTarget, n: int, between: Callable[[], None] | None = None) -> list[Answer]:
    answers = []
    for i in range(n):
        if between and i:
            between()
        answers.append(await target.answer(Request(f"r{i}", None, "a b", 2, 2), time.perf_counter))
        # The last chunk is a packet of its own at some servers.
        await asyncio.sleep(0.01)
    return answers


def run(
    script: Script, n: int = 3, *, keep: bool = True, hang_up_after: int | None = None
) -> tuple[list[Answer], Server]:
    server = Server(script, hang_up_after)
    target = HttpTarget.of(server.url, {"model": "m"}, Bounds(20.0), keep=keep)
    try:
        between = (lambda: server.hung_up.wait(5) and time.sleep(0.01)) if hang_up_after else None
        return asyncio.run(asked(target, n, between)), server  # type: ignore[arg-type]
    finally:
        server.close()


def test_a_connection_is_used_again() -> None:
    answers, server = run(lambda place, number: GOOD)
    assert [one.error for one in answers] == [None] * 3 and server.requests == [(0, 0), (0, 1), (0, 2)]
    assert all(b"\r\nConnection: keep-alive\r\n" in head for head in server.heads)
    for one in answers:
        assert one.sent_s <= one.chunk_s[0] <= one.chunk_s[-1] and one.output_tok == 2


def test_by_default_each_request_has_its_own() -> None:
    answers, server = run(lambda place, number: GOOD, keep=False)
    assert [one.error for one in answers] == [None] * 3 and server.requests == [(0, 0), (1, 0), (2, 0)]
    assert all(b"\r\nConnection: close\r\n" in head for head in server.heads)


def test_a_refusal_keeps_the_connection_too() -> None:
    refusal = head("429 Slow down", "text/plain", "Content-Length: 2") + b"no"
    answers, server = run(lambda place, number: refusal if number == 0 else GOOD, 2)
    assert (answers[0].error or "").startswith("http_429") and answers[1].error is None
    assert server.requests == [(0, 0), (0, 1)]


@pytest.mark.parametrize(
    "first",
    [
        head(more="Transfer-Encoding: chunked\r\nConnection: close") + GOOD.split(b"\r\n\r\n", 1)[1],
        GOOD.replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        GOOD.removesuffix(b"0\r\n\r\n"),
        GOOD + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        GOOD + b"\r\n",
        b"".join([head(), chunk(event(b"{nonsense")), b"zz\r\n"]),
    ],
    ids=["said to close", "HTTP/1.0", "without its last chunk", "an answer nobody asked for", "a line more", "garbage"],
)
def test_what_may_still_hold_something_is_not_used_again(first: bytes) -> None:
    answers, server = run(lambda place, number: first if place == 0 else GOOD, 2)
    assert server.requests == [(0, 0), (1, 0)]
    assert answers[1].error is None and answers[1].output_tok == 2


def test_a_connection_that_the_server_closed_meanwhile_is_seen_before_anything_is_sent() -> None:
    answers, server = run(lambda place, number: GOOD, 2, hang_up_after=1)
    assert [one.error for one in answers] == [None] * 2 and server.requests == [(0, 0), (1, 0)]


def test_a_request_that_may_have_been_taken_is_never_sent_again() -> None:
    answers, server = run(lambda place, number: GOOD if number == 0 else None, 2)
    assert server.requests == [(0, 0), (0, 1)], "taken once, and by nobody else"
    assert (answers[1].error or "").startswith("died_midstream") and "isn't sent again" in (answers[1].error or "")


def test_one_that_was_idle_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_IDLE_S", -1.0)
    _, server = run(lambda place, number: GOOD, 2)
    assert server.requests == [(0, 0), (1, 0)]


def test_each_loop_has_its_own_and_leaves_none_open() -> None:
    server = Server(lambda place, number: GOOD)
    target = HttpTarget.of(server.url, {"model": "m"}, Bounds(20.0), keep=True)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        answers = [*asyncio.run(asked(target, 2)), *asyncio.run(asked(target, 1))]
        gc.collect()
    server.close()
    assert [one.error for one in answers] == [None] * 3 and [str(one.message) for one in seen] == []
    assert server.requests == [(0, 0), (0, 1), (1, 0)]
    assert target.connections.startswith("1 of 3 requests used a connection again")

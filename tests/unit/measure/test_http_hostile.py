"""Servers that mean harm, or are merely odd: nothing of theirs hangs, leaks a key, or is taken for a good answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from measure_server import END, TOKEN, chunk, event, head, stream, usage

from solvent.measure.http.body import body_of, events
from solvent.measure.http.framing import Framing
from solvent.measure.http.openai import read_answer
from solvent.measure.http.target import HttpTarget
from solvent.measure.http.wire import Bounds, Received, _Wall
from solvent.measure.target import Answer, Request

KEY = "sk-very-secret-0123456789"
Conversation = Callable[[socket.socket], None]


@contextmanager
def serving(*conversations: Conversation) -> Iterator[tuple[str, list[bytes]]]:
    """A server that has one conversation a connection; its URL, and the first bytes of each request."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def run() -> None:
        for converse in conversations:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(1 << 16))
                with suppress(OSError):
                    converse(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", heard
    finally:
        listener.close()
        thread.join(5)


def ask(url: str, bounds: Bounds | None = None) -> Answer:
    target = HttpTarget.of(url, {"model": "m", "key": KEY}, bounds or Bounds(20.0, 1 << 20))
    return asyncio.run(target.answer(Request("r", None, "a b", 2, 2), time.perf_counter))


def answered(*pieces: bytes, ended: Any = None) -> Answer:
    received = Received(0.0, 0.0)
    received.ended = ended or "eof"
    for i, piece in enumerate(pieces):
        received.pieces.append((float(i), piece))
        if received.framing.feed(piece):
            received.ended = "garbage" if received.framing.garbage else "whole"
            received.why = received.framing.garbage
            break
    return read_answer(Answer("r", None, 0.0), received, None, KEY)


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirection_is_an_error_and_the_key_goes_nowhere(status: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.3)
        place = f"http://127.0.0.1:{other.getsockname()[1]}/v1/chat/completions"
        refusal = head(status, "text/plain", f"Location: {place}\r\nContent-Length: 0")
        with serving(lambda connection: connection.sendall(refusal)) as (url, heard):
            answer = ask(url)
        with pytest.raises(TimeoutError):
            other.accept()
    assert answer.error is not None and answer.error.startswith(f"http_{status[:3]}: moved to 'http://127.0.0.1:")
    assert len(heard) == 1 and KEY.encode() in heard[0]


@pytest.mark.parametrize(
    "pieces",
    [
        [head("401 No", "text/plain", "Content-Length: 60") + (b"Authorization: Bearer " + KEY.encode()).ljust(60)],
        [head("401 No", "text/plain", "Content-Length: 250") + (b"x" * 190 + KEY.encode()).ljust(250)],
        [head(), chunk(event({"error": {"message": "bad key " + KEY}}))],
        [head(), chunk(event(b"bad key " + KEY.encode()))],
    ],
)
def test_a_server_that_repeats_the_key_does_not_bring_it_into_the_result(pieces: list[bytes]) -> None:
    answer = answered(*pieces)
    assert answer.error is not None and KEY[:12] not in json.dumps(answer.document())


# ---------------------------------------------------------------- floods and bombs


def test_a_flood_of_headers_ends() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-More: " + b"y" * 1000 + b"\r\n")

    with serving(flood) as (url, _):
        assert (ask(url).error or "").startswith("garbage")


def test_a_flood_of_early_answers_ends() -> None:
    def flood(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    with serving(flood) as (url, _):
        assert (ask(url).error or "").startswith("too_many_bytes")


def test_a_line_without_an_end_ends() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(head(more="Connection: close") + b"data: ")
        while True:
            connection.sendall(b"x" * 60_000)

    with serving(flood) as (url, _):
        assert (ask(url).error or "").startswith("too_many_bytes")


def test_a_trickle_of_single_bytes_is_bounded_in_pieces_too() -> None:
    def trickle(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head(more="Connection: close"))
        while True:
            connection.sendall(b":")
            time.sleep(0.0005)

    with serving(trickle) as (url, _):
        answer = ask(url, Bounds(30.0, 1 << 20, max_reads=50))
    assert (answer.error or "").startswith("too_many_bytes: in more than 50 pieces")


def test_compressed_content_is_refused_by_name_and_never_unpacked() -> None:
    bomb = gzip.compress(b"\0" * (10 << 20))
    more = f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}"
    answer = answered(head(more=more) + bomb)
    assert answer.error == "garbage: content coded as 'gzip', which wasn't asked for"
    with serving(lambda connection: connection.sendall(head(more=more) + bomb)) as (url, heard):
        assert (ask(url).error or "").startswith("garbage: content coded")
    assert b"\r\nAccept-Encoding: identity\r\n" in heard[0]


# ---------------------------------------------------------------- chunks and lengths


def test_what_looks_like_the_last_chunk_inside_a_chunk_is_not_the_end() -> None:
    whole = [*stream(2, 2)]
    decoy = chunk(b": comment\r\n0\r\n\r\n")
    # Cut so that a read ends with the bytes of a last chunk.
    pieces = [whole[0], whole[1], decoy[:-2], decoy[-2:], *whole[2:]]
    answer = answered(*pieces)
    assert answer.error is None and len(answer.chunk_s) == 2 and answer.output_tok == 2


def test_trailers_after_the_last_chunk_end_the_answer() -> None:
    whole = stream(2, 2)
    framing = Framing()
    no_done = [*whole[:-2], b"0\r\nX-Trailer: 1\r\n\r\n"]
    assert [framing.feed(piece) for piece in no_done] == [False] * (len(no_done) - 1) + [True]
    answer = answered(*no_done)
    assert answer.error is None and [note.partition(":")[0] for note in answer.notes] == ["no_end"]


@pytest.mark.parametrize(
    "raw",
    [b"zz\r\n", b"-1\r\n", b"1_0\r\n", b"+5\r\n", b"0x10\r\n", b"fffffffff\r\n", b"\r\n", b"5\n", b"a" * 9000],
)
def test_chunks_that_are_none_end_at_once(raw: bytes) -> None:
    framing = Framing()
    assert framing.feed(head() + raw) and framing.garbage
    assert (answered(head() + raw).error or "").startswith("garbage")


@pytest.mark.parametrize(
    "more",
    ["Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5, 6", "Content-Length: -1", "Content-Length: 0x5",
     "Content-Length: 9999999999999999", "Content-Length: ٣"],
)  # fmt: skip
def test_a_length_that_is_none_or_two_is_garbage(more: str) -> None:
    assert (answered(head(more=more) + b"hello").error or "").startswith("garbage")


def test_the_same_length_twice_is_one() -> None:
    content = json.dumps({"choices": [{"text": "a"}], **{"usage": usage(2, 1)["usage"]}}).encode()
    more = f"Content-Length: {len(content)}\r\nContent-Length: {len(content)}"
    assert answered(head(kind="application/json", more=more) + content).error is None


def test_an_answer_in_one_piece_that_is_cut_died() -> None:
    content = json.dumps({"choices": [{"text": "a"}]}).encode()
    cut = head(kind="application/json", more=f"Content-Length: {len(content)}") + content[:-4]
    assert (answered(cut).error or "").startswith("died_midstream")


def test_a_page_is_not_an_answer() -> None:
    page = b"<html>please log in</html>"
    answer = answered(head(kind="text/html", more=f"Content-Length: {len(page)}") + page)
    assert answer.error == "garbage: content of type 'text/html', and no event in it"


# ---------------------------------------------------------------- events


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_as_the_standard_says(end: bytes) -> None:
    raw = b"\xef\xbb\xbfdata:one" + end + b": comment" + end + b"data: two" + end * 2 + b"data: three" + end * 2
    found = list(events(body_of([(1.0, raw[:20]), (2.0, raw[20:])], 0, False)))
    assert [data for _, data in found] == [b"one\ntwo", b"three"]


def test_a_character_split_over_reads_and_chunks_is_whole() -> None:
    token = {"choices": [{"delta": {"content": "größe 字 🎈"}}]}
    data = event(json.dumps(token, ensure_ascii=False).encode())
    whole = b"".join([head(), *(chunk(data[i : i + 1]) for i in range(len(data))), *stream(2, 1)[2:]])
    answer = answered(*(whole[i : i + 3] for i in range(0, len(whole), 3)))
    assert answer.error is None and answer.text == "größe 字 🎈"


def test_invalid_text_is_an_error_of_that_answer() -> None:
    assert (answered(head(), chunk(b'data: {"choices": [{"text": "\xff\xfe"}]}\n\n')).error or "").startswith("garbage")


@pytest.mark.parametrize(
    "count", ["1" + "0" * 5000, "-1", "1.5", "true", '"7"', "[1]", "{}", "1e999", "1" + "0" * 30, "100000001"]
)
def test_a_count_that_cannot_be_is_unknown_and_said(count: str) -> None:
    said = b'{"choices": [], "usage": {"completion_tokens": ' + count.encode() + b"}}"
    answer = answered(head(), chunk(event(TOKEN)), chunk(event(END)), chunk(event(said)), chunk(event(b"[DONE]")))
    assert answer.output_tok is None
    assert answer.error is not None or any(note.startswith("bad_usage") for note in answer.notes)
    json.dumps(answer.document(), allow_nan=False)


def test_usage_in_every_event_counts_as_its_last_says() -> None:
    said = [{**TOKEN, "usage": {"prompt_tokens": 2, "completion_tokens": i + 1}} for i in range(3)]
    answer = answered(head(), *(chunk(event(one)) for one in [*said, END]), chunk(event(b"[DONE]")))
    assert answer.output_tok == 3 and answer.chunk_tok == [1, 1, 1]


# ---------------------------------------------------------------- clocks


def stamp(wall_s: float) -> bytes:
    ns = round(wall_s * 1e9)
    return struct.pack("qq", ns // 1_000_000_000, ns % 1_000_000_000)


def test_a_step_of_the_systems_clock_spoils_no_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet waits 2 ms while the clock is set 3 s ahead: its stamp would put it 3 s too early."""
    now_s, ahead_s = 100.0, 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: now_s + ahead_s)
    monkeypatch.setattr(time, "time_ns", lambda: round((now_s + ahead_s) * 1e9))
    wall = _Wall(lambda: now_s)
    now_s = 101.0
    # 1e-6: nanoseconds of a wall clock in a float of seconds keep 0.24 µs.
    assert wall.arrival_s(stamp(now_s + ahead_s - 0.002), now_s) == pytest.approx(now_s - 0.002, abs=1e-6)
    before = now_s + ahead_s
    now_s, ahead_s = 101.002, ahead_s + 3.0
    assert wall.arrival_s(stamp(before), now_s) is None
    # The clock as it is now is good again.
    now_s = 102.0
    assert wall.arrival_s(stamp(now_s + ahead_s - 0.002), now_s) == pytest.approx(now_s - 0.002, abs=1e-6)


@pytest.mark.parametrize(("step_s", "kept"), [(0.0009, True), (0.0011, False), (-0.0009, True), (-0.0011, False)])
def test_a_millisecond_tells_a_step_from_a_drift(monkeypatch: pytest.MonkeyPatch, step_s: float, kept: bool) -> None:
    ahead_s = 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: 100.0 + ahead_s)
    monkeypatch.setattr(time, "time_ns", lambda: round((100.0 + ahead_s) * 1e9))
    wall = _Wall(lambda: 100.0)
    ahead_s += step_s
    assert (wall.arrival_s(stamp(100.0 + ahead_s - 0.005), 100.0) is not None) == kept


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "a..example", ".example"])
def test_a_host_that_cannot_be_is_a_failed_connection(host: str) -> None:
    assert (ask(f"http://{host}/v1").error or "").startswith("connect_failed")

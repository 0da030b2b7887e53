"""The HTTP client: framing in any pieces, arrivals of events, every fault of a server under its name."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measure_server import TOKEN, Server, chunk, event, head, stream

from solvent.errors import MeasureError
from solvent.measure.http.body import BadChunks, body_of, events
from solvent.measure.http.framing import Framing
from solvent.measure.http.openai import counts_agree, read_answer
from solvent.measure.http.target import HttpTarget
from solvent.measure.http.wire import Bounds, Received
from solvent.measure.target import Answer, Request

N = 8


def words_in(text: str) -> int:
    return len(text.split())


def ask(
    server: Server, model: str, *, bounds: Bounds | None = None, tokeniser: bool = True, api: str = "chat"
) -> Answer:
    target = HttpTarget.of(
        server.url, {"model": model, "api": api, "key": "k"}, bounds or Bounds(10.0), words_in if tokeniser else None
    )
    start_s = time.perf_counter()
    request = Request("r0", None, "a prompt of five words", 5, N)
    return asyncio.run(target.answer(request, lambda: time.perf_counter() - start_s))


@pytest.fixture(scope="module")
def server() -> Server:
    with Server() as running:
        yield running


def test_a_good_answer_is_timed_and_counted(server: Server) -> None:
    answer = ask(server, "good")
    assert answer.error is None and answer.notes == []
    assert (answer.prompt_tok, answer.output_tok, answer.n_outputs) == (5, N, 1.0)
    assert len(answer.chunk_s) == N and answer.chunk_tok == [1] * N and answer.text == " word" * N
    assert answer.done_s is not None and answer.started_s is not None
    assert answer.started_s <= answer.sent_s <= answer.chunk_s[0] <= answer.chunk_s[-1] <= answer.done_s
    sent = server.requests[-1]
    assert sent["stream"] is True and sent["max_tokens"] == N and sent["stream_options"] == {"include_usage": True}
    assert "Authorization: Bearer k" in server.heads[-1] and server.heads[-1].startswith("POST /v1/chat/completions ")


def test_completions_send_a_prompt_to_their_own_path(server: Server) -> None:
    assert ask(server, "good", api="completions").error is None
    assert server.requests[-1]["prompt"] == "a prompt of five words"
    assert server.heads[-1].startswith("POST /v1/completions ")


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("dies", "died_midstream"),
        ("refuses", "http_429"),
        ("breaks", "http_500: oops"),
        ("garbage", "garbage"),
        ("not-http", "garbage"),
        ("error-event", 'server_error: {"message": "out of memory"}'),
        ("empty", "no_output"),
        ("reads-only", "died_midstream"),
        ("endless", "too_many_bytes"),
        ("silent", "timeout"),
    ],
)
def test_each_fault_has_its_name(server: Server, model: str, error: str) -> None:
    answer = ask(server, model, bounds=Bounds(1.0 if model == "silent" else 20.0, 1 << 20))
    assert answer.error is not None and answer.error.startswith(error), answer.error
    assert answer.n_outputs is None


@pytest.mark.parametrize(
    ("model", "note", "output_tok"),
    [
        ("plain", "not_streamed", N),
        ("no-usage", "no_usage", N),
        ("no-done", "no_end", N),
        ("wrong-count", "wrong_token_count", N),
    ],
)
def test_a_fault_that_leaves_the_times_valid_is_a_note(server: Server, model: str, note: str, output_tok: int) -> None:
    answer = ask(server, model)
    assert answer.error is None and [one.partition(":")[0] for one in answer.notes] == [note]
    assert answer.output_tok == output_tok


def test_without_a_tokeniser_unknown_stays_unknown_and_a_claim_stays_the_servers(server: Server) -> None:
    assert ask(server, "no-usage", tokeniser=False).output_tok is None
    wrong = ask(server, "wrong-count", tokeniser=False)
    # More tokens than pieces: how many each piece has can't be known.
    assert wrong.output_tok == 3 * N and wrong.chunk_tok == [None] * N and wrong.notes == []


def test_the_end_of_a_text_is_a_token_without_a_piece(server: Server) -> None:
    one_more = ask(server, "counts-end", tokeniser=False)
    assert one_more.output_tok == N + 1 and one_more.chunk_tok == [1] * N
    two_more = ask(server, "counts-two", tokeniser=False)
    assert two_more.output_tok == N + 2 and two_more.chunk_tok == [None] * N


def test_what_a_refusing_server_asks_for_is_kept(server: Server) -> None:
    assert ask(server, "refuses").retry_after_s == 0.01
    assert ask(server, "breaks").retry_after_s is None


def test_no_server_is_a_failed_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    target = HttpTarget.of(f"http://127.0.0.1:{port}/v1", {"model": "m"}, Bounds(5.0))
    answer = asyncio.run(target.answer(Request("r", None, "x", 1, 1), time.perf_counter))
    assert answer.error is not None and answer.error.startswith("connect_failed")


@pytest.mark.parametrize("said", [38, 42])
def test_counts_within_the_slack_agree_and_just_beyond_do_not(said: int) -> None:
    # max(2, 5% of 40) = 2.
    assert counts_agree(said, 40)
    assert not counts_agree(said + (1 if said > 40 else -1), 40)
    assert counts_agree(1050, 1000) and not counts_agree(1051, 1000)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("ftp://x/v1", {"model": "m"}),
        ("http://", {"model": "m"}),
        ("http://x:99999/v1", {"model": "m"}),
        ("http://user:secret@x/v1", {"model": "m"}),
        ("http://x/v1", {}),
        ("http://x/v1", {"model": "m", "key": "two\r\nX-Evil: 1"}),
        ("http://x/v1", {"model": "m", "extra": "[1]"}),
    ],
)
def test_what_cannot_be_asked_is_refused(url: str, asked: dict[str, str]) -> None:
    with pytest.raises(MeasureError) as caught:
        HttpTarget.of(url, asked)
    assert "secret" not in str(caught.value)


RESPONSE = b"".join(stream(5, 3))
LENGTH = head(kind="application/json", more="Content-Length: 12") + b'{"a": 1234}\n'
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + RESPONSE


@given(cuts=st.lists(st.integers(1, len(CONTINUED)), max_size=12), which=st.sampled_from([RESPONSE, LENGTH, CONTINUED]))
def test_a_response_is_whole_at_its_end_however_it_is_cut(cuts: list[int], which: bytes) -> None:
    framing = Framing()
    places = [0, *sorted(cut for cut in set(cuts) if cut < len(which)), len(which)]
    pieces = [which[a:b] for a, b in pairwise(places)]
    done = [framing.feed(piece) for piece in pieces]
    # [DONE] may be known before the last chunk is there; never before it is complete.
    first = done.index(True)
    assert sum(map(len, pieces[: first + 1])) >= (len(which) - 7 if which != LENGTH else len(which))
    assert framing.head is not None and framing.garbage == ""
    stamped = [(float(i), piece) for i, piece in enumerate(pieces)]
    body = body_of(stamped, framing.head.body_start, framing.head.chunked)
    if which == LENGTH:
        assert body.data == b'{"a": 1234}\n'
        return
    found = list(events(body))
    assert [data for _, data in found][-1] == b"[DONE]" and len(found) == 6
    for arrived_s, data in found:
        end = which.index(data + b"\n", which.index(b"data:")) if data == b"[DONE]" else None
        if end is not None:
            # The piece in which the newline after [DONE] came.
            assert arrived_s == next(i for i, b in enumerate(places[1:]) if b > end + len(data))


@pytest.mark.parametrize("response", [RESPONSE.replace(chunk(event(b"[DONE]")), b""), LENGTH])
def test_byte_by_byte_it_is_whole_with_its_last(response: bytes) -> None:
    framing = Framing()
    done = [framing.feed(response[i : i + 1]) for i in range(len(response))]
    assert done == [False] * (len(response) - 1) + [True]


def test_a_truncated_response_is_not_whole() -> None:
    assert not Framing().feed(RESPONSE[:-20])
    assert not Framing().feed(LENGTH[:-1])
    framing = Framing()
    assert framing.feed(b"SSH-2.0-x") and framing.garbage
    framing = Framing()
    assert framing.feed(b"HTTP/1.1 200 OK\r\nX: " + b"y" * (70 << 10)) and framing.garbage


@pytest.mark.parametrize("raw", [b"zz\r\nabc\r\n", b"3\r\nabcd\r\n", b"\r\nabc", b"fffffffff\r\nabc"])
def test_chunks_that_are_none_are_garbage(raw: bytes) -> None:
    with pytest.raises(BadChunks):
        body_of([(0.0, raw)], 0, True)


def test_an_event_arrives_with_the_end_of_its_line() -> None:
    raw = b": comment\nevent: x\ndata: one\ndata: two\n\ndata:three\r\n\r\ndata: cut"
    pieces = [(1.0, raw[:33]), (2.0, raw[33:44]), (3.0, raw[44:])]
    assert raw[:33].endswith(b"data") and raw[33:44].endswith(b"\ndata")
    assert list(events(body_of(pieces, 0, False))) == [(2.0, b"one\ntwo"), (3.0, b"three")]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel stamps packets on Linux alone")
def test_a_late_reader_does_not_make_the_server_look_slow() -> None:
    """The server answers at once while the client's loop is blocked; the arrival is before the block's end."""
    listener = socket.create_server(("127.0.0.1", 0))
    answered = threading.Event()
    blocked_until_s = 0.0

    async def both() -> Answer:
        nonlocal blocked_until_s
        target = HttpTarget.of(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", {"model": "m"})
        task = asyncio.create_task(target.answer(Request("r", None, "x", 1, 1), time.perf_counter))
        while not answered.is_set():
            await asyncio.sleep(0)
            if server_has_request.is_set():
                answered.wait(10)
                time.sleep(0.05)
                blocked_until_s = time.perf_counter()
        found = await task
        assert target.stamps == "kernel"
        return found

    server_has_request = threading.Event()

    def serve_and_tell() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            server_has_request.set()
            # The loop now waits for `answered` without reading.
            time.sleep(0.05)
            connection.sendall(b"".join([head(), chunk(event(TOKEN)), chunk(event(b"[DONE]")), b"0\r\n\r\n"]))
            answered.set()

    thread = threading.Thread(target=serve_and_tell)
    thread.start()
    answer = asyncio.run(both())
    thread.join()
    listener.close()
    assert answer.error is None and answer.chunk_s[0] < blocked_until_s - 0.04


FRAGMENTS = [
    *stream(5, 2), LENGTH, CONTINUED[:30], b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n", b"\r\n", b"data: ",
    b"data: [DONE]\n\n", b"data: null\n\n", b'data: {"choices": [1]}\n\n', b'data: {"choices": [{"delta": 5}]}\n\n',
    b'data: {"usage": {"completion_tokens": -1, "prompt_tokens": "x"}}\n\n', b'data: {"usage": 7, "choices": {}}\n\n',
    b'data: {"choices": [{"text": "a", "delta": {"content": 4}, "finish_reason": "stop"}]}\n\n', b"[" * 5000,
    b'data: {"error": "\xff"}\n\n', head("429 Slow", "text/plain", "Retry-After: nan"), head("999 X"),
    head("200 OK", "application/json"),
]  # fmt: skip


@given(pieces=st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=40)), max_size=12))
def test_nothing_that_a_server_sends_raises(pieces: list[bytes]) -> None:
    received = Received(0.0, 0.0)
    for i, piece in enumerate(pieces):
        received.pieces.append((float(i), piece))
        if received.framing.feed(piece):
            received.ended = "garbage" if received.framing.garbage else "whole"
            break
    else:
        received.ended = "eof"
    answer = read_answer(Answer("r", None, 0.0), received, words_in)
    # Either it failed, by a name, or it has output and an end.
    assert (answer.error is not None) != (answer.n_outputs is not None)
    assert answer.error is None or answer.error.partition(":")[0].isidentifier()
    assert answer.error is not None or (answer.chunk_s and answer.done_s is not None)
    json.dumps(answer.document(), allow_nan=False)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl isn't installed")
def test_over_tls_and_not_to_a_stranger(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    made = ["openssl", *words.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server(tls=context) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        target = HttpTarget.of(url, {"model": "good"}, Bounds(20.0), words_in)
        request = Request("r0", None, "a prompt of five words", 5, 300)
        refused = asyncio.run(target.answer(request, time.perf_counter))
        assert refused.error is not None and "certificate verify failed" in refused.error
        assert target._place.tls is not None
        target._place.tls.load_verify_locations(certificate)
        answer = asyncio.run(target.answer(request, time.perf_counter))
    assert answer.error is None and answer.output_tok == 300 and len(answer.chunk_s) == 300

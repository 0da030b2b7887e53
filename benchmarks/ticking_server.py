"""A server whose streams tick exactly: stream i of n sends its k-th token at start + (k + i/n)/rate.

One thread spins on the clock, so that a tick waits for nothing but the sending of the one before; it prints its port,
then, when every stream has ended, when each token was in fact sent. Run by peers of the load case, in its own process
and session, on its own core.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path

# Between the last connection and the first tick.
LEAD_S = 0.2


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


TOKEN = chunk(
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def end(n_tokens: int) -> bytes:
    last = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
    usage = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":%d}}\n\n' % n_tokens
    return chunk(last) + chunk(usage) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def main() -> None:
    n_streams, n_tokens, rate_per_s, core = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    if hasattr(os, "sched_setaffinity") and core >= 0:
        os.sched_setaffinity(0, {core})
    ask_for_priority()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    streams = [accept(listener) for _ in range(n_streams)]
    # Streams in the order of their names: the prompt is the number.
    streams.sort(key=lambda stream: stream[0])
    sent_s: list[list[float]] = [[] for _ in streams]
    late_s: list[float] = []
    period_s = 1 / rate_per_s
    start_s = time.perf_counter() + LEAD_S
    for k in range(n_tokens):
        for i, (_, connection) in enumerate(streams):
            due_s = start_s + (k + i / n_streams) * period_s
            while (now_s := time.perf_counter()) < due_s:
                pass
            connection.send(TOKEN)
            late_s.append(now_s - due_s)
            sent_s[i].append(time.perf_counter())
    for _, connection in streams:
        connection.send(end(n_tokens))
        connection.close()
    print(json.dumps({"late_s": late_s, "sent_s": sent_s}), flush=True)


def ask_for_priority() -> None:
    """Before all others on its core, where that is permitted: a server that waits for its turn doesn't tick exactly.

    On Linux sessions share a core first (autogroup), so the session has to be asked for too."""
    with contextlib.suppress(OSError):
        os.nice(-20)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("-20", "ascii")


def accept(listener: socket.socket) -> tuple[int, socket.socket]:
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = b""
    while b"\r\n\r\n" not in data or not data.rstrip().endswith(b"}"):
        data += connection.recv(65536)
    body = json.loads(data.partition(b"\r\n\r\n")[2])
    connection.send(HEAD)
    return int(body["messages"][0]["content"]), connection


if __name__ == "__main__":
    main()

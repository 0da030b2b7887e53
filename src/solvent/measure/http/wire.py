"""One HTTP exchange, read as fast as it comes: each read keeps its bytes and the time at which they arrived.

On Linux the time is the kernel's (SO_TIMESTAMPNS), taken when the packet came in: a client that was late to read
doesn't make the server look slow. Elsewhere, and over TLS where several records come in one read, it is the time of
the read. Bytes and time are bounded, so that an endless stream ends.
What it doesn't do: parse (body.py), decide what is an error (openai.py).
Enter at `exchange`. Source: socket(7); Documentation/networking/timestamping.rst §1.1, Linux.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from solvent.measure.http.framing import Framing
from solvent.measure.target import Clock

READ_BYTES = 64 << 10
# SO_TIMESTAMPNS_OLD of <asm-generic/socket.h>: x86, ARM, RISC-V, POWER, s390. Where it fails, no stamp comes.
SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("qq")
_CONTROL_BYTES = socket.CMSG_SPACE(_TIMESPEC.size) if hasattr(socket, "CMSG_SPACE") else 0
# A kernel stamp further back than this is of another clock (it was set meanwhile).
_MAX_AGE_S = 10.0
MAX_IDLE_S = 1.0
# Reads between two exchanges: what is left of a response is a few bytes.
MAX_DRAINS = 4
# The clock of the stamps against ours: more than this between two reads is a step, not a drift (adjtime slews by
# half a millisecond a second at most).
_MAX_STEP_S = 0.001
_MAX_DRIFT = 0.0005

Ended = Literal["whole", "eof", "reset", "timeout", "too_many_bytes", "garbage"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens. tls: None for plain HTTP.   addresses: of the host, looked up once."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    addresses: list[tuple[Any, ...]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What no answer may exceed."""

    timeout_s: float = 600.0
    max_bytes: int = 64 << 20
    max_reads: int = 1 << 20


@dataclass(slots=True)
class Received:
    """What came of one exchange.

    pieces: (clock at arrival, bytes) of each read.   n_kernel: reads whose stamp is the kernel's.
    sent_s: when the request began to be handed over, or None.   ended, why: how it ended.
    reused: over a connection of an earlier request."""

    started_s: float
    sent_s: float | None = None
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    n_kernel: int = 0
    framing: Framing = field(default_factory=Framing)
    ended: Ended = "timeout"
    why: str = ""
    reused: bool = False


class Refused(Exception):
    """No connection: the reason is in the text."""


async def exchange(place: Place, request: bytes, bounds: Bounds, clock: Clock, kept: Kept | None = None) -> Received:
    """Connects, sends, and reads until the response is whole or a bound is reached. Nothing is ever sent twice.

    kept: connections to use again, and to keep this one in; None makes one for this request alone.
    Raises: Refused (no connection, or no TLS over it)"""
    received = Received(clock())
    try:
        async with asyncio.timeout(bounds.timeout_s):
            link = kept.take() if kept else None
            received.reused = link is not None
            if link is None:
                link = await _connect(place, bounds)
            link.begin(received, clock)
            try:
                received.sent_s = clock()
                await link.send(request)
                await link.finished
            finally:
                if kept is None or not kept.give(link):
                    link.close()
    except TimeoutError:
        if received.sent_s is None:
            raise Refused(f"no connection within {bounds.timeout_s:g} s") from None
        received.why = f"not whole after {bounds.timeout_s:g} s"
    except (OSError, ssl.SSLError) as error:
        if received.sent_s is None:
            raise Refused(str(error) or type(error).__name__) from None
        received.ended, received.why = "reset", str(error)
    return received


async def _connect(place: Place, bounds: Bounds) -> _Link:
    loop = asyncio.get_running_loop()
    if not place.addresses:
        try:
            found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise OSError(f"{place.host[:60]!r} can't be a host's name") from None
        place.addresses.extend(found)
    fault: OSError = OSError("no address")
    for family, kind, protocol, _, address in place.addresses:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, address)
            tls = await _handshake(sock, place, loop) if place.tls else None
        except OSError as error:
            sock.close()
            fault = error
            continue
        except BaseException:
            sock.close()
            raise
        return _Link(sock, tls, bounds)
    raise fault


@dataclass(slots=True)
class _Tls:
    """TLS between two memory buffers, so that the socket stays ours to stamp."""

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    session: ssl.SSLObject


async def _handshake(sock: socket.socket, place: Place, loop: asyncio.AbstractEventLoop) -> _Tls:
    assert place.tls is not None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = _Tls(incoming, outgoing, place.tls.wrap_bio(incoming, outgoing, server_hostname=place.host))
    while True:
        try:
            tls.session.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        if outgoing.pending:
            await loop.sock_sendall(sock, outgoing.read())
        if done:
            return tls
        data = await loop.sock_recv(sock, READ_BYTES)
        if not data:
            raise OSError("the connection closed during the TLS handshake")
        incoming.write(data)


class Kept:
    """Connections of one event loop that wait for the next request; they are closed when it ends.

    One is used again within a second alone: a server that hangs up an idle connection just as it is used would fail a
    request, which can't be sent again, since it may have been taken."""

    def __init__(self) -> None:
        self._idle: list[tuple[float, _Link]] = []
        self._guard = self._close_with_the_loop()

    async def open(self) -> Self:
        await anext(self._guard)
        return self

    def take(self) -> _Link | None:
        """The one that was used last, if it still can be."""
        while self._idle:
            since_s, link = self._idle.pop()
            if time.monotonic() - since_s <= MAX_IDLE_S and link.drained():
                return link
            link.close()
        return None

    def give(self, link: _Link) -> bool:
        """Keeps a connection whose response is whole; False where it can't be used again."""
        head = link.received.framing.head
        if link.received.ended != "whole" or head is None or not head.keeps:
            return False
        self._idle.append((time.monotonic(), link))
        return True

    async def _close_with_the_loop(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            for _, link in self._idle:
                link.close()
            self._idle.clear()


class _Link:
    """A connection, for one exchange after another. `finished` is set when nothing more is to be read for one."""

    def __init__(self, sock: socket.socket, tls: _Tls | None, bounds: Bounds) -> None:
        self._sock, self._tls, self._bounds = sock, tls, bounds
        self._loop = asyncio.get_running_loop()
        self._control = _ask_for_stamps(sock)

    def begin(self, received: Received, clock: Clock) -> None:
        """Reads from now on for this exchange."""
        self.received, self._clock = received, clock
        self._n_bytes = 0
        # Nothing arrives before what came on the same connection before it.
        self._arrived_s = clock()
        self._wall = _Wall(clock)
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def drained(self) -> bool:
        """Whether the last response's end has come, nothing behind it, and the server hasn't hung up."""
        framing = self.received.framing
        for _ in range(MAX_DRAINS):
            try:
                data = self._sock.recv(READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return framing.complete
            except OSError:
                return False
            try:
                plain = _decrypted(self._tls, data) if self._tls and data else data
            except ssl.SSLError:
                return False
            if not data or (plain and framing.complete):
                return False
            if plain:
                framing.feed(plain)
            if framing.garbage:
                return False
        return False

    async def send(self, request: bytes) -> None:
        if self._tls:
            self._tls.session.write(request)
            request = self._tls.outgoing.read()
        await self._loop.sock_sendall(self._sock, request)

    def close(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def _readable(self) -> None:
        """The hot path: one read, one stamp, one look at the end of the bytes."""
        try:
            data, control, _, _ = self._sock.recvmsg(READ_BYTES, self._control)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            return self._finish("reset", str(error))
        stamp_s = self._clock()
        received = self.received
        if not data:
            return self._finish("eof", "the server closed the connection")
        if control:
            arrival_s = self._wall.arrival_s(control[0][2], stamp_s)
            if arrival_s is not None and arrival_s >= self._arrived_s:
                stamp_s = arrival_s
                received.n_kernel += 1
        self._arrived_s = stamp_s
        if self._tls:
            try:
                data = _decrypted(self._tls, data)
            except ssl.SSLError as error:
                return self._finish("reset", str(error))
        received.pieces.append((stamp_s, data))
        self._n_bytes += len(data)
        if received.framing.feed(data):
            self._finish("garbage" if received.framing.garbage else "whole", received.framing.garbage)
        elif self._n_bytes > self._bounds.max_bytes:
            self._finish("too_many_bytes", f"more than {self._bounds.max_bytes:,} bytes")
        elif len(received.pieces) >= self._bounds.max_reads:
            self._finish("too_many_bytes", f"in more than {self._bounds.max_reads:,} pieces")

    def _finish(self, ended: Ended, why: str) -> None:
        if not self.finished.done():
            self.received.ended, self.received.why = ended, why
            self.finished.set_result(None)
            self._loop.remove_reader(self._sock.fileno())


def _ask_for_stamps(sock: socket.socket) -> int:
    """Bytes to reserve for stamps in each read: 0 where the system gives none."""
    if sys.platform != "linux":
        return 0
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return 0
    return _CONTROL_BYTES


class _Wall:
    """The system's clock, by which the kernel stamps, held against ours: a step of it spoils the stamps beside it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now_s = clock()
        self._ahead_s = time.time() - self._now_s

    def arrival_s(self, control: bytes, now_s: float) -> float | None:
        """When the packet came in by our clock, or None where its stamp can't be told to be of the clock as it is."""
        wall_ns = time.time_ns()
        if not self._steady(now_s, wall_ns):
            # Between the two readings somebody else may have had the processor.
            now_s, wall_ns = self._clock(), time.time_ns()
        steady = self._steady(now_s, wall_ns)
        self._now_s, self._ahead_s = now_s, wall_ns / 1e9 - now_s
        if len(control) != _TIMESPEC.size or not steady:
            return None
        seconds, nanoseconds = _TIMESPEC.unpack(control)
        age_s = (wall_ns - seconds * 1_000_000_000 - nanoseconds) / 1e9
        return now_s - age_s if 0 <= age_s < _MAX_AGE_S else None

    def _steady(self, now_s: float, wall_ns: int) -> bool:
        drift_s = abs(wall_ns / 1e9 - now_s - self._ahead_s)
        return drift_s <= _MAX_STEP_S + _MAX_DRIFT * (now_s - self._now_s)


def _decrypted(tls: _Tls, data: bytes) -> bytes:
    tls.incoming.write(data)
    plain = []
    while True:
        try:
            part = tls.session.read(READ_BYTES)
        except ssl.SSLWantReadError:
            break
        except ssl.SSLZeroReturnError:
            break
        if not part:
            break
        plain.append(part)
    return b"".join(plain)

"""One started program with its pipes, which ends wholly: the process, all that it started, and every pipe.

asyncio leaves a killed program's pipes open for as long as anybody else holds their other ends, and for good where its
reading was paused or its loop is closed. So an end here closes the pipes itself, and what still runs when the event
loop ends is ended by the loop's own closing of generators.
What it doesn't do: know what is asked (command_target.py).
Enter at `Program.start`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, Sequence
from typing import cast

STDERR_BYTES = 4096
READ_BYTES = 1 << 16
# A killed process that isn't gone after this hangs in the kernel; nobody waits for it longer.
END_S = 10.0


class Program:
    """A program that runs, and the ends of its pipes here."""

    def __init__(
        self, transport: asyncio.SubprocessTransport, pipes: asyncio.subprocess.SubprocessStreamProtocol
    ) -> None:
        assert pipes.stdout is not None and pipes.stderr is not None
        self.stdin, self.stdout = pipes.stdin, pipes.stdout
        self._transport = transport
        self._process = asyncio.subprocess.Process(transport, pipes, asyncio.get_running_loop())
        self._said = asyncio.ensure_future(_last(pipes.stderr))
        self._guard = self._end_with_the_loop()

    @classmethod
    async def start(cls, words: Sequence[str], *, stdin: bool, max_bytes: int) -> Program:
        """Starts it in a process group of its own.   max_bytes: of a line on stdout.   Raises: OSError"""
        starting = asyncio.ensure_future(cls._start(words, stdin, max_bytes))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Half a start can't be undone: it is finished, then ended.
            with contextlib.suppress(OSError):
                await (await starting).end()
            raise

    @classmethod
    async def _start(cls, words: Sequence[str], stdin: bool, max_bytes: int) -> Program:
        loop = asyncio.get_running_loop()
        transport, pipes = await loop.subprocess_exec(
            lambda: asyncio.subprocess.SubprocessStreamProtocol(limit=max_bytes, loop=loop),
            *words,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        made = cls(transport, pipes)
        await anext(made._guard)
        return made

    @property
    def running(self) -> bool:
        """Whether it hasn't ended by itself, as far as is known."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Its exit code, once it has ended and its pipes are closed."""
        return await self._process.wait()

    async def said(self) -> str:
        """The last line that it wrote to stderr, once that is closed."""
        lines = (await self._said).decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else "nothing on stderr"

    def kill(self) -> None:
        """Ends it and all that it started, and lets go of the pipes; its loop must not be closed."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._said.cancel()
        stdin = cast(asyncio.WriteTransport | None, self._transport.get_pipe_transport(0))
        if stdin is not None and (not stdin.is_closing() or stdin.get_write_buffer_size()):
            # Closing would wait until somebody has read what was written. One that is closed can't be aborted.
            stdin.abort()
        self._transport.close()

    async def end(self) -> None:
        """Kills it and waits until nothing of it is left."""
        await self._guard.aclose()

    async def _end_with_the_loop(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await self._process.wait()


async def _last(stream: asyncio.StreamReader) -> bytes:
    """The last few kilobytes of a stream that is read to its end."""
    kept = b""
    with contextlib.suppress(OSError):
        while piece := await stream.read(READ_BYTES):
            kept = (kept + piece)[-STDERR_BYTES:]
    return kept

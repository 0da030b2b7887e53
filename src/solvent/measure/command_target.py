"""Any command as a target: it gets a request as arguments or on stdin, and what it makes is counted.

A program that `stays` is started once and answers a line for a line, one request at a time, so that loading a model
isn't counted with every output; any other is started for each request, alone in its process group, and killed with
it when it takes too long or writes too much.
What it doesn't do: read the adapter (adapter.py), know what is inside.
Enter at `CommandTarget`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from solvent.measure.adapter import Adapter, count, read_adapter
from solvent.measure.target import Answer, Clock, Request

STDERR_BYTES = 4096
READ_BYTES = 1 << 16
DEFAULT_PROMPT = "The quick brown fox jumps over the lazy dog."


class CommandFault(Exception):
    """The command failed: `name: detail`, as an answer's error is told."""


class CommandTarget:
    """A command that answers requests.   adapter: its file, read.   folder: where the file lies ({folder})."""

    kind = "command"

    def __init__(self, adapter: Adapter, folder: Path) -> None:
        self.name = adapter.name
        self.adapter = adapter
        self.folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: asyncio.Task[bytes] | None = None
        self._turn: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def of(cls, path: Path) -> CommandTarget:
        """Raises: MeasureError (the adapter file can't be used)"""
        return cls(read_adapter(path), path.resolve().parent)

    def document(self) -> dict[str, Any]:
        """What is measured, JSON-ready."""
        a = self.adapter
        return {
            "name": a.name, "kind": self.kind, "model": a.model, "command": list(a.command), "stays": a.stays,
            "count": a.output.count, "unit": a.output.unit, "per_output": a.output.per_output,
        }  # fmt: skip

    async def answer(self, request: Request, clock: Clock) -> Answer:
        """Runs the command on the request; whatever goes wrong with it is the answer's error."""
        answer = Answer(request.id, request.at_s, clock())
        answer.started_s = answer.sent_s
        if self._loop is not asyncio.get_running_loop():
            # A lock and a process belong to the loop that made them; each load has its own.
            self._forget()
            self._loop, self._turn = asyncio.get_running_loop(), asyncio.Lock()
        with tempfile.TemporaryDirectory(prefix="solvent-") as scratch:
            output = Path(scratch) / f"output{self.adapter.output.suffix}"
            places = self._places(request, output)
            try:
                async with asyncio.timeout(self.adapter.timeout_s):
                    content = await (self._stay if self.adapter.stays else self._once)(places, answer, clock)
                if self.adapter.output.from_ == "file":
                    content = _read_file(output, self.adapter.output.max_bytes)
                answer.done_s = clock()
                answer.chunk_s, answer.chunk_tok = [answer.done_s], [None]
                answer.n_outputs = count(self.adapter.output, content)
                if self.adapter.output.count in ("characters", "words", "lines"):
                    answer.text = content.decode("utf-8", "replace")
            except TimeoutError:
                self._forget()
                answer.error = f"timeout: longer than {self.adapter.timeout_s:g} s"
            except CommandFault as fault:
                answer.error = str(fault)
            except (ValueError, OSError) as fault:
                answer.error = f"output: {fault}"
        if answer.error is not None:
            answer.n_outputs = answer.done_s = None
            answer.chunk_s, answer.chunk_tok = [], []
        return answer

    def close(self) -> None:
        """Ends the program that stays."""
        self._forget()

    def _places(self, request: Request, output: Path) -> dict[str, str]:
        given = (request.payload or {}).get("prompt")
        prompt = self.adapter.prompt or request.prompt or (given if isinstance(given, str) else DEFAULT_PROMPT)
        prompt = prompt.replace("\0", " ")
        return {
            "prompt": prompt, "prompt_json": json.dumps(prompt), "output": str(output),
            "output_json": json.dumps(str(output)), "folder": str(self.folder),
        }  # fmt: skip

    async def _start(self, places: dict[str, str]) -> asyncio.subprocess.Process:
        words = [self.adapter.filled(part, places) for part in self.adapter.command]
        try:
            return await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE if self.adapter.stdin is not None else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=self.adapter.output.max_bytes,
            )
        except OSError as error:
            raise CommandFault(f"start: {words[0]}: {error.strerror}") from None

    async def _once(self, places: dict[str, str], answer: Answer, clock: Clock) -> bytes:
        """One process for one request: its stdout."""
        process = await self._start(places)
        try:
            said = asyncio.ensure_future(_last(process.stderr))
            fed = asyncio.ensure_future(_feed(process, self.adapter, places))
            answer.sent_s = clock()
            content = await _all(process.stdout, self.adapter.output.max_bytes)
            await fed
            code = await process.wait()
            if code:
                raise CommandFault(f"exit {code}: {_tail(await said)}")
            return content
        finally:
            _kill(process)
            for task in (said, fed):
                task.cancel()
            with contextlib.suppress(BaseException):
                await process.wait()

    async def _stay(self, places: dict[str, str], answer: Answer, clock: Clock) -> bytes:
        """A line for a line from the program that stays: its answer."""
        assert self._turn is not None
        async with self._turn:
            if self._process is None or self._process.returncode is not None:
                self._process = await self._start(places)
                self._stderr = asyncio.ensure_future(_last(self._process.stderr))
            process = self._process
            answer.sent_s = clock()
            line = self.adapter.filled(self.adapter.stdin or "", places).replace("\n", " ") + "\n"
            try:
                assert process.stdin and process.stdout
                process.stdin.write(line.encode("utf-8", "replace"))
                await process.stdin.drain()
                reply = await process.stdout.readline()
            except (ConnectionError, ValueError) as error:
                self._forget()
                raise CommandFault(f"lines: {error or 'the program ended'}") from None
            except asyncio.CancelledError:
                # A late answer would be taken for the next request's.
                self._forget()
                raise
            if not reply.endswith(b"\n"):
                said = await self._stderr if self._stderr else b""
                self._forget()
                raise CommandFault(f"ended: {_tail(said)}")
            return reply

    def _forget(self) -> None:
        if self._process is not None:
            _kill(self._process)
        if self._stderr is not None and self._loop is not None and not self._loop.is_closed():
            self._stderr.cancel()
        self._process = self._stderr = None


async def _feed(process: asyncio.subprocess.Process, adapter: Adapter, places: dict[str, str]) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(ConnectionError):
        process.stdin.write(adapter.filled(adapter.stdin or "", places).encode("utf-8", "replace"))
        await process.stdin.drain()
    process.stdin.close()


async def _all(stream: asyncio.StreamReader | None, max_bytes: int) -> bytes:
    """Everything up to the end.   Raises: CommandFault (more than may be)"""
    assert stream is not None
    parts, n_bytes = [], 0
    while piece := await stream.read(READ_BYTES):
        n_bytes += len(piece)
        if n_bytes > max_bytes:
            raise CommandFault(f"output: more than {max_bytes} bytes")
        parts.append(piece)
    return b"".join(parts)


async def _last(stream: asyncio.StreamReader | None) -> bytes:
    """The last few kilobytes of a stream that is read to its end."""
    assert stream is not None
    kept = b""
    while piece := await stream.read(READ_BYTES):
        kept = (kept + piece)[-STDERR_BYTES:]
    return kept


def _tail(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else "nothing on stderr"


def _read_file(path: Path, max_bytes: int) -> bytes:
    if not path.is_file():
        raise CommandFault("output: no file was written")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise CommandFault(f"output: more than {max_bytes} bytes")
    return content


def _kill(process: asyncio.subprocess.Process) -> None:
    """The process and all that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()

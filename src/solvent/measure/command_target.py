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
import tempfile
from pathlib import Path
from typing import Any

from solvent.measure.adapter import Adapter, count, read_adapter
from solvent.measure.program import READ_BYTES, Program
from solvent.measure.target import Answer, Clock, Request

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
        self._program: Program | None = None
        self._turn = asyncio.Lock()
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
            # A lock and a program belong to the loop that made them, and end with it; each load has its own.
            self._loop, self._turn, self._program = asyncio.get_running_loop(), asyncio.Lock(), None
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
                answer.error = f"timeout: longer than {self.adapter.timeout_s:g} s"
            except CommandFault as fault:
                answer.error = str(fault)
            except (ValueError, OSError) as fault:
                answer.error = f"output: {fault}"
        if answer.error is not None:
            answer.n_outputs = answer.done_s = None
            answer.chunk_s, answer.chunk_tok = [], []
        return answer

    def _places(self, request: Request, output: Path) -> dict[str, str]:
        given = (request.payload or {}).get("prompt")
        prompt = self.adapter.prompt or request.prompt or (given if isinstance(given, str) else DEFAULT_PROMPT)
        prompt = prompt.replace("\0", " ")
        return {
            "prompt": prompt, "prompt_json": json.dumps(prompt), "output": str(output),
            "output_json": json.dumps(str(output)), "folder": str(self.folder),
        }  # fmt: skip

    async def _start(self, places: dict[str, str]) -> Program:
        words = [self.adapter.filled(part, places) for part in self.adapter.command]
        try:
            return await Program.start(
                words, stdin=self.adapter.stdin is not None, max_bytes=self.adapter.output.max_bytes
            )
        except OSError as error:
            raise CommandFault(f"start: {words[0]}: {error.strerror}") from None

    async def _once(self, places: dict[str, str], answer: Answer, clock: Clock) -> bytes:
        """One process for one request: its stdout."""
        program = await self._start(places)
        fed = asyncio.ensure_future(_feed(program, self.adapter, places))
        try:
            answer.sent_s = clock()
            content = await _all(program.stdout, self.adapter.output.max_bytes)
            await fed
            code = await program.wait()
            if code:
                raise CommandFault(f"exit {code}: {await program.said()}")
            return content
        finally:
            fed.cancel()
            await program.end()

    async def _stay(self, places: dict[str, str], answer: Answer, clock: Clock) -> bytes:
        """A line for a line from the program that stays: its answer."""
        async with self._turn:
            if self._program is None or not self._program.running:
                await self._forget()
                self._program = await self._start(places)
            program = self._program
            answer.sent_s = clock()
            line = self.adapter.filled(self.adapter.stdin or "", places).replace("\n", " ") + "\n"
            answered = False
            try:
                assert program.stdin
                program.stdin.write(line.encode("utf-8", "replace"))
                await program.stdin.drain()
                reply = await program.stdout.readline()
                answered = reply.endswith(b"\n")
                if not answered:
                    raise CommandFault(f"ended: {await program.said()}")
                return reply
            except (ConnectionError, ValueError) as error:
                raise CommandFault(f"lines: {error or 'the program ended'}") from None
            finally:
                if not answered:
                    # A late answer would be taken for the next request's.
                    await self._forget()

    async def _forget(self) -> None:
        program, self._program = self._program, None
        if program is not None:
            await program.end()


async def _feed(program: Program, adapter: Adapter, places: dict[str, str]) -> None:
    if program.stdin is None:
        return
    with contextlib.suppress(ConnectionError):
        program.stdin.write(adapter.filled(adapter.stdin or "", places).encode("utf-8", "replace"))
        await program.stdin.drain()
    program.stdin.close()


async def _all(stream: asyncio.StreamReader, max_bytes: int) -> bytes:
    """Everything up to the end.   Raises: CommandFault (more than may be)"""
    parts, n_bytes = [], 0
    while piece := await stream.read(READ_BYTES):
        n_bytes += len(piece)
        if n_bytes > max_bytes:
            raise CommandFault(f"output: more than {max_bytes} bytes")
        parts.append(piece)
    return b"".join(parts)


def _read_file(path: Path, max_bytes: int) -> bytes:
    if not path.is_file():
        raise CommandFault("output: no file was written")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise CommandFault(f"output: more than {max_bytes} bytes")
    return content

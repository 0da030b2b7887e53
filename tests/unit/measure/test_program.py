"""A command that ends, however it ends, leaves nothing open: no pipe, no transport, no process."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from solvent.measure.command_target import CommandTarget
from solvent.measure.target import Answer, Request

OPEN_FILES = Path("/proc/self/fd")
ECHO = "import sys\nfor line in sys.stdin:\n    print(line.strip() or 1, flush=True)\n"
SLEEP = "import time\ntime.sleep(60)\n"
FLOOD = "import sys\nwhile True:\n    sys.stdout.write('x' * 99999)\n"
# In a session of its own a child isn't killed with the group, and holds the pipes on.
ORPHAN = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'], start_new_session=True)\n"
    "open(__file__ + '.pid', 'w').write(str(child.pid))\ntime.sleep(60)\n"
)
Ask = Callable[[CommandTarget], Awaitable[object]]


def target(folder: Path, program: str, more: str) -> CommandTarget:
    (folder / "program.py").write_text(program, "utf-8")
    (folder / "adapter.toml").write_text(
        f'name = "made up"\ncommand = [{sys.executable!r}, "{{folder}}/program.py"]\n{more}\n'
        '[output]\ncount = "characters"\nmax_bytes = 5000\n',
        "utf-8",
    )
    return CommandTarget.of(folder / "adapter.toml")


def left_open(ask: Callable[[], object]) -> list[str]:
    """What `ask` left: warnings of open things collected, and files still open."""
    gc.collect()
    before = len(list(OPEN_FILES.iterdir())) if OPEN_FILES.is_dir() else 0
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        ask()
        open_files = len(list(OPEN_FILES.iterdir())) - before if OPEN_FILES.is_dir() else 0
        gc.collect()
    found = [str(one.message) for one in seen]
    return [*found, f"{open_files} files open"] if open_files > 0 else found


async def one(made: CommandTarget, prompt: str = "7") -> Answer:
    return await made.answer(Request("r", None, prompt, None, None), time.monotonic)


async def cancelled(made: CommandTarget, after_s: float = 0.2) -> None:
    task = asyncio.create_task(one(made))
    await asyncio.sleep(after_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancelled_at_start(made: CommandTarget) -> None:
    await cancelled(made, 0.0)


async def four(made: CommandTarget) -> list[Answer]:
    return list(await asyncio.gather(*(one(made) for _ in range(4))))


STAYS = "stays = true\nstdin = '{prompt}'\n"
ENDS = {
    "answers": (ECHO, "stdin = '{prompt}'", one),
    "fails": ("import sys; sys.exit('no')", "", one),
    "takes too long": (SLEEP, "timeout_s = 0.3", one),
    "takes too long, unread stdin": (SLEEP, f"timeout_s = 0.3\nstdin = '{'x' * 60_000}' \n", one),
    "writes too much": (FLOOD, "", one),
    "writes too much, four at once": (FLOOD, "", four),
    "is cancelled": (SLEEP, "", cancelled),
    "is cancelled while it starts": (SLEEP, "", cancelled_at_start),
    "leaves a child that holds the pipes": (ORPHAN, "timeout_s = 0.5\nstdin = 'x'", one),
    "stays and answers": (ECHO, STAYS, four),
    "stays and takes too long": (SLEEP, STAYS + "timeout_s = 0.3", one),
    "stays and is cancelled": (SLEEP, STAYS, cancelled),
    "stays and is cancelled while it starts": (SLEEP, STAYS, cancelled_at_start),
    "stays and writes a line too long": (FLOOD, STAYS, one),
    "stays and dies": ("import sys; sys.exit('no')", STAYS, one),
    "stays with a child that holds the pipes": (ORPHAN, STAYS + "timeout_s = 0.5", one),
}


@pytest.mark.skipif(sys.platform == "win32", reason="sessions and file counts of POSIX")
@pytest.mark.parametrize("end", ENDS)
def test_nothing_stays_open_after(end: str, tmp_path: Path) -> None:
    program, more, ask = ENDS[end]
    made = target(tmp_path, program, more)

    def loads() -> None:
        # Each load has a loop of its own, and nobody has to close the target between them.
        for _ in range(2):
            asyncio.run(ask(made))  # type: ignore[arg-type]

    assert left_open(loads) == []


@pytest.mark.skipif(sys.platform == "win32", reason="process ids of POSIX")
def test_the_end_of_a_load_ends_the_program_that_stays(tmp_path: Path) -> None:
    program = "import os\n" + ECHO.replace("line.strip() or 1", "os.getpid()")
    made = target(tmp_path, program, STAYS)

    async def texts() -> list[str]:
        return [(await one(made)).text.strip() for _ in range(2)]

    first = asyncio.run(texts())
    assert len(set(first)) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(first[0]), 0)
    assert asyncio.run(texts()) != first


@pytest.mark.skipif(sys.platform == "win32", reason="process ids of POSIX")
def test_a_child_that_holds_the_pipes_holds_nobody_up(tmp_path: Path) -> None:
    made, written = target(tmp_path, ORPHAN, ""), tmp_path / "program.py.pid"

    async def cancelled_once_it_is_there() -> None:
        task = asyncio.create_task(one(made))
        while not (written.exists() and written.read_text()):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled_once_it_is_there())
    # Whoever had waited for the pipes would find that the orphan has ended.
    os.kill(int(written.read_text()), signal.SIGKILL)

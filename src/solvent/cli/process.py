"""The process that a command runs in: standard streams that its caller closed, and SIGTERM.

What it doesn't do: turn faults into lines and exit codes (main.py).
Enter at `hold_closed_streams`, `ended_by_sigterm`. Source: POSIX, "Utility Description Defaults" (streams may be
closed), signal(7).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came: what is begun is cleaned up as after Ctrl-C."""


def hold_closed_streams() -> None:
    """Standard output and error that are closed go nowhere from here on; closed input stays None, which isn't empty.

    All three numbers are taken: a file opened later would get one, and what a library prints would go into it."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
        if number:
            setattr(sys, name, os.fdopen(opened, "w", encoding="utf-8", errors="backslashreplace", closefd=False))


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Within it SIGTERM raises Terminated, unless the caller has another answer to it or this is no main thread."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated

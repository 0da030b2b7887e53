"""Progress on stderr for anything longer than a second; silent where stderr isn't a terminal. Enter at `progress`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 1.0


def _silent(text: str, share: float | None = None) -> None:
    pass


@contextmanager
def progress(*, on: bool = True) -> Iterator[Callable[[str, float | None], None]]:
    """Yields tell(text, share): what is being done, and how much of it where that is known."""
    if not on or not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=None)

    def tell(text: str, share: float | None = None) -> None:
        bar.update(task, description=text, total=None if share is None else 1.0, completed=share or 0.0)

    timer = threading.Timer(PATIENCE_S, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield tell
    finally:
        timer.cancel()
        bar.stop()

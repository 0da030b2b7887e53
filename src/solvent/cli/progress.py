"""Progress on stderr for anything longer than a second; silent where stderr isn't a terminal. Enter at `progress`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from solvent.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_S = 1.0


def _silent(text: str, share: float | None = None) -> None:
    pass


class _Bar:
    """What was told last, and the bar that shows it. Rich is imported once the bar is due: most waits are shorter."""

    def __init__(self) -> None:
        self._text, self._share = "", 0.0
        self._known = False
        self._begun_s = monotonic()
        self._shown: tuple[Progress, TaskID] | None = None
        self._timer = threading.Timer(PATIENCE_S, self._begin)
        self._timer.daemon = True
        self._timer.start()

    def tell(self, text: str, share: float | None = None) -> None:
        self._text, self._share, self._known = printable(text), share or 0.0, share is not None
        if self._shown is not None:
            bar, task = self._shown
            bar.update(task, description=self._text, total=1.0 if self._known else None, completed=self._share)

    def _begin(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=Console(stderr=True), transient=True, get_time=monotonic)
        task = bar.add_task("", total=None)
        bar.tasks[0].start_time = self._begun_s
        self._shown = bar, task
        self.tell(self._text, self._share if self._known else None)
        bar.start()

    def end(self) -> None:
        self._timer.cancel()
        self._timer.join()  # where it has begun to show the bar, this takes the bar away again
        if self._shown is not None:
            self._shown[0].stop()


@contextmanager
def progress(*, on: bool = True) -> Iterator[Callable[[str, float | None], None]]:
    """Yields tell(text, share): what is being done, and how much of it where that is known."""
    if not on or not sys.stderr.isatty():
        yield _silent
        return
    bar = _Bar()
    try:
        yield bar.tell
    finally:
        bar.end()

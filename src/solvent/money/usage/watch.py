"""Tells how far a running query is, for whoever shows progress. Enter at `watched`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

POLL_S = 0.25
Progress = Callable[[str, float | None], None]


@contextmanager
def watched(con: duckdb.DuckDBPyConnection, text: str, progress: Progress) -> Iterator[None]:
    """Calls progress(text, share) every quarter of a second while queries run on `con`; None where it isn't known."""
    progress(text, None)
    done = threading.Event()

    def poll() -> None:
        while not done.wait(POLL_S):
            percent = con.query_progress()
            progress(text, percent / 100 if 0 < percent <= 100 else None)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

"""The span that a log covers: from its first to its last request, or as the project states it.

Recurring revenue and reserved machines are prorated to it. Enter at `covered`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

from solvent.errors import LogError
from solvent.money.project import Log
from solvent.money.revenue.lines import Span

DAY_US = 86_400 * 1_000_000


def covered(log: Log, first: datetime | None, last: datetime | None) -> Span | None:
    """The span in UTC, its days exact; None for a log without requests and without a stated span.

    Raises: LogError where the stated span ends before it starts.
    """
    start = log.start or (first.replace(tzinfo=UTC) if first else None)
    end = log.end or (last.replace(tzinfo=UTC) if last else None)
    if start is None or end is None:
        return None
    if end < start:
        raise LogError("[log] start, end", f"{start.isoformat()} to {end.isoformat()}", "an end after the start")
    difference = end - start
    micros = (difference.days * 86_400 + difference.seconds) * 1_000_000 + difference.microseconds
    return Span(start, end, Fraction(micros, DAY_US))

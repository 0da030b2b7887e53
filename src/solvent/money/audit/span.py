"""The span that a log covers: from its first to its last request, or as the project states it.

For a subscription, whole days in UTC: from the first request's day to the end of the last one's. A developer pays
for the days, not for the minutes between two replies, and a log of one reply covers one day.
Recurring revenue and reserved machines are prorated to the span. Enter at `covered`.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from fractions import Fraction

from solvent.errors import LogError
from solvent.money.project import Log
from solvent.money.revenue.lines import Span

DAY_US = 86_400 * 1_000_000


def covered(log: Log, first: datetime | None, last: datetime | None, whole_days: bool = False) -> Span | None:
    """The span in UTC, its days exact; None for a log without requests and without a stated span.

    first, last: times of requests in UTC.   whole_days: they are widened to the start and the end of their days.
    Raises: LogError where the stated span ends before it starts, or a day has no end that a date can name.
    """
    if whole_days and first and last:
        first, last = datetime.combine(first.date(), time.min), _end_of_day(last)
    start = log.start or (first.replace(tzinfo=UTC) if first else None)
    end = log.end or (last.replace(tzinfo=UTC) if last else None)
    if start is None or end is None:
        return None
    if end < start:
        raise LogError("[log] start, end", f"{start.isoformat()} to {end.isoformat()}", "an end after the start")
    difference = end - start
    micros = (difference.days * 86_400 + difference.seconds) * 1_000_000 + difference.microseconds
    return Span(start, end, Fraction(micros, DAY_US))


def _end_of_day(moment: datetime) -> datetime:
    try:
        return datetime.combine(moment.date() + timedelta(days=1), time.min)
    except OverflowError:
        raise LogError("request log", f"a request at {moment.isoformat()}", "a time before the year 9999") from None

"""Times of log records as whole microseconds since 1970 UTC.

Read: ISO 8601 text, epoch numbers (s, ms, µs, ns by size) as numbers or text, datetimes.
A time without a zone is never taken for UTC: it takes the zone that the project states, else it is a fault.
In the hour that a zone repeats in autumn the earlier of the two is meant.
Enter at `at_us`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_US = 1_420_070_400_000_000  # 2015-01-01
LATEST_US = 4_102_444_800_000_000  # 2100-01-01
# Epoch numbers: 2015…2100 is 1.4e9…4.1e9 s, and a thousand times that for each finer unit, so sizes never overlap.
_UNITS: tuple[tuple[float, int, int], ...] = ((1e11, 1_000_000, 1), (1e14, 1_000, 1), (1e17, 1, 1), (1e20, 1, 1_000))


class BadTime(ValueError):
    """A time that can't be read."""

    def __init__(self, kind: Literal["bad_time", "missing_zone"], detail: str, fix: str = "") -> None:
        super().__init__(detail)
        self.kind: Literal["bad_time", "missing_zone"] = kind
        self.detail = detail
        self.fix = fix


def at_us(value: Any, zone: ZoneInfo | None) -> int:
    """Microseconds since 1970 UTC.   value: ISO text, epoch number, datetime.

    Exactness: integers and ISO text exact to the µs (finer digits are cut); floats rounded to the µs.
    Raises: BadTime (unreadable, or without a zone where `zone` is None).
    """
    kind = type(value)
    if kind is int or kind is float:
        return _epoch(value)
    if kind is str:
        return _iso(value, zone)
    if isinstance(value, datetime):
        return _from_datetime(value, zone)
    raise BadTime("bad_time", "the time is neither text nor a number")


def _epoch(value: int | float) -> int:
    if value >= 0:
        for limit, times, over in _UNITS:
            if value < limit:
                return value * times // over if type(value) is int else round(value * times / over)
    raise BadTime("bad_time", "the time isn't an epoch number")


def _iso(value: str, zone: ZoneInfo | None) -> int:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return _odd_iso(value.strip(), zone)
    return _from_datetime(moment, zone)


def _odd_iso(value: str, zone: ZoneInfo | None) -> int:
    """Epoch numbers as text, and ISO text with ` UTC`, ` +0000` or a space before its zone."""
    if len(value) > 64:
        raise BadTime("bad_time", "the time can't be read")
    try:
        return _epoch(int(value) if value.isascii() and value.isdigit() else float(value))
    except (ValueError, OverflowError):
        pass
    tidy = value.replace(" +", "+").replace(" -", "-")
    if value.endswith((" UTC", " GMT")):
        tidy = value[:-4] + "+00:00"
    try:
        moment = datetime.fromisoformat(tidy)
    except ValueError:
        raise BadTime("bad_time", "the time can't be read") from None
    return _from_datetime(moment, zone)


def _from_datetime(moment: datetime, zone: ZoneInfo | None) -> int:
    try:
        if moment.tzinfo is None:
            if zone is None:
                raise BadTime("missing_zone", "times have no zone", 'add [log] zone = "UTC" (or another IANA name)')
            moment = moment.replace(tzinfo=zone)
        since = moment - _EPOCH
    except OverflowError:
        raise BadTime("bad_time", "the time can't be read") from None
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

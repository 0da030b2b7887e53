"""The span of a log: between its requests, as stated, or in whole days."""

from __future__ import annotations

from datetime import datetime

import pytest

from solvent.errors import LogError
from solvent.money.audit.span import covered
from solvent.money.project import Log


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        ("2026-10-01T09:00:00", "2026-10-01T09:00:00", 1),
        ("2026-10-01T09:00:00", "2026-10-01T09:10:00", 1),
        ("2026-10-01T23:59:59.999999", "2026-10-02T00:00:00", 2),
        ("2026-10-01T00:00:00", "2026-10-31T17:00:00", 31),
        ("2028-02-28T12:00:00", "2028-03-01T00:00:00", 3),
    ],
)
def test_whole_days_run_from_the_first_day_to_the_end_of_the_last(first: str, last: str, days: int) -> None:
    span = covered(Log(), at(first), at(last), whole_days=True)
    assert span is not None and span.days == days
    assert span.start.isoformat().endswith("T00:00:00+00:00") and span.end.isoformat().endswith("T00:00:00+00:00")
    assert span.start <= at(first + "+00:00") and at(last + "+00:00") < span.end


def test_a_product_is_prorated_to_the_time_between_its_requests() -> None:
    span = covered(Log(), at("2026-10-01T09:00:00"), at("2026-10-01T15:00:00"))
    assert span is not None and span.days * 4 == 1


def test_no_request_covers_nothing_and_the_last_day_of_all_has_no_end() -> None:
    assert covered(Log(), None, None, whole_days=True) is None
    with pytest.raises(LogError, match="9999"):
        covered(Log(), at("2026-10-01"), at("9999-12-31T10:00:00"), whole_days=True)

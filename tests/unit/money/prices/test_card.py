"""Cards: which tier and window a request pays, at every edge."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from solvent.money.prices.card import RateCard, Tier, Window, tiers_of

KEY = "input_usd_per_mtok"


def tier(price: int, above: int = 0) -> Tier:
    return Tier(above, {KEY: Decimal(price)})


def card(*tiers: Tier, windows: tuple[Window, ...] = ()) -> RateCard:
    return RateCard("id", "p", "m", "s", tiers, windows=windows)


def test_a_tier_begins_above_its_threshold_and_prices_the_whole_request() -> None:
    found = card(tier(1), tier(2, 1000), tier(3, 2000))
    at = [int(found.rate(0, 1, tok).prices[KEY]) for tok in (0, 1000, 1001, 2000, 2001)]
    assert at == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("window", "minute", "holds"),
    [
        (Window(60, 120, ()), 59, False),
        (Window(60, 120, ()), 60, True),
        (Window(60, 120, ()), 119, True),
        (Window(60, 120, ()), 120, False),
        (Window(990, 30, ()), 989, False),
        (Window(990, 30, ()), 1439, True),
        (Window(990, 30, ()), 29, True),
        (Window(990, 30, ()), 30, False),
        (Window(0, 1440, ()), 0, True),
        (Window(0, 1440, ()), 1439, True),
    ],
)
def test_windows(window: Window, minute: int, holds: bool) -> None:
    assert window.holds(minute, 1) is holds


def test_the_last_window_that_holds_wins_on_its_weekdays() -> None:
    early, weekend = Window(0, 600, (tier(5),)), Window(0, 1440, (tier(7),), frozenset({6, 7}))
    found = card(tier(1), windows=(early, weekend))
    for minute, weekday, price in ((0, 5, 5), (0, 6, 7), (600, 5, 1), (600, 7, 7)):
        assert found.rate(minute, weekday, 0).prices[KEY] == price


def test_the_note_says_what_applied() -> None:
    found = card(tier(1), windows=(Window(990, 30, (tier(1), tier(2, 10))),)).rate(1000, 1, 11, "taken as x")
    assert found.note == "taken as x; 16:30–00:30 UTC; above 10 prompt tokens"


def test_validity_is_half_open() -> None:
    found = RateCard("id", "p", "m", "s", (tier(1),), valid_from=date(2026, 1, 1), valid_to=date(2026, 2, 1))
    days = [date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 31), date(2026, 2, 1)]
    assert [found.valid_on(day) for day in days] == [False, True, True, False]
    assert found.dated
    assert not card(tier(1)).dated


def test_ladders_merge() -> None:
    merged = tiers_of({"a": ((0, Decimal(1)), (10, Decimal(2))), "b": ((0, Decimal(3)), (20, Decimal(4)))})
    assert [(t.above_prompt_tok, dict(t.prices)) for t in merged] == [
        (0, {"a": Decimal(1), "b": Decimal(3)}),
        (10, {"a": Decimal(2), "b": Decimal(3)}),
        (20, {"a": Decimal(2), "b": Decimal(4)}),
    ]

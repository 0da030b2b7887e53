"""The unit algebra: equal units are equal, a day is no month, unknown is no mismatch."""

from __future__ import annotations

import pytest

from solvent.money.claims.expression import parse as relation
from solvent.money.claims.units import BadUnit, parse, text_of, unit_fault


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("clips/user/day", "clip/day/user"),
        ("usd*clip/clip", "usd"),
        ("1/day", "days^-1"),
        ("m^2", "m*m"),
        ("kW·h", "h*kW"),
        ("clip / clip", "1"),
    ],
)
def test_the_same_unit_in_other_words(one: str, other: str) -> None:
    assert parse(one) == parse(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("day", "month"), ("s", "1"), ("usd/clip", "clip/usd"), ("m", "m^2"), ("gas", "g"), ("class", "clas")],
)
def test_different_units(one: str, other: str) -> None:
    assert parse(one) != parse(other)


@pytest.mark.parametrize(
    "text", ["", " ", "usd per clip", "/day", "usd//clip", "usd/", "usd/(clip)", "9m", "m^", "m^12", "a;b", "a" * 101]
)
def test_what_is_no_unit(text: str) -> None:
    with pytest.raises(BadUnit):
        parse(text)


def test_text_of() -> None:
    assert [text_of(parse(t)) for t in ("clips/user/day", "1/days", "m^2*kg", "1")] == [
        "clip/day/user",
        "1/day",
        "kg*m^2",
        "1",
    ]


UNITS = {
    "users": parse("users"),
    "per_user": parse("clips/user/day"),
    "clips_day": parse("clips/day"),
    "clips_month": parse("clips/month"),
    "days_month": parse("days/month"),
    "share": parse("1"),
    "unknown": None,
}


@pytest.mark.parametrize(
    "says",
    [
        "users * share * per_user = clips_day",
        "clips_day * days_month = clips_month",
        "clips_day + clips_day / 2 = clips_day",
        "users * unknown = clips_month",
        "unknown + users = clips_day",
        "share + 1 = share * 100%",
        "clips_month / clips_day = days_month",
    ],
)
def test_units_that_agree_or_are_unknown(says: str) -> None:
    assert unit_fault(relation(says), UNITS) is None


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("users * per_user = clips_month", "clip/day on the left, clip/month on the right"),
        ("clips_day + clips_month = unknown", "clip/day added to clip/month"),
        ("unknown = 1 - users", "1 less user"),
        ("users <= share", "user on the left, 1 on the right"),
        ("clips_day * 30 = clips_month", "clip/day on the left, clip/month on the right"),
    ],
)
def test_units_that_differ(says: str, told: str) -> None:
    assert unit_fault(relation(says), UNITS) == told

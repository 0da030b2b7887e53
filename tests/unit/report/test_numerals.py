"""Numbers as a person reads them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.report.numerals import decimal, human, interval, level, unit_words


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        ("1234.56", "usd", "$1,234.56"),
        ("-1234.565", "usd", "−$1,234.56"),
        ("1234.575", "usd", "$1,234.58"),
        ("1234567.5", "usd", "$1,234,568"),
        ("1234566.5", "usd", "$1,234,566"),
        ("12", "usd", "$12.00"),
        ("123456789012345678901234567890.123", "usd", "$123,456,789,012,345,678,901,234,567,890"),
        ("0.00123", "usd/output", "$0.00123"),
        ("1234.5", "usd/day", "$1,234.50"),
        ("2.4", "usd/h", "$2.40"),
        ("0.001234567", "usd/output", "$0.00123"),
        ("0.5", "usd", "$0.50"),
        ("0.999999", "usd", "$1.00"),
        ("0", "usd", "$0"),
        ("0.000", "usd", "$0"),
        ("1.5e-12", "usd", "$1.5e-12"),
        ("0.123", "share", "12.3%"),
        ("-0.0359", "share", "−3.6%"),
        ("1", "share", "100%"),
        ("0", "share", "0%"),
        ("0.00012", "share", "0.012%"),
        ("9.32", "share", "932.0%"),
        ("74416", "count", "74,416"),
        ("2.5", "count", "2.50"),
        ("1204000", "tok", "1,204,000"),
        ("12345678", "tok", "12.3M"),
        ("28783452000", "tok", "28.8B"),
        ("0.8695838", "ratio", "0.87"),
        ("9.7919", "ratio", "9.79"),
        ("1234.5", "ratio", "1,234"),
        ("1500000", "µs", "1.5 s"),
        (None, "usd", "unknown"),
        ("business", "text", "business"),
        ("about 5", "usd", "about 5"),
    ],
)
def test_values_as_read(value: str | None, unit: str, said: str) -> None:
    assert human(value, unit) == said


@given(st.decimals(min_value="-1e15", max_value="1e15", allow_nan=False, places=9))
def test_what_is_shown_is_within_half_a_unit_of_its_last_place(value: Decimal) -> None:
    shown = human(f"{value:f}", "usd").replace("−", "-").replace("$", "").replace(",", "")
    read = Decimal(shown)
    exponent = read.as_tuple().exponent
    assert isinstance(exponent, int)
    # Trailing zeros are cut only where they stand beyond what is kept, so the last place shown is never finer.
    assert abs(read - value) <= Decimal(1).scaleb(exponent) / 2
    # A planted error of a whole unit is seen.
    assert abs(read + Decimal(1).scaleb(exponent) - value) >= Decimal(1).scaleb(exponent) / 2


def test_unknown_is_never_zero() -> None:
    for unit in ("usd", "share", "count", "tok", "ratio", "days", "text"):
        assert human(None, unit) == "unknown"
        assert human("0", unit) != "unknown"


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "1_000", "0x10", " 1", "1 ", "१", "1e9999", "--1", "1.", ".5", True]
)
def test_what_is_no_decimal(text: Any) -> None:
    assert decimal(text) is None


def test_words_and_intervals() -> None:
    product = {"output": "clip", "output_plural": "clips"}
    assert unit_words("usd/output", product) == "per clip"
    assert unit_words("outputs/month", product) == "clips per month"
    assert unit_words("usd", product) == ""
    figure = {"unit": "usd", "low": "1", "high": "2.5", "level": 0.95}
    assert interval(figure) == "$1.00 to $2.50"
    assert level(figure) == "95% interval"
    assert interval({"unit": "usd", "low": "1", "high": None}) == ""

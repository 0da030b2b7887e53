"""The user's own prices: what a table may say, what tables together make, and what is refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from solvent.errors import PriceError
from solvent.money.prices.card import Rate, Unpriced
from solvent.money.prices.catalogue import Catalogue, load
from solvent.money.prices.own import OwnRate, minutes_utc, price_list, read_files
from solvent.money.project import load as load_project
from solvent.records import PRICE_KEYS

DAY = date(2026, 3, 2)  # a Monday


def own(**fields: Any) -> OwnRate:
    return OwnRate.model_validate({"model": "house", "input_usd_per_mtok": 1, **fields})


def catalogue(*rates: OwnRate) -> Catalogue:
    return load(("own",), rates)


def prices(found: Rate | Unpriced) -> dict[str, Decimal]:
    assert isinstance(found, Rate), found
    return dict(found.prices)


def test_every_price_key_is_a_field() -> None:
    meta = {
        "model", "provider", "source", "checked", "valid_from", "valid_to", "service", "above_prompt_tok", "hours_utc",
        "assumed",
    }  # fmt: skip
    assert set(OwnRate.model_fields) - meta == set(PRICE_KEYS)


def test_left_out_is_unknown_and_zero_is_free() -> None:
    assert own(output_usd_per_mtok=0).prices() == {"input_usd_per_mtok": Decimal(1), "output_usd_per_mtok": Decimal(0)}


@pytest.mark.parametrize(
    "fields",
    [
        {"input_usd_per_mtok": None},
        {"input_usd_per_mtok": -1},
        {"input_usd_per_mtok": "NaN"},
        {"input_usd_per_mtok": "Infinity"},
        {"price_per_token": 1},
        {"model": ""},
        {"service": "express"},
        {"above_prompt_tok": -1},
        {"valid_from": "2026-02-01", "valid_to": "2026-02-01"},
        {"hours_utc": "25:00-01:00"},
        {"hours_utc": "08:00-08:00"},
        {"hours_utc": "00:00-24:00"},
        {"hours_utc": "morning"},
    ],
)
def test_refuses(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        own(**fields)


@pytest.mark.parametrize(
    ("text", "minutes"), [("16:30-00:30", (990, 30)), ("00:00-08:00", (0, 480)), ("22:00 – 24:00", (1320, 0))]
)
def test_hours(text: str, minutes: tuple[int, int]) -> None:
    assert minutes_utc(text) == minutes


def test_a_table_prices_its_days_only() -> None:
    found = catalogue(own(valid_from="2026-03-01", valid_to="2026-04-01"))
    assert isinstance(found.rate(None, "house", date(2026, 2, 28), 0, "standard", 0), Unpriced)
    assert isinstance(found.rate(None, "house", date(2026, 3, 1), 0, "standard", 0), Rate)
    assert isinstance(found.rate(None, "house", date(2026, 3, 31), 0, "standard", 0), Rate)
    late = found.rate(None, "house", date(2026, 4, 1), 0, "standard", 0)
    assert isinstance(late, Unpriced)
    assert late.reason == "not_valid_on_day"
    assert "2026-03-01" in late.detail


def test_tiers_inherit_what_they_leave_out() -> None:
    found = catalogue(
        own(output_usd_per_mtok=2), own(above_prompt_tok=200_000, input_usd_per_mtok=3), own(above_prompt_tok=400_000)
    )
    at = {tok: prices(found.rate(None, "house", DAY, 0, "standard", tok)) for tok in (200_000, 200_001, 400_001)}
    assert at[200_000] == {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    assert at[200_001] == {"input_usd_per_mtok": 3, "output_usd_per_mtok": 2}
    assert at[400_001] == {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}


def test_hours_replace_what_they_name() -> None:
    found = catalogue(own(output_usd_per_mtok=2), own(hours_utc="22:00-06:00", input_usd_per_mtok="0.5"))
    night = {"input_usd_per_mtok": Decimal("0.5"), "output_usd_per_mtok": 2}
    day = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    for minute, expected in ((0, night), (359, night), (360, day), (1319, day), (1320, night), (1439, night)):
        assert prices(found.rate(None, "house", DAY, minute, "standard", 0)) == expected, minute


def test_provider_of_its_own_or_any() -> None:
    found = catalogue(own(), own(provider="Azure_AI", input_usd_per_mtok=7))
    assert prices(found.rate("acme", "house", DAY, 0, "standard", 0))["input_usd_per_mtok"] == 1
    assert prices(found.rate("azure", "house", DAY, 0, "standard", 0))["input_usd_per_mtok"] == 7


def test_own_price_wins_and_says_assumed() -> None:
    rate = load(own_rates=[own(model="gpt-5", assumed=True, source="contract 7")]).rate(
        "openai", "gpt-5", DAY, 0, "standard", 0
    )
    assert isinstance(rate, Rate)
    assert (rate.method, rate.card.source) == ("assumed", "contract 7")
    assert rate.prices["input_usd_per_mtok"] == 1


@pytest.mark.parametrize(
    "rates",
    [
        [own(), own()],
        [own(above_prompt_tok=10)],
        [own(hours_utc="01:00-02:00")],
        [own(valid_from="2026-01-01"), own(valid_from="2026-02-01")],
        [own(valid_to="2026-02-01"), own(valid_from="2026-01-31")],
        [own(valid_from="2026-01-01", valid_to="2026-03-01"), own(valid_from="2026-01-01", valid_to="2026-02-01")],
        [own(valid_from="2026-01-15", valid_to="2026-01-20"), own(valid_from="2026-01-01", valid_to="2026-02-01")],
    ],
)
def test_contradictions_are_refused(rates: list[OwnRate]) -> None:
    with pytest.raises(PriceError) as fault:
        price_list(rates)
    assert "house" in str(fault.value)


def test_neighbouring_spans_are_no_contradiction() -> None:
    cards = price_list([own(valid_to="2026-02-01"), own(valid_from="2026-02-01")])
    assert [card.validity() for card in cards.cards(cards.listings[0])] == ["before 2026-02-01", "since 2026-02-01"]


def test_reads_files(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[[rates]]\nmodel = "a"\ninput_usd_per_mtok = 0.1\n', "utf-8")
    assert read_files([file])[0].prices() == {"input_usd_per_mtok": Decimal("0.1")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model =", "not TOML"),
        ("[prices]\n", "prices"),
        ("rates = 3\n", "rates"),
        ('[[rates]]\nmodel = "a"\n', "rates[0]"),
        ('[[rates]]\nmodel = "a"\ninput_usd_per_mtok = 1\n[[rates]]\nmodel = "b"\ninput_per_mtok = 1\n', "rates[1]"),
    ],
)
def test_a_broken_file_says_where(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(PriceError) as fault:
        read_files([file])
    assert said in str(fault.value)
    assert "prices.toml" in str(fault.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(PriceError, match="can't be read"):
        read_files([tmp_path / "none.toml"])


@pytest.mark.parametrize("number", ["1e999999999", "1e-999999999", "9" * 5000, "nan"])
def test_numbers_without_end_are_refused_in_one_line(tmp_path: Path, number: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(f'[[rates]]\nmodel = "m"\nabove_prompt_tok = {number}\ninput_usd_per_mtok = 1\n')
    with pytest.raises(PriceError, match=r"prices\.toml"):
        read_files([file])


def test_money_of_other_currencies_is_converted_at_the_projects_rate(tmp_path: Path) -> None:
    """2 EUR at 1.10 USD/EUR is 2.20 USD; the conversion is written down."""
    (tmp_path / "prices.toml").write_text('[[rates]]\nmodel = "m"\ninput_usd_per_mtok = "2 EUR"\n')
    project = tmp_path / "solvent.toml"
    project.write_text('[[currency]]\ncode = "EUR"\nusd = 1.10\ndate = 2026-11-01\nsource = "bank"\n')
    loaded = load_project(project)
    (rate,) = read_files([tmp_path / "prices.toml"], loaded.in_usd)
    assert rate.prices() == {"input_usd_per_mtok": Decimal("2.20")}
    assert any("2 EUR" in text for text in loaded.conversions)

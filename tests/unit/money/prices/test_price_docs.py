"""The reference pages of prices and offers: their examples parse and cost what they say, their tables are complete."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import get_args

import pytest

from solvent.figure import exact_text
from solvent.money.prices.card import Rate
from solvent.money.prices.catalogue import load
from solvent.money.prices.offer import Offer, reserved_cost_usd, usd_per_hour_total, utilisation, work_s
from solvent.money.prices.own import OwnRate
from solvent.money.prices.survey import summary_document
from solvent.money.project import Project, parse
from solvent.records import PRICE_KEYS, SERVICES

ROOT = Path(__file__).resolve().parents[4]
PRICES = (ROOT / "docs/reference/prices.md").read_text("utf-8")
OFFERS = (ROOT / "docs/reference/offers.md").read_text("utf-8")
BLOCK = re.compile(r"```toml\n(.*?)```\n(?:\nAn hour: ([0-9.]+) USD)?", re.DOTALL)


def project(text: str) -> Project:
    return parse(tomllib.loads(text, parse_float=Decimal), Path("solvent.toml")).project


@pytest.mark.parametrize(("text", "hour"), BLOCK.findall(OFFERS))
def test_an_offer_costs_what_the_page_says(text: str, hour: str) -> None:
    (offer,) = project(text).offers
    assert exact_text(usd_per_hour_total(offer), 6) == hour


def test_the_work_that_the_page_tells() -> None:
    (offer,) = project(BLOCK.findall(OFFERS)[0][0]).offers
    assert round(work_s(offer, 120_000_000, 20_000_000)) == 35_556
    assert round(1000 * utilisation(offer, 120_000_000, 20_000_000, Fraction(24))) == 206
    assert reserved_cost_usd(offer, Fraction(24)) == Fraction("112.8")


def test_own_prices_of_the_page() -> None:
    rates = project(BLOCK.findall(PRICES)[1][0]).rates
    found = load(("own",), rates)
    day = date(2026, 3, 3)
    cases = (
        (720, 200_000, "0.50", "2.00"),
        (720, 200_001, "0.80", "2.00"),
        (0, 1000, "0.25", "1.00"),
    )
    for minute, prompt_tok, input_usd, output_usd in cases:
        rate = found.rate("anyone", "house-large", day, minute, "standard", prompt_tok)
        assert isinstance(rate, Rate)
        assert rate.prices["input_usd_per_mtok"] == Decimal(input_usd)
        assert rate.prices["output_usd_per_mtok"] == Decimal(output_usd)


def test_names_of_the_page_resolve() -> None:
    prices = project(BLOCK.findall(PRICES)[0][0]).prices
    found = load(prices.prefer, aliases=prices.aliases, default_provider=prices.default_provider)
    day = date(2026, 11, 1)
    for name, provider in (("deepseek-r1", "fireworks"), ("prod-chat", "openai")):
        rate = found.rate(None, name, day, 0, "standard", 0)
        assert isinstance(rate, Rate)
        assert rate.card.provider == provider


def test_the_pages_name_every_key() -> None:
    for key in (*PRICE_KEYS, *SERVICES, *OwnRate.model_fields):
        assert f"`{key}`" in PRICES, key
    for key in Offer.model_fields:
        assert f"`{key}`" in OFFERS, key
    assert set(get_args(OwnRate.model_fields["service"].annotation)) == set(SERVICES)


def test_every_reason_is_explained() -> None:
    sources = (ROOT / "src/solvent/money/prices").glob("*.py")
    code = "".join(path.read_text("utf-8") for path in sources)
    reasons = set(re.findall(r'Unpriced\(\s*"(\w+)"', code))
    assert len(reasons) == 5
    assert all(f"| `{reason}` |" in PRICES for reason in reasons)


def test_the_table_of_conflicts_is_the_count() -> None:
    found = summary_document(load(), date(2026, 11, 20))
    rows = [(" and ".join(pair["sources"]), pair) for pair in found["pairs"]] + [("any two of the three", found)]
    for name, counts in rows:
        share = 100 * Decimal(counts["conflict_share"])
        assert f"| {name} | {counts['n_shared']:,} | {counts['n_conflicts']} | {share:.1f}% |" in PRICES

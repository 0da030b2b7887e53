"""The shipped places compared: electricity is a few percent of rent, and every figure has its source."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solvent.choose.break_even.compare import compare
from solvent.choose.break_even.document import break_even_document
from solvent.choose.break_even.file import read_places
from solvent.errors import ChoiceError
from solvent.report.break_even_text import age_line, break_even_lines, pair_line

MTOK = 3_462.0
SHIPPED = files("solvent.choose.break_even") / "places.toml"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return break_even_document(read_places(), MTOK, "a test")


def value(document: dict[str, Any], name: str) -> Decimal:
    return Decimal(document["figures"][name]["value"])


def test_electricity_is_about_three_percent_of_rent_and_a_third_of_an_owner(document: dict[str, Any]) -> None:
    assert Decimal("0.02") < value(document, "be_rented-h100_electricity") < Decimal("0.05")
    assert value(document, "be_workstation-5090_electricity") > Decimal("0.2")


def test_power_at_a_tenth_moves_rent_hardly_and_an_owner_much(tmp_path: Path) -> None:
    """What the shares say: cheap power decides for owners, and for nobody who rents."""
    text = SHIPPED.read_text("utf-8")
    cheap = text.replace("usd_per_kwh = 0.10", "usd_per_kwh = 0.01").replace("[0.15, 0.10, 0.30]", "0.015")
    assert cheap != text
    path = tmp_path / "cheap.toml"
    path.write_text(cheap, "utf-8")
    before, after = compare(read_places().places, 100), compare(read_places(path).places, 100)
    moved = {
        name: float(after.cost_usd_per_mtok(name, MTOK)[0] / before.cost_usd_per_mtok(name, MTOK)[0])
        for name in ("rented-h100", "workstation-5090")
    }
    assert moved["rented-h100"] == 1.0 and moved["workstation-5090"] < 0.85


def test_whoever_breaks_even_within_its_capacity_is_said_to(document: dict[str, Any]) -> None:
    for pair in document["break_even"]:
        ids = pair["figures"]
        assert pair["reaches"] == (value(document, ids["volume"]) <= value(document, ids["capacity"]))
    machines = {(p["machine"], p["api"]): p["reaches"] for p in document["break_even"]}
    assert machines["workstation-5090", "open-api"] and not machines["rented-h100", "open-api"]


def test_what_runs_another_model_is_never_the_cheapest(document: dict[str, Any]) -> None:
    other = {place["id"] for place in document["places"] if place["other_model"]}
    assert other == {"closed-api", "subscription"}
    for column in document["by_volume"]:
        assert column["cheapest"] not in other and not other & set(column["cheapest_share"])
        assert sum(column["cheapest_share"].values()) == pytest.approx(1, abs=1e-3)


def test_the_seller_pays_where_the_cost_meets_the_price(document: dict[str, Any]) -> None:
    whole = document["seller"]["rows"][0]
    costs = [value(document, name) for name in whole["costs"].values()]
    assert costs == sorted(costs, reverse=True)
    pays = value(document, whole["pays"])
    compared = compare(read_places().places)
    price = float(np.asarray(compared.apis["open-api"].usd_per_mtok)[0]) * (1 - 0.15)
    assert float(compared.seller_cost(float(pays), False)[0]) == pytest.approx(price, rel=1e-6)


def test_every_figure_has_a_source_and_its_interval_holds_it(document: dict[str, Any]) -> None:
    for name, figure in document["figures"].items():
        assert "places.toml" in figure["source"], name
        if "low" in figure:
            assert Decimal(figure["low"]) <= Decimal(figure["value"]) <= Decimal(figure["high"]), name


def test_the_lines_say_it(document: dict[str, Any]) -> None:
    lines = break_even_lines(document)
    text = " ".join(" ".join(lines).split())
    assert "Rented H100 3.0%" in text and "so it can't pay" in text and "power at $0.03 per kWh" in text
    assert all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("usable = [0.5, 0.3, 0.8]", "usible = 0.5", "is `usable` meant?"),
        ('beyond = "closed-api"', 'beyond = "closed-app"', "is 'closed-api' meant?"),
        ("usd_per_hour = [2.35, 1.47, 2.95]", "hosting_usd_per_month = 0", "neither rented nor owned"),
        ("[0.5, 0.3, 0.8]", "[0.5, 0.6, 0.8]", "low ≤ value ≤ high"),
        ("busy_w = [700, 500, 700]", "busy_w = -1", "greater than 0"),
        ("follower_price_share = [0.05, 0.02, 0.3]", "", "half of who follows it"),
    ],
)
def test_a_fault_in_the_file_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = SHIPPED.read_text("utf-8")
    assert old in text
    path = tmp_path / "places.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ChoiceError) as caught:
        read_places(path)
    assert said in str(caught.value)


PRICES = """schema = "solvent.places/1"
[demand]
horizon_months = 36
[[apis]]
id = "a"
title = "A"
method = "priced"
source = "card"
date = 2026-05-24
usd_per_mtok = 10
fall_per_year = {fall}
[[machines]]
id = "m"
title = "M"
method = "{method}"
source = "invoice"
mtok_per_hour = 1
busy_w = 100
idle_w = 50
usd_per_kwh = 0
capital_usd = 3600
hosting_usd_per_month = {hosting}
lost_per_year = {lost}
"""


def pair_of(tmp_path: Path, mtok: float, **changes: object) -> dict[str, Any]:
    path = tmp_path / "places.toml"
    filled = {"fall": 0.0, "method": "measured", "hosting": 0, "lost": 0.35, **changes}
    path.write_text(PRICES.format(**filled), "utf-8")
    document = break_even_document(read_places(path), mtok, "stated", date(2026, 11, 21))
    [pair] = document["break_even"]
    return {**pair, "document": document}


def month_by_hand(mtok: float, fall: float, hosting: float, lost: float, sold: bool) -> list[bool]:
    """Month by month, whether the machine has cost no more: a plain sum, written apart from the closed forms."""
    api, cheaper = 0.0, []
    for month in range(1, 37):
        api += mtok * 10 * (1 - fall) ** ((month - 1) / 12)
        worth = 3600 * (1 - lost) ** (month / 12)
        cheaper.append(3600 - (worth if sold else 0) + hosting * month <= api)
    return cheaper


@pytest.mark.parametrize(
    ("mtok", "fall", "hosting", "lost"),
    [
        (20, 0.0, 0, 0.35),
        (20, 0.5, 0, 0.35),
        (9, 0.0, 0, 0.35),
        (40, 0.9, 150, 0.2),
        (40, 0.9, 60, 0.2),
        (1, 0, 0, 0.5),
        (59.9, 0.0, 0, 0.9),
    ],
)
def test_break_even_paid_for_and_undone_by_hand(
    mtok: float, fall: float, hosting: float, lost: float, tmp_path: Path
) -> None:
    pair = pair_of(tmp_path, mtok, fall=fall, hosting=hosting, lost=lost)
    sold, paid = (month_by_hand(mtok, fall, hosting, lost, which) for which in (True, False))
    first = next((i for i, yes in enumerate(sold) if yes), None)
    after = None if first is None else next((i for i in range(first, 36) if not sold[i]), None)
    assert pair["month"] == (None if first is None else first + 1)
    assert pair["undone"] == (None if after is None else after + 1)
    whole = next((i for i, yes in enumerate(paid) if yes), None)
    assert pair["paid"] == (None if whole is None else whole + 1)


def test_the_cases_by_hand_hold_every_kind(tmp_path: Path) -> None:
    # 200 a month against 3,600 once: even in month 1 if sold, paid for in month 18; at 400 falling 90% it is undone.
    flat = pair_of(tmp_path, 20)
    assert (flat["month"], flat["paid"], flat["undone"]) == (1, 18, None)
    falling = pair_of(tmp_path, 40, fall=0.9, hosting=150, lost=0.2)
    assert falling["month"] == 1 and falling["undone"] is not None and falling["paid"] is None
    line = pair_line(falling["document"], falling)
    assert f"undone in month {falling['undone']}" in line and "paid for in full, not within the horizon" in line


@pytest.mark.parametrize("method", ["measured", "predicted", "assumed", "claimed"])
def test_a_cost_is_no_surer_than_the_weakest_that_it_is_made_of(method: str, tmp_path: Path) -> None:
    document = pair_of(tmp_path, 20, method=method)["document"]
    assert document["figures"]["be_m_a_month"]["method"] == ("predicted" if method == "measured" else method)


def test_places_say_how_old_they_are(tmp_path: Path) -> None:
    document = pair_of(tmp_path, 20)["document"]
    ages = {place["id"]: (place["age"], place["age_days"]) for place in document["places"]}
    assert ages == {"a": ("stale", 181), "m": ("undated", None)}
    assert age_line(document) == "Stale or undated on 2026-11-21: A (2026-05-24); M (undated)."


@pytest.mark.parametrize(
    ("key", "planted"),
    [
        ("busy_w = 100", "busy_w = [100, 90, true]"), ("busy_w = 100", 'busy_w = [100, "90", 110]'),
        ("busy_w = 100", "busy_w = [100, 110, 120]"), ("busy_w = 100", "busy_w = [100, 90]"),
        ("busy_w = 100", "busy_w = nan"), ("busy_w = 100", "busy_w = [nan, nan, nan]"),
        ("busy_w = 100", "busy_w = inf"),
        ("busy_w = 100", "busy_w = true"),
    ],
)  # fmt: skip
def test_a_number_of_another_kind_is_refused(key: str, planted: str, tmp_path: Path) -> None:
    path = tmp_path / "places.toml"
    text = PRICES.format(fall=0, method="measured", hosting=0, lost=0.1)
    path.write_text(text.replace(key, planted), "utf-8")
    with pytest.raises(ChoiceError, match="busy_w"):
        read_places(path)

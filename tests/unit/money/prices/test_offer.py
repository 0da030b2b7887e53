"""Machine offers: the cost of an hour by hand, idle hours paid for, and work that doesn't fit refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from pydantic import ValidationError

from solvent.errors import PriceError
from solvent.money.prices.offer import Offer, cost_shares, reserved_cost_usd, usd_per_hour_total, utilisation, work_s

COMMON = {
    "name": "box", "serves": ["m"], "source": "bench", "date": "2026-01-01",
    "input_tok_per_s": 1000, "output_tok_per_s": 100,
}  # fmt: skip
OWNED = {"kind": "owned", "capital_usd": 35064, "life_years": 4, "power_kw": "0.5", "usd_per_kwh": "0.2"}


def offer(**fields: Any) -> Offer:
    return Offer.model_validate({**COMMON, **fields})


def test_rented_by_hand() -> None:
    assert usd_per_hour_total(offer(kind="rented", usd_per_hour="2.5", n_machines=3)) == Fraction("7.5")
    # 876.6 a year is 0.1 an hour
    assert usd_per_hour_total(offer(kind="rented", usd_per_hour="2.5", other_usd_per_year="876.6")) == Fraction("2.6")


def test_owned_by_hand() -> None:
    # 35,064 over 4 × 8,766 h = 1 USD/h; 0.5 kW × 0.2 = 0.1 USD/h
    assert usd_per_hour_total(offer(**OWNED)) == Fraction("1.1")
    # half of it is left at the end: 0.5 USD/h
    assert usd_per_hour_total(offer(**OWNED, residual_usd=17532)) == Fraction("0.6")
    # PUE 1.5: 0.15 USD/h of electricity; an operator who adds 20% on both; two machines
    two = offer(**OWNED, pue="1.5", operator_share="0.2", n_machines=2)
    assert usd_per_hour_total(two) == 2 * Fraction("1.15") * Fraction("1.2")
    assert usd_per_hour_total(offer(**OWNED, operator_share="0.2", other_usd_per_year=8766)) == Fraction("1.32") + 1


def test_idle_hours_are_paid_for() -> None:
    box = offer(kind="rented", usd_per_hour=2)
    assert reserved_cost_usd(box, Fraction(24)) == 48
    assert utilisation(box, 0, 0, Fraction(24)) == 0


def test_work_and_utilisation() -> None:
    box = offer(kind="rented", usd_per_hour=2, n_machines=2)
    assert work_s(box, 500, 250) == Fraction(1, 2) + Fraction(5, 2)
    # an hour of one machine's output fills half of two machines' hour
    assert utilisation(box, 0, 360_000, Fraction(1)) == Fraction(1, 2)
    assert utilisation(box, 0, 720_000, Fraction(1)) == 1


def test_over_capacity_says_how_many_machines() -> None:
    with pytest.raises(PriceError) as fault:
        utilisation(offer(kind="rented", usd_per_hour=2), 0, 720_001, Fraction(1))
    assert "n_machines = 3" in str(fault.value)
    assert "7,200" in str(fault.value)
    assert "3,600" in str(fault.value)


def test_one_token_too_many_is_over_capacity() -> None:
    box = offer(kind="rented", usd_per_hour=2)
    assert utilisation(box, 0, 360_000, Fraction(1)) == 1
    with pytest.raises(PriceError, match="n_machines = 2"):
        utilisation(box, 0, 360_001, Fraction(1))


def test_no_time_at_all() -> None:
    with pytest.raises(PriceError, match="more than 0 hours"):
        utilisation(offer(kind="rented", usd_per_hour=2), 1, 0, Fraction(0))
    with pytest.raises(PriceError):
        reserved_cost_usd(offer(kind="rented", usd_per_hour=2), Fraction(-1))
    with pytest.raises(PriceError):
        work_s(offer(kind="rented", usd_per_hour=2), -1, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "rented"},
        {"kind": "rented", "usd_per_hour": 0},
        {"kind": "rented", "usd_per_hour": 1, "capital_usd": 1},
        {"kind": "rented", "usd_per_hour": 1, "pue": 1},
        {"kind": "leased", "usd_per_hour": 1},
        {**OWNED, "usd_per_hour": 1},
        {**OWNED, "capital_usd": None},
        {**OWNED, "power_kw": None},
        {**OWNED, "pue": "0.9"},
        {**OWNED, "residual_usd": 40000},
        {**OWNED, "life_years": 0},
        {"kind": "rented", "usd_per_hour": 1, "output_tok_per_s": 0},
        {"kind": "rented", "usd_per_hour": 1, "n_machines": 0},
        {"kind": "rented", "usd_per_hour": 1, "serves": []},
        {"kind": "rented", "usd_per_hour": 1, "source": ""},
        {"kind": "rented", "usd_per_hour": 1, "gpu": "H100"},
    ],
)
def test_refuses(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        offer(**fields)


def test_what_an_owned_hour_is_made_of_by_hand() -> None:
    # 1 USD/h of capital less 0.5 of residual, 0.1 of electricity: an hour is 0.6.
    whole = offer(**OWNED, residual_usd=17532, n_machines=3)
    assert cost_shares(whole) == {"electricity": Fraction(1, 6), "residual": Fraction(5, 6)}
    # A fifth more for whoever runs it is on both; 0.4 USD/h of other cost makes the hour 0.72 + 0.4 = 1.12.
    dearer = offer(**OWNED, residual_usd=17532, operator_share="0.2", other_usd_per_year="3506.4")
    assert cost_shares(dearer) == {"electricity": Fraction(12, 112), "residual": Fraction(60, 112)}
    # No residual stated is none known, not none; a rent holds it all.
    assert cost_shares(offer(**OWNED)) == {"electricity": Fraction(1, 11)}
    assert cost_shares(offer(kind="rented", usd_per_hour=1)) == {}

"""Prices times a factor, and customer value."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from solvent.errors import RevenueError
from solvent.money.project import Value
from solvent.money.revenue.attribute import Attribution, CustomerUsage, Span, attribute
from solvent.money.revenue.model import Costs, RevenueModel
from solvent.money.revenue.scale import price_response
from solvent.money.revenue.value import customer_value

SPAN = Span(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, 10, 30, tzinfo=UTC), Fraction("30.4375"))


def attributed(usd_per_month: int, cpm_usd: int = 10) -> Attribution:
    ads = {"impressions_per_output": 1, "fill_share": 1, "cpm_usd": cpm_usd}
    model = RevenueModel.model_validate(
        {"default_plan": "p", "plans": {"p": {"usd_per_month": usd_per_month, "ads": ads}}}
    )
    costs = Costs(payment_fee_share=Decimal("0.1"), payment_fee_usd_per_charge=Decimal(1))
    return attribute(model, costs, {"a": CustomerUsage("a", 500, 500, {})}, SPAN, Path())


def test_the_factor_at_which_it_breaks_even_does() -> None:
    response = price_response(attributed(20).all_lines())
    # 20 − 10% − 1 for the charge + 5 from advertising
    assert response.net_usd(Fraction(1)) == 22 and response.revenue_usd(Fraction(1)) == 25
    factor = response.factor_for_net(Fraction(40))
    assert factor == Fraction(36, 18)
    doubled = attributed(40)
    assert doubled.lines["a"].net_usd == 40
    assert response.revenue_usd(Fraction(2)) == doubled.revenue_usd
    assert response.factor_for_revenue(Fraction(45)) == 2


def test_no_factor_where_prices_move_nothing_or_none_is_needed() -> None:
    free = price_response(attributed(0).all_lines())
    assert free.factor_for_net(Fraction(1)) is None and free.factor_for_revenue(Fraction(1)) is None
    paid = price_response(attributed(20).all_lines())
    assert paid.factor_for_revenue(Fraction(5)) is None
    assert paid.factor_for_net(Fraction(4)) is None
    assert price_response([]).factor_for_net(Fraction(1)) is None


def test_value_is_revenue_unless_the_project_declares_another() -> None:
    result = attributed(20)
    assert customer_value(Value(), result, Fraction(500), SPAN) == (25, "revenue")
    usd, source = customer_value(Value(usd_per_output=Decimal("0.4"), source="survey"), result, Fraction(500), SPAN)
    assert usd == 200 and "0.4 USD per output (survey)" in source
    monthly = Value(usd_total_per_month=Decimal(900))
    day = Span(SPAN.start, datetime(2026, 11, 2, tzinfo=UTC), Fraction(1))
    assert customer_value(monthly, result, Fraction(500), day)[0] == Fraction(900 * 10000, 304375)
    assert customer_value(monthly, result, Fraction(500), None)[0] is None


def test_value_is_unknown_where_revenue_is() -> None:
    nothing = attribute(RevenueModel(), Costs(), {"a": CustomerUsage("a", 1, 1, {})}, SPAN, Path())
    assert customer_value(Value(), nothing, Fraction(1), SPAN) == (None, "revenue")


def test_two_measures_are_refused() -> None:
    both = Value(usd_per_output=Decimal(1), usd_total_per_month=Decimal(1))
    with pytest.raises(RevenueError, match="one of them"):
        customer_value(both, attributed(20), Fraction(1), SPAN)

"""Closed forms against month-by-month simulation, written apart from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.choose.break_even.seller import cost_usd_per_mtok, utilisation_that_pays
from solvent.choose.break_even.streams import (
    HOURS_PER_MONTH,
    Api,
    Machine,
    Subscription,
    break_even_volume,
    cumulative_api,
    cumulative_owned,
    cumulative_rented,
    cumulative_subscription,
    electricity_share,
    geometric,
    machines_for,
    monthly,
)

shares = st.floats(0.0, 0.9)
volumes = st.floats(0.1, 1e4)
growths = st.sampled_from([0.9, 0.97, 1.0, 1.0000001, 1.02, 1.1])
spans = st.integers(1, 60)
# Sums of up to 60 terms of the same sign in doubles: 60 roundings of 1.1e-16, and two in the closed form.
CLOSE = 1e-11


def machine(**changes: Any) -> Machine:
    return Machine(**({"mtok_per_hour": 2.0, "usable": 0.5, "busy_w": 600.0, "idle_w": 60.0, "usd_per_kwh": 0.03,
                       "capital_usd": 4000.0, "hosting_usd_per_month": 10.0, "keeps": 0.97} | changes))  # fmt: skip


@given(ratio=st.floats(0.5, 1.5), months=st.integers(0, 120))
def test_geometric_sums(ratio: float, months: int) -> None:
    assert float(geometric(ratio, months)) == pytest.approx(math.fsum(ratio**t for t in range(months)), rel=1e-10)


@pytest.mark.parametrize("ratio", [1 - 1e-12, 1.0, 1 + 1e-12])
def test_geometric_keeps_its_digits_near_one(ratio: float) -> None:
    """The plain quotient is off by 1e-4 here."""
    assert float(geometric(ratio, 36)) == pytest.approx(36, rel=1e-10)


@given(fall=shares, mtok=volumes, growth=growths, months=spans, lag=st.none() | st.floats(0, 80), cheap=st.floats(0, 1))
def test_api_by_month(fall: float, mtok: float, growth: float, months: int, lag: float | None, cheap: float) -> None:
    price, volume, paid = 3.0, mtok, 0.0
    for t in range(months):
        followed = lag is not None and t >= lag
        paid += volume * price * (cheap if followed else 1.0)
        price, volume = price * (1 - fall) ** (1 / 12), volume * growth
    api = Api(3.0, monthly(fall), lag, cheap)
    assert float(cumulative_api(api, mtok, growth, months)) == pytest.approx(paid, rel=CLOSE * 100)


@given(mtok=volumes, growth=growths, months=spans, shrink=shares, fall=shares, n=st.integers(0, 50))
def test_subscriptions_by_month(mtok: float, growth: float, months: int, shrink: float, fall: float, n: int) -> None:
    price, volume, allowance, paid = 2.0, mtok, 40.0, 0.0
    for _ in range(months):
        paid += n * 20 + max(0.0, volume - n * allowance) * price
        price, volume = price * (1 - fall) ** (1 / 12), volume * growth
        allowance *= (1 - shrink) ** (1 / 12)
    plan = Subscription(float(n), 20.0, 40.0, monthly(shrink), Api(2.0, monthly(fall)))
    # Volume less allowance cancels where they nearly meet, so the tolerance is of what went in.
    scale = paid + 2.0 * (mtok + n * 40) * months * max(growth**months, 1)
    assert abs(float(cumulative_subscription(plan, mtok, growth, months)) - paid) <= 1e-9 * scale


@given(mtok=volumes, growth=growths, months=spans, loss=shares, n=st.integers(1, 9))
def test_own_machines_by_month(mtok: float, growth: float, months: int, loss: float, n: int) -> None:
    m = machine(keeps=monthly(loss))
    value, volume, paid = 4000.0, mtok, 0.0
    for _ in range(months):
        busy_hours = volume / 2.0
        kwh = n * 0.06 * HOURS_PER_MONTH + busy_hours * (0.6 - 0.06)
        paid += n * 10.0 + kwh * 0.03
        value, volume = value * (1 - loss) ** (1 / 12), volume * growth
    paid += n * (4000.0 - value)
    assert float(cumulative_owned(m, n, mtok, growth, months)) == pytest.approx(paid, rel=1e-9)


@given(months=spans, fall=shares)
def test_rent_by_month(months: int, fall: float) -> None:
    m = machine(usd_per_hour=2.35, keeps=monthly(fall))
    paid = math.fsum(3 * HOURS_PER_MONTH * 2.35 * (1 - fall) ** (t / 12) for t in range(months))
    assert float(cumulative_rented(m, 3, months)) == pytest.approx(paid, rel=1e-10)


@given(growth=growths, months=spans, price=st.floats(0.05, 20.0), fall=shares)
def test_at_the_break_even_volume_both_cost_the_same(growth: float, months: int, price: float, fall: float) -> None:
    api, m = Api(price, monthly(fall)), machine()
    volume = float(break_even_volume(api, m, growth, months))
    if math.isinf(volume):
        assert float(cumulative_api(api, 1.0, growth, months)) <= m.power_usd_per_mtok() * float(
            geometric(growth, months)
        )
        return
    own, bought = cumulative_owned(m, 1, volume, growth, months), cumulative_api(api, volume, growth, months)
    assert float(own) == pytest.approx(float(bought), rel=1e-8)
    # One part in a thousand beside it they differ: the volume is a point, not a region.
    assert float(cumulative_api(api, volume * 1.001, growth, months)) > float(
        cumulative_owned(m, 1, volume * 1.001, growth, months)
    )


def test_break_even_moves_the_right_way() -> None:
    base = float(break_even_volume(Api(0.5, 1.0), machine(), 1.0, 36))
    assert float(break_even_volume(Api(1.0, 1.0), machine(), 1.0, 36)) < base
    assert float(break_even_volume(Api(0.5, 0.95), machine(), 1.0, 36)) > base
    assert float(break_even_volume(Api(0.5, 1.0), machine(keeps=0.90), 1.0, 36)) > base
    assert float(break_even_volume(Api(0.5, 1.0, 12.0, 0.2), machine(), 1.0, 36)) > base
    assert math.isinf(float(break_even_volume(Api(0.001, 1.0), machine(), 1.0, 36)))


def test_machines_are_whole() -> None:
    one = float(machine().mtok_per_month())
    assert [float(machines_for(machine(), x * one, 1.0, 12)) for x in (0.4, 1.0, 1.01, 2.0)] == [1, 1, 2, 2]
    assert float(machines_for(machine(), one, 1.1, 13)) == math.ceil(1.1**12)


@given(price=st.floats(0.01, 5.0), fee=st.floats(0, 0.5), sunk=st.booleans())
def test_at_the_utilisation_that_pays_a_month_brings_nothing(price: float, fee: float, sunk: bool) -> None:
    m = machine()
    u = float(utilisation_that_pays(m, price, fee, sunk))
    if math.isinf(u):
        return
    hours = HOURS_PER_MONTH
    earned = u * hours * 2.0 * price * (1 - fee)
    kwh = hours * (u * 0.6 + (1 - u) * 0.06)
    spent = kwh * 0.03 + (0.0 if sunk else 10.0 + 4000.0 * 0.03)
    assert earned == pytest.approx(spent, rel=1e-9)
    assert float(cost_usd_per_mtok(m, u, sunk)) == pytest.approx(price * (1 - fee), rel=1e-9)


def test_a_busier_machine_is_cheaper_and_a_sunk_one_cheapest() -> None:
    costs = [float(cost_usd_per_mtok(machine(), u)) for u in (0.1, 0.5, 1.0)]
    assert costs == sorted(costs, reverse=True)
    assert float(cost_usd_per_mtok(machine(), 0.5, sunk=True)) < costs[1]


def test_electricity_of_a_rented_gpu_is_a_few_percent() -> None:
    """700 W at $0.10 against $2 an hour, by hand; and the whole rent would be another matter."""
    rented = machine(usd_per_hour=2.0, busy_w=700.0, usd_per_kwh=0.10)
    assert float(electricity_share(rented)) == pytest.approx(0.035)


def test_draws_broadcast() -> None:
    prices = np.array([0.2, 0.5, 1.0])
    together = break_even_volume(Api(prices, 0.98), machine(), 1.01, 24)
    alone = [float(break_even_volume(Api(float(p), 0.98), machine(), 1.01, 24)) for p in prices]
    assert np.allclose(together, alone, rtol=1e-12)

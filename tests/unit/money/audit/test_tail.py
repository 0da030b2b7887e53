"""Concentration of cost over customers, against values worked out by hand and against a plain loop."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.money.audit.tail import cvar_loss, spread

P10 = Fraction(1, 10)


def fractions(*values: int) -> list[Fraction]:
    return [Fraction(v) for v in values]


def test_four_customers_by_hand() -> None:
    """Costs 1, 2, 3, 14 (sum 20): top 10% is 0.4 of the largest = 5.6/20; Lorenz 1/20, 3/20, 6/20, 1.

    Gini = Σ_i Σ_j |x_i − x_j| / (2 n Σ x) = 2·(1+2+13+1+12+11)/(2·4·20) = 80/160.
    """
    found = spread(fractions(3, 14, 1, 2), [P10, Fraction(1, 2)])
    assert found is not None
    assert found.top == {P10: Fraction(56, 200), Fraction(1, 2): Fraction(17, 20)}
    assert found.gini == Fraction(80, 160)
    assert found.lorenz == [(Fraction(i, 4), Fraction(y, 20)) for i, y in enumerate((0, 1, 3, 6, 20))]


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=40).filter(any))
def test_gini_is_the_mean_difference(values: list[int]) -> None:
    found = spread(fractions(*values), [P10])
    assert found is not None
    differences = sum(abs(a - b) for a in values for b in values)
    assert found.gini == Fraction(differences, 2 * len(values) * sum(values))
    assert all(a <= b for a, b in zip(found.lorenz, found.lorenz[1:], strict=False))


def test_all_alike_have_no_tail_and_one_customer_none_at_all() -> None:
    alike = spread(fractions(5, 5, 5, 5), [P10])
    assert alike is not None and alike.gini == 0 and alike.top[P10] == P10
    assert spread(fractions(5), [P10]) is None
    assert spread(fractions(0, 0), [P10]) is None


@pytest.mark.parametrize(
    ("margins", "share", "loss"),
    [
        ((-10, 1, 2, 3), Fraction(1, 4), 10),
        ((-10, -4, 2, 3), Fraction(3, 8), 8),  # 1.5 customers: (10 + 4/2) / 1.5
        ((5, 6), Fraction(1, 2), -5),  # even the worst earn
    ],
)
def test_cvar_weighs_the_boundary_customer(margins: tuple[int, ...], share: Fraction, loss: int) -> None:
    assert cvar_loss(fractions(*margins), share) == loss


def test_no_customers_no_loss_known() -> None:
    assert cvar_loss([]) is None

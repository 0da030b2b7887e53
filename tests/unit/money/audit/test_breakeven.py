"""The allowance and the cost per output at which a target is met, by hand and by putting the answer back in."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from solvent.money.audit.breakeven import output_cap, target_cost_per_output

F = Fraction


def capped_cost(use: list[tuple[Fraction, Fraction]], cap: Fraction) -> Fraction:
    return sum((cost * min(F(1), cap / n) for n, cost in use if n), F(0))


def test_a_cap_by_hand() -> None:
    """100 outputs for $100 and 10 for $10: a cap of 20 serves 20 + 10 outputs at $1 each."""
    assert output_cap([(F(100), F(100)), (F(10), F(10))], F(30)) == 20


def test_no_cap_where_the_target_is_met_and_zero_where_nothing_meets_it() -> None:
    assert output_cap([(F(1), F(5))], F(5)) is None
    assert output_cap([(F(1), F(5))], F(0)) == 0
    assert output_cap([], F(1)) is None


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(0, 10**4)), min_size=1, max_size=20),
    st.fractions(min_value=F(1, 100), max_value=F(99, 100)),
)
def test_the_cap_meets_the_target_exactly(pairs: list[tuple[int, int]], share: Fraction) -> None:
    use = [(F(n), F(cost)) for n, cost in pairs]
    total = sum((cost for _, cost in use), F(0))
    cap = output_cap(use, total * share)
    if total == 0:
        assert cap is None
    else:
        assert cap is not None and capped_cost(use, cap) == total * share


def test_cost_per_output() -> None:
    assert target_cost_per_output(F(10), F(4)) == F(5, 2)
    assert target_cost_per_output(F(10), F(0)) is None

"""Where it breaks even: the allowance or the cost per output at which margin or policy holds.

The price at which it does is in `money.revenue.scale`. An allowance caps every customer's outputs; cost falls with
the outputs that aren't served, and the cap is where a piecewise-linear sum meets the target.
Enter at `output_cap`, `target_cost_per_output`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def output_cap(use: Sequence[tuple[Fraction, Fraction]], target_usd: Fraction) -> Fraction | None:
    """The outputs per customer in the span at which total cost is `target_usd`.

    use: (outputs, cost in USD) per customer; a customer's cost falls in proportion: cost × min(1, cap ÷ outputs).
    → None where the cost is already at or under the target, 0 where only serving nothing reaches it.
    """
    total = sum((cost for _, cost in use), Fraction(0))
    if total <= target_usd:
        return None
    if target_usd <= 0:
        return Fraction(0)
    rows = sorted((n, cost) for n, cost in use if n > 0)
    served = Fraction(0)
    slope = sum((cost / n for n, cost in rows), Fraction(0))
    for n, cost in rows:
        if served + slope * n >= target_usd:
            return (target_usd - served) / slope
        served += cost
        slope -= cost / n
    return None


def target_cost_per_output(target_usd: Fraction, n_outputs: Fraction) -> Fraction | None:
    """USD that one output may cost; None without outputs."""
    return target_usd / n_outputs if n_outputs else None

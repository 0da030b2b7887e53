"""The verdict: the policy applied to the figures, in one line that a product owner can repeat.

States: insolvent (compute above the policy's share of customer value), thin (the policy holds, but the interval
crosses its line, the margin is below zero or below the policy's floor, or something was left out), solvent, unknown:
no customer value, or what was left out could turn the verdict. Left-out rows are taken to cost what a priced one
costs; revenue that isn't known could be any. Unknown passes no check.
Enter at `decide`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from solvent.figure import Figure, exact_text
from solvent.money.project import Policy

TITLES = {
    "solvent": "Solvent",
    "thin": "Solvent, but thin",
    "insolvent": "Insolvent territory",
    "unknown": "Unknown",
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the verdict doesn't cover: rows that couldn't be priced or read, customers whose revenue isn't known."""

    n_unpriced: int
    n_rejected: int
    n_rows: int
    n_customers_without_revenue: int = 0
    n_unknown_keys: int = 0

    @property
    def n_rows_out(self) -> int:
        return self.n_unpriced + self.n_rejected

    def text(self) -> str:
        """What was left out, in words; nothing where everything counts."""
        texts = []
        parts = []
        if self.n_unpriced:
            parts.append(f"{self.n_unpriced:,} unpriced")
        if self.n_rejected:
            parts.append(f"{self.n_rejected:,} rejected")
        if parts:
            share = 100 * (self.n_unpriced + self.n_rejected) / self.n_rows
            percent = f"{share:.2g}" if share < 1 else f"{share:.1f}"
            texts.append(f"{' and '.join(parts)} of {self.n_rows:,} rows ({percent}%)")
        if self.n_unknown_keys:
            texts.append(f"usage under keys that aren't known, {self.n_unknown_keys:,} times")
        if self.n_customers_without_revenue:
            customers = "customer" if self.n_customers_without_revenue == 1 else "customers"
            texts.append(f"revenue of {self.n_customers_without_revenue:,} {customers}, unknown")
        return "left out: " + "; ".join(texts) if texts else ""


def decide(
    policy: Policy, cost_per_value: Figure, gross_margin: Figure, left_out: LeftOut, *, brings_nothing: bool = False
) -> dict[str, Any]:
    """The verdict part of a statement. passed: the policy holds (None where it can't be known).

    brings_nothing: customer value is known to be zero while compute isn't, so that no ratio exists.
    """
    limit = Fraction(policy.max_compute_per_value)
    ratio = None if cost_per_value.value is None else Fraction(cost_per_value.value)
    margin = None if gross_margin.value is None else Fraction(gross_margin.value)
    state, passed = _state(policy, ratio, margin, cost_per_value, left_out)
    line = _line(state, ratio, margin, cost_per_value, policy)
    if brings_nothing:
        state, passed, line = "insolvent", False, "Compute costs money, and customers bring nothing."
    missing = left_out.text()
    return {
        "state": state,
        "title": TITLES[state],
        "line": f"{line} ({missing}.)" if missing else line,
        "passed": passed,
        "policy": {"text": policy.wording(), "figure": cost_per_value.id, "limit": exact_text(limit)},
        "left_out": missing,
    }


def _state(
    policy: Policy, ratio: Fraction | None, margin: Fraction | None, figure: Figure, left: LeftOut
) -> tuple[str, bool | None]:
    limit = Fraction(policy.max_compute_per_value)
    if ratio is None:
        return "unknown", None
    if ratio > limit:
        # More revenue could only come from customers whose revenue isn't known: then nothing is proven.
        return ("unknown", None) if left.n_customers_without_revenue else ("insolvent", False)
    covered = left.n_rows - left.n_rows_out
    if not covered or ratio * left.n_rows / covered > limit:
        return "unknown", None
    floor = policy.min_gross_margin
    if floor is not None and (margin is None or margin < Fraction(floor)):
        return "thin", False
    crosses = figure.high is not None and Fraction(figure.high) > limit
    if crosses or left.n_rows_out or left.n_unknown_keys or (margin is not None and margin < 0):
        return "thin", True
    return "solvent", True


def _line(state: str, ratio: Fraction | None, margin: Fraction | None, figure: Figure, policy: Policy) -> str:
    if ratio is None:
        return (
            "What customers bring isn't known, so neither is the verdict: describe it under [revenue] or [value] "
            "in solvent.toml."
        )
    limit = Fraction(policy.max_compute_per_value)
    per_10k, at_most = _dollars(10_000 * ratio), _dollars(10_000 * limit)
    spread = ""
    if figure.low is not None and figure.high is not None:
        spread = (
            f", 95% interval {_dollars(10_000 * Fraction(figure.low))} to {_dollars(10_000 * Fraction(figure.high))}"
        )
    line = f"Compute is {per_10k} per $10,000 of customer value{spread}; the policy allows {at_most}."
    if margin is not None:
        word = "Gross margin is" if margin >= 0 else "It loses money: gross margin is"
        line += f" {word} {_percent(margin)}."
    if policy.min_gross_margin is not None and margin is not None and margin < Fraction(policy.min_gross_margin):
        line += f" The policy asks for at least {Decimal(100) * policy.min_gross_margin:.1f}%."
    elif state == "unknown":
        line += " What was left out could turn that, so the verdict is unknown."
    elif state == "thin":
        line += " The policy holds, but not with certainty." if margin is None or margin >= 0 else ""
    return line


def _percent(share: Fraction) -> str:
    return f"{float(100 * share):.1f}%".replace("-", "−")


def _dollars(value: Fraction) -> str:
    return f"${float(value):,.0f}" if abs(value) >= 10 else f"${float(value):,.2f}"

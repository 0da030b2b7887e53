"""The policy applied: every state, the line's own numbers, and what was left out."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from solvent.figure import Figure
from solvent.money.audit.verdict import LeftOut, decide
from solvent.money.project import Policy

NOTHING = LeftOut(0, 0, 100)


def verdict(
    ratio: str | None, margin: str | None, high: str | None = None, left: LeftOut = NOTHING, **policy: Any
) -> dict[str, Any]:
    low = None if high is None else Fraction(0)
    return decide(
        Policy(**policy),
        Figure(
            "cost_per_value",
            "",
            None if ratio is None else Fraction(ratio),
            "usd/usd",
            "priced",
            "",
            low=low,
            high=None if high is None else Fraction(high),
        ),
        Figure("gross_margin", "", None if margin is None else Fraction(margin), "share", "priced", ""),
        left,
    )


@pytest.mark.parametrize(
    ("ratio", "margin", "high", "policy", "state", "passed"),
    [
        ("0.05", "0.5", None, {}, "solvent", True),
        ("0.1", "0.5", None, {}, "solvent", True),  # the line itself is allowed
        ("0.100001", "0.5", None, {}, "insolvent", False),
        ("0.05", "0.5", "0.11", {}, "thin", True),
        ("0.05", "-0.01", None, {}, "thin", True),
        ("0.05", "0.2", None, {"min_gross_margin": Decimal("0.3")}, "thin", False),
        ("0.05", None, None, {"min_gross_margin": Decimal("0.3")}, "thin", False),
        (None, None, None, {}, "unknown", None),
        ("0.3", "0.5", None, {"max_compute_per_value": Decimal("0.4")}, "solvent", True),
    ],
)  # fmt: skip
def test_states(ratio: Any, margin: Any, high: Any, policy: Any, state: str, passed: bool | None) -> None:
    found = verdict(ratio, margin, high, **policy)
    assert (found["state"], found["passed"]) == (state, passed)


def test_the_line_says_the_numbers_and_the_policy_is_quoted() -> None:
    found = verdict("0.9792", "-0.036", "1.5")
    assert "$9,792 per $10,000" in found["line"] and "allows $1,000" in found["line"] and "−3.6%" in found["line"]
    assert found["policy"]["text"].startswith("Compute above $1,000 per $10,000")


def test_what_is_left_out_stands_in_the_line() -> None:
    found = verdict("0.05", "0.5", left=LeftOut(3, 2, 100, 4))
    assert "3 unpriced and 2 rejected of 100 rows (5.0%)" in found["line"]
    assert "revenue of 4 customers, unknown" in found["left_out"]

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


@pytest.mark.parametrize(
    ("ratio", "left", "state", "passed"),
    [
        ("0.0158", LeftOut(990, 0, 1000), "unknown", None),  # at the price of the others it would be 1.58
        ("0.05", LeftOut(0, 400, 1000), "thin", True),  # 0.083 even so
        ("0.05", LeftOut(1, 0, 1000), "thin", True),
        ("0.05", LeftOut(1000, 0, 1000), "unknown", None),
        ("0.5", LeftOut(990, 0, 1000), "insolvent", False),  # the missing rows could only add
        ("0.5", LeftOut(0, 0, 1000, 1), "unknown", None),  # the missing revenue could turn it
        ("0.05", LeftOut(0, 0, 1000, 1), "solvent", True),  # the missing revenue could only help
        ("0.05", LeftOut(0, 0, 1000, 0, 7), "thin", True),
    ],
)
def test_what_is_left_out_is_never_taken_for_zero(ratio: str, left: LeftOut, state: str, passed: bool | None) -> None:
    found = verdict(ratio, "0.5", left=left)
    assert (found["state"], found["passed"]) == (state, passed)

"""Narrowing and deciding: hand-made systems with known answers, and every witness checked by plain arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pytest

from solvent.money.claims import interval
from solvent.money.claims.contract import Box, Effort, System, narrow, widened
from solvent.money.claims.decide import FOUND, Decision, decide, implied
from solvent.money.claims.expression import parse

Spans = Mapping[str, tuple[object, object] | None]


def solve(says: list[str], spans: Spans, effort: Effort | None = None) -> tuple[System, Decision]:
    """Decides the relations over the spans (None: anything), and checks the witness by evaluating the text."""
    box: Box = {n: interval.ALL if s is None else (Fraction(str(s[0])), Fraction(str(s[1]))) for n, s in spans.items()}
    wanted = {n: interval.nearest(s, Fraction(1)) if s == interval.ALL else middle(s) for n, s in box.items()}
    system = System.of([parse(text) for text in says])
    decision = decide(system, box, wanted, effort or Effort())
    if decision.answer == "possible":
        for name, value in decision.witness.items():
            assert interval.contains(box[name], value)
        for text in says:
            left, sign, right = text.partition("<=" if "<=" in text else ">=" if ">=" in text else "=")
            a, b = (eval(side, {"__builtins__": {}}, dict(decision.witness)) for side in (left, right))
            assert a <= b if sign == "<=" else a >= b if sign == ">=" else abs(a - b) <= 4 * FOUND * abs(b), text
    return system, decision


def middle(span: interval.Interval) -> Fraction:
    return (Fraction(span[0]) + Fraction(span[1])) / 2


@pytest.mark.parametrize(
    ("says", "spans", "answer"),
    [
        (["a * b = c"], {"a": (2, 3), "b": (4, 5), "c": (15, 99)}, "possible"),
        (["a * b = c"], {"a": (2, 3), "b": (4, 5), "c": ("15.0001", 99)}, "impossible"),
        (["a + b = c"], {"a": (1, 2), "b": (1, 2), "c": (4, 5)}, "possible"),
        (["a + b = c"], {"a": (1, 2), "b": (1, 2), "c": ("4.001", 5)}, "impossible"),
        (["a - b = c"], {"a": (1, 2), "b": (1, 2), "c": (-1, -1)}, "possible"),
        (["a / b = c"], {"a": (1, 2), "b": (0, 1), "c": (100, 200)}, "possible"),
        (["a / b = c"], {"a": (1, 2), "b": (0, 1), "c": (0, "0.99")}, "impossible"),
        (["a / b = c"], {"a": (1, 2), "b": (0, 0), "c": (-100, 100)}, "impossible"),
        (["a <= b"], {"a": (1, 2), "b": (0, 1)}, "possible"),
        (["a <= b"], {"a": ("1.001", 2), "b": (0, 1)}, "impossible"),
        (["a >= b"], {"a": (0, 1), "b": (1, 2)}, "possible"),
        (["a >= b * 2"], {"a": (0, 1), "b": (1, 2)}, "impossible"),
        # Each holds alone, not together.
        (["a * b = c", "a = d", "b = d"], {"a": (2, 3), "b": (2, 3), "c": (4, 9), "d": (2, 3)}, "possible"),
        (["a + b = c", "a - b = d"], {"a": (0, 10), "b": (0, 10), "c": (4, 4), "d": (6, 6)}, "impossible"),
        (["a + b = c", "a - b = d"], {"a": (0, 10), "b": (0, 10), "c": (6, 6), "d": (4, 4)}, "possible"),
        # Nothing rational solves it, so it is found to one part in 10¹².
        (["x * x = two"], {"x": (1, 2), "two": (2, 2)}, "possible"),
        (["x * x = minus"], {"x": (-9, 9), "minus": (-1, -1)}, "impossible"),
        # The same claim twice: x − x is zero and nothing else.
        (["x - x = y"], {"x": (0, 1), "y": ("0.4", "0.5")}, "impossible"),
        (["x * (1 - x) = y"], {"x": (0, 1), "y": ("0.3", "0.9")}, "impossible"),
        (["x * (1 - x) = y"], {"x": (0, 1), "y": ("0.24", "0.9")}, "possible"),
        (["a * b = c", "b * a = d"], {"a": None, "b": (1, 1), "c": (1, 1), "d": (2, 2)}, "impossible"),
        (["1 = 1"], {}, "possible"),
        (["1 = 2"], {}, "impossible"),
    ],
)
def test_answers(says: list[str], spans: Spans, answer: str) -> None:
    assert solve(says, spans)[1].answer == answer


def test_the_witness_lies_near_what_was_stated() -> None:
    _, decision = solve(["a * b = c"], {"a": (2, 4), "b": (4, 6), "c": (15, 15)})
    assert decision.witness == {"a": 3, "b": 5, "c": 15}


@pytest.mark.parametrize(
    ("says", "spans", "low", "high"),
    [
        (["x * b = c"], {"b": (2, 4), "c": (8, 16)}, 2, 8),
        (["x / b = c"], {"b": (2, 4), "c": (8, 16)}, 16, 64),
        (["b / x = c"], {"b": (2, 4), "c": (8, 16)}, "0.125", "0.5"),
        (["x <= b"], {"b": (2, 4)}, -interval.INF, 4),
        (["x >= b", "x * b = c"], {"b": (2, 4), "c": (16, 16)}, 4, 8),
        (["1 - x / b = c"], {"b": (10, 10), "c": ("0.28", "0.30")}, 7, "7.2"),
    ],
)
def test_the_implied_range_of_a_free_claim(says: list[str], spans: Spans, low: object, high: object) -> None:
    system, decision = solve(says, {**spans, "x": None})
    found = implied(system, decision, "x", Effort())
    expected = [end if end == -interval.INF else Fraction(str(end)) for end in (low, high)]
    assert found[0] <= expected[0] and found[1] >= expected[1]
    for end, exact in zip(found, expected, strict=True):
        assert end == exact or abs(end - exact) <= abs(exact) / 1000


def test_the_implied_range_is_pulled_in_where_relations_share_claims() -> None:
    # Narrowing one relation at a time stops at 2 to 4; only 3 solves both, and bisection proves nearly that.
    system, decision = solve(["x + y = 4", "x - y = d"], {"x": None, "y": (0, 10), "d": (2, 2)})
    assert decision.box["x"] == (2, 4)
    low, high = implied(system, decision, "x", Effort())
    assert Fraction("2.99") < low <= 3 <= high < Fraction("3.01")


def test_nearly_equal_holds_within_its_share_and_not_beyond() -> None:
    relation = widened(parse("a ≈ b"), Fraction(1, 10))
    for value, possible in ((110, True), (90, True), ("110.0001", False), ("89.9999", False)):
        a = Fraction(str(value))
        box: Box = {"a": (a, a), "b": (Fraction(100), Fraction(100))}
        assert (narrow(System.of([relation]), box, Effort()) is not None) == possible


def test_narrowing_loses_no_solution_of_a_slow_system() -> None:
    # x = y/2 + 1 and y = x converge to 2 by halves; the narrowing stops early, with 2 inside.
    box: Box = {"x": (Fraction(0), Fraction(10)), "y": (Fraction(0), Fraction(10))}
    narrowed = narrow(System.of([parse("x = y / 2 + 1"), parse("y = x")]), box, Effort())
    assert narrowed is not None
    low, high = narrowed["x"]
    assert low <= 2 <= high and high - low < Fraction(1, 10**4)


def test_without_effort_the_answer_is_open_and_never_wrong() -> None:
    # The first relation leaves one point, which the second, not looked at for want of effort, rules out.
    for says in (["a * b = c"], ["a * b = c", "a = b"]):
        _, decision = solve(says, {"a": (2, 3), "b": (4, 5), "c": (15, 99)}, Effort(1))
        assert decision.answer == "open"

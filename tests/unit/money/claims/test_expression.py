"""The relation parser: what it builds, where it says a text is wrong, and that it is bounded."""

from __future__ import annotations

from fractions import Fraction

import pytest

from solvent.money.claims.expression import (
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_NODES,
    BadRelation,
    Binary,
    Expression,
    Name,
    Number,
    names,
    parse,
)

VALUES = {"a": Fraction(7), "b": Fraction(3), "c": Fraction(2)}


def value(node: Expression) -> Fraction:
    if isinstance(node, Number):
        return node.low
    if isinstance(node, Name):
        return VALUES[node.id]
    left, right = value(node.left), value(node.right)
    return {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else left}[node.op]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * c", 13),
        ("(a + b) * c", 20),
        ("a - b - c", 2),
        ("a - (b - c)", 6),
        ("a / b / c", Fraction(7, 6)),
        ("a / (b / c)", Fraction(14, 3)),
        ("-a + b", -4),
        ("a * -b", -21),
        ("--a", 7),
        ("1 - b/a", Fraction(4, 7)),
        ("2.5e1 * c", 50),
        ("25% * a", Fraction(7, 4)),
        ("a × b ÷ c − a · 1", Fraction(7, 2)),
        ("1_000", 1000),
    ],
)
def test_precedence_and_association(text: str, expected: int | Fraction) -> None:
    assert value(parse(f"{text} = a").left) == expected
    assert value(parse(f"a = {text}").right) == expected


@pytest.mark.parametrize(
    ("text", "sign"), [("=", "="), ("<=", "<="), ("≤", "<="), (">=", ">="), ("≥", ">="), ("~=", "≈"), ("≈", "≈")]
)
def test_signs(text: str, sign: str) -> None:
    assert parse(f"a{text}b").sign == sign


def test_names_lists_claims_with_repeats() -> None:
    assert list(names(parse("a * (b - a) = c").left)) == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1), ("a", 2), ("a =", 4), ("= a", 1), ("a b = c", 3), ("a + = c", 5), ("a = b = c", 7), ("(a = b", 4),
        ("a) = b", 2), ("a = ()", 6), ("a ** b = c", 4), ("a ^ b = c", 3), ("a = b;", 6), ("a = b # c", 7),
        ("f(a) = b", 2), ("a.b = c", 2), ("a = 'b'", 5), ("a < b", 3), ("a == b", 4), ("a = 1e999", 5), ("a = $5", 5),
    ],
)  # fmt: skip
def test_a_fault_names_its_column(text: str, column: int) -> None:
    with pytest.raises(BadRelation, match=rf"column {column}\b"):
        parse(text)


@pytest.mark.parametrize("opening", ["(", "-"])
def test_depth_is_bounded(opening: str) -> None:
    closing = ")" if opening == "(" else ""
    parse("a = " + opening * MAX_DEPTH + "a" + closing * MAX_DEPTH)
    with pytest.raises(BadRelation, match="levels"):
        parse("a = " + opening * (MAX_DEPTH + 1) + "a" + closing * (MAX_DEPTH + 1))


def test_length_and_size_are_bounded() -> None:
    with pytest.raises(BadRelation, match="characters"):
        parse("a = " + "a" * MAX_LENGTH)
    n = MAX_NODES // 2  # n operands and n − 1 operators, one more node on the left
    parse("a=" + "+".join(["a"] * n))
    with pytest.raises(BadRelation, match="parts"):
        parse("a=" + "+".join(["a"] * (n + 1)))


def test_a_chain_leans_left() -> None:
    tree = parse("a - b + c = a").left
    assert tree == Binary("+", Binary("-", Name("a"), Name("b")), Name("c"))

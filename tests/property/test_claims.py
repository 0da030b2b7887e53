"""Claims over random systems: what is consistent is never flagged, and a planted error is found."""

from __future__ import annotations

import contextlib
import itertools
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.errors import ClaimsError
from solvent.money.claims.check import Result, check
from solvent.money.claims.contract import Effort
from solvent.money.claims.document import document
from solvent.money.claims.expression import BadRelation, Binary, Expression, Name, parse
from solvent.money.claims.file import load
from solvent.money.claims.file import parse as parse_file
from solvent.report.claims_text import verdict

DIGITS = st.integers(2, 4)


def outcome(claims: dict[str, Any], says: list[str], effort: Effort | None = None) -> Result:
    raw = {"schema": "solvent.claims/1", "claims": claims, "relations": [{"says": text} for text in says]}
    return check(parse_file(raw, "a.toml"), effort)


def rounded(value: Fraction, digits: int) -> str:
    """The value as somebody would state it: to so many significant digits, with the digits shown."""
    return f"{Decimal(value.numerator) / Decimal(value.denominator):.{digits - 1}e}"


@st.composite
def systems(draw: st.DrawFn) -> tuple[dict[str, Fraction], list[str]]:
    """True values, and relations that they satisfy exactly: a chain of random operations, each used again."""
    n_roots = draw(st.integers(2, 4))
    truth = {
        f"r{i}": Fraction(draw(st.integers(11, 99999)), draw(st.sampled_from([1, 10, 1000]))) for i in range(n_roots)
    }
    says = []
    for i in range(draw(st.integers(1, 5))):
        left, right = draw(st.lists(st.sampled_from(sorted(truth)), min_size=2, max_size=2, unique=True))
        op = draw(st.sampled_from("+-*/"))
        a, b = truth[left], truth[right]
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[op]
        if value == 0 or not Fraction(1, 10**20) < abs(value) < 10**20:
            continue
        truth[f"d{i}"] = value
        sign, slack = draw(st.sampled_from([("=", ""), ("=", ""), ("<=", " + 1"), (">=", " - 1")]))
        says.append(f"d{i} {sign} {left} {op} {right}{slack}")
    return truth, says


@given(systems(), st.data())
def test_a_consistent_system_is_never_flagged(
    system: tuple[dict[str, Fraction], list[str]], data: st.DataObject
) -> None:
    truth, says = system
    claims = {n: {"value": rounded(v, data.draw(DIGITS)), "source": "s"} for n, v in truth.items()}
    found = outcome(claims, says)
    assert found.consistent() is not False, (claims, says)
    if found.state == "consistent":
        # The witness really is one: inside every stated range, and every relation holds there.
        values = found.shown.witness
        for name, stated in found.shown.reading.stated.items():
            assert stated.low <= values[name] <= stated.high
        for relation in found.file.relations:
            left, right = (evaluate(side, dict(values)) for side in (relation.tree.left, relation.tree.right))
            near = abs(left - right) <= abs(right) / 10**10
            assert near if relation.tree.sign == "=" else near or (left < right) == (relation.tree.sign == "<=")


def evaluate(node: Expression, values: dict[str, Fraction]) -> Fraction:
    if isinstance(node, Name):
        return values[node.id]
    if isinstance(node, Binary):
        a, b = evaluate(node.left, values), evaluate(node.right, values)
        return {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else a}[node.op]
    return node.low


@given(
    st.lists(st.integers(11, 9999), min_size=3, max_size=4, unique=True),
    st.integers(0, 10**6),
    st.one_of(st.floats(1.3, 1000), st.floats(0.001, 0.75)),
    st.sampled_from(["*", "+"]),
)
def test_a_planted_error_is_named_where_relations_suffice(roots: list[int], at: int, factor: float, op: str) -> None:
    """Every root occurs in at least two products (sums), so no other single claim can explain a wrong one."""
    truth = {f"r{i}": Fraction(value) for i, value in enumerate(roots)}
    says = []
    for a, b in itertools.combinations(sorted(truth), 2):
        truth[f"{a}{b}"] = truth[a] * truth[b] if op == "*" else truth[a] + truth[b]
        says.append(f"{a} {op} {b} = {a}{b}")
    wrong = f"r{at % len(roots)}"
    claims = {name: {"value": rounded(value, 4), "source": "s"} for name, value in truth.items()}
    assert outcome(claims, says).state == "consistent"
    claims[wrong]["value"] = rounded(truth[wrong] * Fraction(factor), 4)
    found = outcome(claims, says)
    if op == "+" and found.state == "consistent":
        return  # a small summand, lost in the rounding of large sums
    assert found.state == "inconsistent"
    [change] = [c for x in found.candidates if x.correction.claims() == (wrong,) for c in x.correction.changes]
    assert change.low <= truth[wrong] <= change.high
    if op == "*":
        assert found.named is not None and found.named.correction.claims() == (wrong,)


@given(systems(), st.data())
def test_the_planted_error_is_always_among_the_candidates(
    system: tuple[dict[str, Fraction], list[str]], data: st.DataObject
) -> None:
    truth, says = system
    claims = {n: {"value": rounded(v, 4), "source": "s"} for n, v in truth.items()}
    wrong = data.draw(st.sampled_from(sorted(truth)))
    claims[wrong]["value"] = rounded(
        truth[wrong] * data.draw(st.sampled_from([Fraction(1, 100), Fraction(100), Fraction(-1)])), 4
    )
    found = outcome(claims, says)
    if found.state != "inconsistent" or not found.complete:
        return
    assert (wrong,) in [x.correction.claims() for x in found.candidates], (claims, says)
    [change] = [x.correction.changes[0] for x in found.candidates if x.correction.claims() == (wrong,)]
    assert change.low <= truth[wrong] <= change.high
    assert all(len(x.correction.claims()) == 1 for x in found.candidates)


@given(st.text(alphabet="ab01.%+-*/()=<>≈~ \t\n_eE×÷−²\x00é", max_size=60))
def test_the_parser_parses_or_says_where(text: str) -> None:
    try:
        parse(text)
    except BadRelation as error:
        assert "expected" in str(error) or "more than" in str(error)


@given(st.text(max_size=200))
def test_the_parser_survives_any_text(text: str) -> None:
    with contextlib.suppress(BadRelation):
        parse(text)


TOKENS = st.sampled_from(["a", "b", "c", "0", "1", "2.5", "25%", "+", "-", "*", "/", "(", ")", "=", "<=", ">="])


@given(st.lists(TOKENS, min_size=3, max_size=30), st.lists(st.integers(-5, 5), min_size=6, max_size=6))
def test_any_relation_that_parses_is_decided_or_left_open(tokens: list[str], ends: list[int]) -> None:
    says = " ".join(tokens)
    try:
        parse(says)
    except BadRelation:
        return
    claims = {n: {"value": sorted(ends[2 * i : 2 * i + 2]), "source": "s"} for i, n in enumerate("abc")}
    found = document(outcome(claims, [says, "a + b >= c"], Effort(20_000)))
    found["verdict"] = verdict(found)
    assert found["verdict"] and (found["named"] is None or found["state"] == "inconsistent")


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("claims") / "fuzz.toml"


@given(st.data())
def test_a_damaged_file_is_checked_or_refused(scratch: Path, repo: Path, data: st.DataObject) -> None:
    names = ("video-product", "cache-codec", "ternary-13b", "sparse-5-percent")
    content = bytearray((repo / "examples/claims" / f"{data.draw(st.sampled_from(names))}.toml").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 40))] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"9", b"-", b"*", b"e9", b'"'])
        )
    scratch.write_bytes(bytes(content))
    try:
        found = document(check(load(scratch), Effort(20_000)))
    except ClaimsError:
        return
    assert verdict(found)

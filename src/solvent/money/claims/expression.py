"""Relations between claims, parsed: "users * share * clips = clips_per_day" becomes a small tree.

Operators + − * / and parentheses; =, <=, >= between the sides, and ≈ where the relation says how near.
The text is hostile: length, depth and size are bounded, and nothing is ever evaluated as code.
Enter at `parse`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from solvent.money.claims.stated import Unreadable, written

MAX_LENGTH, MAX_NODES, MAX_DEPTH = 1_000, 150, 25
SIGNS = {"=": "=", "<=": "<=", "≤": "<=", ">=": ">=", "≥": ">=", "~=": "≈", "≈": "≈"}
OPERATORS = {"+": "+", "-": "-", "−": "-", "*": "*", "×": "*", "·": "*", "/": "/", "÷": "/"}
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d{1,3})?%?)"
    r"|(?P<sign><=|>=|~=|[=≤≥≈])|(?P<op>[-+−*×·/÷])|(?P<paren>[()]))",
    re.ASCII,
)


class BadRelation(ValueError):
    """The text isn't a relation; the message says where and what was expected."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number written in the relation, or the range of one."""

    low: Fraction
    high: Fraction


@dataclass(frozen=True, slots=True)
class Name:
    """A claim, by id."""

    id: str


@dataclass(frozen=True, slots=True)
class Binary:
    """left op right, with op one of + - * /."""

    op: str
    left: Expression
    right: Expression


Expression = Number | Name | Binary


@dataclass(frozen=True, slots=True)
class Relation:
    """left sign right, with sign one of = <= >= ≈."""

    left: Expression
    sign: str
    right: Expression


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Relation:
    """The tree of a relation. Raises: BadRelation, naming the column."""
    if len(text) > MAX_LENGTH:
        raise BadRelation(f"{len(text)} characters; expected at most {MAX_LENGTH}")
    parser = _Parser(list(_tokens(text)))
    left = parser.sum(0)
    sign = parser.take("sign", "one of = <= >= ≈")
    right = parser.sum(0)
    parser.take("end", "an operator or the end")
    return Relation(left, SIGNS[sign.text], right)


def names(node: Expression) -> Iterator[str]:
    """Ids of the claims in an expression, with repeats."""
    if isinstance(node, Name):
        yield node.id
    elif isinstance(node, Binary):
        yield from names(node.left)
        yield from names(node.right)


def _tokens(text: str) -> Iterator[_Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            found = text[at:].lstrip()
            column = end - len(found.rstrip()) + 1
            raise BadRelation(f"{found[:1]!r} at column {column}; expected a claim, a number, + - * / ( ) or = <= >= ≈")
        yield _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup) + 1)
        at = match.end()
    yield _Token("end", "", end + 1)


class _Parser:
    """Recursive descent over the tokens; `depth` counts parentheses and signs, `n_nodes` everything."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.n_nodes = 0

    def take(self, kind: str, expected: str) -> _Token:
        token = self.tokens[self.at]
        if token.kind != kind:
            found = repr(token.text[:40]) if token.text else "the end"
            raise BadRelation(f"{found} at column {token.at}; expected {expected}")
        self.at += 1
        return token

    def sum(self, depth: int) -> Expression:
        return self._chain("+-", depth)

    def _chain(self, ops: str, depth: int) -> Expression:
        """Operands joined by the operators of one precedence, leftmost first."""
        node = self._chain("*/", depth) if ops == "+-" else self._operand(depth)
        while self.tokens[self.at].kind == "op" and OPERATORS[self.tokens[self.at].text] in ops:
            op = OPERATORS[self.take("op", "").text]
            right = self._chain("*/", depth) if ops == "+-" else self._operand(depth)
            node = self._counted(Binary(op, node, right))
        return node

    def _operand(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise BadRelation(f"more than {MAX_DEPTH} levels of parentheses and signs")
        token = self.tokens[self.at]
        if token.kind == "name":
            self.at += 1
            return self._counted(Name(token.text))
        if token.kind == "number":
            self.at += 1
            return self._counted(self._number(token))
        if token.kind == "op" and OPERATORS[token.text] == "-":
            self.at += 1
            return self._counted(Binary("*", Number(Fraction(-1), Fraction(-1)), self._operand(depth + 1)))
        if token.text != "(":
            self.take("operand", "a claim, a number or (")
        self.at += 1
        node = self.sum(depth + 1)
        if self.tokens[self.at].text != ")":
            self.take("closing", ")")
        self.at += 1
        return node

    def _number(self, token: _Token) -> Number:
        try:
            value = written(token.text).value
        except Unreadable as error:
            raise BadRelation(f"column {token.at}: {error}") from None
        return Number(value, value)

    def _counted(self, node: Expression) -> Expression:
        self.n_nodes += 1
        if self.n_nodes > MAX_NODES:
            raise BadRelation(f"more than {MAX_NODES} parts")
        return node

"""A small algebra of units: "clips/user/day" is clip¹ user⁻¹ day⁻¹, and units multiply, divide and compare.

Nothing converts by itself: a day is not a month. A conversion is a claim of kind "definition", such as
`days_per_month` in "days/month". A plural is its singular ("clips" is "clip"); no unit at all is "1".
An unknown unit (`None`) makes unknown whatever it touches and is never a mismatch.
Enter at `parse` and `unit_fault`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from solvent.money.claims.expression import Binary, Expression, Name, Number, Relation

# Powers by symbol, sorted, without zeros: equal units are equal tuples.
Unit = tuple[tuple[str, int], ...]
ONE: Unit = ()
MAX_LENGTH = 100
_PART = re.compile(r"\s*([*/·])?\s*([A-Za-zµ$€][A-Za-z0-9_µ$€]*|1)(?:\^(-?\d))?")


class BadUnit(ValueError):
    """The text isn't a unit."""


class Mismatch(Exception):
    """Two units that should be the same aren't."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


def parse(text: str) -> Unit:
    """The unit of a text such as "usd/clip", "clips/user/day", "kW*h" or "1". Raises: BadUnit."""
    if not text.strip() or len(text) > MAX_LENGTH:
        raise BadUnit(f'{text[:40]!r}; expected a unit such as "usd/clip", or "1" for a bare number')
    powers: Counter[str] = Counter()
    at = 0
    while at < len(text.rstrip()):
        match = _PART.match(text, at)
        if match is None or (at > 0) != bool(match[1]):
            raise BadUnit(f"{text!r}, unreadable at {text[at:][:20]!r}; expected names joined by / and *")
        if match[2] != "1":
            powers[_singular(match[2])] += int(match[3] or 1) * (-1 if match[1] == "/" else 1)
        at = match.end()
    return _unit(powers)


def text_of(unit: Unit) -> str:
    """The unit as text: usd/clip."""
    above = "*".join(_power(symbol, n) for symbol, n in unit if n > 0) or "1"
    return above + "".join("/" + _power(symbol, -n) for symbol, n in unit if n < 0)


def unit_fault(relation: Relation, units: Mapping[str, Unit | None]) -> str | None:
    """What is wrong with the units of a relation, or None where they agree or aren't known."""
    try:
        left, right = _unit_of(relation.left, units), _unit_of(relation.right, units)
    except Mismatch as fault:
        return fault.what
    if left is not None and right is not None and left != right:
        return f"{text_of(left)} on the left, {text_of(right)} on the right"
    return None


def _unit_of(node: Expression, units: Mapping[str, Unit | None]) -> Unit | None:
    if isinstance(node, Name):
        return units[node.id]
    if isinstance(node, Number):
        return ONE
    left, right = _unit_of(node.left, units), _unit_of(node.right, units)
    if node.op in "+-":
        return _same(node, left, right)
    if left is None or right is None:
        return None
    powers = Counter(dict(left))
    for symbol, n in right:
        powers[symbol] += n if node.op == "*" else -n
    return _unit(powers)


def _same(node: Binary, left: Unit | None, right: Unit | None) -> Unit | None:
    if left is None or right is None:
        return None
    if left != right:
        verb = "added to" if node.op == "+" else "less"
        raise Mismatch(f"{text_of(left)} {verb} {text_of(right)}")
    return left


def _unit(powers: Mapping[str, int]) -> Unit:
    return tuple(sorted((symbol, n) for symbol, n in powers.items() if n))


def _singular(symbol: str) -> str:
    return symbol[:-1] if len(symbol) > 2 and symbol.endswith("s") and not symbol.endswith("ss") else symbol


def _power(symbol: str, n: int) -> str:
    return symbol if n == 1 else f"{symbol}^{n}"

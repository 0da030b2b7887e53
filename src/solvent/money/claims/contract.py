"""Narrows the ranges of claims to what the relations allow, without ever losing a value that is possible.

Each relation is computed forward (ranges of its parts) and backward (ranges of its claims), and whatever got
narrower wakes the relations that use it, until nothing changes. An empty range proves a contradiction.
The converse doesn't hold: ranges that are left may still contradict each other; `decide` searches them.
Source: HC4-revise, Benhamou et al., "Revising hull and box consistency", ICLP 1999. Exact rationals throughout.
Enter at `System.of` and `narrow`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from solvent.money.claims import interval
from solvent.money.claims.expression import Binary, Expression, Name, Number, Relation
from solvent.money.claims.interval import Interval

Box = dict[str, Interval]
# A range that narrows by less than this share wakes nobody: it bounds slow convergence, and stays sound.
WORTHWHILE = Fraction(1, 20)


@dataclass(slots=True)
class Effort:
    """Interval operations left. When they are spent, searches end undecided; they never end wrong."""

    left: int = 500_000

    def spend(self, n: int) -> None:
        self.left -= n

    def spent(self) -> bool:
        return self.left <= 0


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a relation: a constant range, a claim, or an operation on two earlier steps."""

    op: str
    name: str = ""
    constant: Interval = interval.ALL
    left: int = 0
    right: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """A relation as steps in order of computation; `left` and `right` are its two sides."""

    steps: tuple[Step, ...]
    left: int
    right: int
    sign: str
    names: frozenset[str]
    repeats: bool

    @classmethod
    def of(cls, relation: Relation) -> Program:
        """The program of a relation; ≈ has been given its width by then (see `widened`)."""
        steps: list[Step] = []
        left, right = _compile(relation.left, steps), _compile(relation.right, steps)
        used = [step.name for step in steps if step.op == "name"]
        return cls(tuple(steps), left, right, relation.sign, frozenset(used), len(set(used)) < len(used))

    def forward(self, box: Mapping[str, Interval]) -> list[Interval]:
        """The range of every step. Raises: NoValue (a division by nothing but zero)."""
        ranges: list[Interval] = []
        for step in self.steps:
            if step.op == "name":
                ranges.append(box[step.name])
            elif step.op == "constant":
                ranges.append(step.constant)
            else:
                ranges.append(_FORWARD[step.op](ranges[step.left], ranges[step.right]))
        return ranges

    def backward(self, ranges: list[Interval]) -> None:
        """Narrows every step to what the steps that use it allow, in place. Raises: NoValue."""
        for step, found in zip(reversed(self.steps), reversed(ranges), strict=True):
            if step.op in _FORWARD:
                left, right = ranges[step.left], ranges[step.right]
                if step.op == "+":
                    left = interval.meet(left, interval.subtract(found, right))
                    right = interval.meet(right, interval.subtract(found, left))
                elif step.op == "-":
                    left = interval.meet(left, interval.add(found, right))
                    right = interval.meet(right, interval.subtract(left, found))
                elif step.op == "*":
                    left = interval.factor(found, right, left)
                    right = interval.factor(found, left, right)
                else:
                    left = interval.meet(left, interval.multiply(found, right))
                    right = interval.factor(left, found, right)
                ranges[step.left], ranges[step.right] = left, right

    def revise(self, box: Box) -> Box:
        """The narrower ranges of the relation's claims. Raises: NoValue where the relation can't hold."""
        ranges = self.forward(box)
        left, right = ranges[self.left], ranges[self.right]
        if self.sign == "=":
            ranges[self.left] = ranges[self.right] = interval.meet(left, right)
        elif self.sign == "<=":
            ranges[self.left] = interval.meet(left, (-interval.INF, right[1]))
            ranges[self.right] = interval.meet(right, (left[0], interval.INF))
        else:
            ranges[self.left] = interval.meet(left, (right[0], interval.INF))
            ranges[self.right] = interval.meet(right, (-interval.INF, left[1]))
        self.backward(ranges)
        narrower: Box = {}
        for step, found in zip(self.steps, ranges, strict=True):
            if step.op == "name":
                narrower[step.name] = interval.meet(narrower.get(step.name, box[step.name]), found)
        return narrower


@dataclass(frozen=True, slots=True)
class System:
    """Relations that should all hold, and which of them use a claim."""

    programs: tuple[Program, ...]
    users: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, relations: Sequence[Relation]) -> System:
        programs = tuple(Program.of(relation) for relation in relations)
        used = {name for program in programs for name in program.names}
        return cls(programs, {n: tuple(i for i, p in enumerate(programs) if n in p.names) for n in sorted(used)})


def widened(relation: Relation, within: Fraction) -> Relation:
    """left ≈ right within a share, as an equation: left = right × [1 − within, 1 + within]."""
    if relation.sign != "≈":
        return relation
    return Relation(relation.left, "=", Binary("*", relation.right, Number(1 - within, 1 + within)))


def narrow(system: System, box: Box, effort: Effort, changed: Iterable[str] | None = None) -> Box | None:
    """The box narrowed until no relation narrows it further, or None where that proves a contradiction.

    box: a range per claim; it is not altered.   changed: claims that differ from an already narrowed box.
    Exactness: no value that satisfies all relations is ever lost (outward rounding beyond 27 digits).
    """
    box = dict(box)
    wake = range(len(system.programs)) if changed is None else {i for n in changed for i in system.users.get(n, ())}
    queue = deque(sorted(wake))
    waiting = set(queue)
    while queue and not effort.spent():
        at = queue.popleft()
        waiting.discard(at)
        program = system.programs[at]
        effort.spend(len(program.steps))
        try:
            narrower = program.revise(box)
        except interval.NoValue:
            return None
        for name, found in narrower.items():
            before = box[name]
            if found == before:
                continue
            box[name] = interval.meet(before, interval.coarse(found))
            if _worthwhile(before, found):
                # A relation that names each claim once is as narrow as it gets after one pass.
                woken = {user for user in system.users[name] if user != at or program.repeats} - waiting
                queue.extend(sorted(woken))
                waiting |= woken
    return box


def _worthwhile(before: Interval, after: Interval) -> bool:
    if not interval.is_finite(before) or interval.is_point(after):
        return True
    low, high = before
    return after[0] - low + high - after[1] > (high - low) * WORTHWHILE


def _compile(node: Expression, steps: list[Step]) -> int:
    if isinstance(node, Name):
        steps.append(Step("name", name=node.id))
    elif isinstance(node, Number):
        steps.append(Step("constant", constant=(node.low, node.high)))
    else:
        left, right = _compile(node.left, steps), _compile(node.right, steps)
        steps.append(Step(node.op, left=left, right=right))
    return len(steps) - 1


_FORWARD = {
    "+": interval.add,
    "-": interval.subtract,
    "*": interval.multiply,
    "/": interval.divide,
}

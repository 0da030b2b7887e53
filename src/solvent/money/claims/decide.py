"""Can all claims be true together? Proves that they can't, or finds exact values at which they are.

"impossible" is a proof: every part of the box was shown to be empty. "possible" comes with a witness, one value
per claim inside its range, at which every relation holds. "open" says that the search ended before either.
Enter at `decide`; `implied` gives the range that the rest of the system leaves to one claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from solvent.money.claims import interval
from solvent.money.claims.contract import Box, Effort, System, narrow

Answer = Literal["possible", "impossible", "open"]
MAX_SPLITS = 120
# Values known to this share count as found: an equation such as x·x = 2 has no exact rational solution.
FOUND = Fraction(1, 10**12)
HALVINGS = 14


class Probe(NamedTuple):
    """How to look for a witness: which claims to fix first, and where in their range."""

    busiest_first: bool
    near_wanted: bool


# The claims that most relations use decide the others, so fixing them first succeeds most often (19 in 20).
PROBES = (Probe(True, True), Probe(True, False), Probe(False, True), Probe(False, False))


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer; `box` holds every possible value of each claim, `witness` one that is possible."""

    answer: Answer
    box: Box
    witness: Mapping[str, Fraction]


def decide(system: System, box: Box, wanted: Mapping[str, Fraction], effort: Effort) -> Decision:
    """Whether a point of the box satisfies all relations; the witness lies near `wanted` where it can.

    Exactness: "impossible" is proven in exact arithmetic; a witness satisfies every relation exactly, or to
    one part in 10¹² where no rational number does.
    """
    whole = narrow(system, box, effort)
    if whole is None:
        return Decision("impossible", box, {})
    parts, n_splits = [whole], 0
    while parts:
        part = parts.pop()
        for probe in PROBES if n_splits == 0 else (PROBES[n_splits % len(PROBES)],):
            witness = _probe(system, part, wanted, probe, effort)
            if witness is not None:
                return Decision("possible", whole, witness)
        halves = _split(part, wanted)
        if halves is None and not effort.spent():
            return Decision("possible", whole, {name: _middle(span) for name, span in part.items()})
        if halves is None or n_splits >= MAX_SPLITS or effort.spent():
            return Decision("open", whole, {})
        n_splits += 1
        name = halves[0]
        for half in halves[1:]:
            narrowed = narrow(system, {**part, name: half}, effort, [name])
            if narrowed is not None:
                parts.append(narrowed)
    return Decision("impossible", box, {})


def implied(system: System, decision: Decision, name: str, effort: Effort) -> interval.Interval:
    """The range that the relations and the other claims leave to one claim, in a system found possible.

    Exactness: it holds every possible value; its ends are pulled in by bisection as far as narrowing proves.
    """
    low, high = decision.box[name]
    if name not in decision.witness:
        return (low, high)
    inside = decision.witness[name]
    if isinstance(low, Fraction):
        low = _pulled(system, decision.box, name, (low, inside), effort)
    if isinstance(high, Fraction):
        high = _pulled(system, decision.box, name, (high, inside), effort)
    return (low, high)


def _pulled(system: System, box: Box, name: str, span: tuple[Fraction, Fraction], effort: Effort) -> Fraction:
    """The outer end of `span` moved toward its inner end, past what can be proven impossible."""
    outer, inner = span
    for _ in range(HALVINGS):
        if abs(inner - outer) * 10**4 <= abs(inner) or effort.spent():
            break
        middle = (outer + inner) / 2
        rest = (min(outer, middle), max(outer, middle))
        if narrow(system, {**box, name: rest}, effort, [name]) is None:
            outer = middle
        else:
            inner = middle
    return outer


def _probe(
    system: System, box: Box, wanted: Mapping[str, Fraction], probe: Probe, effort: Effort
) -> dict[str, Fraction] | None:
    """Fixes one claim after another, narrowing the rest; None where that fails.

    Points are a witness only if narrowing ran to its end, which it doesn't once the effort is spent.
    """
    sign = -1 if probe.busiest_first else 1
    finite = {name: interval.is_finite(span) for name, span in box.items()}
    for name in sorted(box, key=lambda n: (not finite[n], sign * len(system.users.get(n, ())), n)):
        span = box[name]
        if interval.is_point(span):
            continue
        near = probe.near_wanted or not interval.is_finite(span)
        value = interval.nearest(span, wanted[name]) if near else _middle(span)
        fixed = narrow(system, {**box, name: interval.point(value)}, effort, [name])
        if fixed is None:
            return None
        box = fixed
    if effort.spent():
        return None
    return {name: low for name, (low, _) in box.items() if isinstance(low, Fraction)}


def _split(box: Box, wanted: Mapping[str, Fraction]) -> tuple[str, interval.Interval, interval.Interval] | None:
    """The claim with the widest range, and the two halves of it; None where all are known closely enough."""
    open_ended = [n for n, span in box.items() if not interval.is_finite(span)]
    widths = {n: _width(span) for n, span in box.items() if interval.is_finite(span)}
    name = max(widths, key=lambda n: widths[n], default=None)
    if name is None or widths[name] <= FOUND:
        if not open_ended:
            return None
        name = open_ended[0]
    low, high = box[name]
    if interval.is_finite((low, high)):
        middle = _middle((low, high))
    else:
        middle = interval.nearest((low, high), wanted[name])
        middle = middle + 1 if middle == low else middle - 1 if middle == high else middle
    return (name, (low, middle), (middle, high))


def _middle(span: interval.Interval) -> Fraction:
    low, high = span
    assert isinstance(low, Fraction) and isinstance(high, Fraction)
    return (low + high) / 2


def _width(span: interval.Interval) -> Fraction:
    low, high = span
    assert isinstance(low, Fraction) and isinstance(high, Fraction)
    size = max(abs(low), abs(high))
    return (high - low) / size if size else Fraction(0)

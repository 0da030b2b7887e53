"""What a path says in words: its verdict in one line, and why a step isn't taken. Enter at `line`, `not_taken`."""

from __future__ import annotations

from collections.abc import Sequence

from solvent.choose.economics import Economics
from solvent.choose.path.model import Outcome
from solvent.choose.path.search import Found
from solvent.choose.path.step import Step, Terms

_TITLES = {
    "already": "The policy holds already",
    "reached": "There is a path",
    "not reached": "No path reaches the policy",
    "unknown": "The path is unknown",
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def title(state: str) -> str:
    return _TITLES[state]


def line(state: str, economics: Economics, terms: Terms, found: Found, ends: tuple[Outcome, Outcome]) -> str:
    """The path in a line or two that a product owner can repeat."""
    today, end = ends
    per = " a month" if economics.per == "month" else " in the log"
    now, then = (f"${10_000 * float(o.ratio()[0]):,.0f}" for o in ends)
    sure = _percent(found.probability)
    if state == "already":
        return f"Compute is {now} per $10,000 of customer value; the policy holds with a probability of {sure}."
    n, steps = len(found.order), _steps(found)
    moved = (
        f"the margin from {_dollars(today.margin_usd[0])} to {_dollars(end.margin_usd[0])}{per}, and compute from "
        f"{now} to {then} per $10,000 of customer value"
    )
    if state == "reached":
        whether = "take" if n != 1 else "takes"
        return f"{steps.capitalize()} {whether} {moved}. The policy then holds with a probability of {sure}."
    if not n:
        return (
            f"No step that may be taken brings the policy nearer: compute is {now} per $10,000 of customer value, and "
            f"{_dollars(found.miss_usd)}{per} is missing at a probability of {_percent(terms.probability)}."
        )
    return (
        f"No combination of the steps that may be taken reaches it. The nearest, of {steps}, takes {moved}; the policy "
        f"then holds with a probability of {sure}, where {_percent(terms.probability)} is asked for, and at that "
        f"probability {_dollars(found.miss_usd)}{per} is missing."
    )


def short(state: str, terms: Terms, found: Found) -> str:
    """The path in half a line, for the link from the verdict."""
    if state == "reached":
        return f"There is a path: {_steps(found)}, probability {_percent(found.probability)}"
    if state == "not reached":
        return f"No path reaches the policy at a probability of {_percent(terms.probability)}"
    return _TITLES[state]


def not_taken(step: Step, taken: Sequence[Step], found: Found) -> str:
    """Why a step that may be taken isn't on the path."""
    rival = next((other for other in taken if step.one_of and other.one_of == step.one_of), None)
    if rival is not None:
        return f"instead of it: {rival.title}"
    if found.reached:
        return "not needed: the policy is met without it, for less"
    return "doesn't bring the policy nearer at the probability that is asked for"


def _steps(found: Found) -> str:
    n = len(found.order)
    return f"{_NUMBERS[n] if n < len(_NUMBERS) else n} step{'s' if n != 1 else ''}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share < 0.995 or share == 1 else f"{100 * share:.1f}%"


def _dollars(usd: float) -> str:
    text = f"${abs(usd):,.0f}" if abs(usd) >= 10 else f"${abs(usd):,.2f}"
    return f"−{text}" if usd < 0 else text

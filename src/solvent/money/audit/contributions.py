"""What a sum is made of, in lines of text: compute by rate, revenue by plan, a customer's revenue by its parts.

It words exact sums that stand elsewhere and decides nothing. Customers are never named, so that pseudonyms hold.
Enter at `add_contributions` (figures of the whole) and `customer_lines` (cells of a row).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from solvent.figure import exact_text
from solvent.money.audit.pricing import Pricing, UsedRate
from solvent.money.audit.totals import Key, Total
from solvent.money.revenue.lines import Attribution, Part, RevenueLine

MAX_LINES = 10


def add_contributions(
    figures: dict[str, dict[str, Any]], pricing: Pricing, by_rate: Mapping[Key, Total], attribution: Attribution
) -> None:
    """Gives cost_usd and revenue_usd their largest contributions as `lines`; together the lines are the figure.

    figures: as JSON-ready fields.   by_rate: totals by (rate_no,), as in table prices.
    """
    for name, lines in (("cost_usd", cost_lines(pricing, by_rate)), ("revenue_usd", revenue_lines(attribution))):
        if lines and figures[name]["value"] is not None:
            figures[name]["lines"] = lines


def cost_lines(pricing: Pricing, by_rate: Mapping[Key, Total]) -> list[str]:
    """Σ over rates: the ten that cost most, and the rest in one line."""
    parts = [
        (total.cost_usd, f"{total.n_requests:,} {_plural('request', total.n_requests)} at {_rate(pricing.rates[no])}")
        for (no,), total in by_rate.items()
        if no is not None and no >= 0
    ]
    return _largest(parts, "rates")


def revenue_lines(attribution: Attribution) -> list[str]:
    """Σ over plans, as table customers names them: the ten that bring most, and the rest in one line."""
    plans: dict[str, tuple[int, Fraction]] = {}
    for line in attribution.all_lines():
        n, usd = plans.get(line.plan, (0, Fraction(0)))
        plans[line.plan] = (n + 1, usd + line.revenue_usd)
    parts = [(usd, f"{n:,} {_plural('customer', n)} on plan {plan}") for plan, (n, usd) in plans.items()]
    return _largest(parts, "plans")


def customer_lines(line: RevenueLine) -> dict[str, list[str]]:
    """How a customer's revenue came about, and what its margin loses beside compute, under the keys of its row."""
    parts = [part for part in line.parts if part.usd] or list(line.parts)
    taken = (
        ("refunds", line.refunds_usd),
        ("payment fees and cuts", line.fees_usd),
        ("other cost of goods", line.other_cost_usd),
    )
    lines = {
        "_revenue_lineage": _cut([(part.usd, _part_line(part)) for part in parts], "parts"),
        "_margin_lineage": [f"− {_usd(usd)} USD {what}" for what, usd in taken if usd],
    }
    return {key: held for key, held in lines.items() if held}


def _part_line(part: Part) -> str:
    spread = ""
    if part.low_usd is not None and part.high_usd is not None:
        spread = f" ({_usd(part.low_usd)} to {_usd(part.high_usd)})"
    return f"{part.label}: {part.formula} = {_usd(part.usd)} USD{spread}"


def _rate(used: UsedRate) -> str:
    if used.offer is not None:
        return f"machine {used.offer.name}, reserved"
    assert used.rate is not None
    card = used.rate.card
    note = f", {used.rate.note}" if used.rate.note else ""
    return f"{card.provider}/{card.model} ({used.rate.service}, {card.source}{note})"


def _largest(parts: Iterable[tuple[Fraction, str]], what: str) -> list[str]:
    ordered = sorted(parts, key=lambda part: (-part[0], part[1]))
    return _cut([(usd, f"{text} = {_usd(usd)} USD") for usd, text in ordered], what)


def _cut(parts: Sequence[tuple[Fraction, str]], what: str) -> list[str]:
    """The first ten lines, and one with the sum of the rest."""
    lines = [text for _, text in parts[:MAX_LINES]]
    rest = parts[MAX_LINES:]
    if rest:
        lines.append(f"{len(rest):,} more {what} = {_usd(sum((usd for usd, _ in rest), Fraction(0)))} USD")
    return lines


def _plural(noun: str, n: int) -> str:
    return noun if n == 1 else noun + "s"


def _usd(value: Fraction) -> str:
    return exact_text(value, 12) or "0"

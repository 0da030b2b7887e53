"""The verdict in a developer's words: what the use of a subscription would cost at list price, against its price.

State and policy stay as decided; only title and line are said anew. Enter at `of_subscription`.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from solvent.figure import Figures
from solvent.money.revenue.lines import Span, text

TITLES = {
    "solvent": "Use below the price paid",
    "thin": "Use below the price paid, but not for certain",
    "insolvent": "Use above the price paid",
}


def of_subscription(
    verdict: dict[str, Any], figures: Figures, usd_per_month: Decimal, span: Span | None
) -> dict[str, Any]:
    """The verdict with its title and line about one subscription; as it is where the use has no known cost."""
    cost, share = figures["cost_usd"].value, figures["revenue_usd"].value
    pace = figures["cost_per_month_usd"].value
    if cost is None or share is None or pace is None or span is None:
        return verdict
    times = Fraction(pace) / Fraction(usd_per_month)
    line = (
        f"At list price the use of {days_text(span)} would cost {_dollars(cost)}; the subscription's share of that "
        f"time is {_dollars(share)}. At this pace it is {_dollars(pace)} a month, {float(times):.3g} times the "
        f"{_dollars(usd_per_month)} paid."
    )
    missing = verdict["left_out"]
    return {
        **verdict,
        "title": TITLES.get(verdict["state"], verdict["title"]),
        "line": f"{line} ({missing}.)" if missing else line,
    }


def days_text(span: Span) -> str:
    """'1 day', '31 days'."""
    return f"{text(span.days)} day" + ("" if span.days == 1 else "s")


def _dollars(value: Any) -> str:
    usd = float(value)
    return f"${usd:,.2f}" if usd >= 0.01 or usd == 0 else f"${usd:.2g}"

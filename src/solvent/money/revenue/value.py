"""Customer value, what the policy divides compute by: revenue, unless the project declares another measure.

Enter at `customer_value`.
"""

from __future__ import annotations

from fractions import Fraction

from solvent.errors import RevenueError
from solvent.figure import exact_text
from solvent.money.project import Value
from solvent.money.revenue.lines import Attribution, Span

REVENUE = "revenue"


def customer_value(
    value: Value, attribution: Attribution, n_outputs: Fraction, span: Span | None
) -> tuple[Fraction | None, str]:
    """(USD in the span, where it comes from).

    usd_per_output × outputs, or usd_total_per_month × months of the span, or else revenue, whose source is the word
    `revenue`. None is unknown: no revenue is known, or a monthly value meets a log without a span.
    Raises: RevenueError where the project declares both measures.
    """
    if value.usd_per_output is not None and value.usd_total_per_month is not None:
        raise RevenueError("[value]", "usd_per_output and usd_total_per_month", "one of them", "remove one")
    said = f" ({value.source})" if value.source else ""
    if value.usd_per_output is not None:
        usd_text = exact_text(value.usd_per_output)
        return Fraction(value.usd_per_output) * n_outputs, f"declared: {usd_text} USD per output{said}"
    if value.usd_total_per_month is not None:
        usd_text = exact_text(value.usd_total_per_month)
        usd = None if span is None else Fraction(value.usd_total_per_month) * span.months
        return usd, f"declared: {usd_text} USD per month, prorated to the log's span{said}"
    return attribution.revenue_usd, REVENUE

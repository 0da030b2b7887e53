"""What a payment costs: refunds, payment fees and the cut of a shop or partner, for one customer on one plan.

refunds = refund_share × charged
fees = payment_fee_share × charged + payment_fee_usd_per_charge × charges + cut_share × (revenue − refunds)
A payment fee isn't returned with a refund; a cut is. Advertising and conversions aren't charged to the customer:
no payment fee, no refund. Enter at `net_of`. Source: docs/reference/revenue.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from solvent.money.revenue.lines import Part, exact
from solvent.money.revenue.model import Costs, Plan

ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Net:
    """revenue − refunds_usd − fees_usd = scaling_usd + fixed_usd; only scaling_usd follows the product's prices."""

    parts: tuple[Part, ...]
    refunds_usd: Fraction
    fees_usd: Fraction
    scaling_usd: Fraction
    fixed_usd: Fraction


def net_of(plan: Plan, parts: tuple[Part, ...], costs: Costs, months: Fraction, yearly: bool) -> Net:
    """The parts with what is taken off them. months: of the contract within the span. yearly: charged once a year."""
    charged = sum((part.usd for part in parts if part.charged and part.usd), ZERO)
    other = sum((part.usd for part in parts if not part.charged and part.usd), ZERO)
    refunds = exact(costs.refund_share) * charged if costs.refund_share else ZERO
    by_share, by_charge = ZERO, ZERO
    if plan.payment_fees and charged:
        by_share = exact(costs.payment_fee_share) * charged
        by_charge = exact(costs.payment_fee_usd_per_charge) * _charges(parts, costs, months, yearly)
    cut = exact(plan.cut_share)
    cut_of_charged, cut_of_other = (cut * (charged - refunds), cut * other) if cut else (ZERO, ZERO)
    return Net(
        parts=parts,
        refunds_usd=refunds,
        fees_usd=by_share + by_charge + cut_of_charged + cut_of_other,
        scaling_usd=charged - refunds - by_share - cut_of_charged,
        fixed_usd=other - cut_of_other - by_charge,
    )


def _charges(parts: tuple[Part, ...], costs: Costs, months: Fraction, yearly: bool) -> Fraction:
    """charges per month × months × share of such customers who are billed; a twelfth of it where billed yearly."""
    if not costs.payment_fee_usd_per_charge:
        return ZERO
    billed = max((part.paying_share for part in parts if part.charged and part.usd > 0), default=ZERO)
    return exact(costs.charges_per_month) * months * billed / (12 if yearly else 1)

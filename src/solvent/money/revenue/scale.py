"""What happens to revenue if the product's own prices all change by one factor, use staying as it is.

Every price of a plan (minimum and overage too) multiplies what is charged, so revenue and what is left of it after
refunds and fees are straight lines in the factor; advertising, conversions and the fee per charge stay put.
Enter at `price_response`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from solvent.money.revenue.lines import RevenueLine

ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class PriceResponse:
    """Two lines in the price factor f > 0:

    revenue(f) = charged_usd × f + uncharged_usd
    net(f) = net_scaling_usd × f + net_fixed_usd        revenue − refunds − fees
    """

    charged_usd: Fraction
    uncharged_usd: Fraction
    net_scaling_usd: Fraction
    net_fixed_usd: Fraction

    def revenue_usd(self, factor: Fraction) -> Fraction:
        """Revenue if every price were `factor` times today's."""
        return self.charged_usd * factor + self.uncharged_usd

    def net_usd(self, factor: Fraction) -> Fraction:
        """Revenue − refunds − fees if every price were `factor` times today's."""
        return self.net_scaling_usd * factor + self.net_fixed_usd

    def factor_for_net(self, net_usd: Fraction) -> Fraction | None:
        """The factor at which net revenue is `net_usd` (compute + other cost: break-even); None where prices don't
        move it or where no positive factor does."""
        if self.net_scaling_usd <= 0:
            return None
        factor = (net_usd - self.net_fixed_usd) / self.net_scaling_usd
        return factor if factor > 0 else None

    def factor_for_revenue(self, revenue_usd: Fraction) -> Fraction | None:
        """The factor at which revenue is `revenue_usd` (compute ÷ the policy's limit); None as above."""
        if self.charged_usd <= 0:
            return None
        factor = (revenue_usd - self.uncharged_usd) / self.charged_usd
        return factor if factor > 0 else None


def price_response(lines: Iterable[RevenueLine]) -> PriceResponse:
    """The response of these lines together: of `attribution.all_lines()`, of a plan's, or of one customer's.

    Exactness: exact; equal to attributing again with every price multiplied, prices agreed in customers.csv too.
    """
    lines = list(lines)
    charged = sum((line.charged_usd for line in lines), ZERO)
    return PriceResponse(
        charged_usd=charged,
        uncharged_usd=sum((line.revenue_usd for line in lines), ZERO) - charged,
        net_scaling_usd=sum((line.net_scaling_usd for line in lines), ZERO),
        net_fixed_usd=sum((line.net_fixed_usd for line in lines), ZERO),
    )

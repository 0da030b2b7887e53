"""What one customer pays under one plan: each component of the plan becomes a part with its formula.

Every price is a Fraction made from the plan's decimal; no part is ever negative.
Recurring prices and allowances are prorated by `months`, the part of the span on which the contract runs.
Enter at `plan_parts`. Formulas: docs/reference/revenue.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from solvent.money.revenue.interval import jeffreys
from solvent.money.revenue.lines import CustomerUsage, Part, exact, text
from solvent.money.revenue.model import Allowance, Plan, RevenueModel, Sample
from solvent.records import MILLION

# Which buckets a resold token is billed as. Cache writes are input that was read for the first time.
INPUT_BUCKETS = (
    "input_tok",
    "cache_write_5m_tok",
    "cache_write_1h_tok",
    "input_audio_tok",
    "input_image_tok",
    "input_video_tok",
)
CACHED_BUCKETS = ("cache_read_tok", "cache_read_audio_tok")
OUTPUT_BUCKETS = ("output_tok", "reasoning_tok", "output_audio_tok", "output_image_tok")

ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Payer:
    """One customer under contract: its usage, and what customers.csv or a segment says about it.

    usd_per_month: agreed with this customer in place of the plan's subscription price.
    outcomes: counted in the span, in place of the plan's share.
    """

    usage: CustomerUsage
    months: Fraction
    seats: int | None = None
    outcomes: int | None = None
    usd_per_month: Decimal | None = None

    def tokens(self, *groups: tuple[str, ...]) -> int:
        return sum(self.usage.buckets.get(name, 0) for group in groups for name in group)

    def amount(self, of: str) -> Fraction:
        """How much of `of` (an allowance's measure) the customer used."""
        if of == "outputs":
            return Fraction(self.usage.n_outputs)
        if of == "requests":
            return Fraction(self.usage.n_requests)
        groups = {
            "tokens": (INPUT_BUCKETS, CACHED_BUCKETS, OUTPUT_BUCKETS),
            "input_tokens": (INPUT_BUCKETS, CACHED_BUCKETS),
            "output_tokens": (OUTPUT_BUCKETS,),
        }
        return Fraction(self.tokens(*groups[of]))


def plan_parts(model: RevenueModel, plan: Plan, payer: Payer) -> tuple[Part, ...]:
    """Σ components of the plan for this payer, one part each; a minimum tops up what is charged."""
    parts = [
        *_recurring(plan, payer),
        *(_overage(allowance, payer) for allowance in plan.allowances if allowance.beyond == "charge"),
        *_by_use(plan, payer),
        *_by_sample(model, plan, payer),
    ]
    if plan.minimum_usd_per_month is not None:
        parts.append(_top_up(exact(plan.minimum_usd_per_month), parts, payer))
    return tuple(parts)


def _recurring(plan: Plan, payer: Payer) -> list[Part]:
    """price per month × months, or per year × months ÷ 12; × seats where it is per seat."""
    months, months_text, parts = payer.months, f"{text(payer.months)} months", []
    if payer.usd_per_month is not None:
        formula = f"{text(payer.usd_per_month)} USD/month agreed × {months_text}"
        parts.append(Part("subscription (agreed)", formula, exact(payer.usd_per_month) * months))
    else:
        if plan.usd_per_month is not None:
            formula = f"{text(plan.usd_per_month)} USD/month × {months_text}"
            parts.append(Part("subscription", formula, exact(plan.usd_per_month) * months))
        if plan.usd_per_year is not None:
            formula = f"{text(plan.usd_per_year)} USD/year ÷ 12 × {months_text}"
            parts.append(Part("subscription (yearly)", formula, exact(plan.usd_per_year) / 12 * months))
    if plan.usd_per_seat_month is not None:
        formula = f"{text(plan.usd_per_seat_month)} USD/seat/month × {_seats(payer)} seats × {months_text}"
        parts.append(Part("seats", formula, exact(plan.usd_per_seat_month) * _seats(payer) * months))
    if plan.usd_per_seat_year is not None:
        formula = f"{text(plan.usd_per_seat_year)} USD/seat/year ÷ 12 × {_seats(payer)} seats × {months_text}"
        parts.append(Part("seats (yearly)", formula, exact(plan.usd_per_seat_year) / 12 * _seats(payer) * months))
    return parts


def _seats(payer: Payer) -> int:
    assert payer.seats is not None, "attribute() refuses a plan with seats for a customer without"
    return payer.seats


def _overage(allowance: Allowance, payer: Payer) -> Part:
    """max(0, used − allowance × months) × price.

    Without rollover, what one month leaves can't help the next: over more than a month the log's total gives only
    bounds, from use that is spread evenly (the value) to use that falls in a single month (high).
    """
    per_month = _included_per_month(allowance, payer)
    used = payer.amount(allowance.of)
    if allowance.overage_usd_per_unit is not None:
        price, price_text = exact(allowance.overage_usd_per_unit), f"{text(allowance.overage_usd_per_unit)} USD"
    else:
        assert allowance.overage_usd_per_mtok is not None
        price = exact(allowance.overage_usd_per_mtok) / MILLION
        price_text = f"{text(allowance.overage_usd_per_mtok)} USD/Mtok"
    over = max(ZERO, used - per_month * payer.months)
    included = f"{text(per_month)}/month × {text(payer.months)} months"
    formula = f"max(0, {text(used)} {allowance.of} − {included}) × {price_text}"
    usd = over * price
    if allowance.rollover or payer.months <= 1:
        return Part(f"overage ({allowance.of})", formula, usd)
    return Part(f"overage ({allowance.of})", formula, usd, usd, max(ZERO, used - per_month) * price)


def past_stop(plan: Plan, payer: Payer) -> tuple[str, ...]:
    """Measures of which more was used than an allowance that should stop the customer includes.
    Without a count of seats, an allowance by the seat isn't checked."""
    over = []
    for allowance in plan.allowances:
        if allowance.beyond != "stop" or (allowance.per == "seat" and payer.seats is None):
            continue
        if payer.amount(allowance.of) > _included_per_month(allowance, payer) * payer.months:
            over.append(allowance.of)
    return tuple(over)


def _included_per_month(allowance: Allowance, payer: Payer) -> Fraction:
    return exact(allowance.per_month) * (_seats(payer) if allowance.per == "seat" else 1)


def _by_use(plan: Plan, payer: Payer) -> list[Part]:
    """Outputs, requests, tokens and credits at a price each, and advertising beside outputs."""
    parts, n_outputs = [], Fraction(payer.usage.n_outputs)
    if plan.usd_per_output is not None:
        formula = f"{text(n_outputs)} outputs × {text(plan.usd_per_output)} USD"
        parts.append(Part("outputs", formula, n_outputs * exact(plan.usd_per_output)))
    if plan.usd_per_request is not None:
        formula = f"{payer.usage.n_requests} requests × {text(plan.usd_per_request)} USD"
        parts.append(Part("requests", formula, payer.usage.n_requests * exact(plan.usd_per_request)))
    if plan.tokens is not None:
        cached = plan.tokens.usd_per_mtok_cached
        cached = plan.tokens.usd_per_mtok_input if cached is None else cached
        rates = (
            ("input tokens", INPUT_BUCKETS, plan.tokens.usd_per_mtok_input),
            ("cached input tokens", CACHED_BUCKETS, cached),
            ("output tokens", OUTPUT_BUCKETS, plan.tokens.usd_per_mtok_output),
        )
        for label, buckets, usd_per_mtok in rates:
            n_tok = payer.tokens(buckets)
            formula = f"{n_tok} tok × {text(usd_per_mtok)} USD/Mtok"
            parts.append(Part(label, formula, n_tok * exact(usd_per_mtok) / MILLION))
    if plan.credits is not None:
        parts.append(_credits(plan, payer))
    if plan.ads is not None:
        ads = plan.ads
        shown = n_outputs * exact(ads.impressions_per_output) * exact(ads.fill_share)
        formula = (
            f"{text(n_outputs)} outputs × {text(ads.impressions_per_output)} impressions × {text(ads.fill_share)} fill"
            f" × {text(ads.cpm_usd)} USD ÷ 1000"
        )
        parts.append(Part("advertising", formula, shown * exact(ads.cpm_usd) / 1000, charged=False))
    return parts


def _credits(plan: Plan, payer: Payer) -> Part:
    """max(0, credits used − included × months) × price of a credit."""
    sold = plan.credits
    assert sold is not None
    used = (
        exact(sold.credits_per_output) * Fraction(payer.usage.n_outputs)
        + exact(sold.credits_per_request) * payer.usage.n_requests
        + exact(sold.credits_per_mtok_input) * payer.tokens(INPUT_BUCKETS, CACHED_BUCKETS) / MILLION
        + exact(sold.credits_per_mtok_output) * payer.tokens(OUTPUT_BUCKETS) / MILLION
    )
    price = exact(sold.usd_per_credit)
    usd = max(ZERO, used - exact(sold.included_per_month) * payer.months) * price
    if sold.included_per_month == 0:
        return Part("credits", f"{text(used)} credits × {text(price)} USD", usd)
    included = f"{text(sold.included_per_month)}/month × {text(payer.months)} months"
    formula = f"max(0, {text(used)} credits − {included}) × {text(price)} USD"
    if payer.months <= 1:
        return Part("credits", formula, usd)
    return Part("credits", formula, usd, usd, max(ZERO, used - exact(sold.included_per_month)) * price)


def _by_sample(model: RevenueModel, plan: Plan, payer: Payer) -> list[Part]:
    """Parts that rest on a share: outcomes, conversions, the free tier. units × share × price."""
    parts, n_outputs = [], Fraction(payer.usage.n_outputs)
    if plan.outcome is not None:
        price = exact(plan.outcome.usd_per_outcome)
        if payer.outcomes is not None:
            formula = f"{payer.outcomes} outcomes counted × {text(price)} USD"
            parts.append(Part("outcomes", formula, payer.outcomes * price))
        else:
            what = f"{text(n_outputs)} outputs × {text(price)} USD"
            parts.append(_sampled("outcomes", plan.outcome, n_outputs * price, what, model.level))
    if plan.conversion is not None:
        price = exact(plan.conversion.usd_per_conversion)
        units = n_outputs if plan.conversion.per == "output" else Fraction(payer.usage.n_requests)
        what = f"{text(units)} {plan.conversion.per}s × {text(price)} USD"
        sampled = _sampled("conversions", plan.conversion, units * price, what, model.level)
        parts.append(replace(sampled, charged=False))
    if plan.free_tier is not None:
        paid = _recurring(model.plans[plan.free_tier.paid_plan], replace(payer, usd_per_month=None))
        usd = sum((part.usd for part in paid), ZERO)
        what = "(" + " + ".join(part.formula for part in paid) + ")"
        label = f"free tier, expected {plan.free_tier.paid_plan}"
        sampled = _sampled(label, plan.free_tier, usd, what, model.level)
        parts.append(replace(sampled, paying_share=plan.free_tier.value()))
    return parts


def _sampled(label: str, sample: Sample, usd: Fraction, what: str, level: Decimal) -> Part:
    """usd × share, with the interval of the share where it comes from trials."""
    if sample.trials is None or sample.successes is None:
        return Part(label, f"{what} × {text(sample.value())}", usd * sample.value())
    low, high = jeffreys(sample.successes, sample.trials, level)
    formula = f"{what} × {sample.successes}/{sample.trials} [{text(low)}, {text(high)}]"
    return Part(label, formula, usd * sample.value(), usd * low, usd * high)


def _top_up(usd_per_month: Fraction, parts: list[Part], payer: Payer) -> Part:
    """max(0, minimum × months − what is charged); at the ends of the interval likewise."""
    charged = [part for part in parts if part.charged]
    least = usd_per_month * payer.months
    usd = max(ZERO, least - sum((p.usd for p in charged), ZERO))
    formula = f"max(0, {text(usd_per_month)} USD/month × {text(payer.months)} months − charged so far)"
    if all(part.low_usd is None for part in charged):
        return Part("minimum commitment", formula, usd)
    at_low = sum((p.usd if p.low_usd is None else p.low_usd for p in charged), ZERO)
    at_high = sum((p.usd if p.high_usd is None else p.high_usd for p in charged), ZERO)
    return Part("minimum commitment", formula, usd, max(ZERO, least - at_low), max(ZERO, least - at_high))

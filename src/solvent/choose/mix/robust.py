"""A plan that holds at the bad ends of the intervals, what that costs, and how often the cheaper one would fail.

The robust plan is the cheapest mix of offers that are all at their bad 90% ends at once: slower, dearer, later,
hotter, worse. That is more than any one draw is likely to bring; `share_that_holds` says how likely each plan is.
Enter at `robust_mix`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from solvent.choose.mix.columns import columns_of
from solvent.choose.mix.plan import Infeasible, Plan, Use
from solvent.choose.mix.solve import GAP, TIME_LIMIT_S, cheapest_mix
from solvent.choose.offers.demand import Demand
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer, Range
from solvent.choose.offers.screen import at_bad_ends

N_DRAWS = 1_000
SEED = 20_261_121
# A 90% interval ends 1.645 standard deviations from the middle of a normal.
Z_90 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class Robust:
    """point: the plan at the point values; bad: at the bad ends. price_usd_per_day: what the second costs more than
    the first, both at point prices; None where either doesn't exist.   point_holds, bad_holds: share of joint draws
    in which each serves every hour with the machines and API shares that it planned."""

    point: Plan | Infeasible
    bad: Plan | Infeasible
    price_usd_per_day: float | None
    bad_at_point_usd_per_day: float | None
    point_holds: float | None
    bad_holds: float | None


def robust_mix(
    offers: Sequence[Offer], demand: Demand, needs: Needs, *, gap: float = GAP, time_limit_s: float = TIME_LIMIT_S
) -> Robust:
    """Both plans and the difference. Without any interval they are the same plan."""
    point = cheapest_mix(offers, demand, needs, gap=gap, time_limit_s=time_limit_s)
    worst = [at_bad_ends(offer) for offer in offers]
    bad = point if worst == list(offers) else cheapest_mix(worst, demand, needs, gap=gap, time_limit_s=time_limit_s)
    by_id = {offer.id: offer for offer in offers}
    at_point = usd_at(bad, by_id) if isinstance(bad, Plan) else None
    price = None
    if isinstance(point, Plan) and at_point is not None:
        # Both are optimal to a gap only: what lies below it is no price.
        price = max(0.0, at_point - point.usd_per_day)
    holds = [share_that_holds(plan, by_id, demand, needs) if isinstance(plan, Plan) else None for plan in (point, bad)]
    return Robust(point, bad, price, at_point, *holds)


def usd_at(plan: Plan, offers: dict[str, Offer], end: Literal["low", "value", "high"] = "value") -> float:
    """The plan's machines and API shares at one end of the prices of the offers; an API's price has no interval."""
    return math.fsum(use_usd_at(use, offers[use.offer.id], end) for use in plan.uses)


def use_usd_at(use: Use, offer: Offer, end: Literal["low", "value", "high"]) -> float:
    """One offer's part of `usd_at`."""
    if offer.usd_per_hour is None:
        return use.usd_per_day
    hours = len(offer.paid_hours())
    paid = max(use.machines) * hours if offer.billed == "day" else sum(use.machines)
    return paid * float(getattr(offer.usd_per_hour, end))


def share_that_holds(plan: Plan, offers: dict[str, Offer], demand: Demand, needs: Needs) -> float:
    """Share of N_DRAWS draws in which every hour is served.

    Of each offer one normal draw, scaled to either side of its interval, moves both speeds; offers are independent.
    An API serves its planned share and no more: what machines fail to do isn't silently bought.
    """
    machines = [use for use in plan.uses if not use.offer.is_api]
    bought = np.sum([use.share for use in plan.uses if use.offer.is_api], axis=0) if plan.uses else np.zeros(24)
    if not machines:
        return 1.0
    rng = np.random.default_rng(SEED)
    busy = np.array([hour.input_tok + hour.cache_read_tok + hour.output_tok > 0 for hour in demand.hours])
    served = np.broadcast_to(np.asarray(bought, float), (N_DRAWS, 24)).copy()
    for use in machines:
        offer = offers[use.offer.id]
        cover = columns_of([offer], demand, needs.headroom, None).machines.cover[0]
        factor = np.minimum(*(_factor(rate, rng_z) for rate, rng_z in _pairs(offer, rng.standard_normal(N_DRAWS))))
        served += factor[:, None] * (np.array(use.machines) * cover)[None, :]
    held = (served >= 1 - 1e-9) | ~busy[None, :]
    return float(held.all(axis=1).mean())


def _pairs(offer: Offer, z: np.ndarray) -> list[tuple[Range, np.ndarray]]:
    assert offer.input_tok_per_s is not None and offer.output_tok_per_s is not None
    return [(offer.input_tok_per_s, z), (offer.output_tok_per_s, z)]


def _factor(rate: Range, z: np.ndarray) -> np.ndarray:
    """The drawn speed over the point value: z · (high − value)/1.645 above, z · (value − low)/1.645 below, above 0."""
    up, down = (rate.high - rate.value) / Z_90, (rate.value - rate.low) / Z_90
    drawn = rate.value + np.where(z > 0, z * up, z * down)
    factor: np.ndarray = np.maximum(drawn / rate.value, 1e-9)
    return factor

"""How often a plan would meet the needs, by drawing what its offers really do; and what a budget of bad ends promises.

A draw moves each quantity of each offer by a normal number of its own, scaled to either side of its 90% interval:
both speeds together, and price, watts, each latency and quality apart. Variants of one choice share their
draws. Enter at `share_that_holds`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.columns import columns_of
from solvent.choose.mix.plan import Plan, Use
from solvent.choose.offers.demand import Demand
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

N_DRAWS = 1_000
SEED = 20_261_121
# A 90% interval ends 1.645 standard deviations from the middle of a normal.
Z_90 = 1.6448536269514722
# What doubles lose in a sum of some hundred products, relative.
_ROUNDING = 1e-9


@dataclass(slots=True)
class _Day:
    """What N_DRAWS draws of a plan add up to: share served and watts (N, 24), USD (N,), and whether all is well."""

    served: Floats
    watts: Floats
    usd: Floats
    well: Bools


def share_that_holds(plan: Plan, offers: dict[str, Offer], demand: Demand, needs: Needs) -> float:
    """Share of N_DRAWS draws in which every hour is served and every need is met; choices are independent.

    An API serves its planned share and no more: what machines fail to do isn't silently bought.
    """
    day = _Day(np.zeros((N_DRAWS, 24)), np.zeros((N_DRAWS, 24)), np.zeros(N_DRAWS), np.ones(N_DRAWS, bool))
    rng = np.random.default_rng(SEED)
    luck: dict[str, Floats] = {}
    for use in plan.uses:
        offer = offers[use.offer.id]
        z = luck.setdefault(offer.luck(), rng.standard_normal((6, N_DRAWS)))
        day.well &= _meets_alone(offer, needs, z[3:])
        if offer.is_api:
            day.served += np.array(use.share)
            day.usd += use.usd_per_day
        else:
            _runs(day, use, offer, (demand, needs), z)
    busy = np.array([hour.input_tok + hour.cache_read_tok + hour.output_tok > 0 for hour in demand.hours])
    day.well &= ((day.served >= 1 - _ROUNDING) | ~busy).all(axis=1)
    if needs.power_cap_w is not None:
        day.well &= (day.watts[:, busy] <= needs.power_cap_w * (1 + _ROUNDING)).all(axis=1)
    if needs.budget_usd_per_day is not None:
        day.well &= day.usd <= needs.budget_usd_per_day * (1 + _ROUNDING)
    return float(day.well.mean())


def _runs(day: _Day, use: Use, offer: Offer, asked: tuple[Demand, Needs], z: Floats) -> None:
    """Adds what the offer's machines serve, draw and cost."""
    assert offer.input_tok_per_s is not None and offer.output_tok_per_s is not None and offer.usd_per_hour is not None
    demand, needs = asked
    n = np.array(use.machines)
    cover = columns_of([offer], demand, needs.headroom, None).machines.cover[0]
    slower = np.minimum(_factor(offer.input_tok_per_s, z[0]), _factor(offer.output_tok_per_s, z[0]))
    day.served += slower[:, None] * (n * cover)[None, :]
    hours = max(use.machines) * len(offer.paid_hours()) if offer.billed == "day" else sum(use.machines)
    day.usd += hours * drawn(offer.usd_per_hour, z[1])
    if offer.watts is not None:
        day.watts += drawn(offer.watts, z[2])[:, None] * (n * (cover > 0))[None, :]


def _meets_alone(offer: Offer, needs: Needs, z: Floats) -> Bools:
    """Draws in which the offer meets the latencies and the quality floor; what isn't asked for always passes."""
    well = np.ones(N_DRAWS, bool)
    for found, most, number in ((offer.ttft_s, needs.ttft_s, z[0]), (offer.itl_s, needs.itl_s, z[1])):
        if found is not None and most is not None:
            well &= drawn(found, number) <= most * (1 + _ROUNDING)
    score = offer.score(needs.quality_metric)
    if score is not None and needs.quality_floor is not None:
        well &= drawn(score, z[2]) >= needs.quality_floor * (1 - _ROUNDING)
    return well


def drawn(number: Range, z: Floats) -> Floats:
    """value + z · (high − value)/1.645 above, z · (value − low)/1.645 below."""
    up, down = (number.high - number.value) / Z_90, (number.value - number.low) / Z_90
    result: Floats = number.value + np.where(z > 0, z * up, z * down)
    return result


def _factor(rate: Range, z: Floats) -> Floats:
    """The drawn speed over the point value, above 0."""
    factor: Floats = np.maximum(drawn(rate, z) / rate.value, 1e-9)
    return factor


def chance_beyond(n_offers: int, n_bad: int) -> float:
    """The most by which a constraint that holds with `n_bad` of `n_offers` at their bad ends can fail.

    2^−n · ((1 − μ) C(n, ⌊ν⌋) + Σ_{l > ⌊ν⌋} C(n, l)), ν = (Γ + n)/2, μ = ν − ⌊ν⌋: for independent deviations that are
    as likely up as down and stay inside their intervals. 0 where all may be bad at once.
    Source: Bertsimas & Sim, The price of robustness, Operations Research 52(1), 2004, Theorem 3.
    """
    if n_bad >= n_offers:
        return 0.0
    whole, rest = divmod(n_bad + n_offers, 2)
    more = sum(math.comb(n_offers, count) for count in range(whole + 1, n_offers + 1))
    chance = ((1 - rest / 2) * math.comb(n_offers, whole) + more) / 2.0**n_offers
    return min(1.0, float(chance))

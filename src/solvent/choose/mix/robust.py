"""A plan that holds at the bad ends of the intervals, what that costs, and how often the cheaper one would fail.

The robust plan is the cheapest mix of offers of which `needs.n_bad_ends` are at their bad 90% ends at once (slower,
dearer, later, hotter, worse); of all, where nobody says how many, which is more than a draw is likely to bring.
`draws` says how often each plan holds. Enter at `robust_mix`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from solvent.choose.mix.draws import chance_beyond, share_that_holds
from solvent.choose.mix.plan import Infeasible, Plan, Use
from solvent.choose.mix.solve import GAP, TIME_LIMIT_S, cheapest_mix, plan_or_none
from solvent.choose.offers.demand import Demand
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer
from solvent.choose.offers.screen import at_bad_ends, bad_alone
from solvent.errors import ChoiceError

# Plans of these budgets are told beside the chosen one, each found within this time.
TOLD_BUDGETS = (0, 1, 2, 3)
BUDGET_TIME_LIMIT_S = 3.0


@dataclass(frozen=True, slots=True)
class Budget:
    """The cheapest plan with so many offers at their bad ends at once. n_bad: None: all.   usd_per_day: at point
    prices.   holds: share of the draws.   n_uncertain: machine choices in it whose speed has an interval;
    beyond: the most by which the served share of an hour can fail (`chance_beyond`)."""

    n_bad: int | None
    usd_per_day: float
    holds: float
    n_uncertain: int
    beyond: float


@dataclass(frozen=True, slots=True)
class Robust:
    """point: the plan at the point values; bad: with the bad ends that the needs ask for. price_usd_per_day: what the
    second costs more than the first, both at point prices; None where either doesn't exist.   point_holds, bad_holds:
    share of joint draws in which each serves every hour and meets every need.   budgets: of rising n_bad."""

    point: Plan | Infeasible
    bad: Plan | Infeasible
    price_usd_per_day: float | None
    bad_at_point_usd_per_day: float | None
    point_holds: float | None
    bad_holds: float | None
    budgets: tuple[Budget, ...] = ()


def robust_mix(
    offers: Sequence[Offer], demand: Demand, needs: Needs, *, gap: float = GAP, time_limit_s: float = TIME_LIMIT_S
) -> Robust:
    """Both plans, the difference, and the budgets between. Without any interval they are the same plan."""
    point = cheapest_mix(offers, demand, replace(needs, n_bad_ends=0), gap=gap, time_limit_s=time_limit_s)
    worst = offers_asked(offers, needs.n_bad_ends)
    same = needs.n_bad_ends == 0 or all(at_bad_ends(offer) == offer for offer in offers)
    bad = point if same else cheapest_mix(worst, demand, needs, gap=gap, time_limit_s=time_limit_s)
    by_id = {offer.id: offer for offer in offers}
    at_point = usd_at(bad, by_id) if isinstance(bad, Plan) else None
    price = None
    if isinstance(point, Plan) and at_point is not None:
        # Both are optimal to a gap only: what lies below it is no price.
        price = max(0.0, at_point - point.usd_per_day)
    held = [share_that_holds(plan, by_id, demand, needs) if isinstance(plan, Plan) else None for plan in (point, bad)]
    told = _budgets(offers, demand, needs, {0: point, needs.n_bad_ends: bad}, time_limit_s)
    return Robust(point, bad, price, at_point, held[0], held[1], told)


def offers_asked(offers: Sequence[Offer], n_bad: int | None) -> list[Offer]:
    """The offers as they are planned with: all at their bad ends; or only in what each must meet alone; or none.

    An offer that may be the one at its bad end must meet latency and quality there, so any budget above 0 asks it.
    """
    if n_bad is None:
        return [at_bad_ends(offer) for offer in offers]
    return [bad_alone(offer) for offer in offers] if n_bad else list(offers)


def _budgets(
    offers: Sequence[Offer], demand: Demand, needs: Needs, known: dict[int | None, Plan | Infeasible], limit_s: float
) -> tuple[Budget, ...]:
    """The budgets that make a difference; none where fewer than two machine offers have intervals."""
    moving = {offer.luck() for offer in offers if not offer.is_api and at_bad_ends(offer) != bad_alone(offer)}
    n_uncertain = len(moving)
    if n_uncertain < 2:
        return ()
    asked = {*(n for n in TOLD_BUDGETS if n < n_uncertain), needs.n_bad_ends} - {None}
    by_id, found = {offer.id: offer for offer in offers}, []
    for n_bad in (*sorted(n for n in asked if n is not None), None):
        plan = known.get(n_bad) or _plan(offers, demand, needs, n_bad, min(limit_s, BUDGET_TIME_LIMIT_S))
        if isinstance(plan, Plan):
            found.append(_budget(plan, n_bad, by_id, (demand, needs)))
    return tuple(found)


def _plan(offers: Sequence[Offer], demand: Demand, needs: Needs, n_bad: int | None, limit_s: float) -> Plan | None:
    try:
        return plan_or_none(offers_asked(offers, n_bad), demand, replace(needs, n_bad_ends=n_bad), time_limit_s=limit_s)
    except ChoiceError:  # none found in the time: a line less, no fault
        return None


def _budget(plan: Plan, n_bad: int | None, by_id: dict[str, Offer], asked: tuple[Demand, Needs]) -> Budget:
    machines = [by_id[use.offer.id] for use in plan.uses if not use.offer.is_api]
    moving = len({one.luck() for one in machines if _speed_moves(one)})
    beyond = chance_beyond(moving, moving if n_bad is None else n_bad)
    return Budget(n_bad, usd_at(plan, by_id), share_that_holds(plan, by_id, *asked), moving, beyond)


def _speed_moves(offer: Offer) -> bool:
    rates = (offer.input_tok_per_s, offer.output_tok_per_s)
    return any(rate is not None and rate.low < rate.high for rate in rates)


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

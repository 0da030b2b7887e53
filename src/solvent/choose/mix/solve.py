"""The cheapest mix of offers over a day that meets the needs, or the needs that would have to give way.

Screens the offers, prunes what can't matter, solves the mixed-integer program, and prices the counts again exactly.
Reads the point values of the offers, and with `needs.n_bad_ends` so many of the bad ends at once (`budgeted`); for
all bad ends hand in offers `at_bad_ends` (`robust` does so).
Enter at `cheapest_mix`; formulas in docs/reference/choice.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from solvent.choose.mix.budgeted import protected_plan
from solvent.choose.mix.columns import columns_of
from solvent.choose.mix.plan import Infeasible, Plan, plan_of
from solvent.choose.mix.prune import pruned
from solvent.choose.mix.search import minimise
from solvent.choose.offers.demand import Demand
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer
from solvent.choose.offers.screen import screened
from solvent.errors import ChoiceError

GAP = 1e-3
TIME_LIMIT_S = 18.0
# What doubles lose in a sum of some hundred products, relative: a budget told to the last digit is kept.
ROUNDING = 1e-12


def cheapest_mix(
    offers: Sequence[Offer], demand: Demand, needs: Needs, *, gap: float = GAP, time_limit_s: float = TIME_LIMIT_S
) -> Plan | Infeasible:
    """The plan of least cost a day, at most `gap` (relative) above the least possible; 0 asks for the optimum.

    Raises: ChoiceError where there are no offers or no demand.
    """
    from solvent.choose.mix.relax import infeasible

    plan = plan_or_none(offers, demand, needs, gap=gap, time_limit_s=time_limit_s)
    return infeasible(offers, demand, needs) if plan is None else plan


def plan_or_none(
    offers: Sequence[Offer], demand: Demand, needs: Needs, *, gap: float = GAP, time_limit_s: float = TIME_LIMIT_S
) -> Plan | None:
    """As `cheapest_mix`, without asking what would have to relax."""
    if not offers:
        raise ChoiceError("offers", "none", "at least one offer", "add [[choices]]")
    total = demand.total()
    if total.input_tok + total.cache_read_tok + total.output_tok <= 0:
        raise ChoiceError("demand", "no tokens in any hour", "a day that asks for something", "add [demand] or --log")
    usable, out = screened(offers, needs)
    find = protected_plan if needs.n_bad_ends else _nominal_plan
    plan = find(usable, demand, needs, gap, time_limit_s)
    budget = needs.budget_usd_per_day
    if plan is not None and budget is not None and plan.bound_usd_per_day <= budget < plan.usd_per_day:
        # A cheaper plan that the gap hides may keep the budget.
        plan = find(usable, demand, needs, 0.0, time_limit_s)
    if plan is None or (budget is not None and plan.usd_per_day > budget * (1 + ROUNDING)):
        return None
    return replace(plan, excluded=tuple((offer, tuple(reasons)) for offer, reasons in out))


def _nominal_plan(
    usable: Sequence[Offer], demand: Demand, needs: Needs, gap: float, time_limit_s: float
) -> Plan | None:
    columns = pruned(columns_of(usable, demand, needs.headroom, needs.power_cap_w))
    counts = minimise(columns, gap, time_limit_s)
    return None if counts is None else plan_of(usable, demand, columns, counts)

"""How long moving takes against the notice that is given, and the revenue of the days between.

A plan that exists is no way out on Friday if moving to it takes a month. Enter at `gap_of`.
"""

from __future__ import annotations

from dataclasses import dataclass

from solvent.choose.economics import DAYS_PER_MONTH, Economics
from solvent.choose.stress.scenario_file import Scenario

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Gap:
    """Days, each value, low, high. moving: person-days ÷ people.   without: of them, those after the notice ran out.

    revenue_usd: what the product takes in those days by the share of its compute that stops; at most that is lost.
    None where revenue, or the share that stops, isn't known.
    """

    people: int
    moving_days: Triple
    without_days: Triple
    revenue_usd: Triple | None


def gap_of(scenario: Scenario, economics: Economics, stops_share: float | None) -> Gap | None:
    """without = max(0, person_days ÷ people − notice_days);   revenue = without ÷ days of a month × revenue × share.

    None where the scenario gives no notice, no moving, or not how many people do it.
    """
    move = scenario.migration
    if move is None or move.people is None or scenario.notice_days is None:
        return None
    value, low, high = (days / move.people for days in (move.person_days, move.low, move.high))
    moving = (value, low, high)
    notice = scenario.notice_days
    without = (max(0.0, value - notice), max(0.0, low - notice), max(0.0, high - notice))
    revenue = economics.revenue_usd
    lost = None
    if revenue is not None and stops_share is not None and economics.per == "month":
        a_day = revenue.value * stops_share / DAYS_PER_MONTH
        lost = (without[0] * a_day, without[1] * a_day, without[2] * a_day)
    return Gap(move.people, moving, without, lost)

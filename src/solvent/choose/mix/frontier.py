"""What a need costs: the cheapest plan under every value of it that makes a difference (epsilon-constraint).

Latency and quality take the values that offers have; watts go down from what the cheapest plan draws. Each point is a
solved plan; points that another one beats in both are left out.
Enter at `frontier`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from solvent.choose.mix.plan import Plan
from solvent.choose.mix.solve import plan_or_none
from solvent.choose.offers.demand import Demand
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer
from solvent.errors import ChoiceError

Axis = Literal["ttft_s", "itl_s", "quality_floor", "power_cap_w"]
AXES: tuple[Axis, ...] = ("ttft_s", "itl_s", "quality_floor", "power_cap_w")
MAX_POINTS = 16
# A frontier is many solutions: each may stop at this gap or after this time.
_GAP, _TIME_LIMIT_S = 1e-3, 2.0


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """at: the need's value; reached: what the plan itself has of it (of a latency the latest of its offers)."""

    at: float
    plan: Plan


def frontier(axis: Axis, offers: Sequence[Offer], demand: Demand, needs: Needs) -> tuple[FrontierPoint, ...]:
    """Points from the loosest to the strictest, of rising cost; the other needs hold throughout."""

    def solved(value: float | None) -> Plan | None:
        changed = replace(needs, **{axis: value})  # type: ignore[arg-type]
        try:
            return plan_or_none(offers, demand, changed, gap=_GAP, time_limit_s=_TIME_LIMIT_S)
        except ChoiceError:  # none found in the time: a point less, no fault
            return None

    points = _power(solved) if axis == "power_cap_w" else _by_values(axis, offers, needs, solved)
    return tuple(_undominated(points))


def _by_values(
    axis: Axis, offers: Sequence[Offer], needs: Needs, solved: Callable[[float | None], Plan | None]
) -> list[FrontierPoint]:
    if axis == "quality_floor":
        scores = {score.value for offer in offers if (score := offer.score(needs.quality_metric))}
        values = sorted(scores)
    else:
        latencies = {found.value for offer in offers if (found := getattr(offer, axis))}
        values = sorted(latencies, reverse=True)
    points = []
    for value in _thinned(values):
        plan = solved(value)
        if plan is not None:
            points.append(FrontierPoint(value, plan))
    return points


def _thinned(values: list[float]) -> list[float]:
    """At most MAX_POINTS of them, both ends kept."""
    if len(values) <= MAX_POINTS:
        return values
    return [values[round(k * (len(values) - 1) / (MAX_POINTS - 1))] for k in range(MAX_POINTS)]


def _power(solved: Callable[[float | None], Plan | None]) -> list[FrontierPoint]:
    """Each cap a little below what the plan before draws; at most MAX_POINTS steps, the strictest kept."""
    points: list[FrontierPoint] = []
    cap: float | None = None
    for _ in range(MAX_POINTS):
        plan = solved(cap)
        if plan is None:
            break
        points.append(FrontierPoint(plan.watts_peak, plan))
        if plan.watts_peak <= 0:
            break
        # Ten steps down to nothing, or the next plan below where plans lie further apart.
        cap = min(plan.watts_peak * (1 - 1e-6), max(0.0, plan.watts_peak - points[0].at / (MAX_POINTS - 4)))
    return points


def _undominated(points: list[FrontierPoint]) -> list[FrontierPoint]:
    """A stricter point that costs no more (within the gap) makes the looser one pointless."""
    kept: list[FrontierPoint] = []
    for point in points:
        while kept and kept[-1].plan.usd_per_day >= point.plan.usd_per_day * (1 - _GAP):
            kept.pop()
        kept.append(point)
    return kept

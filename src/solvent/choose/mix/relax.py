"""Where no plan meets the needs: which need would have to give way, and by how much.

Each need alone first; its least change is found among the values that the offers themselves have, so it is exact.
Where no single one is enough: the fewest that are, by dropping all and taking back what isn't needed.
Enter at `infeasible`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from solvent.choose.mix.plan import Infeasible, Plan, Relaxation
from solvent.choose.offers.demand import Demand
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer
from solvent.choose.offers.screen import reasons_against, screened

NAMES = (
    "ttft_s",
    "itl_s",
    "quality_floor",
    "context_tok",
    "regions",
    "barred_vendors",
    "power_cap_w",
    "budget_usd_per_day",
    "headroom",
)
_LABELS = {
    "ttft_s": ("time to first token", "s", "at most"),
    "itl_s": ("inter-token latency", "s", "at most"),
    "quality_floor": ("quality floor", "", "at least"),
    "context_tok": ("context", "tokens", "at least"),
    "regions": ("regions", "", ""),
    "barred_vendors": ("barred vendors", "", ""),
    "power_cap_w": ("power cap", "W", "at most"),
    "budget_usd_per_day": ("budget", "USD/day", "at most"),
    "headroom": ("headroom", "", "at least"),
}
# A relaxed plan need only exist: it is found faster with a wider gap. A budget is told closer.
_GAP, _BUDGET_GAP = 1e-3, 1e-6
# Caps and headroom are told to this part of what is asked for.
_CLOSE = 1e-6
_MAX_HALVINGS = 26


@dataclass(frozen=True, slots=True)
class _Case:
    offers: Sequence[Offer]
    demand: Demand

    def plan(self, needs: Needs, gap: float = _GAP) -> Plan | None:
        from solvent.choose.mix.solve import plan_or_none

        return plan_or_none(self.offers, self.demand, needs, gap=gap)


def infeasible(offers: Sequence[Offer], demand: Demand, needs: Needs) -> Infeasible:
    """Why there is no plan: needs that would be enough to relax, alone or together, each by the least that is."""
    case = _Case(offers, demand)
    stated = [name for name in NAMES if _is_stated(needs, name)]
    usable, out = screened(offers, needs)
    excluded = tuple((offer, tuple(reasons)) for offer, reasons in out)
    alone = [found for name in stated if (found := _least(case, needs, name))]
    if alone:
        return Infeasible(_headline(offers, usable), tuple(alone), (), excluded)
    bare = _without(needs, stated)
    if case.plan(bare) is None:
        return Infeasible(_capacity_line(case, bare), (), (), excluded)
    return Infeasible(_headline(offers, usable), (), tuple(_fewest(case, needs, stated)), excluded)


def _headline(offers: Sequence[Offer], usable: Sequence[Offer]) -> str:
    if not usable:
        return f"none of {len(offers)} offers meets every need"
    return f"{len(usable)} of {len(offers)} offers meet every need, but no mix of them meets demand, budget and power"


def _is_stated(needs: Needs, name: str) -> bool:
    return getattr(needs, name) not in (None, ()) and (name, needs.headroom) != ("headroom", 0.0)


def _without(needs: Needs, names: Sequence[str]) -> Needs:
    nothing = {"regions": (), "barred_vendors": (), "headroom": 0.0}
    changes = {name: nothing.get(name) for name in names}
    return replace(needs, **changes)  # type: ignore[arg-type]


def _fewest(case: _Case, needs: Needs, stated: Sequence[str]) -> list[Relaxation]:
    """Of the smallest sets of needs without which there is a plan the one with the cheapest, then the least of each.

    Each is measured with those before it at what was enough and those after it dropped.
    """
    dropped = _smallest(case, needs, stated)
    relaxed, found = _without(needs, dropped), []
    for name in dropped:
        # The others stay dropped while this one is measured, then it is put back at what is enough.
        least = _least(case, replace(relaxed, **{name: getattr(needs, name)}), name)
        assert least is not None
        found.append(least)
        if least.enough is not None and name not in ("regions", "barred_vendors"):
            relaxed = replace(relaxed, **{name: least.enough})  # type: ignore[arg-type]
    return found


def _smallest(case: _Case, needs: Needs, stated: Sequence[str]) -> tuple[str, ...]:
    """No single need is enough, all of them are."""
    for size in range(2, len(stated)):
        plans = [(names, case.plan(_without(needs, names))) for names in combinations(stated, size)]
        found = [(plan.usd_per_day, names) for names, plan in plans if plan is not None]
        if found:
            return min(found)[1]
    return tuple(stated)


def _least(case: _Case, needs: Needs, name: str) -> Relaxation | None:
    """The least change of one need that lets a plan exist, the others as they stand; None where none does."""
    plan = case.plan(_without(needs, [name]))
    if plan is None:
        return None
    if name == "budget_usd_per_day":
        plan = case.plan(_without(needs, [name]), _BUDGET_GAP) or plan
        return _relaxation(needs, name, plan.usd_per_day, plan)
    if name in ("regions", "barred_vendors"):
        return _names_needed(case, needs, name)
    if name == "power_cap_w":
        return _least_cap(case, needs, plan)
    if name == "headroom":
        return _most_headroom(case, needs, plan)
    steps = _steps(case, needs, name)
    enough, best = _first(steps, lambda value: case.plan(replace(needs, **{name: value})))  # type: ignore[arg-type]
    return _relaxation(needs, name, enough, best or plan)


def _steps(case: _Case, needs: Needs, name: str) -> list[float]:
    """The values that offers have which fail only this need, from the nearest to the wanted one outwards."""
    bare = _without(needs, [name])
    values = set()
    for offer in case.offers:
        if not reasons_against(offer, bare):
            values |= {reason.at for reason in reasons_against(offer, needs) if reason.at is not None}
    return sorted(values, reverse=name in ("quality_floor", "context_tok"))


def _least_cap(case: _Case, needs: Needs, plan: Plan) -> Relaxation:
    """The least peak of any plan, by halving: each plan found lowers it to what the plan itself draws."""
    low, best = needs.power_cap_w or 0.0, plan
    for _ in range(_MAX_HALVINGS):
        if best.watts_peak - low <= _CLOSE * best.watts_peak:
            break
        # First just below the plan: machines come whole, and often there is no plan between.
        for cap in (best.watts_peak * (1 - _CLOSE), (low + best.watts_peak) / 2):
            found = case.plan(replace(needs, power_cap_w=cap))
            if found is None:
                low = cap
                break
            best = found
    return _relaxation(needs, "power_cap_w", best.watts_peak, best)


def _most_headroom(case: _Case, needs: Needs, plan: Plan) -> Relaxation:
    """The most of it that leaves a plan, by halving, rounded down."""
    low, high, best = 0.0, needs.headroom, plan
    while high - low > _CLOSE:
        middle = (low + high) / 2
        found = case.plan(replace(needs, headroom=middle))
        low, high, best = (low, middle, best) if found is None else (middle, high, found)
    return _relaxation(needs, "headroom", low, best)


def _first(steps: Sequence[float], attempt: Callable[[float], Plan | None]) -> tuple[float | None, Plan | None]:
    """The first step with a plan, by bisection: a need that is relaxed further never loses a plan."""
    low, high, best = 0, len(steps), None
    while low < high:
        middle = (low + high) // 2
        plan = attempt(steps[middle])
        if plan is None:
            low = middle + 1
        else:
            high, best = middle, plan
    return (steps[low], best) if low < len(steps) else (None, None)


def _names_needed(case: _Case, needs: Needs, name: str) -> Relaxation | None:
    """The one region to allow, or vendor to let in, that gives the cheapest plan; else all of them."""
    wanted: tuple[str, ...] = getattr(needs, name)
    if name == "regions":
        options = sorted({offer.region for offer in case.offers if offer.region} - set(wanted))
        changes = [(option, (*wanted, option)) for option in options]
    else:
        changes = [(vendor, tuple(other for other in wanted if other != vendor)) for vendor in wanted]
    found = []
    for option, names in changes:
        plan = case.plan(replace(needs, **{name: names}))  # type: ignore[arg-type]
        if plan is not None:
            found.append((plan.usd_per_day, option, plan))
    best = min(found, key=lambda entry: entry[:2], default=None)
    plan = best[2] if best else case.plan(_without(needs, [name]))
    assert plan is not None
    text = ", ".join(wanted)
    verb = "allow" if name == "regions" else "let in"
    line = f"{_LABELS[name][0]} {text}: {verb} {best[1] if best else 'any'} ({dollars(plan.usd_per_day)} USD/day)"
    return Relaxation(name, text, best[1] if best else None, plan.usd_per_day, line)


def _relaxation(needs: Needs, name: str, enough: float | None, plan: Plan) -> Relaxation:
    label, unit, bound = _LABELS[name]
    wanted = getattr(needs, name)
    change = "drop it: offers that don't state theirs would serve"
    if enough is not None:
        change = f"{bound} {enough:,.6g}"
        if wanted:
            change += f" ({enough / wanted - 1:+.1%})"
    text = f"{label} {bound} {wanted:,.6g} {unit}".rstrip()
    return Relaxation(name, wanted, enough, plan.usd_per_day, f"{text}: {change} ({dollars(plan.usd_per_day)} USD/day)")


def _capacity_line(case: _Case, bare: Needs) -> str:
    """Without any need there still is no plan: no usable offer at all, or demand above all capacity."""
    usable, out = screened(case.offers, bare)
    if not usable:
        reason = out[0][1][0].line if out else "there is none"
        return f"no offer could serve at all, whatever the needs; {out[0][0].id if out else ''}: {reason}"
    share = _servable_share(case, bare)
    return (
        f"demand is above all capacity: the machines that there are serve {share:.1%} of it in the hardest hour; "
        f"add machines, an API, or ask for {share:.1%} of the demand"
    )


def _servable_share(case: _Case, bare: Needs) -> float:
    """The largest share of the demand that some plan serves, by bisection to 0.1%."""
    low, high = 0.0, 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if _Case(case.offers, case.demand.scaled(middle)).plan(bare) else (low, middle)
    return low


def dollars(usd: float) -> str:
    """Cents from a dollar up, three digits below: a cheap day is no free one."""
    return f"{usd:,.2f}" if usd == 0 or abs(usd) >= 1 else f"{usd:.3g}"

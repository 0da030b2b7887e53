"""The cheapest new plan under a scenario: the same demand over the offers that are left, at the prices that it makes.

A vendor barred or a region lost takes offers away; frozen capacity keeps machines at today's plan; a power cap and
changed prices go to the offers; use goes to the demand. What it doesn't do: solve (`choose.mix`).
Enter at `replanner_of` (a file) or `Replanner`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from solvent.choose.economics import DAYS_PER_MONTH
from solvent.choose.mix.plan import Infeasible, Plan
from solvent.choose.mix.solve import cheapest_mix
from solvent.choose.offers.check_needs import checked
from solvent.choose.offers.demand import Demand, from_statement
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.read import Market, read_offers
from solvent.choose.offers.record import Offer, Range
from solvent.choose.stress.assumptions import combined, name_of, scope_of
from solvent.choose.stress.scenario_file import LARGEST, Migration, Power, Scenario

DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Replan:
    """compute_usd: of the plan, a month; None where there is none.   lines: what would have to relax.
    uses: (offer, share of the plan's cost).   migration_usd: value, low, high; once.   lost: who or what is gone."""

    feasible: bool
    compute_usd: float | None
    uses: tuple[tuple[str, float], ...]
    lines: tuple[str, ...]
    migration_usd: tuple[float, float, float] | None
    lost: str


class Replanner:
    """Plans over one set of offers, demand and needs."""

    def __init__(self, offers: Sequence[Offer], demand: Demand, needs: Needs, power: Power | None = None) -> None:
        self.offers, self.demand, self.needs, self.power = tuple(offers), demand, needs, power
        self.today = cheapest_mix(self.offers, demand, needs)

    def base(self) -> Replan:
        """The cheapest plan as things are."""
        return _told(self.today, None, "")

    def under(self, scenario: Scenario, vendors: Sequence[str]) -> Replan | None:
        """The plan under a scenario; None where it changes nothing that a plan rests on.

        vendors: who serves the product today, the largest first.
        """
        values = combined((change.key, change.value) for change in scenario.changes)
        offers, demand = changed(self.offers, values, self.power), self.demand.scaled(growth(values))
        needs = self.needs
        lost: list[str] = []
        if scenario.bars:
            barred = tuple(self._largest_vendor(vendors) if name == LARGEST else name for name in scenario.bars)
            needs = replace(needs, barred_vendors=(*needs.barred_vendors, *barred))
            lost += barred
        if scenario.loses_regions:
            gone = {self._largest_region() if name == LARGEST else name for name in scenario.loses_regions}
            left = {o.region for o in offers if o.region} - gone
            wanted = tuple(sorted(left & set(needs.regions) if needs.regions else left))
            # An offer whose region nobody states may be in the one that is lost.
            offers = tuple(o for o in offers if o.region is not None and o.region in wanted)
            lost += sorted(filter(None, gone))
        if scenario.freezes_capacity:
            offers = self._frozen(offers)
        # A plan that draws no power of its own has none to lose.
        if scenario.power_cap_share is not None and isinstance(self.today, Plan) and self.today.watts_peak:
            needs = replace(needs, power_cap_w=self.today.watts_peak * scenario.power_cap_share)
        if offers == self.offers and needs == self.needs and demand == self.demand:
            return None
        if not offers:
            return Replan(False, None, (), ("none of the offers is left",), _migration(scenario.migration), _and(lost))
        return _told(cheapest_mix(offers, demand, needs), scenario.migration, _and(lost))

    def at(self, values: Mapping[str, float]) -> Replan | None:
        """The plan where assumptions alone move; None where no offer and no demand does."""
        offers, demand = changed(self.offers, values, self.power), self.demand.scaled(growth(values))
        if offers == self.offers and demand == self.demand:
            return None
        return _told(cheapest_mix(offers, demand, self.needs), None, "")

    def _largest_vendor(self, vendors: Sequence[str]) -> str:
        known = {offer.vendor for offer in self.offers}
        spent = self._spent("vendor")
        return next((v for v in vendors if v in known), next(iter(spent), vendors[0] if vendors else "unknown"))

    def _largest_region(self) -> str | None:
        return next(iter(self._spent("region")), None)

    def _spent(self, field: str) -> dict[str, float]:
        """Today's plan by vendor or region, the largest first."""
        found: dict[str, float] = {}
        for use in self.today.uses if isinstance(self.today, Plan) else ():
            name = getattr(use.offer, field)
            if name:
                found[name] = found.get(name, 0.0) + use.usd_per_day
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def _frozen(self, offers: Sequence[Offer]) -> tuple[Offer, ...]:
        """Machines as many as today's plan has of each; none of those that it doesn't use."""
        uses = self.today.uses if isinstance(self.today, Plan) else ()
        n = {use.offer.id: max(use.machines) for use in uses}
        kept = [o if o.is_api else replace(o, n_machines_max=n[o.id]) for o in offers if o.is_api or n.get(o.id)]
        return tuple(kept)


def merged(scenarios: Sequence[Scenario]) -> Scenario:
    """Several scenarios as one: all changes, all that is lost, the tighter cap, the larger move (one moves once)."""
    first = scenarios[0]
    caps = [s.power_cap_share for s in scenarios if s.power_cap_share is not None]
    moves = [s.migration for s in scenarios if s.migration is not None]
    return first.model_copy(update={
        "changes": tuple(change for s in scenarios for change in s.changes),
        "bars": tuple(dict.fromkeys(name for s in scenarios for name in s.bars)),
        "loses_regions": tuple(dict.fromkeys(name for s in scenarios for name in s.loses_regions)),
        "freezes_capacity": any(s.freezes_capacity for s in scenarios),
        "power_cap_share": min(caps, default=None),
        "migration": max(moves, key=lambda m: m.person_days * m.usd_per_person_day, default=None),
    })  # fmt: skip


def replanner_of(path: Path, statement: Mapping[str, Any], power: Power | None, day: date) -> Replanner:
    """Plans over an offers file and the demand of a statement, unless the file states its own.

    Raises: ChoiceError, PriceError (the file, its prices, no demand, nothing to plan with).
    """
    from solvent.money.project import LoadedProject, Project
    from solvent.money.project_catalogue import catalogue_of

    tables = read_offers(path)
    loaded = LoadedProject(Project(), None, Path.cwd())
    market = Market(lambda: catalogue_of(loaded, None), day)
    stated = tables.file.demand.outputs_per_day is not None
    demand = tables.demand(None if stated else from_statement(statement, str(path)))
    offers = tables.offers(market)
    return Replanner(offers, demand, checked(tables.needs(), offers, str(tables.path)), power)


def growth(values: Mapping[str, float]) -> float:
    """How many times today's outputs a state asks for."""
    return values.get("usage", 1.0) * values.get("customers", 1.0)


def changed(offers: Sequence[Offer], values: Mapping[str, float], power: Power | None = None) -> tuple[Offer, ...]:
    """The offers at a state's prices: API prices, rents, residual value, electricity, output of a machine.

    A rented machine's rent rises by [power]'s measured share of it: the watts that an offer states are what its site
    holds ready, more than is drawn. An owned machine pays for its stated watts; what hosting and staff add stays.
    """
    return tuple(_at(offer, values, power) for offer in offers)


def _at(offer: Offer, values: Mapping[str, float], power: Power | None) -> Offer:
    if offer.is_api:
        factor = 1.0
        for key, value in values.items():
            scope = scope_of(key)
            if name_of(key) == "api_price" and all(word in (offer.vendor, "text") for word in scope):
                factor *= value
        prices = offer.price_usd_per_mtok
        scaled = None if prices is None else {kind: usd * factor for kind, usd in prices.items()}
        return offer if factor == 1.0 else replace(offer, price_usd_per_mtok=scaled)
    hour = offer.usd_per_hour
    if hour is not None and offer.kind == "rented":
        dearer = (values.get("power_price", 1.0) - 1.0) * (power.share if power else 0.0)
        hour = _plus(_times(hour, values.get("rental_price", 1.0)), hour.value * dearer)
    elif hour is not None:
        if offer.residual_usd and offer.life_years:
            lost = offer.residual_usd * (1.0 - values.get("residual_value", 1.0))
            hour = _plus(hour, lost / (offer.life_years * DAYS_PER_YEAR * len(offer.paid_hours())))
        if offer.watts is not None and offer.usd_per_kwh is not None:
            dearer = offer.usd_per_kwh * (values.get("power_price", 1.0) - 1.0)
            hour = _plus(hour, offer.watts.value / 1_000 * dearer)
    more = values.get("machine_output", 1.0)
    if hour == offer.usd_per_hour and more == 1.0:
        return offer
    read, write = offer.input_tok_per_s, offer.output_tok_per_s
    return replace(
        offer, usd_per_hour=hour, input_tok_per_s=None if read is None else _times(read, more),
        output_tok_per_s=None if write is None else _times(write, more),
    )  # fmt: skip


def _times(range_: Range, factor: float) -> Range:
    return replace(range_, value=range_.value * factor, low=range_.low * factor, high=range_.high * factor)


def _plus(range_: Range, more: float) -> Range:
    return replace(range_, value=range_.value + more, low=range_.low + more, high=range_.high + more)


def _told(plan: Plan | Infeasible, migration: Migration | None, lost: str) -> Replan:
    once = _migration(migration)
    if isinstance(plan, Infeasible):
        relax = [r.line for r in plan.relaxations] or [r.line for r in plan.together]
        return Replan(False, None, (), (plan.line, *relax), once, lost)

    total = plan.usd_per_day
    uses = tuple((use.offer.id, use.usd_per_day / total if total else 0.0) for use in plan.uses)
    return Replan(True, plan.usd_per_day * DAYS_PER_MONTH, uses, (), once, lost)


def _migration(migration: Migration | None) -> tuple[float, float, float] | None:
    if migration is None:
        return None
    usd = migration.usd_per_person_day
    return migration.person_days * usd, migration.low * usd, migration.high * usd


def _and(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))

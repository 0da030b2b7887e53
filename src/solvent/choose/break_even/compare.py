"""Draws the places, and compares them at a volume: costs, break-even volumes and months, the seller's side.

Draw 0 is the point estimate. Enter at `Compared`, made by `compare`. The closed forms are in `streams` and `seller`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from solvent.choose.break_even.file import ApiTable, MachineTable, Places, SubscriptionTable
from solvent.choose.break_even.seller import cost_usd_per_mtok, utilisation_that_pays
from solvent.choose.break_even.streams import (
    Amount,
    Api,
    Machine,
    Subscription,
    cumulative_api,
    cumulative_owned,
    cumulative_rented,
    cumulative_subscription,
    machines_for,
    monthly,
)
from solvent.choose.economics import SEED, Array
from solvent.choose.offers.record import Range
from solvent.choose.path.draws import Drawer

N_DRAWS = 2_000
# Nothing loses all of its value in a year; a draw beyond is held here.
MOST_LOST = 0.99


@dataclass(frozen=True, slots=True)
class Compared:
    """Everything drawn: places by id, growth a month (D,), and the horizon."""

    places: Places
    apis: Mapping[str, Api]
    subscriptions: Mapping[str, SubscriptionTable]
    plans: Mapping[str, Subscription]
    machines: Mapping[str, Machine]
    growth: Array
    months: int

    def cumulative(self, place: str, mtok: float, months: int) -> Array:
        """USD of serving `mtok` a month, growing, in the first `months` months. Machines and plans are whole."""
        if place in self.apis:
            found = cumulative_api(self.apis[place], mtok, self.growth, months)
        elif place in self.plans:
            plan = self.plans[place]
            n = np.maximum(1.0, np.ceil(mtok / np.asarray(plan.mtok_per_month)))
            found = cumulative_subscription(replace(plan, n=n), mtok, self.growth, months)
        else:
            machine = self.machines[place]
            n = machines_for(machine, mtok, self.growth, self.months)
            rented = self.is_rented(place)
            found = (
                cumulative_rented(machine, n, months) if rented else
                cumulative_owned(machine, n, mtok, self.growth, months)
            )  # fmt: skip
        return np.broadcast_to(np.asarray(found, np.float64), self.growth.shape)

    def is_other_model(self, place: str) -> bool:
        """Whether it sells a model that the machines don't run: until an open one does as well, no price compares."""
        api = self.apis.get(self.subscriptions[place].beyond if place in self.subscriptions else place)
        return api is not None and api.follower_after is not None

    def comparable(self, api: str) -> Api:
        """The API as it competes with a machine: one that an open model follows, from the month of the follower on,
        at the follower's price."""
        found = self.apis[api]
        if found.follower_after is None:
            return found
        price = found.usd_per_mtok * found.keeps ** np.ceil(found.follower_after) * found.follower_price
        return Api(price, found.keeps)

    def is_rented(self, machine: str) -> bool:
        return bool(np.any(np.asarray(self.machines[machine].usd_per_hour) > 0))

    def cost_usd_per_mtok(self, place: str, mtok: float) -> Array:
        """Mean cost of a million tokens over the horizon."""
        growth = cumulative_api(Api(1.0, 1.0), mtok, self.growth, self.months)
        return self.cumulative(place, mtok, self.months) / growth

    def break_even_month(self, machine: str, api: str, mtok: float, *, sold: bool = True) -> Array:
        """The first month at whose end the machine has cost no more than the API (`comparable`); inf where none of the
        horizon.

        sold: its cost is the value that it has lost, since it could be sold for the rest; else all that was paid for
        it counts, and this is the month in which it has paid for itself.
        """
        found = np.full(self.growth.shape, np.inf)
        for month, cheaper in self._cheaper(machine, api, mtok, sold):
            found = np.where(np.isinf(found) & cheaper, month, found)
        return found

    def undone_month(self, machine: str, api: str, mtok: float) -> Array:
        """The first month after the break-even at whose end the machine has cost more again, as where the API's price
        falls faster than a machine's cost; inf where none, or where there was no break-even."""
        even, found = np.zeros(self.growth.shape, dtype=bool), np.full(self.growth.shape, np.inf)
        for month, cheaper in self._cheaper(machine, api, mtok, True):
            found = np.where(even & ~cheaper & np.isinf(found), month, found)
            even |= cheaper
        return found

    def _cheaper(self, machine: str, api: str, mtok: float, sold: bool) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
        """Month by month: whether the machine has cost no more than the API by its end."""
        rival, m = self.comparable(api), self.machines[machine]
        n = machines_for(m, mtok, self.growth, self.months)
        for month in range(1, self.months + 1):
            cost = self.cumulative(machine, mtok, month)
            if not sold and not self.is_rented(machine):
                cost = cost + n * m.capital_usd * np.asarray(m.keeps, np.float64) ** month
            yield month, np.asarray(cost <= cumulative_api(rival, mtok, self.growth, month))

    def seller(self) -> tuple[Machine, Array, Array] | None:
        """The seller's machine at its power price, the price of a million tokens (D,), and the marketplace's share."""
        table = self.places.seller
        if table is None:
            return None
        drawer = Drawer("seller", len(self.growth), SEED)
        power = drawer.draw("usd_per_kwh", _stated(table.usd_per_kwh, table.source))
        fee = np.clip(drawer.draw("fee", _stated(table.fee_share, table.source)), 0, MOST_LOST)
        machine = replace(self.machines[table.machine], usd_per_kwh=power)
        return machine, np.asarray(self.apis[table.price].usd_per_mtok, np.float64), fee

    def seller_cost(self, utilisation: float, sunk: bool) -> Array:
        found = self.seller()
        assert found is not None
        return np.asarray(cost_usd_per_mtok(found[0], utilisation, sunk), np.float64)

    def seller_utilisation(self, sunk: bool) -> Array:
        found = self.seller()
        assert found is not None
        machine, price, fee = found
        return utilisation_that_pays(machine, price, fee, sunk)


def compare(places: Places, n_draws: int = N_DRAWS, seed: int = SEED) -> Compared:
    """Draws every range of the places once, each from its own stream."""
    n = n_draws + 1
    demand = Drawer("demand", n, seed)
    growth = _stated(places.demand.growth_per_year, places.demand.source)
    apis = {table.id: _api(table, Drawer(table.id, n, seed)) for table in places.apis}
    plans = {t.id: _plan(t, apis, Drawer(t.id, n, seed)) for t in places.subscriptions}
    machines = {table.id: _machine(table, Drawer(table.id, n, seed)) for table in places.machines}
    per_month = np.maximum(1 + demand.draw("growth", growth), 0.01) ** (1 / 12)
    subscriptions = {t.id: t for t in places.subscriptions}
    return Compared(places, apis, subscriptions, plans, machines, per_month, places.demand.horizon_months)


def _stated(triple: tuple[float, float, float], source: str) -> Range:
    value, low, high = triple
    return Range(value, low, high, "assumed", source)


def _kept(drawer: Drawer, what: str, lost: Range) -> Amount:
    return monthly(np.minimum(drawer.draw(what, lost), MOST_LOST))


def _api(table: ApiTable, drawer: Drawer) -> Api:
    after, ratio = None, 1.0
    if table.follower_after_months is not None and table.follower_price_share is not None:
        after = drawer.draw("after", table.range(table.follower_after_months))
        drawn = np.clip(drawer.draw("ratio", table.range(table.follower_price_share)), 0, 1)
        return Api(drawer.draw("price", table.range(table.usd_per_mtok)),
                   _kept(drawer, "fall", table.range(table.fall_per_year)), after, drawn)  # fmt: skip
    return Api(drawer.draw("price", table.range(table.usd_per_mtok)),
               _kept(drawer, "fall", table.range(table.fall_per_year)), after, ratio)  # fmt: skip


def _plan(table: SubscriptionTable, apis: Mapping[str, Api], drawer: Drawer) -> Subscription:
    # The formula for what goes beyond knows no follower: then the list price stays, which is the dearer case.
    beyond = replace(apis[table.beyond], follower_after=None, follower_price=1.0)
    return Subscription(
        1.0, drawer.draw("fee", table.range(table.usd_per_month)),
        drawer.draw("mtok", table.range(table.mtok_per_month)),
        _kept(drawer, "shrink", table.range(table.shrink_per_year)), beyond,
    )  # fmt: skip


def _machine(table: MachineTable, drawer: Drawer) -> Machine:
    def drawn(what: str, triple: tuple[float, float, float] | None) -> Amount:
        return 0.0 if triple is None else np.maximum(drawer.draw(what, table.range(triple)), 0.0)

    busy = drawn("busy_w", table.busy_w)
    return Machine(
        drawn("mtok_per_hour", table.mtok_per_hour), np.minimum(drawn("usable", table.usable), 1.0), busy,
        np.minimum(drawn("idle_w", table.idle_w), busy), drawn("usd_per_kwh", table.usd_per_kwh),
        drawn("usd_per_hour", table.usd_per_hour), drawn("capital_usd", table.capital_usd),
        drawn("hosting", table.hosting_usd_per_month), _kept(drawer, "lost", table.range(table.lost_per_year)),
    )  # fmt: skip

"""Offers and demand as arrays: what one machine of each costs and covers in each hour.

The demand of an hour is one unit of work, of which any offer may take a share: its requests are alike, and every
offer that is left has passed the needs on its own. So an API is a price of the whole hour, a machine a share.
What it doesn't do: leave offers out (`prune`) or choose (`program`). Enter at `columns_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.offers.demand import Demand, Hour
from solvent.choose.offers.record import HOURS_PER_DAY, MILLION, S_PER_HOUR, Offer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

UNLIMITED = 10**9


@dataclass(frozen=True, slots=True)
class Machines:
    """J groups of machines. usd_per_hour, watts, n_max: (J,).   cover: (J, 24), the share of an hour's demand that
    one machine takes, 0 where it isn't available.   by_day: (J,), paid for in every available hour.   usd: (J,),
    of the unit that is bought: a machine-day or a machine-hour.   pool: (J,), -1 or the number of a shared pool;
    pool_max: (J,), how many machines that pool has (n_max where there is none).
    offers: the numbers of the offers in each group; identical ones share a group.
    """

    usd: Floats
    watts: Floats
    n_max: Ints
    cover: Floats
    by_day: Bools
    pool: Ints
    pool_max: Ints
    offers: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.usd)

    def only(self, which: Floats | Bools | Ints) -> Machines:
        """The chosen groups."""
        n = np.arange(len(self))[which]
        offers = tuple(self.offers[j] for j in n)
        limits = (self.pool[n], self.pool_max[n])
        return Machines(self.usd[n], self.watts[n], self.n_max[n], self.cover[n], self.by_day[n], *limits, offers)


@dataclass(frozen=True, slots=True)
class Columns:
    """The problem: machines, and per hour the cheapest API. api_usd: (24,), inf where there is none; api: (24,),
    its number among the offers, -1.   busy: (24,), the hours that ask for anything.   cap_w: inf without a cap."""

    machines: Machines
    api_usd: Floats
    api: Ints
    busy: Bools
    cap_w: float


def columns_of(
    offers: Sequence[Offer], demand: Demand, headroom: float, cap_w: float | None, *, merge: bool = True
) -> Columns:
    """cover = (1 − headroom) · 3600 / (prompt_tok/input_tok_per_s + output_tok/output_tok_per_s).

    A machine reads the cached part of prompts again: a cache on one's own machine is not assumed. With a power cap
    every machine must state its watts; `screen` has left out those that don't. merge: identical offers in one group.
    """
    busy = np.array([hour.input_tok + hour.cache_read_tok + hour.output_tok > 0 for hour in demand.hours])
    api_usd, api = _cheapest_api(offers, demand)
    numbers = [i for i, offer in enumerate(offers) if not offer.is_api]
    prompt = np.array([hour.input_tok + hour.cache_read_tok for hour in demand.hours])
    output = np.array([hour.output_tok for hour in demand.hours])
    read = np.array([offers[i].input_tok_per_s.value for i in numbers]).reshape(-1, 1)  # type: ignore[union-attr]
    write = np.array([offers[i].output_tok_per_s.value for i in numbers]).reshape(-1, 1)  # type: ignore[union-attr]
    work_s = prompt / read + output / write
    cover = np.divide((1.0 - headroom) * S_PER_HOUR, work_s, out=np.zeros_like(work_s), where=work_s > 0)
    usd = np.empty(len(numbers))
    for j, i in enumerate(numbers):
        hours = offers[i].paid_hours()
        closed = np.ones(HOURS_PER_DAY, bool)
        closed[list(hours)] = False
        cover[j, closed] = 0.0
        usd[j] = offers[i].usd_per_hour.value * (len(hours) if offers[i].billed == "day" else 1)  # type: ignore[union-attr]
    pool, n_max = _pools([offers[i] for i in numbers])
    watts = np.array([_watts(offers[i]) for i in numbers], float)
    by_day = np.array([offers[i].billed == "day" for i in numbers], bool)
    machines = Machines(usd, watts, n_max, cover, by_day, pool, n_max, tuple((i,) for i in numbers))
    return Columns(_merged(machines) if merge else machines, api_usd, api, busy, np.inf if cap_w is None else cap_w)


def _watts(offer: Offer) -> float:
    return offer.watts.value if offer.watts is not None else 0.0


def api_usd_of_hour(offer: Offer, hour: Hour) -> float:
    """Σ tokens · price / 10⁶; cached input at the input price where the offer has no price for it."""
    price = offer.price_usd_per_mtok or {}
    cached = price.get("cache_read", price["input"])
    tokens = (hour.input_tok * price["input"], hour.cache_read_tok * cached)
    return float(sum(tokens) + hour.output_tok * price["output"]) / MILLION


def _cheapest_api(offers: Sequence[Offer], demand: Demand) -> tuple[Floats, Ints]:
    usd = np.full(HOURS_PER_DAY, np.inf)
    number = np.full(HOURS_PER_DAY, -1, np.int64)
    for i, offer in enumerate(offers):
        if offer.is_api:
            for h in offer.paid_hours():
                cost = api_usd_of_hour(offer, demand.hours[h])
                if cost < usd[h]:
                    usd[h], number[h] = cost, i
    return usd, number


def _pools(offers: Sequence[Offer]) -> tuple[Ints, Ints]:
    """(pool, n_max): a pool's number for offers that share limited machines, and the fewest any of them states."""
    limits: dict[str, int] = {}
    for offer in offers:
        if offer.pool and offer.n_machines_max is not None:
            limits[offer.pool] = min(offer.n_machines_max, limits.get(offer.pool, UNLIMITED))
    number = {name: p for p, name in enumerate(limits)}
    pool = [number.get(offer.pool, -1) for offer in offers]
    own = [UNLIMITED if offer.n_machines_max is None else offer.n_machines_max for offer in offers]
    n_max = [limits.get(offer.pool, most) for offer, most in zip(offers, own, strict=True)]
    return np.array(pool, np.int64), np.array(n_max, np.int64)


def _merged(machines: Machines) -> Machines:
    """Groups that nothing tells apart become one, with the machines of all; their offers stay listed."""
    if not len(machines):
        return machines
    parts = (machines.usd, machines.watts, machines.by_day, machines.pool)
    key = np.column_stack([*(part.astype(float) for part in parts), machines.cover])
    _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    n_max = np.zeros(len(first), np.int64)
    np.add.at(n_max, group, np.minimum(machines.n_max, UNLIMITED))
    pooled = machines.pool[first] >= 0
    n_max[pooled] = machines.n_max[first][pooled]
    offers: list[list[int]] = [[] for _ in first]
    for j, g in enumerate(group):
        offers[g].extend(machines.offers[j])
    merged = machines.only(first)
    limits = np.minimum(n_max, UNLIMITED)
    return replace(merged, n_max=limits, pool_max=limits, offers=tuple(map(tuple, offers)))

"""Random offers, demand and needs small enough for exhaustive search, and that search. Enter at `exhaustive_usd`."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace

from solvent.choose.offers.demand import Demand, Hour
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer, exactly

NOTHING = Hour(0, 0, 0, 0)


def api(name: str = "api", usd_in: float = 1.0, usd_out: float = 4.0, **more: object) -> Offer:
    prices = {"input": usd_in, "output": usd_out}
    offer = Offer(name, "api", "v-" + name, "eu", "m", "", "", 1, 10**6, "2026-11-01", "test", prices)
    return replace(offer, **more)  # type: ignore[arg-type]


def machine(name: str, usd: float, read: float, write: float, **more: object) -> Offer:
    offer = Offer(name, "rented", "v-" + name, "eu", "m", "fp8", "fp8", 64, 10**6, "2026-11-01", "test")
    offer = replace(
        offer,
        usd_per_hour=exactly(usd, "priced", "test"),
        input_tok_per_s=exactly(read, "measured", "test"),
        output_tok_per_s=exactly(write, "measured", "test"),
        watts=exactly(100.0, "claimed", "test"),
    )
    return replace(offer, **more)  # type: ignore[arg-type]


def day(hours: Sequence[Hour]) -> Demand:
    padded = (*hours, *([NOTHING] * (24 - len(hours))))
    return Demand(padded, "assumed", "test")


def exhaustive_usd(offers: Sequence[Offer], demand: Demand, needs: Needs) -> float | None:
    """The least cost by trying every count of every machine, hour by hour under every day's counts.

    Written from the definition, with none of the code under test: no pruning, no cover cut at 1.
    """
    machines = [offer for offer in offers if not offer.is_api]
    daily = [offer for offer in machines if offer.billed == "day"]
    hourly = [offer for offer in machines if offer.billed == "hour"]
    busy = [h for h in range(24) if demand.hours[h] != NOTHING]

    def cover(offer: Offer, h: int) -> float:
        if offer.hours is not None and h not in offer.hours:
            return 0.0
        hour = demand.hours[h]
        seconds = (hour.input_tok + hour.cache_read_tok) / offer.input_tok_per_s.value  # type: ignore[union-attr]
        seconds += hour.output_tok / offer.output_tok_per_s.value  # type: ignore[union-attr]
        return (1 - needs.headroom) * 3600 / seconds

    def most(offer: Offer) -> int:
        # More than this many never help: they cover the hardest of their hours alone.
        needed = max((math.ceil(1 / cover(offer, h)) for h in busy if cover(offer, h) > 0), default=0)
        return min(needed, needed if offer.n_machines_max is None else offer.n_machines_max)

    def api_usd(h: int) -> float:
        hour = demand.hours[h]
        costs = [
            (hour.input_tok * o.price_usd_per_mtok["input"] + hour.output_tok * o.price_usd_per_mtok["output"]) / 1e6  # type: ignore[index]
            + hour.cache_read_tok * o.price_usd_per_mtok.get("cache_read", o.price_usd_per_mtok["input"]) / 1e6  # type: ignore[index, union-attr]
            for o in offers
            if o.is_api
        ]
        return min(costs, default=math.inf)

    def hour_usd(h: int, kept: tuple[int, ...]) -> float:
        best = math.inf
        for extra in itertools.product(*(range(most(o) + 1) for o in hourly)):
            used = [*zip(daily, kept, strict=True), *zip(hourly, extra, strict=True)]
            open_now = [(o, n) for o, n in used if cover(o, h) > 0]
            watts = sum(o.watts.value * n for o, n in open_now)  # type: ignore[union-attr]
            if needs.power_cap_w is not None and watts > needs.power_cap_w:
                continue
            pools: dict[str, int] = {}
            for o, n in used:
                if o.pool:
                    pools[o.pool] = pools.get(o.pool, 0) + n
            if any(n > next(o.n_machines_max or 0 for o in machines if o.pool == p) for p, n in pools.items()):
                continue
            rest = max(0.0, 1 - sum(cover(o, h) * n for o, n in used))
            rest = 0.0 if rest < 1e-9 else rest
            bought = rest * api_usd(h) if rest else 0.0
            best = min(best, bought + sum(o.usd_per_hour.value * n for o, n in zip(hourly, extra, strict=True)))  # type: ignore[union-attr]
        return best

    best = math.inf
    for kept in itertools.product(*(range(most(o) + 1) for o in daily)):
        fixed = sum(
            o.usd_per_hour.value * len(o.paid_hours()) * n  # type: ignore[union-attr]
            for o, n in zip(daily, kept, strict=True)
        )
        best = min(best, fixed + sum(hour_usd(h, kept) for h in busy))
    return best if math.isfinite(best) else None


def small_case(seed: int) -> tuple[list[Offer], Demand, Needs]:
    """A random case small enough for exhaustive search, with every feature now and then."""
    rng = random.Random(seed)
    n_hours = rng.randint(1, 3)
    hours = []
    for _ in range(n_hours):
        outputs = rng.choice([0, rng.randint(1, 2000)])
        hours.append(Hour(outputs, outputs * rng.uniform(50, 3000), outputs * rng.choice([0, 500]), outputs * 400))
    if not any(hour.outputs for hour in hours):
        hours[0] = Hour(100, 1e5, 0, 4e4)
    offers = [api(f"api{i}", rng.uniform(0.1, 3), rng.uniform(0.5, 12)) for i in range(rng.choice([0, 1, 1, 2]))]
    for i in range(rng.randint(1, 4)):
        write = rng.uniform(60, 900)
        offer = machine(f"m{i}", rng.choice([rng.uniform(0.05, 4), 0.5, 1.0]), write * rng.uniform(2, 20), write)
        available = rng.choice([None, None, tuple(sorted(rng.sample(range(3), rng.randint(1, 3))))])
        offers.append(
            replace(
                offer,
                billed=rng.choice(["day", "hour", "hour"]),
                hours=available if rng.random() < 0.5 else None,
                n_machines_max=rng.choice([None, 1, 2, 3]),
                watts=exactly(rng.choice([100.0, 250.0, 700.0]), "claimed", "test"),
            )
        )
    if rng.random() < 0.3:
        limit = rng.randint(1, 2)
        offers = [o if o.is_api else replace(o, pool="shared", n_machines_max=limit) for o in offers]
    cap = rng.choice([None, None, rng.uniform(100, 1500)])
    return offers, day(hours), Needs(power_cap_w=cap, headroom=rng.choice([0.0, 0.0, 0.2]))


def tied_case(seed: int) -> tuple[list[Offer], Demand, Needs]:
    """Machines by the day that no one replaces for another, needed by the handful, and a dear one by the hour."""
    rng = random.Random(seed)
    demand = day([Hour(1, 3600.0 * rng.uniform(1.5, 4), 0, 0) for _ in range(3)])
    offers = [
        machine(f"d{i}", rng.uniform(0.9, 1.1) * speed, speed * rng.uniform(0.95, 1.05), 1e9,
                n_machines_max=rng.choice([2, 3, 5]), hours=rng.choice([None, (0, 1), (1, 2)]))
        for i, speed in enumerate((0.5, 0.7, 1.1))
    ]  # fmt: skip
    if rng.random() < 0.4:
        offers = [replace(offer, pool="shared", n_machines_max=4) for offer in offers]
    offers.append(machine("hour", rng.uniform(15, 30), 0.45, 1e9, billed="hour"))
    return offers, demand, Needs(power_cap_w=rng.choice([None, 700.0]))


def is_small(offers: Sequence[Offer], demand: Demand, needs: Needs) -> bool:
    busy = [hour for hour in demand.hours if hour != NOTHING]
    size = 1.0
    for o in offers:
        if not o.is_api:
            seconds = max(
                (h.input_tok + h.cache_read_tok) / o.input_tok_per_s.value + h.output_tok / o.output_tok_per_s.value
                for h in busy
            )  # type: ignore[union-attr]
            needed = math.ceil(seconds / 3600 / (1 - needs.headroom))
            size *= 1 + min(needed, needed if o.n_machines_max is None else o.n_machines_max)
    return size <= 3000

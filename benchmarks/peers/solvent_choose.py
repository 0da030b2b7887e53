"""Chooses from random offers over a random day: how long until the plan is proved, and how far it is from the bound.

The offers are made here and measure nothing: sizes of 1 to 8 GPUs, log-normal speeds, prices that go with the size.
`limited`: share with 1 to 20 machines only.   `pooled`: share in pools of about 8.   `day`: share paid by the day.
`apis`: share of APIs.   `traffic`: a factor on the day.   `cap_w`: a power cap.   `windows`: share that is there by
day, by night or from 6 to 22 only.   `mixes`: how far the hours' mix of read and written tokens moves.   `seeds`: so
many markets of the kind, of which the worst figures are told.
"""

from __future__ import annotations

import math
import random
import time
from typing import Any

N_OFFERS = 10_000


def version() -> str | None:
    try:
        import highspy
    except ModuleNotFoundError:
        return None
    from solvent import __version__

    return f"solvent {__version__}, HiGHS {highspy.Highs().version()}"


def run(job: dict[str, Any]) -> dict[str, Any]:
    """The worst figures of the seeds 1 to `seeds` (or of `seed` alone), and those of each."""
    first = job.get("seed", 1)
    found = [_market({**job, "seed": seed}) for seed in range(first, first + job.get("seeds", 1))]
    keys = [key for key in found[0] if key != "seed"]
    return {"mix": {**{key: max(mix[key] for mix in found) for key in keys}, "by_seed": found}}


def _market(job: dict[str, Any]) -> dict[str, Any]:
    from solvent.choose.mix.columns import columns_of
    from solvent.choose.mix.prune import pruned
    from solvent.choose.mix.solve import plan_or_none
    from solvent.choose.offers.needs import Needs

    rng = random.Random(job["seed"])
    offers = [_offer(rng, i, job) for i in range(job.get("n_offers", N_OFFERS))]
    demand = _demand(rng, job.get("traffic", 1.0), job.get("mixes", 0.0))
    needs = Needs(power_cap_w=job.get("cap_w"), headroom=0.1)
    cpu_s, started = time.process_time(), time.perf_counter()
    plan = plan_or_none(offers, demand, needs)
    solve_s, solve_cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    groups = columns_of(offers, demand, needs.headroom, needs.power_cap_w)
    left = len(pruned(groups).machines)
    assert plan is not None, f"no plan at all: {job}"
    machines = max(sum(use.machines[h] for use in plan.uses) for h in range(24))
    about = {"n_offers": len(offers), "n_left": left, "solve_s": solve_s, "solve_cpu_s": solve_cpu_s}
    told = {"usd_per_day": plan.usd_per_day, "gap": plan.gap, "n_uses": len(plan.uses)}
    return {"seed": job["seed"], **about, "n_machines": machines, **told}


def _offer(rng: random.Random, i: int, job: dict[str, Any]) -> Any:
    from solvent.choose.offers.record import Offer, exactly

    about = (f"v{i % 40}", "eu", "m", "fp8", "fp8", 64, 131_072, "2026-11-01", "random")
    if rng.random() < job.get("apis", 0.1):
        usd = math.exp(rng.gauss(0, 1))
        prices = {"input": usd, "output": usd * rng.uniform(2, 6)}
        return Offer(f"api-{i}", "api", *about, price_usd_per_mtok=prices)
    size = rng.choice([1, 1, 2, 4, 8])
    usd = size * rng.uniform(0.8, 4)
    write = size * rng.lognormvariate(7, 0.6)
    read = write * rng.uniform(3, 15)
    limited = rng.randint(1, 20) if rng.random() < job.get("limited", 0.5) else None
    pool = f"pool-{i // 8}" if rng.random() < job.get("pooled", 0.3) else ""
    return Offer(
        f"machine-{i}", "rented", *about,
        usd_per_hour=exactly(usd, "assumed", "random"), watts=exactly(size * 700.0, "assumed", "random"),
        n_machines_max=limited, pool=pool,
        input_tok_per_s=exactly(read, "assumed", "random"), output_tok_per_s=exactly(write, "assumed", "random"),
        billed="day" if rng.random() < job.get("day", 0.5) else "hour",
        hours=_window(i, job) if rng.random() < job.get("windows", 0.05) else None,
    )  # fmt: skip


def _window(i: int, job: dict[str, Any]) -> tuple[int, ...]:
    by_day, by_night, long = tuple(range(8, 18)), (*range(6), 22, 23), tuple(range(6, 22))
    return (by_day, by_night, long)[i % 3] if "windows" in job else by_day


def _demand(rng: random.Random, traffic: float, mixes: float) -> Any:
    from solvent.choose.offers.demand import Demand, Hour

    hours = []
    for hour in range(24):
        outputs = traffic * 12_500 * (1 + 0.8 * math.sin((hour - 9) / 24 * 2 * math.pi)) * rng.uniform(0.9, 1.1)
        read = 1 + mixes * math.cos(hour / 24 * 2 * math.pi)
        hours.append(Hour(outputs, outputs * 1_353 * read, 0.0, outputs * 1_529 / read))
    return Demand(tuple(hours), "assumed", "random")

"""What the product asks of whoever serves it: latency, quality, context, place, vendor, budget, power.

Every need is optional; one that isn't stated excludes nothing. Read from `[needs]` by `read`.
What it doesn't do: check offers against needs (`screen`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Needs:
    """ttft_s, itl_s: at most.   quality_floor: at least, on `quality_metric`.   context_tok: at least.

    regions: where an offer may run; empty: anywhere.   barred_vendors: who may not serve.
    budget_usd_per_day: of the whole plan.   power_cap_w: of all machines of the plan that run at once; an API
    draws nothing from the cap.   headroom: share of each machine's capacity left free for bursts inside an hour.
    n_bad_ends: how many choices may be at the bad ends of their intervals at once; None: all of them.
    """

    ttft_s: float | None = None
    itl_s: float | None = None
    quality_floor: float | None = None
    quality_metric: str = ""
    context_tok: int | None = None
    regions: tuple[str, ...] = ()
    barred_vendors: tuple[str, ...] = ()
    budget_usd_per_day: float | None = None
    power_cap_w: float | None = None
    headroom: float = 0.0
    n_bad_ends: int | None = None

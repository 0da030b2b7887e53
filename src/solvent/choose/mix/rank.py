"""Every offer that meets the needs, as if it served all of the day alone: what that costs, idle hours included.

Enter at `ranked`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solvent.choose.mix.columns import columns_of
from solvent.choose.mix.plan import served_share
from solvent.choose.mix.program import SHORT, Counts
from solvent.choose.offers.demand import Demand
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer


@dataclass(frozen=True, slots=True)
class Ranked:
    """usd_per_day: of serving all of it alone, or, where `share` < 1, of all machines that there are. n_machines: the
    most at once; None for an API.   idle_share: of the paid capacity; None for an API.   watts: at once."""

    offer: Offer
    usd_per_day: float
    share: float
    n_machines: int | None
    idle_share: float | None
    watts: float | None


def ranked(offers: Sequence[Offer], demand: Demand, needs: Needs) -> list[Ranked]:
    """The offers that serve all of the day first; each part by cost per share. All have passed `screened`."""
    found = [_alone(offer, demand, needs) for offer in offers]
    return sorted(found, key=lambda one: (one.share < 1, one.usd_per_day / max(one.share, 1e-300), one.offer.id))


def _alone(offer: Offer, demand: Demand, needs: Needs) -> Ranked:
    columns = columns_of([offer], demand, needs.headroom, None)
    if offer.is_api:
        open_busy = columns.busy & np.isfinite(columns.api_usd)
        usd = float(columns.api_usd[open_busy].sum())
        return Ranked(offer, usd, float(open_busy.sum() / columns.busy.sum()), None, None, None)
    machines = columns.machines
    cover = np.where(columns.busy, machines.cover[0], 0.0)
    with np.errstate(divide="ignore"):
        wanted = np.where(cover > 0, np.ceil(1.0 / cover - SHORT), 0.0)
    wanted = np.minimum(wanted, machines.n_max[0]).astype(np.int64)
    by_day = bool(machines.by_day[0])
    n_day = np.array([wanted.max(initial=0) if by_day else 0], np.int64)
    n_hour = (np.zeros_like(wanted) if by_day else wanted)[None, :]
    served = served_share(columns, Counts(n_day, n_hour, 0.0))[columns.busy]
    usd = float(machines.usd[0]) * int(n_day[0] if by_day else wanted.sum())
    share = float(np.minimum(served, 1.0).mean())
    idle = float(1 - np.minimum(served, 1.0).sum() / served.sum()) if served.sum() > 0 else None
    most = int(wanted.max(initial=0))
    return Ranked(offer, usd, share, most, idle, offer.watts.value * most if offer.watts else None)

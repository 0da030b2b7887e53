"""A plan: which offers serve which share of each hour, with how many machines, at what cost and with how many watts.

What it doesn't do: find the counts (`program`), or say what must relax where there is no plan (`relax`).
Enter at `plan_of`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from solvent.choose.mix.columns import UNLIMITED, Columns
from solvent.choose.mix.program import N_HOURS, SHORT, Counts
from solvent.choose.offers.demand import Demand
from solvent.choose.offers.record import Offer
from solvent.choose.offers.screen import Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Use:
    """What the plan takes from one offer. machines: paid for, by hour (zeros for an API); share: of the hour's
    demand that it serves.   idle_share: of its paid capacity; None for an API."""

    offer: Offer
    usd_per_day: float
    machines: tuple[int, ...]
    share: tuple[float, ...]
    idle_share: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """usd_per_day: of everything.   bound_usd_per_day: no plan is cheaper.   outputs: of the day.
    watts_peak: of the machines that run at once; idle_share: of paid machine capacity, None without machines.
    excluded: offers that fail a need, with their reasons."""

    usd_per_day: float
    bound_usd_per_day: float
    usd_per_output: float | None
    outputs: float
    watts_peak: float
    idle_share: float | None
    uses: tuple[Use, ...]
    excluded: tuple[tuple[Offer, tuple[Reason, ...]], ...] = ()

    @property
    def gap(self) -> float:
        """(cost − bound) / cost: at most this much of the cost could be saved by another plan."""
        return 0.0 if self.usd_per_day <= 0 else max(0.0, 1 - self.bound_usd_per_day / self.usd_per_day)


@dataclass(frozen=True, slots=True)
class Relaxation:
    """One need that would have to give way. need: its key; wanted: what is asked; enough: the least change that
    lets a plan exist, None where only dropping it does; usd_per_day: what that plan costs; line: in words."""

    need: str
    wanted: float | str | None
    enough: float | str | None
    usd_per_day: float | None
    line: str


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No plan. relaxations: each alone is enough; together: needs that must give way at once where none alone is."""

    line: str
    relaxations: tuple[Relaxation, ...]
    together: tuple[Relaxation, ...]
    excluded: tuple[tuple[Offer, tuple[Reason, ...]], ...]


def served_share(columns: Columns, counts: Counts) -> Floats:
    """(24,) the share of each hour that the machines can take, untruncated."""
    n = counts.by_hour + counts.by_day[:, None]
    result: Floats = (n * columns.machines.cover).sum(axis=0)
    return result


def plan_of(
    offers: Sequence[Offer], demand: Demand, columns: Columns, counts: Counts, rest: Floats | None = None
) -> Plan | None:
    """The plan of some counts: machines first, for they are paid anyway, in equal load; the rest to the cheapest API.

    Cost is a compensated sum of counts × prices and API shares × prices. None where an hour isn't served.
    rest: (24,) the API's part of each hour, where it isn't just what the machines leave.
    """
    capacity = served_share(columns, counts)
    if rest is None:
        rest = np.where(columns.busy, np.maximum(0.0, 1.0 - capacity), 0.0)
        rest[rest < SHORT] = 0.0
    if (rest[~np.isfinite(columns.api_usd)] > 0).any():
        return None
    load = np.where(columns.busy & (capacity > 0), np.minimum(1.0, (1.0 - rest) / np.maximum(capacity, 1e-300)), 0.0)
    uses = _machine_uses(offers, columns, counts, load) + _api_uses(offers, columns, rest)
    outputs = demand.total().outputs
    usd = math.fsum(use.usd_per_day for use in uses)
    running = (counts.by_hour + counts.by_day[:, None]) * (columns.machines.cover > 0)
    watts = (running * columns.machines.watts[:, None]).sum(axis=0)
    paid = served_share(columns, counts)[columns.busy].sum() if columns.busy.any() else 0.0
    used = (1.0 - rest)[columns.busy].sum()
    idle = float(1 - used / paid) if paid > 0 else None
    bound = min(counts.bound_usd, usd)
    per_output = usd / outputs if outputs else None
    return Plan(usd, bound, per_output, outputs, float(watts.max(initial=0.0)), idle, tuple(uses))


def _machine_uses(offers: Sequence[Offer], columns: Columns, counts: Counts, load: Floats) -> list[Use]:
    machines = columns.machines
    uses = []
    for j in np.flatnonzero(counts.by_day + counts.by_hour.sum(axis=1)):
        open_hours = machines.cover[j] > 0
        if machines.by_day[j]:
            open_hours = _open(offers[machines.offers[j][0]])
        wanted = np.where(open_hours, counts.by_hour[j] + counts.by_day[j], 0)
        bought = counts.by_day[j] if machines.by_day[j] else 0
        for i, n, n_day in _dealt(offers, machines.offers[j], wanted, int(bought)):
            usd = float(machines.usd[j]) * (n_day if machines.by_day[j] else int(n.sum()))
            share = n * machines.cover[j] * load
            could = (n * machines.cover[j])[columns.busy].sum()
            idle = float(1 - share.sum() / could) if could > 0 else 1.0
            uses.append(Use(offers[i], usd, tuple(map(int, n)), tuple(map(float, share)), idle))
    return sorted(uses, key=lambda use: -use.usd_per_day)


def _open(offer: Offer) -> NDArray[np.bool_]:
    hours = np.zeros(N_HOURS, bool)
    hours[list(offer.paid_hours())] = True
    return hours


def _dealt(offers: Sequence[Offer], group: Sequence[int], wanted: Ints, bought: int) -> list[tuple[int, Ints, int]]:
    """The group's machines dealt to its offers in their order, each up to its own number: (offer, by hour, by day)."""
    left, left_day = wanted.copy(), bought
    dealt: list[tuple[int, Ints, int]] = []
    for i in group:
        stated = offers[i].n_machines_max
        most = UNLIMITED if stated is None else stated
        n, n_day = np.minimum(left, most), min(left_day, most)
        if n.any():
            dealt.append((i, n, n_day))
        left, left_day = left - n, left_day - n_day
    assert not left.any(), "more machines in a plan than its offers have"
    return dealt


def _api_uses(offers: Sequence[Offer], columns: Columns, rest: Floats) -> list[Use]:
    uses = []
    for i in sorted(set(map(int, columns.api[rest > 0]))):
        share = np.where(columns.api == i, rest, 0.0)
        usd = math.fsum(float(s) * float(u) for s, u in zip(share, columns.api_usd, strict=True) if s > 0)
        uses.append(Use(offers[i], usd, (0,) * N_HOURS, tuple(map(float, share)), None))
    return uses

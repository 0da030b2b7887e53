"""The cheapest plan that holds however any Γ offers, and no more, are at their bad ends at once.

  Σ_j κ_jh n_jh + a_h − max over S, |S| ≤ Γ, of Σ_{j in S} (κ_jh − κ⁻_jh) n_jh ≥ 1     in every busy hour
  Σ_j p_j n_jh + max over S of Σ_{j in S} (p⁺_j − p_j) n_jh ≤ cap                      where there is a cap
and the cost has the Γ dearest rises of price in it. Each maximum is replaced by its dual, Γ·z + Σ q_j with
z + q_j ≥ deviation_j, which is exact (Bertsimas & Sim, The price of robustness, Operations Research 52(1), 2004).
All machines of one choice move together, its variants too; identical offers of different choices move apart.
Enter at `protected_plan`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from solvent.choose.mix.columns import Columns, Machines, columns_of
from solvent.choose.mix.plan import Plan, plan_of
from solvent.choose.mix.program import N_HOURS, SHORT, Counts
from solvent.choose.mix.prune import pruned, useful_cover
from solvent.choose.mix.search import minimise
from solvent.choose.offers.demand import Demand
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer
from solvent.choose.offers.screen import at_bad_ends
from solvent.errors import ChoiceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Beyond this many machine offers only the best by some measure are asked; the bound is then that of the point values.
MAX_OFFERS = 80


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Point values and bad ends of the same machines, in the same order, none merged. family: (J,) whose fortune each
    shares."""

    point: Columns
    bad: Columns
    family: Ints

    def only(self, numbers: Ints) -> Uncertain:
        """The chosen machines."""
        point, bad = (replace(one, machines=one.machines.only(numbers)) for one in (self.point, self.bad))
        return Uncertain(point, bad, self.family[numbers])

    def worst(self, deviations: Floats, n_bad: int) -> Floats:
        """The sum of the n_bad largest of the families' deviations; (J,) or (J, 24), summed over machines."""
        by_family = np.zeros((int(self.family.max(initial=-1)) + 1, *deviations.shape[1:]))
        np.add.at(by_family, self.family, deviations)
        result: Floats = np.sort(by_family, axis=0)[::-1][:n_bad].sum(axis=0)
        return result

    def loses(self) -> Floats:
        """(J, 24) what one machine covers less at its bad end."""
        point, bad = (useful_cover(one.machines, one.busy) for one in (self.point, self.bad))
        return np.maximum(0.0, point - bad)


def uncertain(offers: Sequence[Offer], demand: Demand, needs: Needs) -> Uncertain:
    """The machines of the offers at their point values and at their bad ends."""
    point, bad = (
        columns_of(some, demand, needs.headroom, needs.power_cap_w, merge=False)
        for some in (offers, [at_bad_ends(offer) for offer in offers])
    )
    names = {name: k for k, name in enumerate(dict.fromkeys(offer.luck() for offer in offers))}
    family = np.array([names[offers[group[0]].luck()] for group in point.machines.offers], np.int64)
    return Uncertain(point, bad, family)


def protected_plan(
    offers: Sequence[Offer], demand: Demand, needs: Needs, gap: float, time_limit_s: float
) -> Plan | None:
    """The cheapest plan that holds however `needs.n_bad_ends` of the offers are at their bad ends; None: there is none.

    usd_per_day is the cost with the dearest rises of so many offers, watts_peak the draw with the hottest. Of more
    than MAX_OFFERS machine offers only those are asked that are cheapest for what they cover, at the point values or
    at the bad ends, or cheapest at all; the bound is then that of the point values, which holds for every plan.
    Raises: ChoiceError where none was found in the time.
    """
    n_bad = needs.n_bad_ends or 0
    whole = uncertain(offers, demand, needs)
    some = whole.only(_asked(whole))
    counts = _Budgeted(some, n_bad).solved(gap, time_limit_s)
    if counts is None:
        return None
    if len(some.point.machines) < len(whole.point.machines):
        relaxed = minimise(pruned(columns_of(offers, demand, needs.headroom, needs.power_cap_w)), gap, time_limit_s)
        assert relaxed is not None
        counts = Counts(counts.by_day, counts.by_hour, relaxed.bound_usd)
    plan = plan_of(offers, demand, some.point, counts, shortfall(some, counts, n_bad))
    if plan is None:
        return None
    usd = plan.usd_per_day + _rise_usd(some, counts, n_bad)
    return replace(
        plan,
        usd_per_day=usd,
        bound_usd_per_day=min(counts.bound_usd, usd),
        usd_per_output=usd / plan.outputs if plan.outputs else None,
        watts_peak=_watts_peak(some, counts, n_bad),
    )


def _rise_usd(some: Uncertain, counts: Counts, n_bad: int) -> float:
    """The n_bad largest rises of what is paid for one choice."""
    paid = counts.by_day + counts.by_hour.sum(axis=1)
    return float(some.worst((some.bad.machines.usd - some.point.machines.usd) * paid, n_bad))


def _watts_peak(some: Uncertain, counts: Counts, n_bad: int) -> float:
    machines = some.point.machines
    n = (counts.by_hour + counts.by_day[:, None]) * (machines.cover > 0)
    hotter = some.worst(n * (some.bad.machines.watts - machines.watts)[:, None], n_bad)
    return float(((n * machines.watts[:, None]).sum(axis=0) + hotter).max(initial=0.0))


def shortfall(some: Uncertain, counts: Counts, n_bad: int) -> Floats:
    """(24,) 1 − Σ cover + the n_bad largest losses of an hour, at least 0; 0 in hours that ask for nothing."""
    machines = some.point.machines
    n = counts.by_hour + counts.by_day[:, None]
    capacity = (n * useful_cover(machines, some.point.busy)).sum(axis=0)
    losses = some.worst(n * some.loses(), n_bad)
    short = np.where(some.point.busy, np.maximum(0.0, 1.0 - capacity + losses), 0.0)
    short[short < SHORT] = 0.0
    result: Floats = np.minimum(short, 1.0)
    return result


def _asked(whole: Uncertain) -> Ints:
    machines = whole.point.machines
    if len(machines) <= MAX_OFFERS:
        return np.arange(len(machines))
    order = []
    for one in (whole.point, whole.bad):
        covered = useful_cover(one.machines, one.busy)
        hours = np.where(one.machines.by_day, 1.0, (covered > 0).sum(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            order += [np.argsort(one.machines.usd * hours / covered.sum(axis=1)), np.argsort(one.machines.usd * hours)]
    ranked = np.stack(order, axis=1).ravel()
    _, first = np.unique(ranked, return_index=True)
    return np.sort(ranked[np.sort(first)][:MAX_OFFERS])


@dataclass(slots=True)
class _Rows:
    """A sparse program under construction, row by row."""

    usd: list[float] = field(default_factory=list)
    most: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    index: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def column(self, usd: float, most: float, whole: bool = False) -> int:
        self.usd.append(usd)
        self.most.append(most)
        self.whole.append(whole)
        return len(self.usd) - 1

    def row(self, entries: dict[int, float], low: float, high: float) -> None:
        self.index += entries.keys()
        self.value += entries.values()
        self.starts.append(len(self.index))
        self.low.append(low)
        self.high.append(high)


class _Budgeted:
    """The mixed-integer program of one budget."""

    def __init__(self, some: Uncertain, n_bad: int) -> None:
        self.some, self.n_bad, self.rows = some, n_bad, _Rows()
        self.machines: Machines = some.point.machines
        self.cover = useful_cover(self.machines, some.point.busy)
        self.busy = np.flatnonzero(some.point.busy).tolist()
        self.n = self._counts()
        rise = some.bad.machines.usd - self.machines.usd
        paid = [set(self.n[j].values()) for j in range(len(self.machines))]
        # The cost: machines and the API are in the columns' prices, the dearest rises in this worst case.
        self._worst({j: dict.fromkeys(paid[j], float(rise[j])) for j in range(len(self.machines))}, cost=True)
        for h in self.busy:
            self._hour(h)
        self._pools()

    def _counts(self) -> list[dict[int, int]]:
        """Of each machine: hour → column; of a machine-day every hour has the same."""
        counts = []
        low = useful_cover(self.some.bad.machines, self.some.bad.busy)
        for j in range(len(self.machines)):
            hours = [h for h in self.busy if self.cover[j, h] > 0]
            # At its bad end and alone no machine is needed more often than this.
            most = [min(float(self.machines.n_max[j]), float(np.ceil(1.0 / low[j, h]))) for h in hours]
            usd = float(self.machines.usd[j])
            if self.machines.by_day[j]:
                one = self.rows.column(usd, max(most), whole=True) if hours else -1
                counts.append(dict.fromkeys(hours, one))
            else:
                counts.append({h: self.rows.column(usd, m, whole=True) for h, m in zip(hours, most, strict=True)})
        return counts

    def _worst(self, deviations: dict[int, dict[int, float]], cost: bool = False) -> dict[int, float]:
        """Entries whose sum is at least the n_bad largest deviations of a family; machine → columns × numbers."""
        families: dict[int, dict[int, float]] = {}
        for j, columns in deviations.items():
            families.setdefault(int(self.some.family[j]), {}).update(columns)
        some = [one for one in families.values() if any(value > 0 for value in one.values())]
        if not some or self.n_bad == 0:
            return {}
        z = self.rows.column(float(self.n_bad) if cost else 0.0, np.inf)
        entries = {z: float(self.n_bad)}
        for one in some:
            q = self.rows.column(1.0 if cost else 0.0, np.inf)
            entries[q] = 1.0
            self.rows.row({z: 1.0, q: 1.0, **{c: -value for c, value in one.items()}}, 0.0, np.inf)
        return entries

    def _hour(self, h: int) -> None:
        machines, loses = self.machines, self.some.loses()
        there = [j for j in range(len(machines)) if h in self.n[j]]
        entries = {self.n[j][h]: float(self.cover[j, h]) for j in there}
        api_usd = float(self.some.point.api_usd[h])
        if np.isfinite(api_usd):
            entries[self.rows.column(api_usd, 1.0)] = 1.0
        worst = self._worst({j: {self.n[j][h]: float(loses[j, h])} for j in there})
        self.rows.row({**entries, **{c: -value for c, value in worst.items()}}, 1.0, np.inf)
        if np.isfinite(self.some.point.cap_w):
            hotter = self.some.bad.machines.watts - machines.watts
            worst = self._worst({j: {self.n[j][h]: float(hotter[j])} for j in there})
            watts = {self.n[j][h]: float(machines.watts[j]) for j in there}
            self.rows.row({**watts, **worst}, -np.inf, float(self.some.point.cap_w))

    def _pools(self) -> None:
        for p in set(self.machines.pool.tolist()) - {-1}:
            members = np.flatnonzero(self.machines.pool == p).tolist()
            for h in self.busy:
                entries = {self.n[j][h]: 1.0 for j in members if h in self.n[j]}
                # A machine-day is taken from its pool in the hours in which it isn't open too.
                entries |= {c: 1.0 for j in members if self.machines.by_day[j] for c in set(self.n[j].values())}
                self.rows.row(entries, -np.inf, float(self.machines.pool_max[members[0]]))

    def solved(self, gap: float, time_limit_s: float) -> Counts | None:
        """The counts with their bound; None where no counts hold. Raises: ChoiceError."""
        import highspy

        solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        options = {"output_flag": False, "threads": 1, "mip_rel_gap": gap, "mip_abs_gap": 0.0}
        tight = dict.fromkeys(("primal_feasibility_tolerance", "mip_feasibility_tolerance"), 1e-9)
        for name, value in {**options, **tight, "time_limit": float(time_limit_s)}.items():
            solver.setOptionValue(name, value)
        scale = 1000.0 / max([usd for usd in self.rows.usd if usd > 0], default=1000.0)
        solver.passModel(self._model(highspy, scale))
        solver.run()
        info = solver.getInfo()
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            if solver.getModelStatus() == highspy.HighsModelStatus.kTimeLimit:
                raise ChoiceError("offers", f"no plan found in {time_limit_s:.0f} s", fix="raise --time-limit")
            return None
        values = np.array(solver.getSolution().col_value)
        by_day = np.zeros(len(self.machines), np.int64)
        by_hour = np.zeros((len(self.machines), N_HOURS), np.int64)
        for j, columns in enumerate(self.n):
            for h, column in columns.items():
                if self.machines.by_day[j]:
                    by_day[j] = round(values[column])
                else:
                    by_hour[j, h] = round(values[column])
        usd = info.objective_function_value / scale
        bound = info.mip_dual_bound / scale if any(self.rows.whole) else usd
        return Counts(by_day, by_hour, min(bound, usd))

    def _model(self, highspy: Any, scale: float) -> Any:
        rows = self.rows
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(rows.usd), len(rows.low)
        lp.col_cost_ = np.array(rows.usd) * scale
        lp.col_lower_, lp.col_upper_ = np.zeros(len(rows.usd)), np.array(rows.most)
        lp.row_lower_, lp.row_upper_ = np.array(rows.low), np.array(rows.high)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.array(rows.starts, np.int32)
        lp.a_matrix_.index_ = np.array(rows.index, np.int32)
        lp.a_matrix_.value_ = np.array(rows.value, float)
        kinds = highspy.HighsVarType
        lp.integrality_ = [kinds.kInteger if whole else kinds.kContinuous for whole in rows.whole]
        return lp

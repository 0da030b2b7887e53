"""The mixed-integer program: how many machines of each group in each hour, and what an API takes, at the least cost.

  min  Σ usd_j · n_jh + Σ usd_j · n_j + Σ_h api_usd_h · a_h
  s.t. Σ_j cover_jh · (n_jh + n_j) + a_h ≥ 1      in every hour that asks for anything; cover at most 1, 0 ≤ a ≤ 1
       Σ_j watts_j · (n_jh + n_j) ≤ cap_w         where there is a cap
       Σ_{j in pool} (n_jh + n_j) ≤ n_max         of each pool
       n integer, n ≤ n_max

Solved by HiGHS (highspy). What it doesn't do: bring large problems down to a size that the solver likes (`search`).
Enter at `solve`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from solvent.choose.mix.columns import Columns
from solvent.choose.mix.prune import useful_cover
from solvent.errors import ChoiceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# An hour is served when this much of it is: what doubles lose in a sum of some hundred shares.
SHORT = 1e-9
N_HOURS = 24


@dataclass(frozen=True, slots=True)
class Counts:
    """by_day: (J,) machines kept all day.   by_hour: (J, 24).   bound_usd: no plan is cheaper than this."""

    by_day: Ints
    by_hour: Ints
    bound_usd: float


@dataclass(frozen=True, slots=True)
class Picked:
    """Which integer columns a program holds: machine-days (J,) and machine-hours (J, 24)."""

    day: Bools
    hour: Bools

    def n_columns(self) -> int:
        return int(self.day.sum() + self.hour.sum())


@dataclass(frozen=True, slots=True)
class Solved:
    """A program's solution. usd, bound_usd: of the objective; the others: of a linear program. reduced: costs less
    what they cover is worth. charged_usd: (J, 24) what watts and pools add to a machine in an hour, at their dual
    prices; charged_day_usd: (J,), to a machine-day; limits_usd: what all limits together give back."""

    usd: float
    bound_usd: float
    day: Floats
    hour: Floats
    reduced_day: Floats | None = None
    reduced_hour: Floats | None = None
    hour_usd: Floats | None = None
    charged_usd: Floats | None = None
    charged_day_usd: Floats | None = None
    limits_usd: float = 0.0


def solve(
    columns: Columns, chosen: Picked, gap: float, time_limit_s: float, *, relax: bool = False,
    at_least: Ints | None = None,
) -> Solved | None:  # fmt: skip
    """Solves the program with the chosen columns; None where they can't serve the demand.

    at_least: (J,) machine-days that are bought in any case, all of them chosen.
    """
    import highspy

    program = _Program(columns, chosen, at_least)
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("primal_feasibility_tolerance", 1e-9)
    solver.setOptionValue("dual_feasibility_tolerance", 1e-9)
    if not relax:
        solver.setOptionValue("mip_feasibility_tolerance", 1e-9)
        solver.setOptionValue("mip_rel_gap", gap)
        solver.setOptionValue("mip_abs_gap", 0.0)
        if np.isfinite(time_limit_s):
            solver.setOptionValue("time_limit", float(time_limit_s))
    solver.passModel(program.model(highspy, relax))
    solver.run()
    info = solver.getInfo()
    feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    if not feasible:
        if solver.getModelStatus() == highspy.HighsModelStatus.kTimeLimit:
            raise ChoiceError("offers", f"no plan found in {time_limit_s:.0f} s", fix="raise --time-limit")
        return None
    solution = solver.getSolution()
    day, hour = program.unpack(np.array(solution.col_value))
    usd = info.objective_function_value / program.scale
    if not relax:
        whole = chosen.n_columns() == 0  # a linear program has no separate bound
        return Solved(usd, usd if whole else info.mip_dual_bound / program.scale, day, hour)
    row_dual = np.array(solution.row_dual)
    hour_usd = program.hour_usd(row_dual)
    charged_day, charged, limits_usd = program.charged(row_dual)
    machines = columns.machines
    reduced_hour = machines.usd[:, None] + charged - program.cover * hour_usd
    reduced_day = machines.usd + charged_day - program.cover @ hour_usd
    return Solved(usd, usd, day, hour, reduced_day, reduced_hour, hour_usd, charged, charged_day, limits_usd)


class _Program:
    """The arrays of one program: columns are machine-days, machine-hours, then the API's share of each hour."""

    def __init__(self, columns: Columns, chosen: Picked, at_least: Ints | None = None) -> None:
        self.columns = columns
        self.at_least = np.zeros(len(columns.machines), np.int64) if at_least is None else at_least
        self.machines = columns.machines
        self.cover = useful_cover(columns.machines, columns.busy)
        self.day = np.flatnonzero(chosen.day)
        self.hour_j, self.hour_h = np.nonzero(chosen.hour)
        self.api_h = np.flatnonzero(columns.busy & np.isfinite(columns.api_usd))
        self.cover_row = np.full(N_HOURS, -1)
        self.cover_row[columns.busy] = np.arange(columns.busy.sum())
        self.n_rows = int(columns.busy.sum())
        self.power_row = np.full(N_HOURS, -1)
        if np.isfinite(columns.cap_w):
            self.power_row[columns.busy] = self.n_rows + np.arange(columns.busy.sum())
            self.n_rows *= 2
        self.pool_row, self.pool_limit = self._pool_rows()
        self.n_rows += len(self.pool_limit)
        self.rows_of_pool: dict[int, list[int]] = {}
        for (p, _), row in self.pool_row.items():
            self.rows_of_pool.setdefault(p, []).append(row)
        self.scale = self._scale()

    def _pool_rows(self) -> tuple[dict[tuple[int, int], int], list[float]]:
        """(pool, hour) → row; a pool without machine-hours has one row for the whole day, under hour -1."""
        pool = self.machines.pool
        hourly = set(pool[self.hour_j].tolist()) - {-1}
        daily = set(pool[self.day].tolist()) - {-1}
        held = np.unique(np.concatenate([self.day, self.hour_j]))
        limit = dict(zip(pool[held].tolist(), self.machines.pool_max[held].astype(float).tolist(), strict=True))
        rows: dict[tuple[int, int], int] = {}
        limits: list[float] = []
        busy = np.flatnonzero(self.columns.busy).tolist()
        for p in sorted(hourly | daily):
            for h in busy if p in hourly else (-1,):
                rows[p, h] = self.n_rows + len(limits)
                limits.append(limit[p])
        return rows, limits

    def _scale(self) -> float:
        """Makes the objective about 1,000, which is what the solver's absolute tolerances suit."""
        usd = self.machines.usd[self.machines.usd > 0]
        api = self.columns.api_usd[self.api_h]
        largest = max([*usd[:1], *usd, *api], default=1.0)
        return 1000.0 / float(largest) if largest > 0 else 1.0

    def _entries(self) -> tuple[list[int], list[int], list[float]]:
        """Column starts, row numbers and values of the matrix, column by column."""
        starts, rows, values = [0], list[int](), list[float]()
        watts, pool = self.machines.watts, self.machines.pool
        for j in self.day.tolist():
            hours = np.flatnonzero(self.cover[j] > 0)
            rows += self.cover_row[hours].tolist()
            values += self.cover[j, hours].tolist()
            if self.power_row[self.columns.busy].max(initial=-1) >= 0:
                on = np.flatnonzero(self.columns.busy & (self.machines.cover[j] > 0))
                rows += self.power_row[on].tolist()
                values += [float(watts[j])] * len(on)
            pooled = self.rows_of_pool.get(int(pool[j]), [])
            rows += pooled
            values += [1.0] * len(pooled)
            starts.append(len(rows))
        for j, h in zip(self.hour_j.tolist(), self.hour_h.tolist(), strict=True):
            rows.append(int(self.cover_row[h]))
            values.append(float(self.cover[j, h]))
            if self.power_row[h] >= 0:
                rows.append(int(self.power_row[h]))
                values.append(float(watts[j]))
            if pool[j] >= 0:
                rows.append(self.pool_row[int(pool[j]), h])
                values.append(1.0)
            starts.append(len(rows))
        for h in self.api_h.tolist():
            rows.append(int(self.cover_row[h]))
            values.append(1.0)
            starts.append(len(rows))
        return starts, rows, values

    def model(self, highspy: Any, relax: bool) -> Any:
        machines, n_api = self.machines, len(self.api_h)
        n_integer = len(self.day) + len(self.hour_j)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = n_integer + n_api, self.n_rows
        usd = np.concatenate([machines.usd[self.day], machines.usd[self.hour_j], self.columns.api_usd[self.api_h]])
        lp.col_cost_ = usd * self.scale
        least_day = self.at_least[self.day].astype(float)
        lp.col_lower_ = np.concatenate([least_day, np.zeros(len(self.hour_j) + n_api)])
        most_day = np.maximum(self._most(self.day, None), least_day)
        lp.col_upper_ = np.concatenate([most_day, self._most(self.hour_j, self.hour_h), np.ones(n_api)])
        n_busy = int(self.columns.busy.sum())
        n_rest = self.n_rows - n_busy
        caps = [self.columns.cap_w] * (n_rest - len(self.pool_limit))
        lp.row_lower_ = np.concatenate([np.ones(n_busy), np.full(n_rest, -np.inf)])
        lp.row_upper_ = np.concatenate([np.full(n_busy, np.inf), caps, self.pool_limit])
        starts, rows, values = self._entries()
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_ = np.array(starts, np.int32)
        lp.a_matrix_.index_ = np.array(rows, np.int32)
        lp.a_matrix_.value_ = np.array(values, float)
        if not relax:
            kinds = highspy.HighsVarType
            lp.integrality_ = [kinds.kInteger] * n_integer + [kinds.kContinuous] * n_api
        return lp

    def _most(self, j: Ints, h: Ints | None) -> Floats:
        """No more than there are, nor than serve the (hardest) hour alone."""
        cover = self.cover[j] if h is None else self.cover[j, h][:, None]
        smallest = np.where(cover > 0, cover, np.inf).min(axis=1, initial=np.inf)
        result: Floats = np.minimum(self.machines.n_max[j], np.ceil(1.0 / smallest))
        return result

    def unpack(self, values: Floats) -> tuple[Floats, Floats]:
        day = np.zeros(len(self.machines))
        hour = np.zeros((len(self.machines), N_HOURS))
        day[self.day] = values[: len(self.day)]
        hour[self.hour_j, self.hour_h] = values[len(self.day) : len(self.day) + len(self.hour_j)]
        return day, hour

    def hour_usd(self, row_dual: Floats) -> Floats:
        """(24,) what serving all of an hour is worth by the linear program; 0 where nothing is asked."""
        result: Floats = np.where(self.cover_row >= 0, row_dual[self.cover_row] / self.scale, 0.0)
        return result

    def charged(self, row_dual: Floats) -> tuple[Floats, Floats, float]:
        """What watts and pools cost every machine-day and machine-hour there is, chosen or not, at their dual prices
        (no less than nothing), and what the limits give back: no plan costs less than with both of them added."""
        duals = np.minimum(row_dual / self.scale, 0.0)
        power = np.where(self.power_row >= 0, duals[self.power_row], 0.0)
        machines = self.machines
        hour = -machines.watts[:, None] * np.broadcast_to(power, machines.cover.shape)
        on = self.columns.busy & (machines.cover > 0)
        day = -machines.watts * (on * power).sum(axis=1)
        back = float(power.sum()) * self.columns.cap_w if power.any() else 0.0
        for (p, h), row in self.pool_row.items():
            if duals[row] != 0.0:
                members = machines.pool == p
                day[members] -= duals[row]
                if h >= 0:
                    hour[members, h] -= duals[row]
                back += float(duals[row]) * float(machines.pool_max[members][0])
        return day, hour, back

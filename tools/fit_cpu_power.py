"""Fits the CPU's power model to the public RAPL points and writes its numbers, errors and band into the data file.

    .venv/bin/python tools/fit_cpu_power.py            prints the table
    .venv/bin/python tools/fit_cpu_power.py --write    and writes src/solvent/measure/energy/data/cpu-power.json

The points: codecarbon's `cpu_load_profiling` (MIT), as src/solvent/measure/energy/data/rapl-points.csv. Two faults in
them are repaired, and the errors without the repairs are printed beside:
- the column `rapl_power` is that of the window before (row k + 1 repeats the energy of row k over its time), so power
  is taken as energy over time here;
- folder E5-1240 is the machine of E3-1240, half an hour earlier, before codecarbon's commit 07fec48 ("Do not read
  core"), when package and cores were added although the package contains the cores. What isn't cores is constant in
  the twin's readings, so the package is (reading + rest) / 2. Both count as one machine and are left out together.
What it doesn't do: choose the form of the model; that was done by hand on the same points (docs/reference/energy.md).
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from solvent.measure.energy.cpu_power import DATA, Cpu, power

Floats = NDArray[np.float64]
NAMES = ("idle_amd_w", "idle_intel_w", "wake_w", "core_w_per_ghz", "per_year")
START = (2.2, 1.3, 1.0, 2.0, 0.08)
# Package − cores of the twins: 3.5, 3.6, 3.5, 3.8 W at the loads where both ran at 1.6 GHz.
REST_W = 3.5
# Quantiles of truth over prediction: 5% and 95% of three machines covered 88% of the points of the fourth, these 91%.
BAND = (0.02, 0.96)
# Physical cores and highest clocks of the profiled machines; two sockets in E5-2620. TDP: of all sockets.
MACHINES = {
    "AMD_EPYC_8024P_8C": (Cpu("amd", 8, 2023, True, 3.0, "EPYC 8024P"), 90, 0),
    "AMD_Threadripper": (Cpu("amd", 16, 2017, True, 4.0, "Threadripper 1950X"), 180, 1),
    "E3-1240": (Cpu("intel", 4, 2012, False, 3.8, "E3-1240 v2"), 69, 2),
    "E5-1240": (Cpu("intel", 4, 2012, False, 3.8, "E3-1240 v2"), 69, 2),
    "E5-2620": (Cpu("intel", 12, 2014, True, 3.2, "2 × E5-2620 v3"), 170, 3),
}


@dataclass(frozen=True)
class Point:
    machine: str
    cpu: Cpu
    tdp_w: float
    group: int
    load: float
    ghz: float
    watts: float
    published_w: float
    codecarbon_w: float


def points(repaired: bool = True) -> list[Point]:
    found = []
    with (DATA / "rapl-points.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            cpu, tdp, group = MACHINES[row["machine"]]
            watts = float(row["rapl_j"]) / float(row["duration_s"])
            if repaired and row["machine"] == "E5-1240":
                watts = (watts + REST_W) / 2
            found.append(
                Point(
                    row["machine"],
                    cpu,
                    tdp,
                    group,
                    float(row["load"]),
                    float(row["ghz"]),
                    watts,
                    float(row["rapl_power_w"]),
                    float(row["codecarbon_w"]),
                )
            )
    return found


def predicted(theta: Sequence[float], some: Sequence[Point]) -> Floats:
    coefficients = dict(zip(NAMES, map(float, theta), strict=True))
    return np.array([power(p.cpu, p.load, p.ghz, coefficients) for p in some])


def fitted(some: Sequence[Point]) -> list[float]:
    """The numbers that minimise the mean squared logarithm of the ratio, every machine weighing the same."""
    truth = np.array([p.watts for p in some])
    sizes = {p.group: sum(q.group == p.group for q in some) for p in some}
    weights = np.array([1 / sizes[p.group] for p in some])

    def loss(theta: Sequence[float]) -> float:
        return float(np.average(np.log(predicted(theta, some) / truth) ** 2, weights=weights))

    theta: Sequence[float] = START
    for _ in range(2):
        theta = minimize(loss, theta, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-4, "fatol": 1e-7}).x
    return [round(float(t), 4) for t in theta]


def left_out(some: Sequence[Point]) -> Floats:
    """Truth over prediction of every point, by a fit that hasn't seen its machine."""
    ratio = np.empty(len(some))
    for group in {p.group for p in some}:
        theta = fitted([p for p in some if p.group != group])
        mine = [i for i, p in enumerate(some) if p.group == group]
        ratio[mine] = np.array([some[i].watts for i in mine]) / predicted(theta, [some[i] for i in mine])
    return ratio


def band(ratio: Floats, groups: Floats) -> tuple[float, float, dict[str, float]]:
    """The band of all machines; and how often the band of the other machines covers each."""
    low, high = band_of(ratio)
    covers = {}
    for group in sorted({int(g) for g in groups}):
        one = band_of(ratio[groups != group])
        mine = ratio[groups == group]
        covers[str(group)] = float(np.mean((mine >= one[0]) & (mine <= one[1])))
    return low, high, covers


def band_of(ratio: Floats) -> tuple[float, float]:
    low, high = np.quantile(ratio, BAND)
    return round(float(low), 3), round(float(high), 3)


def mean_error(estimate: Floats, truth: Floats) -> float:
    return float(np.mean(np.abs(estimate - truth) / truth))


def main() -> None:
    some = points()
    truth = np.array([p.watts for p in some])
    groups = np.array([p.group for p in some], dtype=float)
    anchor = np.array([p.published_w > 1 for p in some])
    ratio = left_out(some)
    error = np.abs(1 / ratio - 1)
    low, high, covers = band(ratio, groups)
    raw = points(repaired=False)
    raw_truth = np.array([p.watts for p in raw])
    raw_error = np.abs(1 / left_out(raw) - 1)
    codecarbon = np.array([p.codecarbon_w for p in some])
    published = np.array([p.published_w for p in some])
    inside = (ratio >= low) & (ratio <= high)
    result: dict[str, Any] = {
        "source": "codecarbon cpu_load_profiling (MIT), 106 points of 4 machines; tools/fit_cpu_power.py",
        "coefficients": dict(zip(NAMES, fitted(some), strict=True)),
        "band": {"level": 0.9, "low": low, "high": high},
        "left_out": {
            "n_points": len(some),
            "mean_error": round(float(error.mean()), 4),
            "mean_error_98_points": round(float(error[anchor].mean()), 4),
            "median_error": round(float(np.median(error)), 4),
            "max_error": round(float(error.max()), 4),
            "mean_error_by_machine": {
                name: round(float(np.mean([e for e, p in zip(error, some, strict=True) if p.machine == name])), 4)
                for name in MACHINES
            },
            "band_covers": round(float(inside.mean()), 4),
            "band_of_other_machines_covers": round(
                float(np.average(list(covers.values()), weights=[np.sum(groups == int(g)) for g in covers])), 4
            ),
            "mean_error_without_repair_of_twin": round(float(raw_error.mean()), 4),
            "mean_error_without_repair_98_points": round(float(raw_error[anchor].mean()), 4),
        },
        "tdp_times_load": {
            "mean_error_as_published_98_points": round(mean_error(codecarbon[anchor], published[anchor]), 4),
            "mean_error_energy_over_time_98_points": round(mean_error(codecarbon[anchor], raw_truth[anchor]), 4),
            "mean_error_repaired": round(mean_error(codecarbon, truth), 4),
            "mean_error_repaired_98_points": round(mean_error(codecarbon[anchor], truth[anchor]), 4),
        },
    }
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    print("covers by machine:", covers)
    if "--write" in sys.argv:
        (DATA / "cpu-power.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()

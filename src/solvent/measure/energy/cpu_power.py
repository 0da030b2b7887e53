"""The power of a CPU that has no meter: a physical model of few numbers, fitted to public RAPL points.

    P = idle · cores + wake · cores · (1 − e^(−u / 0.05)) + e₀ · e^(−h · (year − 2017)) · cores · f · u

idle by vendor; wake, what a server's mesh and memory controllers draw once anything runs; then the cores: joules
per cycle that fall with the year of the design. TDP isn't used: it says little of what is drawn.
What it doesn't do: measure the load (window.py). The fit: tools/fit_cpu_power.py; the page: docs/reference/energy.md.
Enter at `cpu_of` and `power`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import exp
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
# The fit has machines of 2012 to 2023; beyond it the trend isn't continued.
YEARS = (2011, 2024)
WAKE_LOAD = 0.05


@dataclass(frozen=True, slots=True)
class Cpu:
    """What the model asks of a CPU.   n_cores: physical, of all sockets.   max_ghz: of one core, boosted.
    exactly: whether the design was recognised, or only its vendor."""

    vendor: str
    n_cores: int
    year: int
    server: bool
    max_ghz: float
    design: str
    exactly: bool = True


@dataclass(frozen=True, slots=True)
class Watts:
    """Power of all packages with its 90% band."""

    value: float
    low: float
    high: float


@cache
def fit() -> Mapping[str, Any]:
    """The fitted numbers, what they were fitted to, and their errors with a whole machine left out."""
    found: dict[str, Any] = json.loads((DATA / "cpu-power.json").read_text("utf-8"))
    return found


@cache
def designs() -> tuple[Mapping[str, Any], ...]:
    """Known CPU designs: vendor, family, models (from, to), steppings, year, server, max_ghz."""
    with (DATA / "cpu-designs.toml").open("rb") as file:
        return tuple(tomllib.load(file)["design"])


def cpu_of(fields: Mapping[str, str], n_cores: int, max_ghz: float | None = None) -> Cpu | None:
    """The CPU that /proc/cpuinfo's fields describe; None where the fit has none of its kind (not x86).

    n_cores: physical.   max_ghz: what the system says; None takes the design's.
    A design that isn't in the table counts as the newest of its vendor."""
    vendor = {"GenuineIntel": "intel", "AuthenticAMD": "amd"}.get(fields.get("vendor_id", ""))
    if vendor is None or n_cores < 1:
        return None
    numbers = [_number(fields.get(key)) for key in ("cpu family", "model", "stepping")]
    for design in designs():
        if design["vendor"] == vendor and _matches(design, *numbers):
            ghz = max_ghz or float(design["max_ghz"])
            return Cpu(vendor, n_cores, int(design["year"]), bool(design["server"]), ghz, str(design["name"]))
    name = fields.get("model name", "")
    server = any(word in name for word in ("Xeon", "EPYC", "Threadripper"))
    return Cpu(vendor, n_cores, YEARS[1], server, max_ghz or 4.0, "a design that isn't known", exactly=False)


def power(cpu: Cpu, load: float, ghz: float | None, coefficients: Mapping[str, float] | None = None) -> float:
    """Watts of all packages.   load: busy share of all hardware threads, 0 to 1.   ghz: mean clock; None: the highest.

    Exactness: the model's; its error is in `fit()["left_out"]`."""
    c = coefficients or fit()["coefficients"]
    clock = min(ghz or cpu.max_ghz, cpu.max_ghz)
    year = min(max(cpu.year, YEARS[0]), YEARS[1])
    idle = cpu.n_cores * c[f"idle_{cpu.vendor}_w"]
    wake = cpu.n_cores * c["wake_w"] * (1 - exp(-load / WAKE_LOAD)) if cpu.server else 0.0
    cycle = c["core_w_per_ghz"] * exp(-c["per_year"] * (year - 2017))
    return max(idle + wake + cycle * cpu.n_cores * clock * load, 0.5)


def watts(cpu: Cpu, load: float, ghz: float | None) -> Watts:
    """`power` with the 90% band that the left-out machines gave.   Raises: nothing; load is taken as 0 to 1."""
    value = power(cpu, min(max(load, 0.0), 1.0), ghz)
    band = fit()["band"]
    return Watts(value, value * band["low"], value * band["high"])


def _matches(design: Mapping[str, Any], family: int | None, model: int | None, stepping: int | None) -> bool:
    if family != design["family"] or model is None:
        return False
    low, high = design.get("steppings", (0, 255))
    if stepping is not None and not low <= stepping <= high:
        return False
    return any(first <= model <= last for first, last in design["models"])


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 6 else None

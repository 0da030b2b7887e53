"""Energy counters of Linux's powercap (RAPL): joules of CPU packages and their memory, with wrap-around.

A package's own counter contains its cores and its graphics, and psys contains all packages, so those sub-zones are
never added: only packages, and the `dram` zones, which lie beside them.
What it doesn't do: keep time (window.py).
Enter at `zones`. Source: Documentation/power/powercap/powercap.rst of Linux.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/class/powercap")
# The counter of an AMD package has the same name: the driver is called intel_rapl there too.
PACKAGE = re.compile(r"package-\d+(-die-\d+)?")
ZONE = re.compile(r"(intel-rapl|amd-rapl)(:\d+){1,2}")
# No package draws more: between two readings that could be further apart than this fills the counter, a whole turn of
# it might go unseen.
MAX_PACKAGE_W = 1500.0
MAX_ZONES = 256


class MeterStopped(Exception):
    """A counter that can't be read any more, or whose readings can't be right; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Zone:
    """One counter.   name: package-0, dram-0, …   range_uj: it wraps to 0 after this; None where that isn't told."""

    name: str
    path: Path
    range_uj: int | None

    def read_uj(self) -> int:
        """The counter, in microjoules.   Raises: MeterStopped"""
        try:
            text = (self.path / "energy_uj").read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise MeterStopped(f"{self.name}: {getattr(error, 'strerror', None) or 'unreadable'}") from None
        if not text.isdigit() or len(text) > 20:
            raise MeterStopped(f"{self.name}: energy_uj holds {text[:20]!r}, no count")
        return int(text)

    def used_uj(self, before: int, now: int, elapsed_s: float) -> int:
        """now − before, or that and the range where the counter wrapped once.   µJ

        Raises: MeterStopped (it fell and its range isn't known; it may have wrapped more than once)"""
        if self.range_uj is not None and elapsed_s * MAX_PACKAGE_W * 1e6 >= self.range_uj:
            raise MeterStopped(f"{self.name}: not read for {elapsed_s:.0f} s, in which it may have wrapped unseen")
        if now >= before:
            return now - before
        if self.range_uj is None or before > self.range_uj:
            raise MeterStopped(f"{self.name}: the counter fell from {before} to {now}")
        return now - before + self.range_uj + 1


@dataclass(frozen=True, slots=True)
class Zones:
    """The counters of a machine, or why there are none that can be used."""

    zones: tuple[Zone, ...]
    why_not: str = ""


def zones(root: Path = ROOT) -> Zones:
    """The packages' counters and those of their memory.   root: where powercap lies.

    All or nothing: where one package may not be read, none is, for a part isn't the whole."""
    if not root.is_dir():
        return Zones((), "no powercap in this system")
    found: dict[str, Zone] = {}
    names = sorted((path for path in root.iterdir() if ZONE.fullmatch(path.name)), key=lambda path: path.name)
    for path in names[:MAX_ZONES]:
        name = _line(path / "name")
        index = path.name.split(":")[1]
        if name is None or not (PACKAGE.fullmatch(name) or name == "dram"):
            continue
        label = f"dram-{index}" if name == "dram" else name
        zone = Zone(label, path, _number(path / "max_energy_range_uj"))
        try:
            zone.read_uj()
        except MeterStopped as error:
            return Zones((), f"{error}: {path / 'energy_uj'} must be readable for this user")
        found.setdefault(label, zone)
    packages = any(PACKAGE.fullmatch(name) for name in found)
    return Zones(tuple(found.values())) if packages else Zones((), "powercap shows no CPU package")


def _line(path: Path) -> str | None:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(path: Path) -> int | None:
    text = _line(path)
    return int(text) if text is not None and text.isdigit() and 0 < len(text) <= 20 and int(text) > 0 else None

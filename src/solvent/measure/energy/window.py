"""A window of time and the joules in it: by meters, else by the model of the CPU's power with its error band.

    with EnergyWindow() as window:
        work()
    figure = energy_figure(window)

A meter that stops, or whose readings can't be right, makes the whole window unknown, never zero and never the model's.
What a meter or the model counts is the whole machine's, also what other programs do meanwhile.
What it doesn't do: divide joules by tokens or outputs. Enter at `EnergyWindow` and `energy_figure`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from solvent.figure import Figure
from solvent.measure.energy.cpu_power import cpu_of, fit, watts
from solvent.measure.energy.powercap import ROOT, MeterStopped, Zone, zones
from solvent.measure.energy.system_load import Load, LoadMeter
from solvent.measure.energy.zeus_meter import ZeusMeter, open_zeus

# A package's counter wraps after 40 minutes at 100 W, and is read often enough long before.
POLL_S = 5.0
# A counter that hasn't moved in this time stands still: an idle package draws watts.
STILL_S = 2.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the system's files lie, and the meter of the GPUs; tests put their own here."""

    powercap: Path = ROOT
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    zeus: Callable[[], ZeusMeter | None] = open_zeus
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class EnergyWindow:
    """One window. After it closed: parts_j (joules by meter), seconds_s, load (None where it can't be told).

    unknown: why nothing can be said, or "".   why_no_meter: why the CPU isn't metered, or ""."""

    sources: Sources = field(default_factory=Sources)
    parts_j: dict[str, float] = field(default_factory=dict)
    seconds_s: float | None = None
    load: Load | None = None
    unknown: str = ""
    why_no_meter: str = ""
    _zones: tuple[Zone, ...] = ()
    _last_uj: dict[str, int] = field(default_factory=dict)
    _used_uj: dict[str, int] = field(default_factory=dict)
    _opened_s: float = 0.0
    _read_s: float = 0.0
    _zeus: ZeusMeter | None = None
    _has_gpu: bool = False
    _load_meter: LoadMeter | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def open(self) -> Self:
        """Reads the meters and starts to watch them."""
        found = zones(self.sources.powercap)
        self._zones, self.why_no_meter = found.zones, found.why_not
        self._load_meter = LoadMeter(self.sources.proc, self.sources.sys)
        self._has_gpu = any((self.sources.proc / "driver/nvidia/gpus").glob("*"))
        self._zeus = self.sources.zeus()
        try:
            if self._zeus is not None:
                self._zeus.begin()
            self._last_uj = {zone.name: zone.read_uj() for zone in self._zones}
        except MeterStopped as error:
            self.unknown = str(error)
        self._used_uj = {zone.name: 0 for zone in self._zones}
        self._opened_s = self._read_s = self.sources.clock()
        self._thread = threading.Thread(target=self._watch, name="solvent-energy", daemon=True)
        self._thread.start()
        return self

    def close(self) -> Self:
        """Reads the meters for the last time. A second close changes nothing."""
        if self.seconds_s is not None:
            return self
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.sample()
        self.seconds_s = self.sources.clock() - self._opened_s
        self.load = self._load_meter.read() if self._load_meter else None
        self.parts_j = {name: uj / 1e6 for name, uj in self._used_uj.items()}
        if self._zeus is not None:
            try:
                self.parts_j |= self._zeus.end()
            except MeterStopped as error:
                self.unknown = self.unknown or str(error)
        still = [name for name, uj in self._used_uj.items() if uj == 0 and name.startswith("package")]
        if still and self.seconds_s >= STILL_S:
            self.unknown = self.unknown or f"{still[0]}: the counter stood still for {self.seconds_s:.0f} s"
        return self

    def sample(self) -> None:
        """Reads counters and clocks between opening and closing, so that no wrap goes unseen."""
        if self._load_meter is not None:
            self._load_meter.sample()
        now_s = self.sources.clock()
        try:
            for zone in self._zones if not self.unknown else ():
                now_uj = zone.read_uj()
                self._used_uj[zone.name] += zone.used_uj(self._last_uj[zone.name], now_uj, now_s - self._read_s)
                self._last_uj[zone.name] = now_uj
        except MeterStopped as error:
            self.unknown = str(error)
        self._read_s = now_s

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_S):
            self.sample()


def energy_figure(window: EnergyWindow, figure_id: str = "energy_j", date: str | None = None) -> Figure | None:
    """Joules of the window with their lineage; `value` is None where a meter stopped; None where the window is open.

    measured: the sum of the meters.   predicted: the model's packages, with their 90% band, where nothing meters the
    CPU. Where a GPU is metered and the CPU isn't, both are added and the whole is predicted."""
    if window.seconds_s is None:
        return None
    label = "energy of the machine's processors"
    blind = "" if window._zeus or not window._has_gpu else "; without its GPUs, which need zeus==0.16.0 to be metered"
    if blind:
        label = "energy of the machine's CPU packages"
    if window.unknown:
        note = f"a meter stopped, so the window is unknown ({window.unknown})"
        return Figure(figure_id, label, None, "J", "measured", "meter", date=date, note=note)
    metered_j = sum(window.parts_j.values())
    if any(name.startswith(("package", "apple")) for name in window.parts_j):
        meters = ", ".join(window.parts_j)
        source = "Zeus" if not window._zones else "powercap (RAPL)" + (" and Zeus" if window._zeus else "")
        note = "the whole machine's, other programs included" + blind
        return Figure(figure_id, label, metered_j, "J", "measured", f"{source}: {meters}", date=date, note=note)
    return _predicted(window, metered_j, Figure(figure_id, label, None, "J", "predicted", "", date=date, note=blind))


def _predicted(window: EnergyWindow, metered_j: float, blank: Figure) -> Figure:
    """The figure by the model of the CPU's power; unknown where the model doesn't know the CPU."""
    load = window.load
    cpu = cpu_of(load.fields, load.n_cores, load.max_ghz) if load else None
    if load is None or cpu is None or window.seconds_s is None:
        note = f"no meter ({window.why_no_meter}) and no model of this CPU's power"
        return Figure(blank.id, blank.label, None, "J", "predicted", "none", date=blank.date, note=note)
    found = watts(cpu, load.busy, load.ghz)
    # A hardware thread of a virtual machine may be half a core of its host.
    low = found.low / 2 if load.virtual else found.low
    notes = [f"estimated: no meter ({window.why_no_meter})", f"{load.busy:.0%} busy on {load.n_cores} cores"]
    notes.append(f"taken as {cpu.design}" + ("" if cpu.exactly else ", the newest of its vendor"))
    if load.virtual:
        notes.append("a virtual machine: its cores may be half of the host's, so the lower end is halved")
    error = fit()["left_out"]["mean_error"]
    notes.append(f"mean error with a whole machine left out {error:.0%}")
    source = "model of the CPU's power" + (f" and meters of {', '.join(window.parts_j)}" if window.parts_j else "")
    s = window.seconds_s
    return Figure(
        blank.id, blank.label, found.value * s + metered_j, "J", "predicted", source, "watts · seconds",
        low=low * s + metered_j, high=found.high * s + metered_j, level=0.9, date=blank.date,
        note="; ".join(notes) + blank.note,
    )  # fmt: skip

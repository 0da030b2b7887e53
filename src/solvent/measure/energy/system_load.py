"""How busy the machine's processors were between two readings, and at what clock: /proc/stat and /proc/cpuinfo.

What it doesn't do: energy. Enter at `LoadMeter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Columns of /proc/stat's first line: user nice system idle iowait irq softirq steal. Guests are inside user.
IDLE, IOWAIT, N_COLUMNS = 3, 4, 8
MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """busy: share of all hardware threads' time, 0 to 1.   ghz: mean clock of all readings, None where none is told.
    max_ghz: the highest that the system allows, or None.   n_cores: physical, of all sockets.   fields: of the first
    processor in /proc/cpuinfo."""

    busy: float
    ghz: float | None
    max_ghz: float | None
    n_cores: int
    virtual: bool
    fields: Mapping[str, str]


class LoadMeter:
    """Starts to count when it is made."""

    def __init__(self, proc: Path, sys: Path) -> None:
        self.proc = proc
        self.sys = sys
        self.first = self._times()
        self.clocks_ghz: list[float] = []
        self.sample()

    def sample(self) -> None:
        """Takes the mean clock of the moment."""
        mhz = []
        for line in _text(self.proc / "cpuinfo").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "cpu MHz":
                try:
                    mhz.append(float(value))
                except ValueError:
                    continue
        if mhz and sum(mhz) > 0:
            self.clocks_ghz.append(sum(mhz) / len(mhz) / 1e3)

    def read(self) -> Load | None:
        """What happened since; None where the system doesn't tell, or no tick has passed."""
        now = self._times()
        if self.first is None or now is None:
            return None
        spent = [b - a for a, b in zip(self.first, now, strict=True)]
        total = sum(spent)
        if total <= 0:
            return None
        processors = self._processors()
        if not processors:
            return None
        fields = processors[0]
        busy = 1 - (spent[IDLE] + spent[IOWAIT]) / total
        ghz = sum(self.clocks_ghz) / len(self.clocks_ghz) if self.clocks_ghz else None
        virtual = "hypervisor" in fields.get("flags", "").split()
        return Load(min(max(busy, 0.0), 1.0), ghz, self._max_ghz(), _n_cores(processors), virtual, fields)

    def _times(self) -> list[int] | None:
        words = _text(self.proc / "stat").partition("\n")[0].split()
        if len(words) <= N_COLUMNS or words[0] != "cpu" or not all(word.isdigit() for word in words[1:]):
            return None
        return [int(word) for word in words[1 : N_COLUMNS + 1]]

    def _processors(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        for block in _text(self.proc / "cpuinfo").split("\n\n"):
            pairs = (line.partition(":") for line in block.splitlines())
            fields = {name.strip(): value.strip() for name, _, value in pairs}
            if "processor" in fields:
                found.append(fields)
        return found

    def _max_ghz(self) -> float | None:
        text = _text(self.sys / "devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").strip()
        return int(text) / 1e6 if text.isdigit() and 0 < len(text) < 9 and int(text) > 0 else None


def _n_cores(processors: list[dict[str, str]]) -> int:
    """Pairs of socket and core; processors where those aren't told."""
    pairs = {(one["physical id"], one["core id"]) for one in processors if "physical id" in one and "core id" in one}
    return len(pairs) or len(processors)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""

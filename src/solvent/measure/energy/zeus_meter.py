"""Joules of GPUs and of Apple's chips through Zeus, where it is installed: `pip install zeus==0.16.0`.

What it doesn't do: CPU packages (powercap.py reads them without Zeus).
Enter at `open_zeus`. Source: zeus.monitor.ZeusMonitor, version 0.16.
"""

from __future__ import annotations

import importlib
from typing import Any

from solvent.measure.energy.powercap import MeterStopped

# Optional, so named here and imported where it is used.
MONITOR = "zeus.monitor"
WINDOW = "solvent"


class ZeusMeter:
    """A window of Zeus: begin, then end → joules by part."""

    def __init__(self, monitor: Any) -> None:
        self.monitor = monitor

    def begin(self) -> None:
        """Raises: MeterStopped"""
        try:
            self.monitor.begin_window(WINDOW, sync_execution=False)
        except Exception as error:
            raise MeterStopped(f"Zeus: {error}") from None

    def end(self) -> dict[str, float]:
        """Joules of each GPU, and of the chip's processor where it is Apple's.

        Raises: MeterStopped (Zeus fails, or gives what can't be right)"""
        try:
            found = self.monitor.end_window(WINDOW, sync_execution=False)
            parts = {f"gpu-{index}": float(joules) for index, joules in found.gpu_energy.items()}
            chip = getattr(found, "soc_energy", None)
            for name in ("cpu_total_mj", "gpu_mj", "dram_mj", "ane_mj"):
                value = getattr(chip, name, None)
                if value is not None:
                    parts[f"apple {name.removesuffix('_mj')}"] = float(value) / 1e3
        except Exception as error:
            raise MeterStopped(f"Zeus: {error}") from None
        for name, joules in parts.items():
            if not 0 <= joules < float("inf"):
                raise MeterStopped(f"Zeus: {name} reads {joules} J")
        return parts


def open_zeus() -> ZeusMeter | None:
    """A meter where Zeus is installed and sees a GPU or an Apple chip; else None. Its CPU readings aren't used."""
    try:
        monitor = importlib.import_module(MONITOR).ZeusMonitor(cpu_indices=[])
    except Exception:
        # Not installed, or installed where there is no device: Zeus raises errors of its own kind for each.
        return None
    has_chip = type(getattr(monitor, "soc", None)).__name__ not in ("NoneType", "EmptySoC")
    return ZeusMeter(monitor) if getattr(monitor, "gpu_indices", None) or has_chip else None

"""The machine that a measurement comes from: its fingerprint, and whether two results may be compared.

Speed, memory and energy belong to one machine. A result carries the fingerprint of its machine, and comparing results
of two machines is refused unless it is asked for.
What it doesn't do: measure anything.
Enter at `fingerprint` and `require_same_machine`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from solvent import __version__
from solvent.errors import MeasureError

PROC, SYS = Path("/proc"), Path("/sys")
# What must agree for two results to be of one machine. Software may differ: its versions stand beside.
HARDWARE = ("cpu", "n_cores", "features", "memory_gib", "gpus", "os", "architecture")
# Vector features that decide which kernels run; a CPU's other features don't change a measurement.
VECTOR_FEATURES = (
    "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512vbmi", "avx512_vnni", "avx512_bf16",
    "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "sve", "sve2",
)  # fmt: skip
# /proc/cpuinfo of the largest machines is below 2 MB.
MAX_BYTES = 8 << 20


def fingerprint(proc: Path = PROC, sys: Path = SYS) -> dict[str, Any]:
    """CPU, cores that this process may use, vector features, memory, GPUs, system, and the versions of the software.

    proc, sys: where the system's files lie.   → JSON-ready; `id` is a hash of the hardware alone; what can't be read
    is None."""
    cpu = _cpu_fields(proc)
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    hardware = {
        "cpu": _cpu_name(cpu),
        "n_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "features": [name for name in VECTOR_FEATURES if name in flags] if flags else None,
        "memory_gib": _memory_gib(proc),
        "gpus": _gpus(proc, sys),
        "os": platform.system(),
        "architecture": platform.machine(),
    }
    text = json.dumps([hardware[key] for key in HARDWARE])
    return {
        "id": hashlib.sha256(text.encode()).hexdigest()[:16],
        **hardware,
        "virtual": "hypervisor" in flags if flags else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "solvent": __version__,
    }


def same_machine(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two fingerprints are of one machine, or of two that nothing here can tell apart.

    One that lacks a part, or that knows neither its CPU nor its memory, is like no other."""
    if any(key not in one for one in (a, b) for key in HARDWARE):
        return False
    if a["cpu"] is None or a["memory_gib"] is None:
        return False
    return all(a[key] == b[key] for key in HARDWARE)


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    """The parts of the hardware in which two fingerprints differ, as `memory_gib 23 / 64`."""
    return tuple(f"{key} {a.get(key)} / {b.get(key)}" for key in HARDWARE if a.get(key) != b.get(key))


def require_same_machine(a: Mapping[str, Any], b: Mapping[str, Any], where: str = "compare") -> None:
    """Raises: MeasureError where two results are of different machines, with what differs."""
    if not same_machine(a, b):
        differing = ", ".join(differences(a, b)) or "a machine that isn't known well enough"
        raise MeasureError(
            where, f"results of two machines ({differing})", "one machine", "measure again here, or ask for it"
        )


def _cpu_fields(proc: Path) -> dict[str, str]:
    """The fields of the first processor of /proc/cpuinfo; empty where there is none."""
    fields: dict[str, str] = {}
    for line in _text(proc / "cpuinfo").splitlines():
        name, colon, value = line.partition(":")
        if not colon and fields:
            break
        fields.setdefault(name.strip(), value.strip())
    return fields


def _cpu_name(fields: Mapping[str, str]) -> str | None:
    """Vendor, name, family, model and stepping: a virtual machine's name alone ("AMD EPYC") says too little."""
    name = fields.get("model name") or fields.get("Model") or platform.processor() or None
    if name is None:
        return None
    numbers = [f"{key} {fields[key]}" for key in ("cpu family", "model", "stepping") if key in fields]
    return " ".join([" ".join(name.split()), *([f"({', '.join(numbers)})"] if numbers else [])])


def _memory_gib(proc: Path) -> int | None:
    """To the nearest GiB: what the firmware keeps for itself differs from start to start."""
    for line in _text(proc / "meminfo").splitlines():
        if line.startswith("MemTotal:") and line.split()[1].isdigit():
            return round(int(line.split()[1]) / 2**20)
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (ValueError, OSError, AttributeError):
        return None


def _gpus(proc: Path, sys: Path) -> list[str]:
    """NVIDIA GPUs by name, others by vendor and device number, without loading a driver's library."""
    named = []
    for path in sorted((proc / "driver" / "nvidia" / "gpus").glob("*/information"))[:64]:
        for line in _text(path).splitlines():
            if line.startswith("Model:"):
                named.append(" ".join(line.partition(":")[2].split()))
    amd = [
        _text(path / "device").strip()
        for path in sorted((sys / "class" / "drm").glob("card[0-9]*/device"))[:64]
        if _text(path / "vendor").strip() == "0x1002"
    ]
    return named + [f"AMD {device}" for device in amd]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""

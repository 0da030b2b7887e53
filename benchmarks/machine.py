"""Which machine a result comes from. Results of different machines aren't compared. Enter at `fingerprint`."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("duckdb", "numpy", "genai-prices")


def fingerprint() -> dict[str, object]:
    """CPU, cores, memory, system and the versions that decide speed; `id` is a hash of what must agree."""
    hardware = {
        "cpu": _cpu(),
        "n_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
        "machine": platform.machine(),
    }
    text = json.dumps(hardware, sort_keys=True)
    software = {"kernel": platform.release(), "python": platform.python_version()}
    software |= {name: version(name) for name in PACKAGES}
    return {"id": hashlib.sha256(text.encode()).hexdigest()[:12], **hardware, **software}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    named = (fields.get(key, "") for key in ("vendor_id", "model name", "cpu family", "model"))
    return " ".join(part for part in named if part) or "unknown"


def refuse_other_machine(old: dict[str, object], new: dict[str, object]) -> None:
    """Raises: SystemExit where two results come from different machines."""
    if old["id"] != new["id"]:
        differing = ", ".join(f"{key} {old.get(key)} / {new[key]}" for key in new if old.get(key) != new[key])
        raise SystemExit(f"bench: results of two machines aren't compared ({differing})")

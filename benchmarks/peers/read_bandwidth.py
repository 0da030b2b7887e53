"""The measured limit: how fast the arm's threads read a buffer of the size that a token reads. GB/s (10⁹)."""

from __future__ import annotations

from typing import Any


def version() -> str | None:
    try:
        from solvent.machine import _native
    except ImportError:
        return None
    from solvent import __version__

    return f"solvent {__version__}" if hasattr(_native, "read_bandwidth") else None


def run(job: dict[str, Any]) -> dict[str, Any]:
    from solvent.machine import _native

    rates = [_native.read_bandwidth(job["buffer_bytes"], job["threads"]) / 1e9 for _ in range(job["repetitions"])]
    return {"rates": rates}

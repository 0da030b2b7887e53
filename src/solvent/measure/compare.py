"""What changed between two results: each figure's ratio, and whether the intervals lie apart.

Results of two machines are refused unless that is asked for; what else differs (target, workload, load) is listed.
Enter at `compare`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from solvent.measure.machine import require_same_machine, same_machine

SCHEMA = "solvent.measurement-comparison/1"


def compare(old: Mapping[str, Any], new: Mapping[str, Any], *, across_machines: bool = False) -> dict[str, Any]:
    """rows: id, unit, old, new (numbers or None), ratio new/old, apart (None where an interval is missing).

    Raises: MeasureError (two machines, where across_machines isn't set)"""
    if not across_machines:
        require_same_machine(old["machine"], new["machine"], "--compare")
    rows = []
    for name, figure in new["figures"].items():
        before = old["figures"].get(name)
        if before is None or before.get("unit") != figure.get("unit"):
            continue
        was, now = _number(before.get("value")), _number(figure.get("value"))
        ratio = now / was if was and now is not None else None
        if ratio is not None and not isfinite(ratio):
            ratio = None
        rows.append({
            "id": name, "label": figure.get("label", name), "unit": figure.get("unit", ""), "old": was, "new": now,
            "ratio": ratio, "apart": _apart(before, figure),
        })  # fmt: skip
    differing = {
        f"{part}.{key}": [old.get(part, {}).get(key), new.get(part, {}).get(key)]
        for part in ("target", "workload", "load")
        for key in sorted({*old.get(part, {}), *new.get(part, {})})
        if old.get(part, {}).get(key) != new.get(part, {}).get(key)
    }
    return {
        "schema": SCHEMA,
        "same_machine": same_machine(old["machine"], new["machine"]),
        "old_started_at": old.get("started_at"),
        "differing": differing,
        "rows": rows,
    }


def _number(text: Any) -> float | None:
    return None if text is None else float(text)


def _apart(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool | None:
    """Whether the intervals don't overlap."""
    ends = [_number(one.get(end)) for one in (old, new) for end in ("low", "high")]
    if any(end is None for end in ends):
        return None
    old_low, old_high, new_low, new_high = (float(end) for end in ends if end is not None)
    return new_low > old_high or new_high < old_low

"""What is known only at the end of a session: joules, memory, whether the client kept up; and several put together.

A measurement that was cut short and went on has several sessions. Joules of them are summed where all are known; where
one was killed before it could read its meters, the whole is unknown: the rest is never given for the whole.
What it doesn't do: meter (energy/), keep (sample_log.py).
Enter at `SessionEnd`, `energy_of`, `memory_of` and `client_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from solvent.errors import MeasureError
from solvent.figure import METHODS, Figure, weakest


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """energy: of the session, its value None where a meter stopped; None where nothing was to be metered.

    client: what the client saw of itself (`Watch.document`).   memory_bytes: the most that the target held until then,
    None where that can't be told."""

    energy: Figure | None
    client: Mapping[str, Any] | None
    memory_bytes: int | None = None

    def document(self) -> dict[str, Any]:
        """The end as JSON-ready fields."""
        energy = self.energy.document() if self.energy else None
        return {"energy": energy, "client": self.client, "memory_bytes": self.memory_bytes}

    @classmethod
    def of(cls, found: Any, where: str) -> SessionEnd:
        """An end read back.   Raises: MeasureError (it isn't one)"""
        try:
            energy, client, memory_bytes = found["energy"], found["client"], found["memory_bytes"]
            if client is not None and not isinstance(client["bottleneck"], list):
                raise TypeError
            if memory_bytes is not None and (type(memory_bytes) is not int or memory_bytes < 0):
                raise TypeError
            return cls(None if energy is None else _figure(energy), client, memory_bytes)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise MeasureError(
                where, repr(found)[:60], "the end of a session", "delete the file to begin again"
            ) from None


def _figure(found: Mapping[str, Any]) -> Figure:
    low, value, high = (None if found.get(key) is None else float(found[key]) for key in ("low", "value", "high"))
    if any(one is not None and not 0 <= one < float("inf") for one in (low, value, high)):
        raise ValueError
    if found["method"] not in METHODS:
        raise ValueError
    label, source, formula, note = (str(found.get(key, "")) for key in ("label", "source", "formula", "note"))
    level = None if found.get("level") is None else float(found["level"])
    return Figure(
        "energy_j", label, value, "J", found["method"], source, formula,
        low=low, high=high, level=level, date=found.get("date"), note=note,
    )  # fmt: skip


def energy_of(ends: Mapping[int, SessionEnd], sessions: Sequence[int]) -> Figure | None:
    """Σ joules of the sessions, with the sums of their ends: one model errs in one direction in all of them.

    Unknown (value None) where one session's joules are; None where none of them was metered."""
    found = [ends[session].energy if session in ends else None for session in sessions]
    metered = [energy for energy in found if energy is not None]
    if not metered:
        return None
    if len(found) == 1:
        return metered[0]
    lost = [number for number, energy in enumerate(found, 1) if energy is None or energy.value is None]
    whole = replace(
        metered[0],
        method=weakest(one.method for one in metered),
        source="; ".join(dict.fromkeys(one.source for one in metered)),
        date=max((one.date for one in metered if one.date), default=None),
    )
    if lost:
        which = ", ".join(str(number) for number in lost)
        note = f"unknown: of {len(found)} sessions, {which} ended before its joules were read, or its meter stopped"
        return replace(whole, value=None, low=None, high=None, level=None, note=note)
    low_j, value_j, high_j = (_sum(metered, key) for key in ("low", "value", "high"))
    notes = [f"the sum of {len(found)} sessions", *dict.fromkeys(one.note for one in metered if one.note)]
    level = next((one.level for one in metered if one.level is not None), None)
    return replace(whole, low=low_j, value=value_j, high=high_j, level=level, note="; ".join(notes))


def _sum(figures: Sequence[Figure], key: str) -> float | None:
    """A measured session's value is both its ends where another's has a band; no band at all is None."""
    ends = [getattr(one, key) for one in figures]
    if all(end is None for end in ends):
        return None
    whole = 0.0
    for one, end in zip(figures, ends, strict=True):
        whole += float(end if end is not None else one.value or 0.0)
    return whole


def memory_of(ends: Mapping[int, SessionEnd], sessions: Sequence[int]) -> int | None:
    """The most that was held in any session; None where one doesn't say."""
    found = [ends[session].memory_bytes if session in ends else None for session in sessions]
    known = [one for one in found if one is not None]
    return max(known) if known and len(known) == len(found) else None


def client_of(ends: Mapping[int, SessionEnd], sessions: Sequence[int]) -> dict[str, Any] | None:
    """The worst that the client saw in any session, every reason of a bottleneck; `unwatched`: sessions unseen."""
    seen = [ends[session].client if session in ends else None for session in sessions]
    known = [dict(client) for client in seen if client is not None]
    if not known:
        return None
    worst = {
        key: max((one[key] for one in known if one.get(key) is not None), default=None)
        for key in known[0]
        if key != "bottleneck"
    }
    why = list(dict.fromkeys(str(reason) for one in known for reason in one["bottleneck"]))
    return {**worst, "bottleneck": why, "unwatched": len(seen) - len(known)}

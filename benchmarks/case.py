"""A case: what is measured, on which log, beside which peers, and the bar it must reach. Enter at `read_case`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.synthetic import Shape

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True, slots=True)
class Arm:
    """One peer on one log. own_shape: the log differs from the case's (a peer too slow for it); rates are then said so.

    limit: this arm's rate is the limit that the others are held against.
    """

    peer: str
    shape: Shape | None
    own_shape: bool = False
    limit: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def name(self) -> str:
        extra = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.peer} ({extra})" if extra else self.peer


@dataclass(frozen=True, slots=True)
class Case:
    """title and why: for the reader.   bar_rows_per_s, bar_peak_gib: what `solvent` must reach; None: no bar."""

    name: str
    title: str
    why: str
    samples: int
    warm_ups: int
    arms: tuple[Arm, ...]
    bar_rows_per_s: float | None = None
    bar_peak_gib: float | None = None


def case_names() -> list[str]:
    return sorted(path.stem for path in CASES.glob("*.toml"))


def read_case(path: Path, n_rows: int | None = None, samples: int | None = None) -> Case:
    """A case file. n_rows, samples: override those of the file (a quick trial)."""
    raw = tomllib.loads(path.read_text("utf-8"))
    log = raw.get("log")
    arms = []
    for entry in raw["arms"]:
        own = dict(entry.get("log", {}))
        shape = None
        if log is not None:
            size = {"n_rows": min(n_rows, own.get("n_rows", n_rows))} if n_rows else {}
            shape = Shape(**{**log, **own, **size})
        known = ("peer", "log", "limit")
        options = {key: value for key, value in entry.items() if key not in known}
        arms.append(Arm(entry["peer"], shape, bool(own), bool(entry.get("limit")), options))
    return Case(
        path.stem,
        raw["title"],
        raw["why"],
        samples or raw.get("samples", 20),
        raw.get("warm_ups", 1),
        tuple(arms),
        raw.get("bar_rows_per_s"),
        raw.get("bar_peak_gib"),
    )

"""A speed case: tokens through a model, which arms run it, on how many threads. Enter at `read_speed_case`.

A case file with a table [work] is one of these; the others price logs (`case`).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# Bytes a value of the cache, by type: f16, or blocks of 32 values with their scale, or codes of heads of 64 with scales
# and centres (4.188 bits and so on: docs/reference/turboquant-format.md).
CACHE_BYTES = {
    "f16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q4_0": 18 / 32,
    "tq5": 5.188 / 8, "tq4": 4.188 / 8, "tq4-3": 3.688 / 8, "tq3": 3.188 / 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """kind: decode (a token at a time behind `depth` cached ones) or prefill (n_tokens at once, empty cache).

    cache_values: keys and values that a cached token has, all layers.   repetitions: samples a process."""

    kind: Literal["decode", "prefill"]
    model: str
    n_tokens: int
    depth: int
    cache_values: int
    repetitions: int

    def cache_bytes(self, cache: str = "f16") -> float:
        """What a decoded token reads of the cache, at the mean depth of the run; of a prefill nothing is counted."""
        if self.kind == "prefill":
            return 0.0
        return (self.depth + self.n_tokens / 2) * self.cache_values * CACHE_BYTES[cache]


@dataclass(frozen=True, slots=True)
class SpeedArm:
    """One peer, one model file, one number of threads. limit: measures bandwidth, over a buffer of the model's size."""

    peer: str
    model: str
    threads: int
    limit: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def name(self) -> str:
        return f"{self.peer} ({', '.join(f'{key}={self._word(value)}' for key, value in self.options.items())})" if (
            self.options
        ) else self.peer  # fmt: skip

    @staticmethod
    def _word(value: Any) -> str:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class SpeedCase:
    """samples: of every arm, taken in rounds of work.repetitions, the arms in turn."""

    name: str
    title: str
    why: str
    samples: int
    work: Work
    arms: tuple[SpeedArm, ...]


def is_speed_case(path: Path) -> bool:
    return "work" in tomllib.loads(path.read_text("utf-8"))


def read_speed_case(path: Path, samples: int | None = None, threads: int | None = None) -> SpeedCase:
    """A case file; every arm once a number of threads. samples, threads: override the file's, for a trial."""
    raw = tomllib.loads(path.read_text("utf-8"))
    table = dict(raw["work"])
    numbers_of_threads = table.pop("threads")
    samples = samples or raw.get("samples", 20)
    repetitions = min(samples, table.pop("repetitions", 5))
    work = Work(**table, repetitions=repetitions)
    arms = []
    for n_threads in [threads] if threads else numbers_of_threads:
        for entry in raw["arms"]:
            options = {key: value for key, value in entry.items() if key not in ("peer", "model", "limit")}
            model = entry.get("model", work.model)
            arms.append(SpeedArm(entry["peer"], model, n_threads, bool(entry.get("limit")), options))
    return SpeedCase(path.stem, raw["title"], raw["why"], samples, work, tuple(arms))

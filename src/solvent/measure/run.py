"""One measurement from beginning to end: warm-up, load, samples kept as they come, and what they amount to.

A point is one load on one target; a sweep is several. What an earlier, interrupted run left in the sample log is not
asked for again.
What it doesn't do: choose the target or the workload (the command line), print.
Enter at `measure_points`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from solvent.errors import MeasureError
from solvent.measure.energy.window import EnergyWindow, energy_figure
from solvent.measure.load import Load, Watch, run_load
from solvent.measure.metrics import Metrics, of_answer, sample_fault
from solvent.measure.sample_log import SampleLog
from solvent.measure.session_end import SessionEnd
from solvent.measure.stop import StopRule
from solvent.measure.sweep import next_concurrency
from solvent.measure.target import Answer, Clock, Request, Target

# What a stop rule can watch: one number of each answer.
STOP_METRICS: dict[str, Callable[[Metrics], float | None]] = {
    "ttft": lambda m: m.ttft_s,
    "tpot": lambda m: m.tpot_s,
    "latency": lambda m: m.latency_s,
}
# In each point of a sweep every place answers this many requests, or what is asked for where that is more.
REQUESTS_PER_PLACE = 4

Tell = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class Setup:
    """What is to be measured.

    requests: by the prefix of their ids, the same ones every time.   warm_up: requests whose answers aren't kept.
    precision, precision_of: of the stop rule, None for none.   sweep: the largest concurrency to try; None measures
    `load` alone.   meter: whether this machine's joules are the target's.
    own_process: the target computes in this process.   memory: the most that the target held so far, in bytes."""

    target: Target
    requests: Callable[[str], Iterator[Request]]
    load: Load
    warm_up: int = 0
    precision: float | None = None
    precision_of: str = "latency"
    sweep: int | None = None
    meter: bool = False
    own_process: bool = False
    memory: Callable[[], int | None] = lambda: None

    def stop_rule(self, concurrency: int | None) -> StopRule | None:
        if self.precision is None:
            return None
        if self.precision_of not in STOP_METRICS:
            raise MeasureError("--precision-of", repr(self.precision_of), "one of " + ", ".join(STOP_METRICS))
        return StopRule(self.precision_of, self.precision, concurrency or 1)


@dataclass(slots=True)
class Point:
    """One load's outcome. samples: of all sessions.   ends: how each ended, where that is known."""

    concurrency: int | None
    samples: list[dict[str, Any]]
    session: int
    rule: StopRule | None
    stopped_by: str = "requests"
    ends: dict[int, SessionEnd] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)


def measure_points(setup: Setup, log: SampleLog | None, tell: Tell) -> list[Point]:
    """Measures one point, or those of a sweep in the order in which they were tried.

    Raises: MeasureError (nothing answers the warm-up; an option outside its range)"""
    if setup.sweep is None:
        return [_point(setup, setup.load, "", log, tell)]
    points: dict[int, Point] = {}
    powers: dict[int, tuple[float, float]] = {}
    while (concurrency := next_concurrency(powers, setup.sweep)) is not None:
        n_max = max(setup.load.n_max, REQUESTS_PER_PLACE * concurrency)
        load = replace(setup.load, concurrency=concurrency, n_max=n_max)
        points[concurrency] = _point(setup, load, f"c{concurrency}-", log, tell)
        found = _power(points[concurrency].samples)
        if found is None:
            break
        powers[concurrency] = found
    return list(points.values())


def _power(samples: Sequence[dict[str, Any]]) -> tuple[float, float] | None:
    """Answers a second and their mean latency; None where nothing was answered."""
    metrics = [found for sample in samples if (found := of_answer(sample)) is not None]
    if not metrics:
        return None
    from solvent.measure.figures import Measured

    total_s = sum(end - start for start, end in Measured(samples, "", "").windows())
    return len(metrics) / total_s, sum(one.latency_s for one in metrics) / len(metrics)


def _point(setup: Setup, load: Load, prefix: str, log: SampleLog | None, tell: Tell) -> Point:
    rule = setup.stop_rule(load.concurrency)
    kept = [one for one in (log.kept if log else []) if one["request_id"].startswith(prefix + "r")]
    point = Point(load.concurrency, kept, log.session if log else 0, rule)
    for sample in kept:
        if fault := sample_fault(sample):
            fix = "delete the file to begin again"
            where = f"{log.path if log else ''}: {sample['request_id'][:40]}"
            raise MeasureError(where, fault, "a sample as this version writes it", fix)
    point.ends = {session: end for (name, session), end in log.ended.items() if name == prefix} if log else {}
    for sample in kept:
        _watch_metric(point, sample)
    if rule and rule.reached(point.values):
        point.stopped_by = "precision"
        return point
    if len(kept) >= load.n_max:
        return point
    asyncio.run(_load_point(setup, replace(load, n_max=load.n_max - len(kept)), prefix, (point, log), tell))
    return point


async def _load_point(setup: Setup, load: Load, prefix: str, into: tuple[Point, SampleLog | None], tell: Tell) -> None:
    point, log = into
    await _warm_up(setup, load, prefix, tell)
    done = {sample["request_id"] for sample in point.samples}
    left = (request for request in setup.requests(prefix + "r") if request.id not in done)
    start_s = time.perf_counter()

    def clock() -> float:
        return time.perf_counter() - start_s

    def take(answer: Answer) -> bool:
        sample = {"session": point.session, **answer.document()}
        if log:
            log.add(answer.document(), clock())
        point.samples.append(sample)
        _watch_metric(point, sample)
        n_tried = len(point.samples)
        tell(f"{setup.target.name}: {n_tried} answers", min(1.0, n_tried / (load.n_max + len(done))))
        if point.rule and point.rule.reached(point.values):
            point.stopped_by = "precision"
            return False
        return True

    window, watch = EnergyWindow().open() if setup.meter else None, Watch()
    try:
        await run_load(setup.target, left, load, clock, take, watch)
    finally:
        energy = energy_figure(window.close()) if window else None
        end = SessionEnd(energy, watch.document(own_process=setup.own_process), setup.memory())
        if any(sample["session"] == point.session for sample in point.samples):
            point.ends[point.session] = end
            if log:
                log.add_end(prefix, end)
    if load.max_time_s is not None and clock() >= load.max_time_s and point.stopped_by != "precision":
        point.stopped_by = "time"


async def _warm_up(setup: Setup, load: Load, prefix: str, tell: Tell) -> None:
    if not setup.warm_up:
        return
    tell(f"{setup.target.name}: warming up", None)
    answers: list[Answer] = []

    def take(answer: Answer) -> bool:
        answers.append(answer)
        return True

    first = (replace(request, at_s=None) for request in setup.requests(prefix + "w"))
    clock: Clock = time.perf_counter
    await run_load(setup.target, first, Load(load.concurrency or setup.warm_up, setup.warm_up), clock, take)
    if answers and all(answer.error for answer in answers):
        raise MeasureError(setup.target.name, f"no answer in the warm-up ({answers[0].error})", "a target that answers")


def _watch_metric(point: Point, sample: dict[str, Any]) -> None:
    metrics = of_answer(sample) if point.rule else None
    if metrics is not None and point.rule is not None:
        value = STOP_METRICS[point.rule.metric](metrics)
        if value is not None:
            point.values.append(value)

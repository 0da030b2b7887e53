"""Sends requests to a target and collects answers, and watches itself: was the client the bottleneck?

Closed loop: `concurrency` places, each taking the next request when its last was answered. Open loop: every request
at its time, however many are under way; a client that waited for answers would hide the queue at the server.
Nothing is retried. After a refusal with Retry-After a place of the closed loop waits as long as it was asked to.
What it doesn't do: sum up (figures.py), keep (sample_log.py).
Enter at `run_load`.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from solvent.errors import MeasureError
from solvent.measure.target import Answer, Clock, Request, Target

LAG_PERIOD_S = 0.01
# Above these the client is said to have been the bottleneck: a loop this late can't send in time, a core this full
# has no room for what comes at once.
MAX_LAG_P99_S = 0.005
MAX_LATE_P99_S = 0.010
MAX_CPU_SHARE = 0.90
MAX_OPEN = 4096
MAX_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """How to load a target.

    concurrency: places of a closed loop; None sends each request at its `at_s`.   n_max: requests at most.
    max_time_s: no request is begun after that.   Raises: MeasureError (a time that isn't above 0)"""

    concurrency: int | None
    n_max: int
    max_time_s: float | None = None

    def __post_init__(self) -> None:
        if self.max_time_s is not None and not 0 < self.max_time_s < float("inf"):
            raise MeasureError("--max-time-s", str(self.max_time_s), "seconds, above 0")


@dataclass(slots=True)
class Watch:
    """What the client saw of itself.

    lags_s: by how much its timer came late.   late_s: by how much requests were sent late, of those with a time.
    cpu_s, wall_s: this process's use of the processor, over the time that passed."""

    lags_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0

    def document(self, *, own_process: bool = False) -> dict[str, Any]:
        """Percentiles, and `bottleneck`: why the client may have slowed things down; empty where it didn't.

        own_process: the target computes in this process, whose processor time says nothing about the client."""
        lag_s, late_s = percentile(self.lags_s, 0.99), percentile(self.late_s, 0.99)
        share = self.cpu_s / self.wall_s if self.wall_s > 0 else None
        why = []
        if lag_s is not None and lag_s > MAX_LAG_P99_S and not own_process:
            why.append(f"its event loop was {lag_s * 1e3:.1f} ms late at p99")
        if late_s is not None and late_s > MAX_LATE_P99_S:
            why.append(f"requests went out {late_s * 1e3:.1f} ms late at p99")
        if share is not None and share > MAX_CPU_SHARE and not own_process:
            why.append(f"it used {share:.0%} of a core")
        return {
            "loop_lag_p50_s": percentile(self.lags_s, 0.5),
            "loop_lag_p99_s": lag_s,
            "loop_lag_max_s": max(self.lags_s, default=None),
            "late_send_p99_s": late_s,
            "late_send_max_s": max(self.late_s, default=None),
            "cpu_share_of_a_core": share,
            "bottleneck": why,
        }


def percentile(values: Sequence[float], q: float) -> float | None:
    """The smallest value that at least a share q of them doesn't exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -int(-q * len(ordered) // 1) - 1))]


async def run_load(
    target: Target,
    requests: Iterator[Request],
    load: Load,
    clock: Clock,
    take: Callable[[Answer], bool],
    watch: Watch | None = None,
) -> Watch:
    """Runs the load until the requests, n_max or max_time_s end, or `take` says that it was enough.

    take: is given each answer as it comes, and returns whether to begin further requests.
    watch: what the client sees of itself is noted there, also where the load is cut short."""
    watch = watch or Watch()
    runner = _Run(target, requests, load, clock, take)
    lag = asyncio.create_task(_watch_lag(watch))
    cpu_s, start_s = time.process_time(), clock()
    # A collection of all generations takes tens of milliseconds once there are many samples; nothing here makes cycles.
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        await (runner.open_loop(watch) if load.concurrency is None else runner.closed_loop(load.concurrency))
    except BaseExceptionGroup as group:
        # One fault stopped all; the first tells it.
        raise group.exceptions[0] from None
    finally:
        if was_on:
            gc.enable()
        lag.cancel()
        watch.cpu_s, watch.wall_s = time.process_time() - cpu_s, clock() - start_s
    return watch


async def _watch_lag(watch: Watch) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + LAG_PERIOD_S
        await asyncio.sleep(LAG_PERIOD_S)
        watch.lags_s.append(max(0.0, loop.time() - due_s))


class _Run:
    def __init__(
        self,
        target: Target,
        requests: Iterator[Request],
        load: Load,
        clock: Clock,
        take: Callable[[Answer], bool],
    ) -> None:
        self._target, self._requests, self._load, self._clock, self._take = target, requests, load, clock, take
        self._n_begun = 0
        self._enough = False

    def _next(self) -> Request | None:
        late = self._load.max_time_s is not None and self._clock() >= self._load.max_time_s
        if self._enough or late or self._n_begun >= self._load.n_max:
            return None
        request = next(self._requests, None)
        self._n_begun += request is not None
        return request

    async def _one(self, request: Request) -> Answer:
        answer = await self._target.answer(request, self._clock)
        if not self._take(answer):
            self._enough = True
        return answer

    async def closed_loop(self, concurrency: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, self._load.n_max)):
                group.create_task(self._place())

    async def _place(self) -> None:
        while (request := self._next()) is not None:
            answer = await self._one(request)
            if answer.retry_after_s:
                await asyncio.sleep(min(answer.retry_after_s, MAX_PAUSE_S))

    async def open_loop(self, watch: Watch) -> None:
        room = asyncio.Semaphore(MAX_OPEN)
        start_s = self._clock()
        async with asyncio.TaskGroup() as group:
            while (request := self._next()) is not None:
                due_s = start_s + (request.at_s or 0.0)
                if self._load.max_time_s is not None and due_s >= self._load.max_time_s:
                    return
                await _until(due_s, self._clock)
                await room.acquire()
                if self._enough:
                    return
                group.create_task(self._due(request, due_s, room, watch))

    async def _due(self, request: Request, due_s: float, room: asyncio.Semaphore, watch: Watch) -> None:
        try:
            answer = await self._target.answer(request, self._clock)
        finally:
            room.release()
        answer.scheduled_s = due_s
        if not (answer.error or "").startswith("connect_failed"):
            watch.late_s.append(max(0.0, answer.sent_s - due_s))
        if not self._take(answer):
            self._enough = True


async def _until(due_s: float, clock: Clock) -> None:
    """Sleeps to the millisecond before, then lets the loop turn until the time has come."""
    while (left_s := due_s - clock()) > 0:
        await asyncio.sleep(left_s - 0.0015 if left_s > 0.002 else 0)

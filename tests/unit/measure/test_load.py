"""The load: places are kept full and never exceeded, times are kept, the client watches itself, nothing is lost."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.errors import MeasureError
from solvent.measure.load import Load, Watch, percentile, run_load
from solvent.measure.run import Setup, measure_points
from solvent.measure.sample_log import SampleLog
from solvent.measure.target import Answer, Clock, Request

PLAN = {"target": {"name": "t"}, "workload": {}, "load": {}}


def requests(prefix: str = "r", n: int = 1000) -> Iterator[Request]:
    return (Request(f"{prefix}{i:06d}", None, None, 4, 2) for i in range(n))


class Fake:
    """Answers after a few turns of the loop. wait: what to await before an answer."""

    name, kind = "fake", "fake"

    def __init__(self, wait: Callable[[Request], Any] | None = None) -> None:
        self.under_way, self.most, self.seen = 0, 0, [0] * 0
        self.ids: list[str] = []
        self._wait = wait

    async def answer(self, request: Request, clock: Clock) -> Answer:
        self.ids.append(request.id)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        sent_s = clock()
        if self._wait:
            await self._wait(request)
        for _ in range(3):
            await asyncio.sleep(0)
        self.under_way -= 1
        now_s = clock()
        return Answer(request.id, request.at_s, sent_s, [now_s], [2], now_s, 4, 2, 1.0)


def load(target: Fake, amount: Load, asked: Iterator[Request], enough: int = 10**9) -> tuple[list[Answer], Watch]:
    answers: list[Answer] = []

    def take(answer: Answer) -> bool:
        answers.append(answer)
        return len(answers) < enough

    return answers, asyncio.run(run_load(target, asked, amount, time.perf_counter, take))


@pytest.mark.parametrize("concurrency", [1, 3, 8, 50])
def test_places_are_filled_and_never_exceeded(concurrency: int) -> None:
    target = Fake()
    answers, _ = load(target, Load(concurrency, 40), requests())
    assert len(answers) == 40 and target.most == min(concurrency, 40)
    assert len({one.request_id for one in answers}) == 40


def test_it_ends_with_the_requests_the_time_or_when_it_was_enough() -> None:
    assert len(load(Fake(), Load(4, 10**6), requests(n=17))[0]) == 17
    assert len(load(Fake(), Load(4, 10**6, max_time_s=1e-9), requests())[0]) == 0
    # Those under way are still taken.
    assert 10 <= len(load(Fake(), Load(4, 10**6), requests(), enough=10)[0]) <= 13


def test_an_open_loop_does_not_wait_for_answers() -> None:
    """Nobody is answered before all were sent: a loop that waited would never end."""
    n = 200

    async def all_sent(request: Request) -> None:
        while len(target.ids) < n:
            await asyncio.sleep(0)

    target = Fake(all_sent)
    timed = (Request(f"r{i}", i * 1e-4, None, 1, 1) for i in range(n))
    answers, watch = load(target, Load(None, n), timed)
    assert len(answers) == n and target.most == n
    assert all(one.scheduled_s is not None and one.sent_s >= one.scheduled_s for one in answers)
    assert len(watch.late_s) == n


def test_a_place_waits_as_long_as_a_refusing_server_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    class Refusing(Fake):
        async def answer(self, request: Request, clock: Clock) -> Answer:
            return Answer(request.id, None, clock(), error="http_429: no", retry_after_s=7.0 if self.ids else 9999.0)

    target = Refusing()
    monkeypatch.setattr("solvent.measure.load.asyncio.sleep", noted)
    answers, _ = load(target, Load(1, 3), requests())
    assert len(answers) == 3 and [one for one in waited if one >= 1] == [60.0] * 3, "bounded"


def test_a_fault_of_the_users_stops_all_and_is_told_as_it_is() -> None:
    async def fail(request: Request) -> None:
        raise MeasureError("context", "too long")

    with pytest.raises(MeasureError, match="too long"):
        load(Fake(fail), Load(3, 10), requests())


def test_a_client_that_was_late_says_so_and_one_in_time_does_not() -> None:
    late = Watch([0.0] * 98 + [0.006] * 2, [0.0] * 98 + [0.011] * 2, 0.95, 1.0)
    assert len(late.document()["bottleneck"]) == 3
    assert len(late.document(own_process=True)["bottleneck"]) == 1, "the target's own work isn't the client's"
    assert Watch([0.004] * 100, [0.009] * 100, 0.85, 1.0).document()["bottleneck"] == []
    assert Watch().document()["loop_lag_p99_s"] is None


def test_a_blocked_loop_is_seen() -> None:
    async def block(request: Request) -> None:
        await asyncio.sleep(0.02)
        time.sleep(0.1)

    _, watch = load(Fake(block), Load(1, 3), requests())
    assert max(watch.lags_s) > 0.05


@pytest.mark.parametrize(
    ("n", "q", "rank"), [(1, 0.99, 1), (100, 0.99, 99), (100, 0.5, 50), (101, 0.99, 100), (10, 0.9, 9)]
)
def test_a_percentile_is_one_of_the_values(n: int, q: float, rank: int) -> None:
    assert percentile([float(i) for i in range(n, 0, -1)], q) == rank


# ---------------------------------------------------------------- the log of samples


def kept_after(path: Path) -> list[str]:
    with SampleLog.open(path, PLAN) as log:
        return [line["request_id"] for line in log.kept]


@given(cut=st.integers(0, 600))
def test_a_log_cut_anywhere_keeps_its_whole_lines(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("log") / "x.samples"
    with SampleLog.open(path, PLAN) as log:
        for i in range(5):
            log.add({"request_id": f"r{i}"}, 0.0)
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    n_whole = max(0, content[:cut].count(b"\n") - 1)
    assert kept_after(path) == [f"r{i}" for i in range(n_whole)]
    # And it goes on from there, in a session of its own.
    with SampleLog.open(path, PLAN) as log:
        assert log.session == (1 if n_whole else 0)
        log.add({"request_id": "next"}, 0.0)
    assert kept_after(path) == [*(f"r{i}" for i in range(n_whole)), "next"]


def test_another_measurements_samples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.samples"
    SampleLog.open(path, PLAN).__exit__(None, None, None)
    with pytest.raises(MeasureError, match=r"another measurement \(target\)"):
        SampleLog.open(path, {**PLAN, "target": {"name": "u"}})
    path.write_text("a letter\n", "utf-8")
    with pytest.raises(MeasureError, match="no log of samples"):
        SampleLog.open(path, PLAN)
    assert path.read_text("utf-8") == "a letter\n", "what isn't ours stays"


def test_a_broken_line_inside_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.samples"
    with SampleLog.open(path, PLAN) as log:
        log.add({"request_id": "r0"}, 0.0)
    path.write_bytes(path.read_bytes() + b'{"session": 0}\n')
    with pytest.raises(MeasureError, match=r"x\.samples:3"):
        SampleLog.open(path, PLAN)


GOOD: dict[str, Any] = {"session": 0, **Answer("r000000", None, 0.0, [1.0], [2], 1.0, 4, 2, 1.0).document()}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("chunk_s", None), ("chunk_s", [float("nan")]), ("chunk_s", ["1"]), ("chunk_tok", [1, 2]),
        ("chunk_tok", [True]),
        ("sent_s", None), ("sent_s", float("inf")), ("done_s", "now"), ("n_outputs", [1]), ("output_tok", -1),
        ("prompt_tok", 1.5), ("error", 5), ("notes", "none"), ("notes", [1]), ("output_tok", 10**400),
    ],
)  # fmt: skip
def test_a_sample_that_is_none_is_named_and_not_summed_up(key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "x"
    SampleLog.open(path, PLAN).__exit__(None, None, None)
    start = path.read_bytes()
    path.write_bytes(start + json.dumps({**GOOD, key: value}).encode() + b"\n")
    with SampleLog.open(path, PLAN) as log, pytest.raises(MeasureError, match=f"x: r000000: .*{key}|a note|error and"):
        measure_points(setup(Fake()), log, quiet)
    path.write_bytes(start + json.dumps(GOOD).encode() + b"\n")
    with SampleLog.open(path, PLAN) as log:
        assert len(measure_points(setup(Fake()), log, quiet)[0].samples) == 12


def test_a_run_removes_its_own_log_and_not_that_of_one_that_took_it_up(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with SampleLog.open(path, PLAN) as first:
        pass
    with SampleLog.open(path, PLAN):
        first.remove()
        assert path.exists()
    first.remove()
    assert not path.exists()


def test_a_log_that_was_removed_while_it_was_opened_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    with SampleLog.open(path, PLAN) as first:
        pass
    lock = fcntl.flock

    def after_the_other_ended(handle: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        first.remove()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", after_the_other_ended)
    with pytest.raises(MeasureError, match="removed it"):
        SampleLog.open(path, PLAN)


def test_two_runs_do_not_write_one_log(tmp_path: Path) -> None:
    with SampleLog.open(tmp_path / "x", PLAN), pytest.raises(MeasureError, match="another run"):
        SampleLog.open(tmp_path / "x", PLAN)


# ---------------------------------------------------------------- a measurement


def setup(target: Fake, **more: Any) -> Setup:
    return Setup(target, lambda prefix: requests(prefix), Load(more.pop("concurrency", 2), more.pop("n", 12)), **more)


def quiet(text: str, share: float | None) -> None:
    pass


def test_an_interrupted_measurement_asks_only_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "x"

    class Kill(BaseException):
        pass

    stop_at = itertools.count()

    async def die(request: Request) -> None:
        if next(stop_at) == 7:
            raise Kill

    with SampleLog.open(path, PLAN) as log, pytest.raises(Kill):
        measure_points(setup(Fake(die)), log, quiet)
    kept = kept_after(path)
    assert 0 < len(kept) < 12
    target = Fake()
    with SampleLog.open(path, PLAN) as log:
        (point,) = measure_points(setup(target), log, quiet)
    assert sorted(s["request_id"] for s in point.samples) == [f"r{i:06d}" for i in range(12)]
    assert not {*kept} & {*target.ids} and {s["session"] for s in point.samples} == {0, 1}
    with SampleLog.open(path, PLAN) as log:
        again = Fake()
        (point,) = measure_points(setup(again), log, quiet)
    assert again.ids == [] and len(point.samples) == 12, "a whole log is only summed up"
    assert json.loads(path.read_text("utf-8").splitlines()[0])["plan"] == PLAN


def test_the_warm_up_is_not_kept_and_must_be_answered() -> None:
    target = Fake()
    (point,) = measure_points(setup(target, warm_up=3), None, quiet)
    assert [one for one in target.ids if one.startswith("w")] == ["w000000", "w000001", "w000002"]
    assert len(point.samples) == 12 and all(s["request_id"].startswith("r") for s in point.samples)

    class Dead(Fake):
        async def answer(self, request: Request, clock: Clock) -> Answer:
            return Answer(request.id, None, clock(), error="connect_failed: refused")

    with pytest.raises(MeasureError, match="connect_failed: refused"):
        measure_points(setup(Dead(), warm_up=1), None, quiet)


def test_it_stops_at_its_precision() -> None:
    class Clockwork(Fake):
        async def answer(self, request: Request, clock: Clock) -> Answer:
            await asyncio.sleep(0)
            i = int(request.id[1:])
            return Answer(request.id, None, 10.0 * i, [10.0 * i + 1 + i % 2 * 1e-3], [1], 10.0 * i + 2, 1, 1, 1.0)

    (point,) = measure_points(setup(Clockwork(), n=10**6, concurrency=1, precision=0.01), None, quiet)
    assert point.stopped_by == "precision" and 32 <= len(point.samples) < 40
    with pytest.raises(MeasureError, match="--precision-of"):
        measure_points(setup(Fake(), precision=0.01, precision_of="speed"), None, quiet)


def test_a_sweep_measures_each_concurrency_with_requests_of_its_own() -> None:
    points = measure_points(setup(Fake(), n=4, sweep=4), None, quiet)
    assert [p.concurrency for p in points][:2] == [1, 2]
    for point in points:
        assert all(s["request_id"].startswith(f"c{point.concurrency}-r") for s in point.samples)
        assert len(point.samples) >= 4 * (point.concurrency or 0)

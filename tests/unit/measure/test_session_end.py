"""Joules and the client over several sessions: summed where all are known, unknown where one isn't, never a part."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from solvent.errors import MeasureError
from solvent.figure import Figure
from solvent.measure.energy.window import EnergyWindow
from solvent.measure.load import Load
from solvent.measure.result import About, result_document
from solvent.measure.run import Point, Setup, measure_points
from solvent.measure.sample_log import SampleLog
from solvent.measure.session_end import SessionEnd, client_of, energy_of, memory_of
from solvent.measure.target import Answer, Clock, Request

PLAN: dict[str, Any] = {"target": {"name": "t"}, "workload": {}, "load": {}}
ABOUT = About(PLAN, {"id": "m"}, "2026-11-21T10:00:00+00:00")


def joules(value: float | None, low: float | None = None, high: float | None = None, **more: Any) -> Figure:
    method = "measured" if low is None else "predicted"
    return Figure(
        "energy_j", "energy", value, "J", method, "a meter", low=low, high=high, level=low and 0.9, **more
    )  # fmt: skip


def ends(*energies: Figure | None) -> dict[int, SessionEnd]:
    return {i: SessionEnd(energy, None) for i, energy in enumerate(energies)}


class Target:
    """Answers at once; dies at the n-th request."""

    name, kind = "t", "fake"

    def __init__(self, dies_at: int | None = None) -> None:
        self._turn, self._dies_at = itertools.count(), dies_at

    async def answer(self, request: Request, clock: Clock) -> Answer:
        if next(self._turn) == self._dies_at:
            raise KeyboardInterrupt
        now_s = clock()
        return Answer(request.id, None, now_s, [now_s + 1], [2], now_s + 1, 4, 2, 1.0)


def requests(prefix: str) -> Iterator[Request]:
    return (Request(f"{prefix}{i:06d}", None, None, 4, 2) for i in range(100))


def session(path: Path, target: Target) -> Point:
    with SampleLog.open(path, PLAN) as log:
        setup = Setup(target, requests, Load(1, 10), meter=True)
        return measure_points(setup, log, lambda text, share: None)[0]


@pytest.fixture
def metered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that hold 10 J, 20 J, 30 J …"""
    turn = itertools.count(1)
    monkeypatch.setattr(EnergyWindow, "open", lambda self: self)
    monkeypatch.setattr(EnergyWindow, "close", lambda self: self)
    monkeypatch.setattr("solvent.measure.run.energy_figure", lambda window: joules(10.0 * next(turn)))


@pytest.mark.usefixtures("metered")
def test_joules_of_an_interrupted_measurement_cover_all_its_sessions(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for dies_at in (3, 4):
        with pytest.raises(KeyboardInterrupt):
            session(path, Target(dies_at))
    document = result_document([session(path, Target())], ABOUT)
    figures = document["figures"]
    # 3 answers with 10 J, 4 with 20 J, 3 with 30 J.
    assert document["sessions"] == 3 and figures["energy_j"]["value"] == "60.0"
    assert figures["energy_per_output"]["value"] == "6.0" and figures["energy_per_output_token"]["value"] == "3.0"
    assert "3 sessions" in figures["energy_j"]["note"] and figures["energy_j"]["method"] == "measured"
    assert document["client"]["unwatched"] == 0
    # And it still says so when all is only summed up.
    assert result_document([session(path, Target())], ABOUT)["figures"]["energy_j"]["value"] == "60.0"


@pytest.mark.usefixtures("metered")
def test_joules_of_a_session_that_was_killed_are_unknown_and_so_is_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(KeyboardInterrupt):
        session(path, Target(3))
    # Killed: the line of its end isn't there.
    path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(True) if b'"ended"' not in line))
    document = result_document([session(path, Target())], ABOUT)
    for name in ("energy_j", "energy_per_output", "energy_per_output_token"):
        assert document["figures"][name]["value"] is None and "of 2 sessions, 1 " in document["figures"][name]["note"]
    assert document["client"]["unwatched"] == 1


def test_each_point_of_a_sweep_has_its_own_end(tmp_path: Path) -> None:
    with SampleLog.open(tmp_path / "x", PLAN) as log:
        log.add({"request_id": "c1-r0"}, 0.0)
        log.add_end("c1-", SessionEnd(joules(5.0), None))
        log.add_end("c2-", SessionEnd(joules(7.0), None))
    with SampleLog.open(tmp_path / "x", PLAN) as log:
        found = {name: end.energy.value for (name, _), end in log.ended.items() if end.energy}
        assert found == {"c1-": 5.0, "c2-": 7.0} and log.session == 1


def test_bands_are_summed_end_by_end_and_the_weaker_method_wins() -> None:
    total = energy_of(ends(joules(10.0, 8.0, 13.0), joules(20.0)), [0, 1])
    assert total is not None
    assert (total.low, total.value, total.high, total.level) == (28.0, 30.0, 33.0, 0.9)
    assert total.method == "predicted"


@pytest.mark.parametrize("second", [None, joules(None, note="a meter stopped")])
def test_one_unknown_session_makes_the_whole_unknown(second: Figure | None) -> None:
    total = energy_of(ends(joules(10.0), second), [0, 1])
    assert total is not None and total.value is None and total.low is None and total.level is None
    assert energy_of(ends(None, None), [0, 1]) is None and energy_of({}, [0]) is None


def test_an_end_comes_back_as_it_went() -> None:
    end = SessionEnd(joules(10.0, 8.0, 13.0, note="n", date="2026-11-21"), {"bottleneck": ["late"], "cpu": None}, 5)
    assert SessionEnd.of(end.document(), "x:2") == end


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"energy": None},
        {"energy": {"value": "nan", "method": "measured"}, "client": None, "memory_bytes": None},
        {"energy": {"value": "-1", "method": "measured"}, "client": None, "memory_bytes": None},
        {"energy": {"value": "1", "method": "guessed"}, "client": None, "memory_bytes": None},
        {"energy": [], "client": None, "memory_bytes": None},
        {"energy": None, "client": {}, "memory_bytes": None},
        {"energy": None, "client": None, "memory_bytes": -1},
        {"energy": None, "client": None, "memory_bytes": True},
        {"energy": None, "client": {"bottleneck": "x"}, "memory_bytes": None},
    ],
)
def test_an_end_that_is_none_is_named(broken: dict[str, Any]) -> None:
    with pytest.raises(MeasureError, match="x:2"):
        SessionEnd.of(broken, "x:2")


def test_the_client_is_as_bad_as_in_its_worst_session() -> None:
    seen = [{"loop_lag_p99_s": 0.1, "bottleneck": ["a"]}, {"loop_lag_p99_s": 0.3, "bottleneck": ["b", "a"]}]
    made = {i: SessionEnd(None, client) for i, client in enumerate(seen)}
    assert client_of(made, [0, 1, 2]) == {"loop_lag_p99_s": 0.3, "bottleneck": ["a", "b"], "unwatched": 1}
    assert client_of({}, [0]) is None


def test_the_most_memory_is_that_of_any_session_and_unknown_where_one_does_not_say() -> None:
    made = {i: SessionEnd(None, None, n_bytes) for i, n_bytes in enumerate((7, 9, 8, None))}
    assert memory_of(made, [0, 1, 2]) == 9
    assert memory_of(made, [0, 3]) is None and memory_of(made, [0, 4]) is None and memory_of({}, []) is None

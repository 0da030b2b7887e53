"""The load generator's benchmark on a few streams: peers count every token, errors are of the right gaps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


def sample(repo: Path, **job: object) -> dict[str, object]:
    about = {"n_streams": 6, "n_tokens": 12, "rate_per_s": 100.0, **job}
    done = subprocess.run(
        [sys.executable, str(repo / "benchmarks/child.py"), json.dumps(about)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("peer", ["ticks_solvent", "ticks_asyncio", "ticks_httpx"])
def test_a_peer_sees_every_token(peer: str, repo: Path) -> None:
    found = sample(repo, peer=peer)
    assert found.get("absent") or found["n_gaps"] == 6 * 11


def test_the_readers_clock_can_be_asked_for(repo: Path) -> None:
    assert sample(repo, peer="ticks_solvent", kernel=False)["stamps"] == "reader"


@pytest.fixture
def ticks(repo: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repo))
    import benchmarks.ticks

    return benchmarks.ticks


def test_a_client_that_errs_is_told_by_how_much(ticks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that makes up arrivals 3 ms off in every second gap, while the server's own are what they are."""
    job = {"n_streams": 4, "n_tokens": 10, "rate_per_s": 100.0}

    def wrong(url: str, n_streams: int, n_tokens: int) -> tuple[list[list[float]], dict[str, object]]:
        from benchmarks.peers.ticks_asyncio import _client

        _client(url, n_streams, n_tokens)
        return [[0.01 * k + 0.003 * (k % 2) for k in range(n_tokens)] for _ in range(n_streams)], {}

    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None, raising=False)
    found = ticks.run_client(job, wrong)
    assert found["error_s"]["p50"] == pytest.approx(0.003) and found["error_s"]["max"] == pytest.approx(0.003)

    def losing(url: str, n_streams: int, n_tokens: int) -> tuple[list[list[float]], dict[str, object]]:
        arrivals, notes = wrong(url, n_streams, n_tokens)
        return [one[:-1] for one in arrivals], notes

    with pytest.raises(SystemExit, match="lost tokens"):
        ticks.run_client(job, losing)


def test_quantiles_are_of_the_data(ticks: ModuleType) -> None:
    found = ticks.quantiles([float(n) for n in range(1, 101)])
    assert (found["p50"], found["p99"], found["max"]) == (50.0, 99.0, 100.0)

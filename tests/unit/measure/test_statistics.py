"""The stop rule covers what it claims at any stop, intervals cover, and the knee is where theory puts it."""

from __future__ import annotations

import numpy as np
import pytest

from solvent.errors import MeasureError
from solvent.measure.bootstrap import mean_of, quantiles, ratio_of, share_of
from solvent.measure.stop import StopRule, anytime_interval
from solvent.measure.sweep import knee_of, next_concurrency

N_RUNS = 400
# Of 400 runs that cover with probability 0.95, fewer than 363 do with probability below 1e-4 (binomial).
LEAST_COVERED = 363


def covering_runs(*, naive: bool) -> int:
    """How many of N_RUNS measurements of a mean of 1 cover it at every look from 32 samples to 2,000."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(N_RUNS):
        samples = rng.gamma(4.0, 0.25, size=2000)
        looks = sorted({int(32 * 1.05**k) for k in range(86)})
        for n in looks:
            found = anytime_interval(samples[:n].tolist())
            assert found is not None
            low, high = found.low, found.high
            if naive:
                half = 1.96 * samples[:n].std(ddof=1) / np.sqrt(n)
                low, high = samples[:n].mean() - half, samples[:n].mean() + half
            if not low <= 1.0 <= high:
                break
        else:
            covered += 1
    return covered


def test_the_interval_covers_at_all_looks_at_once() -> None:
    assert covering_runs(naive=False) >= LEAST_COVERED


def test_an_ordinary_interval_that_is_watched_does_not() -> None:
    assert covering_runs(naive=True) < LEAST_COVERED


def test_the_rule_waits_for_enough_and_then_stops() -> None:
    rule = StopRule("latency", 0.05)
    assert not rule.reached([1.0] * 31)
    assert rule.reached([1.0, 1.001] * 16)
    assert not rule.reached([1.0, 2.0] * 16)
    assert StopRule("latency", 0.05, together=2).reached([1.0, 2.0] * 32), "means of pairs don't vary"


@pytest.mark.parametrize("precision", [0.0, -1.0, 1.5, float("nan")])
def test_a_precision_that_cannot_be_met_is_refused(precision: float) -> None:
    with pytest.raises(MeasureError, match="--precision"):
        StopRule("latency", precision)


def test_quantiles_are_the_datas_own() -> None:
    values = np.random.default_rng(1).permutation(100) + 1.0
    found = quantiles([[v] for v in values], [0.5, 0.9, 0.99])
    assert [one.value for one in found] == [50.0, 90.0, 99.0]
    # One value lies beyond p99: no interval can be told.
    assert found[2].low is None and found[0].low is not None and found[0].high is not None
    assert found[0].low < 50 < found[0].high


def test_gaps_of_one_request_hang_together() -> None:
    """Twenty requests, each with gaps of its own speed: pooled resampling would be far too sure of the median."""
    groups = [[0.01 * (i + 1)] * 500 for i in range(20)]
    by_request = quantiles(groups, [0.5])[0]
    pooled = quantiles([[gap] for group in groups for gap in group[::10]], [0.5])[0]
    assert by_request.high and by_request.low and pooled.high and pooled.low is not None
    assert by_request.high - by_request.low > 2 * (pooled.high - pooled.low)


def test_intervals_of_a_mean_cover_it() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for run in range(200):
        found = mean_of(rng.gamma(4.0, 0.25, size=50).tolist(), seed=run)
        assert found.low is not None and found.high is not None
        covered += found.low <= 1.0 <= found.high
    # Percentile intervals of 50 skewed values cover about 93%: of 200, at least 174 with probability 0.999.
    assert covered >= 174


def test_few_values_have_no_interval_and_a_ratio_is_of_sums() -> None:
    assert mean_of([1.0, 2.0, 3.0]).low is None
    assert ratio_of([1.0, 3.0], [1.0, 1.0]).value == 2.0


def test_a_share_of_all_is_not_certain() -> None:
    # By hand: (10 + 1.920729)/(10 + 3.841459) ∓ 1.959964/13.841459 · √(0 + 0.960365).
    found = share_of(10, 10)
    assert (found.value, found.high) == (1.0, 1.0) and found.low == pytest.approx(0.722467, abs=1e-6)
    none = share_of(0, 10)
    assert none.low == 0.0 and none.high == pytest.approx(1 - 0.722467, abs=1e-6)
    half = share_of(50, 100)
    assert half.low == pytest.approx(0.403832, abs=1e-6) and half.high == pytest.approx(0.596168, abs=1e-6)


def station(m: int, limit: int) -> tuple[int, list[int]]:
    """A sweep over a station of m equal servers, one second a request."""
    points: dict[int, tuple[float, float]] = {}
    while (c := next_concurrency(points, limit)) is not None:
        assert c not in points and 1 <= c <= limit, "each once, within the limit"
        points[c] = (min(c, m) * 1.0, max(1.0, c / m))
    return knee_of(points), sorted(points)


@pytest.mark.parametrize(("m", "limit"), [(1, 64), (2, 64), (4, 64), (8, 8), (16, 64), (1, 1), (3, 3)])
def test_the_knee_of_a_station_is_its_number_of_servers(m: int, limit: int) -> None:
    assert station(m, limit)[0] == m


@pytest.mark.parametrize("m", [6, 12, 24, 50])
def test_between_the_powers_of_two_it_is_found_to_a_quarter(m: int) -> None:
    knee, tried = station(m, 256)
    assert abs(knee - m) <= 0.25 * m and len(tried) < 14


def test_a_sweep_does_not_go_on_far_beyond_the_knee() -> None:
    assert station(4, 1024)[1][-1] <= 16

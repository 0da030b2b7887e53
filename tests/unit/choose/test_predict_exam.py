"""The exam must see a leak and a miscoverage: no fold splits a configuration, a pair or a twice-listed measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from solvent.choose.predict.efficiency import Physical
from solvent.choose.predict.exam import Paper, folds, grade, sit, spans
from solvent.choose.predict.forecast import TARGETS, Forecast
from solvent.choose.predict.interval import learn, widths
from solvent.choose.predict.points import Point, Setup, fold_groups, serving_points
from solvent.choose.predict.roofline import demands


def aggregated() -> list[Point]:
    return [p for p in serving_points() if p.mode == "agg"]


def test_every_row_is_there() -> None:
    assert len(serving_points()) == 5_221
    assert len(aggregated()) == 3_619
    assert all(p.ttft_s > 0 and p.tpot_s > 0 for p in serving_points())


def test_throughput_is_littles_law() -> None:
    point = aggregated()[0]
    assert point.latency_s == pytest.approx(0.972311 + 1023 * 0.03344291)
    assert point.output_tok_per_s == pytest.approx(128 * 1024 / point.latency_s)


@pytest.mark.parametrize("key", ["configuration", "model_and_gpu", "family", "gpu"])
def test_no_fold_splits_a_group_or_a_measurement(key: str) -> None:
    points = aggregated()
    assert splits(points, folds(points, key), key) == []


def test_a_planted_leak_is_seen() -> None:
    points = aggregated()
    at_random = np.arange(len(points)) % 5
    assert splits(points, at_random, "configuration")
    # Folds by the model's name as the source has it, which lists one measurement under two names.
    by_path = [f"{p.id.split('_')[0]} {p.setup.gpu.name} {p.source}" for p in points]
    assert splits(points, np.unique(by_path, return_inverse=True)[1], "model_and_gpu")


def splits(points: Sequence[Point], fold: Sequence[int] | np.ndarray, key: str) -> list[str]:
    """Groups and measurements that lie in more than one fold."""
    where: dict[object, set[int]] = {}
    for point, number in zip(points, fold, strict=True):
        where.setdefault(getattr(point, key), set()).add(int(number))
        where.setdefault(point.measurement, set()).add(int(number))
    return [str(name) for name, numbers in where.items() if len(numbers) > 1]


def test_twins_under_two_names_join_their_groups() -> None:
    one = aggregated()[0]
    twin = replace(one, id="twin", setup=replace(one.setup, backend="sglang"))
    other = replace(one, id="other", ttft_s=one.ttft_s * 2, setup=replace(one.setup, backend="trtllm"))
    groups = fold_groups([one, twin, other], "configuration")
    assert groups[0] == groups[1] != groups[2]


def flat(points: Sequence[Point], speeds: dict[str, float]) -> Callable[[Sequence[Setup]], Forecast]:
    """A teacher's predictor that says a constant time for each GPU it has seen, else 1 s."""

    def tell(setups: Sequence[Setup]) -> Forecast:
        logs = np.log([speeds.get(s.gpu.name, 1.0) for s in setups])
        times = np.exp(logs)
        return Forecast({t: logs for t in TARGETS}, Physical(times, times, times))

    return tell


def memory(points: Sequence[Point]) -> Callable[[Sequence[Setup]], Forecast]:
    """Remembers the mean latency of each GPU: perfect where a GPU leaked into training, ignorant where it didn't."""
    seen: dict[str, list[float]] = {}
    for p in points:
        seen.setdefault(p.setup.gpu.name, []).append(p.latency_s)
    return flat(points, {name: float(np.mean(v)) for name, v in seen.items()})


def test_the_exam_shows_nothing_of_the_held_group() -> None:
    # Times that differ by 0.1 ms, so that no two rows are twins.
    points = [replace(p, ttft_s=5.0 + i * 1e-4, tpot_s=1e-9) for i, p in enumerate(aggregated()[:200])]
    paper = sit(points, "gpu", memory)
    assert np.allclose(paper.predicted["latency_s"], 0.0)  # ignorance: 1 s
    leaked = sit(points, "configuration", memory)
    assert np.allclose(leaked.predicted["latency_s"], np.log(5.01), atol=3e-3)


def spread(n: int, scale: float, seed: int) -> Paper:
    """A paper whose residuals are normal with this scale; groups of ten."""
    points = tuple(aggregated()[:n])
    rng = np.random.default_rng(seed)
    logs = np.log([p.latency_s for p in points])
    predicted = {t: logs + rng.normal(0, scale, n) for t in TARGETS}
    return Paper("gpu", points, np.arange(n) // 10, predicted, predicted)


def test_intervals_cover_what_they_say() -> None:
    paper = spread(400, 0.2, 0)
    got = grade(paper, "latency_s", inverse=True)
    # 90% of 400 independent draws: a standard deviation of 1.5%; three of them.
    assert abs(got.share_covered - 0.9) < 0.045
    # |e^z − 1| of z ~ N(0, 0.2): its median is 0.6745 · 0.2 to second order.
    assert got.median_error == pytest.approx(0.135, abs=0.02)
    assert got.share_predicted == 1.0


def test_a_planted_miscoverage_is_seen() -> None:
    paper = spread(400, 0.2, 0)
    truth = paper.points
    # Every third fold is twice as far off as the others say.
    worse = tuple(
        replace(p, ttft_s=p.ttft_s * np.exp(0.6), tpot_s=p.tpot_s * np.exp(0.6)) if fold % 3 == 0 else p
        for p, fold in zip(truth, paper.fold, strict=True)
    )
    rows = paper.fold % 3 == 0
    assert grade(replace(paper, points=worse), "latency_s", rows).share_covered < 0.855


def test_a_fold_does_not_widen_its_own_interval() -> None:
    paper = spread(300, 0.1, 1)
    low, high = spans(paper, "latency_s")
    wild = {t: v.copy() for t, v in paper.predicted.items()}
    wild["latency_s"][paper.fold == 4] += 10.0
    low_wild, high_wild = spans(replace(paper, predicted=wild), "latency_s")
    held = paper.fold == 4
    assert np.array_equal(low[held], low_wild[held]) and np.array_equal(high[held], high_wild[held])
    assert not np.array_equal(low[~held], low_wild[~held])


def test_widths_grow_with_the_regimes_ignorance() -> None:
    setups = [p.setup for p in aggregated()[::50]]
    median = {
        regime: float(np.median(np.subtract(*widths(regime, "latency_s").span(setups)[::-1])))
        for regime in ("configuration", "model_and_gpu", "family")
    }
    assert median["configuration"] < median["model_and_gpu"] < median["family"]


def test_too_few_residuals_are_refused() -> None:
    setups = [p.setup for p in aggregated()[:10]]
    with pytest.raises(AssertionError, match="fewer than 20"):
        learn(setups, np.zeros(10))


def test_doubling_a_rate_halves_its_demand() -> None:
    setup = aggregated()[0].setup
    fast = replace(setup, gpu=replace(setup.gpu, memory_bytes_per_s=2 * setup.gpu.memory_bytes_per_s))
    slow_told, fast_told = demands([setup]), demands([fast])
    assert fast_told.weights_s[0] == pytest.approx(slow_told.weights_s[0] / 2)
    assert fast_told.cache_s[0] == pytest.approx(slow_told.cache_s[0] / 2)
    assert fast_told.compute_s[0] == slow_told.compute_s[0]


def test_intervals_cover_groups_that_they_were_not_learned_from() -> None:
    setups = [p.setup for p in aggregated()[:1200]]
    groups = np.arange(1200) // 60
    rng = np.random.default_rng(3)
    # Points of a group err together: a shift of its own, and little beside.
    shifts = rng.standard_t(2, 20) * 0.2
    residuals = shifts[groups] + rng.normal(0, 0.03, 1200)

    def covered(known: bool) -> float:
        inside = 0.0
        for group in range(20):
            held = groups == group
            rest = groups[~held] if known else None
            found = learn([s for s, h in zip(setups, held, strict=True) if not h], residuals[~held], groups=rest)
            low, high = found.span([s for s, h in zip(setups, held, strict=True) if h])
            inside += float(np.mean((residuals[held] >= low) & (residuals[held] <= high))) / 20
        return inside

    # Twenty groups, so that one more or less is 5%.
    assert covered(known=True) >= 0.85
    assert covered(known=False) <= covered(known=True) - 0.05


def test_points_that_err_apart_are_hardly_stretched_and_never_narrowed() -> None:
    setups = [p.setup for p in aggregated()[:900]]
    residuals = np.random.default_rng(4).normal(0, 0.2, 900)
    alone, grouped = learn(setups, residuals), learn(setups, residuals, groups=np.arange(900) // 45)
    factor = grouped.high / alone.high
    assert 1.0 <= factor < 1.15
    assert grouped.low / alone.low == pytest.approx(factor)

"""The intervals cover what they claim to, are the same every time, and stay away where there is nothing to say."""

from __future__ import annotations

import numpy as np

from solvent.money.audit.bootstrap import LEVEL, MANY, intervals


def ratio(s: dict) -> np.ndarray:  # type: ignore[type-arg]
    return s["cost"] / s["outputs"]  # type: ignore[no-any-return]


def test_the_same_every_time() -> None:
    random = np.random.default_rng(1)
    columns = {"cost": random.gamma(2, 3, 40), "outputs": random.gamma(5, 2, 40)}
    assert intervals(columns, {"r": ratio}) == intervals(columns, {"r": ratio})


def test_covers_the_true_ratio_about_as_often_as_stated() -> None:
    """150 logs of 60 customers whose true cost per output is 2. A share of 0.95 over 150 draws has a standard error
    of 0.018; percentile intervals of small samples run a few points short, so 0.86 to 1 is right and 0.5 is not."""
    random = np.random.default_rng(7)
    hits = 0
    for _ in range(150):
        outputs = random.gamma(4, 10, 60)
        columns = {"cost": outputs * random.gamma(4, 0.5, 60), "outputs": outputs}
        low, high = intervals(columns, {"r": ratio})["r"]
        hits += low <= 2 <= high
    assert 0.86 <= hits / 150 <= 1
    assert LEVEL == 0.95


def test_intervals_narrow_with_the_root_of_the_sample() -> None:
    random = np.random.default_rng(3)

    def width(n: int) -> float:
        outputs = random.gamma(4, 10, n)
        low, high = intervals({"cost": outputs * random.gamma(4, 0.5, n), "outputs": outputs}, {"r": ratio})["r"]
        return high - low

    assert 1.5 < width(500) / width(2_000) < 2.7  # √4 = 2
    assert 1.5 < width(MANY - 1) / width(4 * MANY) < 2.7  # the two ways of drawing agree


def test_nothing_to_resample_and_ratios_without_a_value() -> None:
    assert intervals({"cost": np.array([1.0]), "outputs": np.array([1.0])}, {"r": ratio}) == {}
    assert intervals({"cost": np.array([1.0, 2.0]), "outputs": np.array([0.0, 0.0])}, {"r": ratio}) == {}


def test_an_interval_that_a_sum_has_of_its_own_reaches_the_ratio() -> None:
    """Compute of 3.50 exactly, revenue 42 in [11.8, 111.8]: compute per dollar is 0.0833 in about [0.031, 0.30]."""
    columns = {"cost": np.array([3.5]), "revenue": np.array([42.0])}

    def per_dollar(s: dict) -> np.ndarray:  # type: ignore[type-arg]
        return s["cost"] / s["revenue"]  # type: ignore[no-any-return]

    low, high = intervals(columns, {"r": per_dollar}, {"revenue": (11.8 / 42, 111.8 / 42)})["r"]
    assert abs(low - 3.5 / 111.8) < 0.004 and abs(high - 3.5 / 11.8) < 0.06

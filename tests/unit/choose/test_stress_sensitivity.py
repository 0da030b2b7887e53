"""Sobol indices against closed forms: Ishigami's function, an additive model, and a product's own ratio.

Tolerance: at n = 4096 the estimator's plain Monte Carlo error is about 1/√n = 0.016; three of it is 0.047. The points
are a scrambled Sobol' sequence, which is better, so 0.03 holds; 0.04 of planted difference must be seen.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import uniform
from stress_statements import statement

from solvent.choose.stress import sensitivity
from solvent.choose.stress.outcome import Model
from solvent.choose.stress.product import from_statement
from solvent.choose.stress.scenario_file import Scenario
from solvent.choose.stress.sensitivity import (
    Index,
    LogNormal,
    Mixture,
    Sensitivity,
    decide,
    distributions,
    indices,
    sampled,
)

N, TOLERANCE = 4_096, 0.03
NAMES = ("x1", "x2", "x3")


def ishigami(x: np.ndarray) -> np.ndarray:
    values: np.ndarray = (np.sin(x[0]) + 7 * np.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * np.sin(x[0]))[None]
    return values


def ishigami_indices(a: float = 7.0, b: float = 0.1) -> tuple[dict[str, float], dict[str, float]]:
    """Ishigami & Homma 1990: V₁ = ½(1 + bπ⁴/5)², V₂ = a²/8, V₁₃ = 8b²π⁸/225."""
    v1, v2, v13 = 0.5 * (1 + b * math.pi**4 / 5) ** 2, a**2 / 8, 8 * b**2 * math.pi**8 / 225
    v = v1 + v2 + v13
    return {"x1": v1 / v, "x2": v2 / v, "x3": 0.0}, {"x1": (v1 + v13) / v, "x2": v2 / v, "x3": v13 / v}


def found_for(function: object) -> tuple[dict[str, float], dict[str, float]]:
    dists = [uniform(-math.pi, 2 * math.pi)] * 3
    [index] = indices(sampled(function, dists, N), NAMES)  # type: ignore[arg-type]
    return {i.key: i.first for i in index}, {i.key: i.total for i in index}


def test_ishigami() -> None:
    first, total = found_for(ishigami)
    want_first, want_total = ishigami_indices()
    assert first == pytest.approx(want_first, abs=TOLERANCE)
    assert total == pytest.approx(want_total, abs=TOLERANCE)


def test_a_difference_just_above_the_tolerance_is_seen() -> None:
    # a = 6.4 instead of 7 takes x2 from 0.442 to 0.399: 0.043 off.
    want_first, _ = ishigami_indices(a=6.4)
    first, _ = found_for(ishigami)
    assert abs(ishigami_indices()[0]["x2"] - want_first["x2"]) > TOLERANCE * 4 / 3
    assert first != pytest.approx(want_first, abs=TOLERANCE)


def test_an_additive_model_has_equal_first_and_total_orders_that_add_up() -> None:
    weights = np.array([1.0, 2.0, 3.0])
    first, total = found_for(lambda x: (weights @ x)[None])
    want = {name: w * w / 14 for name, w in zip(NAMES, weights, strict=True)}
    assert first == pytest.approx(want, abs=TOLERANCE)
    assert total == pytest.approx(want, abs=TOLERANCE)
    # With an interaction the orders part: the test above could fail.
    mixed_first, mixed_total = found_for(lambda x: (weights @ x + x[0] * x[1])[None])
    assert mixed_total["x1"] - mixed_first["x1"] > 3 * TOLERANCE


def test_indices_are_the_same_each_time_and_the_interval_holds_the_truth() -> None:
    dists = [uniform(-math.pi, 2 * math.pi)] * 3
    one, two = (indices(sampled(ishigami, dists, N), NAMES)[0] for _ in range(2))
    assert one == two
    _, total = ishigami_indices()
    for index in one:
        assert index.total_low - 0.01 <= total[index.key] <= index.total_high + 0.01


def test_an_output_that_never_varies_has_no_indices() -> None:
    dists = [uniform(0, 1)] * 3
    both = indices(sampled(lambda x: np.array([x[0] * 0 + 5, x[0]]), dists, 256), NAMES)
    assert both[0] == () and both[1][0].key == "x1"


def test_a_mixture_puts_each_interval_where_its_weight_is() -> None:
    mixture = Mixture(((0.25, 2.0, 8.0), (0.25, 0.5, 0.5)), 1.0, False)
    u = (np.arange(100_000) + 0.5) / 100_000
    drawn = mixture.ppf(u)
    assert np.mean(drawn == 1.0) == pytest.approx(0.5, abs=1e-4) == np.mean(drawn == 0.5) + 0.25
    inside = drawn[(drawn >= 2) & (drawn <= 8)]
    assert len(inside) == 25_000
    # Log-uniform: the median is the geometric mean.
    assert np.median(inside) == pytest.approx(4.0, rel=1e-3)


def test_the_log_varies_as_the_bootstrap_says() -> None:
    sigma = math.log(2.0 / 0.5) / (2 * 1.959963984540054)
    low, high = LogNormal(sigma).ppf(np.array([0.025, 0.975]))
    assert (low, high) == pytest.approx((0.5, 2.0), rel=1e-9)


def scenario(name: str, confidence: float, **change: object) -> Scenario:
    return Scenario.model_validate(
        {"name": name, "title": name, "date": __import__("datetime").date(2026, 3, 1), "source": "s",
         "confidence": confidence, "changes": [change]}
    )  # fmt: skip


def test_a_products_ratio_is_decided_by_what_moves_it_most() -> None:
    model = Model(from_statement(statement(limit=0.9)))
    scenarios = [
        scenario("big", 1.0, assumption="api_price", times=2.0, low=0.5, high=4.0),
        scenario("small", 1.0, assumption="seats", times=0.9, low=0.85, high=0.95),
        scenario("elsewhere", 1.0, assumption="rental_price", times=0.5, low=0.1, high=0.9),
        scenario("nobody-believes-it", 0.0, assumption="customers", times=10.0),
    ]
    assert set(distributions(model, scenarios)) == {"api_price", "seats"}
    found = decide(model, scenarios, 1_024)
    ratio = found["log10_cost_per_value"].indices
    assert ratio[0].key == "api_price" and ratio[0].total > 0.95 and ratio[1].total < 0.05
    # log(compute) − log(revenue): nothing interacts, so first and total orders agree.
    assert ratio[0].first == pytest.approx(ratio[0].total, abs=0.03)
    holds = found["policy_holds"]
    # Compute may be at most 0.9 · revenue ≈ 149: log-uniform from 65 to 520, so about ln(149/65)/ln 8 = 40% hold.
    assert holds.mean == pytest.approx(math.log(0.9 * (90 + 80 * 0.9) / 65) / math.log(8), abs=0.02)
    assert holds.indices[0].key == "api_price"


def test_a_verdict_that_almost_never_turns_has_no_indices() -> None:
    model = Model(from_statement(statement(limit=0.01)))
    found = decide(model, [scenario("big", 1.0, assumption="api_price", times=2.0, low=0.5, high=4.0)], 256)
    assert found["policy_holds"].indices == () and found["policy_holds"].mean == 0.0


def index(key: str, total: float, low: float, high: float) -> Index:
    return Index(key, total, low, high, total, low, high)


def test_who_decides_is_named_with_all_that_the_samples_cant_tell_apart() -> None:
    one, two, three = index("a", 0.6, 0.5, 0.7), index("b", 0.3, 0.2, 0.49), index("c", 0.3, 0.1, 0.5)
    assert Sensitivity("x", (one, two), 0, 0, 0).leaders() == ("a",)
    assert Sensitivity("x", (one, two, three), 0, 0, 0).leaders() == ("a", "c")
    assert Sensitivity("x", (), 0, 0, 0).leaders() == ()


def test_more_samples_are_drawn_where_two_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "N_SAMPLES", 128)
    monkeypatch.setattr(sensitivity, "N_MORE", 256)
    monkeypatch.setattr(sensitivity.decide, "__defaults__", (128,))
    model = Model(from_statement(statement(limit=0.9)))
    wide = {"assumption": "api_price", "times": 1.0, "low": 0.5, "high": 2.0}
    apart = [scenario("big", 1.0, **wide), scenario("small", 1.0, assumption="seats", times=0.99, low=0.98, high=1.0)]
    close = [scenario("one", 1.0, **wide), scenario("two", 1.0, **wide | {"vendor": "openai"})]
    found = sensitivity.decided(model, apart)["margin_usd"]
    assert (found.n_samples, found.leaders()) == (128, ("api_price",))
    assert sensitivity.decided(model, close)["margin_usd"].n_samples == 256

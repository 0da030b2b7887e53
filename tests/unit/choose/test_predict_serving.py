"""`predict_serving` from end to end on a smaller training set: ranges, regimes, lineage, refusals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

from solvent.choose.predict import forecast, serving
from solvent.choose.predict.points import serving_points
from solvent.choose.predict.serving import Load, Parallel, predict_serving
from solvent.choose.predict.shapes import accelerator, model_shape
from solvent.errors import ChoiceError

LOAD = Load(1024, 1024, 32)


@pytest.fixture(scope="module", autouse=True)
def small_training() -> Iterator[None]:
    """Every fourth aggregated point and fewer trees: some seconds less, and nothing here depends on the accuracy."""
    patch = pytest.MonkeyPatch()
    patch.setitem(forecast.TREES, "max_iter", 40)
    patch.setattr(forecast, "N_SEEDS", 1)
    small = forecast.train([p for p in serving_points() if p.mode == "agg"][::4])
    patch.setattr(serving, "trained", lambda: small)
    yield
    patch.undo()


def test_a_prediction_has_ranges_that_belong_together() -> None:
    found = predict_serving("llama-3.1-70b", "h200_sxm", "fp8", Parallel(4), LOAD)
    for value in (found.output_tok_per_s, found.ttft_s, found.tpot_s):
        assert 0 < value.low < value.value < value.high
        assert value.method == "predicted" and "aiconfigurator" in value.source
    latency = found.ttft_s.value + 1023 * found.tpot_s.value
    # Three predictors of one run: they agree to within their own errors.
    assert found.output_tok_per_s.value == pytest.approx(32 * 1024 / latency, rel=0.3)
    # Measured there: 21 to 24 ms a token at 32 in flight on four H200 would be 1,400 tok/s; an order is enough here.
    assert 500 < found.output_tok_per_s.value < 5_000


def test_it_says_what_it_leans_on() -> None:
    found = predict_serving("llama-3.1-70b", "h200_sxm", "fp8", Parallel(4), LOAD)
    assert found.regime == "configuration"
    assert found.leans_on[0] == "llama-3.1-70b on h200_sxm: 132 points"
    rows = [line.removeprefix("row ") for line in found.leans_on if line.startswith("row ")]
    by_id = {p.id: p.setup for p in serving_points()}
    assert len(rows) == 3
    nearest = by_id[rows[0]]
    assert (nearest.model.family, nearest.gpu.name, nearest.n_gpus) == ("llama-3.1-70b", "h200_sxm", 4)
    assert (nearest.isl_tok, nearest.osl_tok, nearest.concurrency) == (1024, 1024, 32)


def relative_width(model: object, system: object, form: str = "fp8") -> tuple[str, float]:
    found = predict_serving(model, system, form, Parallel(4), LOAD)  # type: ignore[arg-type]
    speed = found.output_tok_per_s
    return found.regime, (speed.high - speed.low) / speed.value


def test_the_less_was_measured_the_wider_the_interval() -> None:
    known = relative_width("llama-3.1-70b", "h200_sxm")
    apart = relative_width("qwen3-32b", "h200_sxm")
    stranger = replace(model_shape("llama-3.1-70b"), name="own", family="own")
    unknown_model = relative_width(stranger, "h200_sxm")
    card = replace(accelerator("h200_sxm"), name="own", memory_bytes_per_s=4e12)
    unknown_gpu = relative_width("llama-3.1-70b", card)
    both = relative_width(stranger, card)
    assert [r for r, _ in (known, apart, unknown_model, unknown_gpu)] == [
        *("configuration", "model_and_gpu", "family", "gpu"),
    ]
    assert known[1] < apart[1] < unknown_model[1]
    assert known[1] < unknown_gpu[1]
    assert both[1] >= max(unknown_model[1], unknown_gpu[1]) * 0.999


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_format": "fp5"}, "one of bf16, fp8, fp4, int4"),
        ({"backend": "ollama"}, "one of vllm, sglang, trtllm"),
        ({"load": Load(0, 10, 1)}, "isl_tok"),
        ({"load": Load(10, 10, 0.5)}, "concurrency"),
        ({"load": Load(10, 10, float("nan"))}, "concurrency"),
        ({"parallel": Parallel(4, expert_gpus=8)}, "expert_gpus"),
        ({"parallel": Parallel(1), "weight_format": "bf16"}, "weights take 141 GB"),
        ({"model": "unheard-of"}, "not in the table"),
    ],
)
def test_what_can_not_be_predicted_is_refused(change: dict[str, object], message: str) -> None:
    given = {
        "model": "llama-3.1-70b",
        "system": "h100_sxm",
        "weight_format": "fp8",
        "parallel": Parallel(4),
        "load": LOAD,
    }
    with pytest.raises(ChoiceError, match=message):
        predict_serving(**{**given, **change})  # type: ignore[arg-type]


def test_training_is_deterministic() -> None:
    points = [p for p in serving_points() if p.mode == "agg"][::12]
    setups = [p.setup for p in points[:20]]
    one, two = (forecast.train(points, targets=("ttft_s",)).forecast(setups).logs["ttft_s"] for _ in range(2))
    assert (one == two).all()


def test_beyond_what_was_measured_the_interval_widens_with_each_doubling_and_says_so() -> None:
    longest = max(p.setup.isl_tok for p in serving_points() if p.mode == "agg")

    def asked(isl_tok: int) -> tuple[float, tuple[str, ...]]:
        found = predict_serving("minimax-m2.5", "h200_sxm", "fp8", Parallel(8), Load(isl_tok, 1024, 1))
        speed = found.output_tok_per_s
        return math.log(speed.high / speed.low), tuple(x for x in found.leans_on if x.startswith("beyond"))

    inside, said_inside = asked(longest)
    twice, said = asked(2 * longest)
    eight, _ = asked(8 * longest)
    assert said_inside == () and len(said) == 1 and f"isl_tok {2 * longest:,}" in said[0]
    # 1 + doublings, by what else makes long prompts harder: of the difficulty, ±20%.
    assert twice / inside == pytest.approx(2, rel=0.2)
    assert eight / inside == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize(
    ("of_model", "of_gpu", "message"),
    [
        ({"layers": 0}, {}, "layers 0"),
        ({"hidden": float("nan")}, {}, "hidden nan"),
        ({"kv_heads": 0}, {}, "no cache"),
        ({"experts": 8, "experts_per_token": 9}, {}, "experts_per_token 9"),
        ({}, {"memory_bytes_per_s": 0.0}, "memory_bytes_per_s 0"),
        ({}, {"bf16_flop_per_s": float("inf")}, "bf16_flop_per_s inf"),
    ],
)
def test_a_stated_shape_that_can_not_be_is_refused(
    of_model: dict[str, float], of_gpu: dict[str, float], message: str
) -> None:
    model = replace(model_shape("llama-3.1-70b"), **of_model)  # type: ignore[arg-type]
    gpu = replace(accelerator("h200_sxm"), **of_gpu)  # type: ignore[arg-type]
    with pytest.raises(ChoiceError, match=message):
        predict_serving(model, gpu, "fp8", Parallel(4), LOAD)


def test_trees_are_trained_and_asked_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_info

    seen: list[int] = []

    def noting(method: str) -> None:
        plain = getattr(HistGradientBoostingRegressor, method)

        def noted(self: object, *given: object) -> object:
            seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp")
            return plain(self, *given)

        monkeypatch.setattr(HistGradientBoostingRegressor, method, noted)

    noting("fit")
    noting("predict")
    points = [p for p in serving_points() if p.mode == "agg"][::40]
    forecast.train(points, targets=("ttft_s",)).forecast([points[0].setup])
    assert seen and set(seen) == {1}

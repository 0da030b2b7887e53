"""Steps from measurements: what differs, by how much, at which quality; and never across machines."""

from __future__ import annotations

import math
from typing import Any

import pytest

from solvent.choose.offers.record import exactly
from solvent.choose.path.measured import steps_from_measurements
from solvent.choose.path.step import Step
from solvent.errors import ChoiceError

MACHINE = {"cpu": "c", "cores": 2, "features": [], "memory_gib": 23, "gpu": None, "arch": "x86_64", "os": "Linux"}
STATEMENT = {"tables": {"models": {"rows": [{"model": "org/Tiny"}]}}}


def measured(rate: float, cache: str = "f16", weights: str = "q4_1", **changes: Any) -> dict[str, Any]:
    figures = {"output_token_throughput": {"value": str(rate), "low": str(rate * 0.9), "high": str(rate / 0.9)}}
    whole = {
        "schema": "solvent.measurement/1", "started_at": "2026-11-21T11:00:00+00:00", "machine": hardware(),
        "target": {"name": "tiny", "model": "tiny", "weight_format": weights, "cache_format": cache},
        "workload": {"kind": "fixed"}, "concurrency": 1, "figures": figures | changes.pop("quality", {}),
    }  # fmt: skip
    return whole | changes


def hardware() -> dict[str, Any]:
    from solvent.measure.machine import HARDWARE

    return {key: MACHINE.get(key, "x") for key in HARDWARE}


KL = {
    "quality.w.mean_kl": {"value": "0.02", "low": "0.018", "high": "0.022", "source": "smollm2, tq4 against f16 on w"}
}


def test_a_cache_format_by_hand() -> None:
    (step,) = steps_from_measurements([measured(40), measured(50, "tq4", quality=KL)], STATEMENT)
    assert step.kind == "cache_format" and step.title == "Cache in tq4" and step.needs == ()
    factor = step.cost["all"]
    assert factor.value == pytest.approx(0.8) and factor.method == "measured"
    # Each interval is a factor of 1/0.9 to both sides at 95%; two of them, at 90%:
    half = 1.6449 / 1.96 * math.sqrt(2) * math.log(1 / 0.9)
    assert factor.high / factor.value == pytest.approx(math.exp(half), rel=1e-3)
    assert factor.value / factor.low == pytest.approx(math.exp(half), rel=1e-3)
    assert step.quality is not None and step.quality.value == pytest.approx(math.exp(-0.02))
    assert step.quality.low < step.quality.value < step.quality.high


def test_what_differs_names_the_kind() -> None:
    base = measured(40)
    steps = steps_from_measurements(
        [base, measured(60, weights="tq2_0"), measured(90, concurrency=4), measured(50, "tq4", "tq2_0")], STATEMENT
    )
    assert [step.kind for step in steps] == ["weights", "batching", "weights"]
    assert len({step.id for step in steps}) == 3
    assert all(step.quality is None for step in steps)


def test_the_worst_comparison_counts() -> None:
    accuracy = {
        "quality.arc.accuracy": {"value": "0.45", "source": "s"},
        "quality.arc.accuracy_difference": {"value": "-0.05", "low": "-0.08", "high": "-0.02", "source": "s"},
    }
    (step,) = steps_from_measurements([measured(40), measured(50, "tq4", quality=KL | accuracy)], STATEMENT)
    assert step.quality is not None and step.quality.value == pytest.approx(0.9)
    assert step.quality_note == "accuracy 0.45 against 0.5"


def test_another_model_needs_the_step_that_moves_to_it() -> None:
    other = {"tables": {"models": {"rows": [{"model": "deepseek-r1"}]}}}
    move = Step("tiny-here", "model", "Serve Tiny", "test", {"all": exactly(0.1, "assumed", "test")})
    assert steps_from_measurements([measured(40), measured(50, "tq4")], other, [move])[0].needs == ("tiny-here",)
    with pytest.raises(ChoiceError, match="tiny"):
        steps_from_measurements([measured(40), measured(50, "tq4")], other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"machine": {**hardware(), "cpu": "another"}}, "of another machine"),
        ({"workload": {"kind": "trace"}}, "of another workload"),
        (
            {"target": {"name": "tiny", "model": "tiny", "activations": "int16"}},
            "with int16 activations; expected int8",
        ),
        ({"figures": {}}, "no output_token_throughput"),
        ({"schema": "solvent.statement/1"}, r"solvent\.measurement/1"),
    ],
)
def test_what_does_not_compare_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ChoiceError, match=said):
        steps_from_measurements([measured(40), measured(50, "tq4") | change], STATEMENT)

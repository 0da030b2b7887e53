"""The step that a choice offers: its cost against the log's bill, its quality against today's model."""

from __future__ import annotations

from typing import Any

import pytest

from solvent.choose.path.offers import steps_from_choice

STATEMENT: dict[str, Any] = {
    "span": {"days": "2"},
    "figures": {"cost_usd": {"value": "400"}},
    "tables": {
        "models": {"rows": [{"model": "deepseek-r1"}]},
        "prices": {"rows": [{"model": "deepseek-reasoner"}]},
    },
}


def choice(*models: str, **changes: Any) -> dict[str, Any]:
    """A plan of one machine at 30 dollars a day and one API at 20, as documents are."""
    figures: dict[str, Any] = {
        "plan.usd_per_day": {"value": "50", "low": "40", "high": "60", "method": "predicted"},
        "plan.use.machine.usd_per_day": {"value": "30", "method": "predicted"},
        "plan.use.api.usd_per_day": {"value": "20", "method": "priced"},
        "offer.machine.quality": {
            "value": "0.6",
            "low": "0.55",
            "high": "0.66",
            "method": "measured",
            "source": "a set",
        },
        "offer.api.quality": {"value": "0.8", "method": "claimed", "source": "a card"},
    }
    uses = [
        {"offer": "machine", "model": models[0], "kind": "rented", "share_by_hour": [0.75] * 24,
         "usd_per_day": "plan.use.machine.usd_per_day"},
        {"offer": "api", "model": models[1], "kind": "api", "share_by_hour": [0.25] * 24,
         "usd_per_day": "plan.use.api.usd_per_day"},
    ]  # fmt: skip
    whole = {
        "schema": "solvent.choice/1", "made_at": "2026-11-21T00:00:00+00:00", "verdict": {"line": "machine, api"},
        "plan": {"usd_per_day": "plan.usd_per_day", "uses": uses}, "ranked": [], "excluded": [], "figures": figures,
        "needs": {"quality_metric": "gpqa"},
    }  # fmt: skip
    return whole | changes


def test_cost_quality_and_what_stays_paid_for() -> None:
    (step,) = steps_from_choice(choice("gpt-oss-120b", "deepseek-reasoner"), STATEMENT)
    # 50, 40 and 60 a day against 400 in two days.
    assert (step.cost["all"].value, step.cost["all"].low, step.cost["all"].high) == pytest.approx((0.25, 0.2, 0.3))
    assert step.fixed_share == pytest.approx(0.6)
    assert step.quality is not None
    assert step.quality.value == pytest.approx((0.75 * 0.6 + 0.25 * 0.8) / 0.8)
    assert step.quality.low == pytest.approx((0.75 * 0.55 + 0.25 * 0.8) / 0.8)
    assert step.quality.method == "claimed" and "gpqa 0.65 against 0.8 today" in step.quality_note


def test_the_same_model_elsewhere_keeps_quality() -> None:
    (step,) = steps_from_choice(choice("deepseek-ai/DeepSeek-R1", "deepseek-reasoner"), STATEMENT)
    assert step.quality is not None and step.quality.value == 1.0


def test_a_model_that_nobody_scored_has_an_unknown_quality() -> None:
    whole = choice("gpt-oss-120b", "deepseek-reasoner")
    del whole["figures"]["offer.machine.quality"]
    assert steps_from_choice(whole, STATEMENT)[0].quality is None
    assert steps_from_choice(choice("gpt-oss-120b", "qwen"), STATEMENT)[0].quality is None


def test_no_plan_or_no_cost_is_no_step() -> None:
    assert steps_from_choice(choice("a", "b", plan=None), STATEMENT) == ()
    assert steps_from_choice(choice("a", "b"), {**STATEMENT, "figures": {}}) == ()
    assert steps_from_choice(choice("a", "b"), {**STATEMENT, "span": {}}) == ()

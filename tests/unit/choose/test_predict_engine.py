"""The engine's speed: rates come back from steps made of them, and what is left out is really left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from solvent.choose.predict.engine_speed import Step, fit_engine, fit_rates, leave_out, terms
from solvent.errors import ChoiceError

RATES = np.array([2e-5, 4e-6, 6e-10, 1.0, 5e-11, 2e-9, 1e-10, 3e-9, 1e-9])


def steps(noise: float = 0.0) -> list[Step]:
    """Steps of known rates over formats, contexts, batches and caches, with relative noise."""
    rng = np.random.default_rng(0)
    made = []
    for form, seconds in (("q4", 3e-3), ("q8", 5e-3), ("f16", 15e-3)):
        for context in (16, 128, 512, 1500):
            for batch in (1, 2, 4):
                for cache in ("f16", "tq4"):
                    bare = Step(
                        *("m", form, cache, batch, context, 30, 576, 1e8),
                        products_s=seconds * (0.7 + 0.3 * batch),
                        cache_values=context * 30 * 384.0,
                        coded_cache=cache != "f16",
                    )
                    exact = float(terms([bare])[0] @ RATES)
                    made.append(replace(bare, seconds=exact * (1 + noise * rng.standard_normal())))
    return made


def test_rates_come_back_and_so_do_left_out_steps() -> None:
    told = steps()
    assert np.allclose(terms(told) @ np.array(fit_rates(told)), [s.seconds for s in told], rtol=1e-3)
    for what in ("weight_format", "cached_tok", "batch"):
        # Exact but for the weak tie of coded to plain caches.
        assert np.max(np.abs(leave_out(told, what) - 1)) < 0.02, what


def test_a_format_whose_products_were_measured_wrongly_is_seen_when_left_out() -> None:
    told = [replace(s, products_s=s.products_s * 0.5) if s.weight_format == "q8" else s for s in steps()]
    ratios = leave_out(told, "weight_format")
    wrong = np.array([s.weight_format == "q8" for s in told])
    assert np.median(ratios[wrong]) > 1.3


def test_what_is_left_out_does_not_shape_its_own_prediction() -> None:
    told = [replace(s, seconds=2 * (s.seconds or 0)) if s.batch == 4 else s for s in steps()]
    ratios = leave_out(told, "batch")
    slow = np.array([s.batch == 4 for s in told])
    # Twice what the others say, but for the weak tie; rates that saw it would lie in between.
    assert np.allclose(ratios[slow], 2.0, rtol=0.02)


def test_the_interval_covers_its_noise_and_the_truth_is_inside() -> None:
    speed = fit_engine(steps(0.05))
    # 5% noise, and what extrapolating to an unseen context adds.
    assert 0.7 < speed.low < 0.97 and 1.03 < speed.high < 1.3
    found = speed.seconds(replace(steps()[0], seconds=None))
    assert found.low < (steps()[0].seconds or 0) < found.high
    assert found.method == "predicted" and "72 measured steps" in found.source


def test_what_can_not_be_learned_from_is_refused() -> None:
    with pytest.raises(ChoiceError, match="measured"):
        fit_rates([])
    with pytest.raises(ChoiceError, match="measured"):
        fit_rates([replace(steps()[0], seconds=None)])
    with pytest.raises(ChoiceError, match="steps that differ"):
        fit_engine([steps()[0]])


def test_beyond_the_measured_contexts_the_interval_grows_with_each_doubling() -> None:
    speed = fit_engine(steps(0.05))

    def width(cached_tok: int) -> float:
        found = speed.seconds(replace(steps()[0], cached_tok=cached_tok, seconds=None))
        return float(np.log(found.high / found.low))

    assert width(700) == pytest.approx(width(1500))
    assert width(6000) == pytest.approx(3 * width(1500))
    assert width(4) == pytest.approx(3 * width(16))


def test_a_model_or_cache_that_was_not_measured_takes_the_span_of_leaving_one_out_or_is_refused() -> None:
    speed = fit_engine(steps(0.05))
    known = speed.seconds(replace(steps()[0], seconds=None))
    other_cache = speed.seconds(replace(steps()[0], cache_format="tq2", seconds=None))
    assert other_cache.low <= known.low and other_cache.high >= known.high
    assert (other_cache.low, other_cache.high) != (known.low, known.high)
    with pytest.raises(ChoiceError, match="'other' wasn't measured"):
        speed.seconds(replace(steps()[0], model="other", seconds=None))

"""The picker on a random model: a budget is met, a smaller one takes more bytes, and one that can't be met says so."""

from __future__ import annotations

from functools import cache

import engine_models
import pytest

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.engine import models
from solvent.machine.engine.model import Model
from solvent.machine.engine.pick_cache import Picked, _Reference, pick_cache
from solvent.machine.turboquant.cache_format import CacheFormat

pytestmark = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")

TOKENS = [(7 * i + i * i) % 271 for i in range(256)]


@cache
def model() -> Model:
    file = engine_models.tiny("llama", "f32", context=256)
    return Model(file, models.config(file), threads=1)


def picked(budget: float) -> Picked:
    return pick_cache(model(), TOKENS, budget, window_tok=128)


def divergence(format: CacheFormat) -> float:
    return _Reference(model(), TOKENS, 128).mean_kl(format)


def test_a_budget_is_met_and_a_smaller_one_takes_more_bytes() -> None:
    coarse, fine = divergence(CacheFormat(((2, 2),))), divergence(CacheFormat(((8, 8),)))
    assert fine < coarse
    loose, tight = picked(2 * coarse), picked((fine * coarse) ** 0.5)
    assert loose.format.bits == ((2, 2), (2, 2))
    assert loose.bits_per_element < tight.bits_per_element
    for one, budget in ((loose, 2 * coarse), (tight, (fine * coarse) ** 0.5)):
        assert one.mean_kl <= budget and one.mean_kl == pytest.approx(divergence(one.format))
        assert one.tried[-1] == (one.format, one.mean_kl) and one.n_scored == 128


def test_a_budget_that_cannot_be_met_says_what_it_would_take() -> None:
    fine = divergence(CacheFormat(((8, 8),)))
    with pytest.raises(EngineError, match=f"at least {fine:.4g}"):
        picked(fine / 2)


@pytest.mark.parametrize(("budget", "n"), [(0.0, 256), (-1.0, 256), (float("nan"), 256), (0.1, 100)])
def test_what_makes_no_sense_is_refused(budget: float, n: int) -> None:
    with pytest.raises(EngineError):
        pick_cache(model(), TOKENS[:n], budget, window_tok=128)

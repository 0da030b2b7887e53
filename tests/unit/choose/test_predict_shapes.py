"""Shapes against what the model cards publish, and whether things fit: every byte counted."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from solvent.choose.predict.fits import misfit, resident_bytes, sequences_that_fit
from solvent.choose.predict.points import Setup
from solvent.choose.predict.shapes import ModelShape, accelerator, model_shape, models
from solvent.errors import ChoiceError

# Cards round to two or three digits and some count biases and norms, which the derivation leaves out: 2% of the whole.
# Of the active ones, cards differ in whether the embedding tables count, up to 10% of a small model.
TOTAL_TOLERANCE, ACTIVE_TOLERANCE = 0.02, 0.11


@pytest.fixture
def cards(repo):  # type: ignore[no-untyped-def]
    return tomllib.loads((repo / "src/solvent/choose/data/models.toml").read_text("utf-8"))


def test_parameters_agree_with_the_cards(cards) -> None:  # type: ignore[no-untyped-def]
    assert len(cards) > 10
    for name, card in cards.items():
        shape = model_shape(name)
        assert abs(shape.parameters / card["published_parameters"] - 1) < TOTAL_TOLERANCE, name
        assert abs(shape.active_parameters / card["published_active"] - 1) < ACTIVE_TOLERANCE, name


@pytest.mark.parametrize("field", ["layers", "hidden", "experts", "expert_width", "experts_per_token"])
def test_a_shape_an_eighth_too_large_is_seen(field: str, cards) -> None:  # type: ignore[no-untyped-def]
    shape, card = model_shape("deepseek-v3"), cards["deepseek-v3"]
    wrong = replace(shape, **{field: getattr(shape, field) * 9 // 8})
    total = abs(wrong.parameters / card["published_parameters"] - 1)
    active = abs(wrong.active_parameters / card["published_active"] - 1)
    assert total > TOTAL_TOLERANCE or active > 0.02


def test_every_expert_is_read_by_a_large_batch_and_the_chosen_ones_by_one_token() -> None:
    shape = model_shape("deepseek-v3")
    assert shape.routed_read(1) == pytest.approx(shape.routed_parameters * 8 / 256)
    assert shape.routed_read(100_000) == pytest.approx(shape.routed_parameters)
    assert model_shape("llama-3.1-70b").routed_read(8) == 0


def test_the_cache_by_hand() -> None:
    # 80 layers · 2 · 8 heads · 128 values a token; a latent of 512 + 64 for each of 61 layers.
    assert model_shape("llama-3.1-70b").cache_values(10) == 10 * 80 * 2 * 8 * 128
    assert model_shape("deepseek-v3").cache_values(10) == 10 * 61 * 576
    # Half of gpt-oss's 36 layers see 128 tokens.
    assert model_shape("gpt-oss-120b").cache_values(1000) == (18 * 1000 + 18 * 128) * 2 * 8 * 64


def setup(model: str = "llama-3.1-70b", system: str = "h100_sxm", form: str = "fp8", n_gpus: int = 1) -> Setup:
    return Setup(model_shape(model), accelerator(system), form, n_gpus, False, 1, 1024, 1024, 16.0)


def test_what_fits_and_what_does_not() -> None:
    assert misfit(setup(n_gpus=2)) is None
    assert "weights take 141 GB" in (misfit(setup(form="bf16")) or "")
    assert "weights take" in (misfit(setup("deepseek-v3", "b200_sxm", "fp4")) or "")
    assert misfit(setup("deepseek-v3", "b200_sxm", "fp4", 4)) is None
    assert "heads don't divide" in (misfit(setup(n_gpus=24)) or "")
    assert "no room for the cache" in (misfit(replace(setup(n_gpus=1), isl_tok=2_000_000)) or "")


def test_all_weights_are_somewhere() -> None:
    one = setup("deepseek-v3", form="bf16", n_gpus=8)
    assert sum(resident_bytes(one)) * 8 == pytest.approx(one.model.parameters * 2)
    # Replicated attention puts all of it on every GPU.
    copied = replace(one, replicated_attention=True)
    assert resident_bytes(copied)[0] == pytest.approx(8 * resident_bytes(one)[0])


def test_more_memory_holds_more_sequences() -> None:
    small, large = setup(n_gpus=2), setup(system="h200_sxm", n_gpus=2)
    assert 1 < sequences_that_fit(small) < sequences_that_fit(large)


def test_an_unknown_name_lists_the_known_and_a_stated_shape_passes() -> None:
    with pytest.raises(ChoiceError, match=r"'gpt-9' is not in the table.*llama-3\.1-70b"):
        model_shape("gpt-9")
    with pytest.raises(ChoiceError, match="h100_sxm"):
        accelerator("abacus")
    own = ModelShape("mine", "mine", 2, 64, 100, "gqa", heads=4, head_dim=16, kv_heads=4, dense_width=128)
    assert model_shape(own) is own
    assert model_shape("DEEPSEEK-AI/deepseek-r1") is models()["deepseek-v3"]

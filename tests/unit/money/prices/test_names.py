"""Spellings of providers and models: what counts as the same name, and what must stay apart."""

from __future__ import annotations

import pytest

from solvent.money.prices.names import is_gateway, is_provider, key, maker, provider_id, spellings, vendor_prefixed


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("OpenAI", "openai"),
        ("bedrock_converse", "aws"),
        ("aws.bedrock", "aws"),
        ("vertex_ai-anthropic_models", "google-vertex"),
        ("gcp.vertex_ai", "google-vertex"),
        ("gcp.gemini", "google"),
        ("az.ai.openai", "azure"),
        ("x_ai", "x-ai"),
        ("xai", "x-ai"),
        ("mistral_ai", "mistral"),
        ("together_ai", "together"),
        ("fireworks-ai", "fireworks"),
        ("A Provider Unknown", "a provider unknown"),
    ],
)
def test_providers(written: str, meant: str) -> None:
    assert provider_id(written) == meant


def test_gateways_say_nothing_of_the_seller() -> None:
    assert is_gateway("litellm_proxy") and is_gateway("LiteLLM") and not is_gateway("openrouter")
    assert is_provider("openrouter") and not is_provider("litellm")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("claude-sonnet-4-5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("claude-sonnet-4-5", "claude-sonnet-4.5@20250929"),
        ("gpt-5", "GPT-5-2025-08-07"),
        ("gemini-2.5-pro", "models/gemini-2.5-pro"),
        ("claude-3-5-sonnet", "anthropic/claude-3.5-sonnet:latest"),
        ("deepseek-r1", "accounts/fireworks/models/deepseek-r1"),
    ],
)
def test_one_key(one: str, other: str) -> None:
    assert key(one) == key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-5", "gpt-5-mini"),
        ("deepseek-v3", "deepseek"),
        ("deepseek-r1", "deepseek-r1:free"),
        ("gpt-4-0613", "gpt-4"),
        ("claude-3-5-sonnet", "claude-3-7-sonnet"),
        ("o3", "o1"),
    ],
)
def test_two_keys(one: str, other: str) -> None:
    assert key(one) != key(other)


def test_spellings_begin_with_the_name_itself() -> None:
    assert spellings("GPT-5-20250807") == ("gpt-5-20250807", "gpt-5-2025-08-07", "gpt-5@20250807")
    assert "gemini-2.5-pro" in spellings("publishers/google/models/gemini-2.5-pro")
    assert "claude-sonnet-4-5-20250929" in spellings("claude-sonnet-4-5@20250929")


def test_makers_of_closed_models() -> None:
    assert [maker(name) for name in ("gpt-5", "o3-mini", "claude-x", "gemini-2", "grok-4", "sonar-pro")] == [
        "openai", "openai", "anthropic", "google", "x-ai", "perplexity",
    ]  # fmt: skip
    assert maker("gpt-oss-120b") is None
    assert maker("o365") is None
    assert maker("llama-3.3-70b") is None


def test_bedrock_names() -> None:
    assert vendor_prefixed("us.anthropic.claude-sonnet-4-5-20250929-v1:0")
    assert vendor_prefixed("arn:aws:bedrock:us-east-1:1:inference-profile/eu.amazon.nova-lite-v1:0")
    assert not vendor_prefixed("claude-sonnet-4.5") and not vendor_prefixed("us.example.com")


@pytest.mark.parametrize(
    "name", ["", "/", "a" * 100_000, "a/" * 50_000, "-" * 100_000, "models/" * 20_000, "\x00\n", "😀", "us." * 40_000]
)
def test_hostile_names_end_quickly(name: str) -> None:
    spellings(name)
    assert isinstance(key(name), str)
    assert maker(name) is None

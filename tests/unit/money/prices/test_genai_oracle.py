"""genai-prices prices the same usage: our rate × our buckets equals its own Decimal to the last digit.

Its usage is inclusive (cached tokens are input tokens), ours disjoint; the test translates. Every card of every
model is asked on a day of its own, at random minutes and prompt lengths around every threshold.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from typing import Any

from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TimeOfDateConstraint,
    Usage,
)

from solvent.money.prices import genai
from solvent.money.prices.card import PriceList, Rate, RateCard
from solvent.money.prices.catalogue import Catalogue, load
from solvent.money.prices.names import provider_id
from solvent.records import BUCKET_BY_NAME, BUCKETS, REQUEST_PRICE

SAMPLES = 2
# Whole hundredths of an hour: a price per hour of any second count is no finite decimal, so theirs would be rounded.
# It is also above the ten seconds that one vendor bills at least, which is no price.
HUNDREDTH_HOUR_US = 36_000_000
# Buckets for which both sides fall back alike; any other is sampled only where the rate prices it.
ALWAYS = ("input_tok", "cache_read_tok", "cache_write_5m_tok", "output_tok", "reasoning_tok")
THEIRS = {(provider_id(p.id), m.id): (p, m) for p in providers for m in p.models}


@cache
def alone() -> Catalogue:
    return load(("genai-prices",))


def usage_for(rate: Rate, rng: random.Random, prompt_tok: int) -> dict[str, int]:
    """Disjoint buckets with this many prompt tokens in all, of those that the rate prices."""
    counted = [b for b in BUCKETS if b.price in rate.prices or (b.name in ALWAYS and _falls_back(b.name, rate))]
    usage = {b.name: (HUNDREDTH_HOUR_US if b.name.endswith("_us") else 1) * rng.randrange(1, 5000) for b in counted}
    prompt = [b.name for b in counted if b.prompt]
    cuts = sorted(rng.randrange(prompt_tok + 1) for _ in prompt[1:])
    for name, start, end in zip(prompt, [0, *cuts], [*cuts, prompt_tok], strict=bool(prompt)):
        usage[name] = end - start
    return usage


def _falls_back(name: str, rate: Rate) -> bool:
    bucket = BUCKET_BY_NAME[name]
    while bucket.price not in rate.prices and bucket.falls_back_to:
        bucket = BUCKET_BY_NAME[bucket.falls_back_to]
    return bucket.price in rate.prices


def ours_usd(rate: Rate, usage: Mapping[str, int]) -> Fraction:
    total = Fraction(rate.prices.get(REQUEST_PRICE, 0)) / 1000
    for name, count in usage.items():
        bucket = BUCKET_BY_NAME[name]
        while bucket.price not in rate.prices:
            assert bucket.falls_back_to
            bucket = BUCKET_BY_NAME[bucket.falls_back_to]
        total += Fraction(rate.prices[bucket.price]) * count / bucket.units_per_price
    return total


def inclusive(usage: Mapping[str, int]) -> Usage:
    """The same usage as genai-prices counts it: a part is counted again in what it is part of."""
    n = {b.name: usage.get(b.name, 0) for b in BUCKETS}
    seconds = Decimal(n["input_audio_us"]) / 1_000_000
    spoken = Decimal(n["output_audio_us"]) / 1_000_000
    return Usage(
        input_tokens=sum(n[b.name] for b in BUCKETS if b.prompt),
        cache_read_tokens=n["cache_read_tok"] + n["cache_read_audio_tok"],
        cache_write_tokens=n["cache_write_5m_tok"] + n["cache_write_1h_tok"],
        cache_write_5m_tokens=n["cache_write_5m_tok"],
        cache_write_1h_tokens=n["cache_write_1h_tok"],
        input_audio_tokens=n["input_audio_tok"] + n["cache_read_audio_tok"],
        cache_audio_read_tokens=n["cache_read_audio_tok"],
        input_image_tokens=n["input_image_tok"],
        cache_image_read_tokens=0,
        input_video_tokens=n["input_video_tok"],
        output_tokens=n["output_tok"] + n["reasoning_tok"] + n["output_audio_tok"] + n["output_image_tok"],
        output_reasoning_tokens=n["reasoning_tok"],
        output_citation_tokens=0,
        output_audio_tokens=n["output_audio_tok"],
        output_image_tokens=n["output_image_tok"],
        output_video_tokens=0,
        audio_seconds=seconds + spoken,
        input_audio_seconds=seconds,
        output_audio_seconds=spoken,
        input_characters=n["input_chars"],
        web_searches=n["web_searches"],
        storage_searches=0,
        input_text_messages=0,
        input_document_pages=0,
        input_annotated_document_pages=0,
    )


def theirs_usd(card: RateCard, at: datetime, usage: Mapping[str, int]) -> Fraction:
    provider, model = THEIRS[card.provider, card.model]
    context = dict(genai.SERVICE_CONTEXTS[card.service]) or None
    with localcontext() as decimals:
        decimals.prec = 80
        price: Any = model.calc_price(inclusive(usage), provider, genai_request_timestamp=at, price_context=context)
    return Fraction(price.total_price)


def moments(card: RateCard, rng: random.Random) -> list[datetime]:
    """Days of the card: its first, its last, one between; with random minutes and those at which a window turns."""
    first = card.valid_from or date(2025, 1, 1)
    last = card.valid_to - timedelta(days=1) if card.valid_to else max(first, date(2027, 6, 1))
    first = min(first, last)
    turns = [minute for window in card.windows for minute in (window.start_min, window.end_min)]
    edges = [minute % 1440 for turn in turns for minute in (turn, turn - 1)]
    minutes = edges or [rng.randrange(1440) for _ in range(SAMPLES)]
    between = first + timedelta(days=rng.randrange((last - first).days + 1))
    days = [first, last, between]
    return [
        datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=UTC)
        for minute, day in zip(minutes, days * len(minutes), strict=False)
    ]


def prompts(card: RateCard, rng: random.Random) -> list[int]:
    edges = [tier.above_prompt_tok + more for tier in card.tiers[1:] for more in (0, 1)]
    return edges or [rng.randrange(300_000)]


def disagreements(price_list: PriceList) -> tuple[int, list[str]]:
    rng = random.Random(20261121)
    n, wrong = 0, []
    for listing in price_list.listings:
        for card in price_list.cards(listing):
            for at in moments(card, rng):
                for prompt_tok in prompts(card, rng):
                    rate = alone().rate(
                        card.provider, card.model, at.date(), at.hour * 60 + at.minute, card.service, prompt_tok
                    )
                    assert isinstance(rate, Rate), (card.id, at)
                    usage = usage_for(rate, rng, prompt_tok)
                    n += 1
                    if ours_usd(rate, usage) != theirs_usd(card, at, usage):
                        wrong.append(f"{card.id} at {at}: {usage}")
    return n, wrong


def test_every_card_gives_their_total_exactly(price_lists: dict[str, PriceList]) -> None:
    n, wrong = disagreements(price_lists["genai-prices"])
    assert n > 5_000
    assert not wrong, wrong[:5]


def test_the_oracle_sees_a_price_that_is_off_in_the_last_digit(
    price_lists: dict[str, PriceList],
) -> None:
    prices = price_lists["genai-prices"]
    card = next(card for listing in prices.listings for card in prices.cards(listing))
    at, rng = datetime(2026, 1, 1, tzinfo=UTC), random.Random(1)
    rate = card.rate(0, 4, 1000)
    usage = usage_for(rate, rng, 1000)
    assert ours_usd(rate, usage) == theirs_usd(card, at, usage)
    off = {key: price + Decimal("1e-12") for key, price in rate.prices.items()}
    assert ours_usd(Rate(card, off, "standard", False, "", "priced"), usage) != theirs_usd(card, at, usage)


def test_the_matcher_recognises_what_the_package_recognises() -> None:
    """Our look-up of equal clauses gives the same model as the package's walk over all of them."""
    rng = random.Random(7)
    names = [model.id.lower() for _, model in THEIRS.values()]
    names += ["gpt-5-2025-08-07", "claude-sonnet-4-5-20250929", "gemini-2.5-pro-preview-05-06", "o3", "no-such-model"]
    n_found = 0
    for provider in providers:
        matcher = genai._Matcher(provider.models)
        for name in [*rng.sample(names, 300), *(model.id.lower() for model in provider.models)]:
            expected = next((model.id for model in provider.models if model.is_match(name)), None)
            found = matcher.find(name)
            assert (found[0] if found else None) == expected, (provider.id, name)
            n_found += expected is not None
    assert n_found > 2_000


def test_hours_count_until_a_later_price_begins() -> None:
    """Of conditional prices the last active one counts: a price that starts after the hours ends them."""
    monday = date(2026, 6, 1)
    model = ModelInfo(
        id="m",
        match=ClauseEquals("m"),
        prices=[
            ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1))),
            ConditionalPrice(TimeOfDateConstraint(time(8), time(9)), prices=ModelPrice(input_mtok=Decimal(2))),
            ConditionalPrice(StartDateConstraint(monday), prices=ModelPrice(input_mtok=Decimal(3))),
            ConditionalPrice(TimeOfDateConstraint(time(22), time(2)), prices=ModelPrice(input_mtok=Decimal(4))),
        ],
    )
    vendor = Provider(id="p", name="P", api_pattern="", models=[model])
    cards = genai._cards(genai._Entry("p", model, vendor))
    for day in (monday - timedelta(days=1), monday):
        (card,) = (card for card in cards if card.valid_on(day))
        for hour in range(24):
            at = datetime(day.year, day.month, day.day, hour, 30, tzinfo=UTC)
            price = card.rate(hour * 60 + 30, day.isoweekday(), 0).prices["input_usd_per_mtok"]
            assert price == model.get_prices(at).input_mtok, at


def test_the_first_model_that_matches_counts_whatever_its_kind_of_clause() -> None:
    models = [
        ModelInfo(id="early", match=ClauseStartsWith("ab")),
        ModelInfo(id="equal", match=ClauseOr([ClauseEquals("abc"), ClauseEquals("xyz")])),
        ModelInfo(id="late", match=ClauseStartsWith("x")),
    ]
    matcher = genai._Matcher(models)
    assert [matcher.find(name) for name in ("abc", "xyz", "xy", "q")] == [
        ("early", False),
        ("equal", True),
        ("late", False),
        None,
    ]


def test_variants_that_are_left_out_are_known() -> None:
    """A new kind of price variant must be looked at: it may be a service that logs hold."""
    kinds = {tuple(variant.when.items()) for _, model in THEIRS.values() for variant in model.price_variants or ()}
    ours = {tuple(context.items()) for context in genai.SERVICE_CONTEXTS.values() if context}
    assert kinds - ours == {
        (("service_tier", "default"),),
        (("service_tier", "fast"),),
        (("speed", "fast"),),
        (("route", "mistral/eu"),),
        (("search_type", "fast"),),
        (("search_type", "web"),),
    }
    # "default" is the standard service said aloud: it changes no price.
    for _, model in THEIRS.values():
        for variant in model.price_variants or ():
            if variant.when == {"service_tier": "default"}:
                assert not [price for price in variant.prices.__dict__.values() if price is not None]

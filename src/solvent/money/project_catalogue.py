"""The catalogue that a project asks for: its preferred sources, its own rates, its aliases. Enter at `catalogue_of`."""

from __future__ import annotations

from datetime import date

from solvent.money.prices.catalogue import Catalogue, load
from solvent.money.prices.own import read_files
from solvent.money.project import LoadedProject


def catalogue_of(loaded: LoadedProject, as_of: date | None) -> Catalogue:
    """Own rates are those of [[rates]] and of the files under [prices] files, in the project's currencies."""
    prices = loaded.project.prices
    files = (loaded.folder / name for name in prices.files)
    own = (*loaded.project.rates, *read_files(files, loaded.in_usd))
    return load(prices.prefer, own, as_of, aliases=prices.aliases, default_provider=prices.default_provider)

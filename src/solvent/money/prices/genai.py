"""Rate cards from genai-prices: dated prices, price tiers, off-peak hours, and variants by service.

Follows that package's own rules, which the tests hold it to: of conditional prices the last active one counts,
else the first; a tier prices the whole request; a variant's price replaces the standard one key by key.
Prices of units without a usage bucket (pages, code runs, citations, …) are left out, and the card's note says so.
Enter at `read`. Source: the package genai-prices (MIT), its data module; nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import Any

from solvent.money.prices.card import (
    STANDARD,
    Boundaries,
    Ladder,
    Listing,
    PriceList,
    RateCard,
    Tier,
    Window,
    card_id,
    tiers_of,
)
from solvent.money.prices.names import provider_id

NAME = "genai-prices"

# Their key → ours. A key named twice: the first that a card has counts, as in the package's tree of units
# (a five-minute cache write is a cache write; audio in is audio).
KEYS: tuple[tuple[str, str], ...] = (
    ("input_mtok", "input_usd_per_mtok"),
    ("cache_read_mtok", "cache_read_usd_per_mtok"),
    ("cache_write_5m_mtok", "cache_write_5m_usd_per_mtok"),
    ("cache_write_mtok", "cache_write_5m_usd_per_mtok"),
    ("cache_write_1h_mtok", "cache_write_1h_usd_per_mtok"),
    ("output_mtok", "output_usd_per_mtok"),
    ("output_reasoning_mtok", "reasoning_usd_per_mtok"),
    ("input_audio_mtok", "input_audio_usd_per_mtok"),
    ("cache_audio_read_mtok", "cache_read_audio_usd_per_mtok"),
    ("output_audio_mtok", "output_audio_usd_per_mtok"),
    ("input_image_mtok", "input_image_usd_per_mtok"),
    ("output_image_mtok", "output_image_usd_per_mtok"),
    ("input_video_mtok", "input_video_usd_per_mtok"),
    ("input_audio_hours", "input_audio_usd_per_hour"),
    ("audio_hours", "input_audio_usd_per_hour"),
    ("output_audio_hours", "output_audio_usd_per_hour"),
    ("audio_hours", "output_audio_usd_per_hour"),
    ("input_mchars", "input_usd_per_mchar"),
    ("web_searches_kcount", "web_search_usd_per_1k"),
    ("requests_kcount", "usd_per_1k_requests"),
)
_OURS = frozenset(theirs for theirs, _ in KEYS)

# What a request says of itself → the service that solvent calls it. Other variants (a speed, a route, a kind of
# search) are choices that a log doesn't hold; their prices are left out.
SERVICE_CONTEXTS: Mapping[str, Mapping[str, str]] = {
    STANDARD: {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}


@cache
def _version() -> str:
    return version(NAME)


def read() -> PriceList:
    """The package's models as a price list; cards are made when asked for."""
    from genai_prices.data import providers  # the import is the reading: 1.6 MB of Python

    models: dict[tuple[str, str], _Entry] = {}
    listings, matchers = [], {}
    for provider in providers:
        ours = provider_id(provider.id)
        for model in provider.models:
            models[ours, model.id] = _Entry(ours, model, provider)
            listings.append(Listing(ours, model.id))
        matchers[ours] = _Matcher(provider.models)
    return PriceList(
        name=NAME,
        version=_version(),
        checked=None,
        listings=tuple(listings),
        cards=cache(lambda listing: _cards(models[listing.provider, listing.name])),
        boundaries=_boundaries(entry.model for entry in models.values()),
        match=lambda provider, name: matchers[provider].find(name) if provider in matchers else None,
        why_unpriced=lambda listing: _why_unpriced(models[listing.provider, listing.name]),
        fallbacks={provider_id(p.id): tuple(map(provider_id, p.fallback_model_providers or ())) for p in providers},
        also={"google-vertex": "google"},  # its provider google matches "vertex", too
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    provider: str
    model: Any
    vendor: Any


class _Matcher:
    """The package's own recognition of a name: the first model whose clauses match. Equal clauses are looked up."""

    def __init__(self, models: Iterable[Any]) -> None:
        self._equals: dict[str, tuple[int, str]] = {}
        self._patterns: list[tuple[int, Any]] = []
        for place, model in enumerate(models):
            clauses = list(_clauses(model.match))
            for clause in clauses:
                if type(clause).__name__ == "ClauseEquals":
                    self._equals.setdefault(clause.equals.lower(), (place, model.id))
            if any(type(clause).__name__ != "ClauseEquals" for clause in clauses):
                self._patterns.append((place, model))

    def find(self, name: str) -> tuple[str, bool] | None:
        """The model's id, and whether the name is all that the pattern says, but for a date or revision."""
        name = name.lower()
        place, equal = self._equals.get(name, (-1, None))
        for pattern_place, model in self._patterns:
            if equal is not None and pattern_place >= place:
                break
            if model.is_match(name):
                return str(model.id), any(_says_whole(clause, name) for clause in _clauses(model.match))
        return (equal, True) if equal is not None else None


_SUFFIX = re.compile(r"(?:-latest|[-@]20\d{6}|-20\d\d-\d\d-\d\d|@)?(?:-v\d+(?::\d+)?)?")


def _says_whole(clause: Any, name: str) -> bool:
    kind = type(clause).__name__
    if kind == "ClauseRegex":
        return clause.regex.startswith("^") and clause.regex.endswith("$") and bool(clause.is_match(name))
    if kind == "ClauseStartsWith":
        start = clause.starts_with.lower()
        return name.startswith(start) and _SUFFIX.fullmatch(name[len(start) :]) is not None
    return kind == "ClauseEquals" and bool(clause.is_match(name))


def _clauses(clause: Any) -> Iterable[Any]:
    if type(clause).__name__ == "ClauseOr":
        for part in clause.or_:
            yield from _clauses(part)
    else:
        yield clause


def _cards(entry: _Entry) -> tuple[RateCard, ...]:
    """One card per service and span of days between the dates that the model's prices name."""
    cards = []
    for service, context in SERVICE_CONTEXTS.items():
        variants = [v for v in entry.model.price_variants or () if v.when.items() <= context.items()] if context else []
        if context and not variants:
            continue
        starts = sorted(_start_dates(entry.model.prices, variants))
        for start, end in zip([None, *starts], [*starts, None], strict=True):
            card = _card(entry, service, variants, (start, end))
            if card is not None:
                cards.append(card)
    return tuple(_joined(cards))


def _card(entry: _Entry, service: str, variants: list[Any], span: tuple[date | None, date | None]) -> RateCard | None:
    """The card of one span, or None where the service isn't priced then."""
    start, end = span
    day = start or date.min
    active = [v for v in variants if _started(v.constraint, day)]
    if variants and not active:
        return None
    base, hours = _standard(entry.model.prices, day)
    tiers = _tiers(base, active)
    if not tiers:
        return None
    windows = tuple(Window(*_minutes(hour.constraint), _tiers(hour.prices, active)) for hour in hours)
    return RateCard(
        id=card_id(NAME, entry.provider, entry.model.id, service, start),
        provider=entry.provider,
        model=entry.model.id,
        source=f"{NAME} {_version()}",
        tiers=tiers,
        service=service,
        windows=windows,
        valid_from=start,
        valid_to=end,
        url=(entry.vendor.pricing_urls or [""])[0],
        note=_note(entry, base, active),
    )


def _joined(cards: list[RateCard]) -> Iterable[RateCard]:
    """Neighbouring spans with the same prices become one card."""
    joined: list[RateCard] = []
    for card in cards:
        last = joined[-1] if joined else None
        if (
            last
            and last.service == card.service
            and last.valid_to == card.valid_from
            and ((last.tiers, last.windows, last.note) == (card.tiers, card.windows, card.note))
        ):
            joined[-1] = RateCard(**{**_fields(last), "valid_to": card.valid_to})
        else:
            joined.append(card)
    return joined


def _fields(card: RateCard) -> dict[str, Any]:
    return {name: getattr(card, name) for name in RateCard.__dataclass_fields__}


def _standard(prices: Any, day: date) -> tuple[Any, list[Any]]:
    """(price of the day, the hours that override it) of a list of conditional prices, or of a single price."""
    if not isinstance(prices, list):
        return prices, []
    base, hours = prices[0].prices, []
    for conditional in prices:
        if _is_hours(conditional.constraint):
            hours.append(conditional)
        elif _started(conditional.constraint, day):
            base, hours = conditional.prices, []
    return base, hours


def _is_hours(constraint: Any) -> bool:
    return type(constraint).__name__ == "TimeOfDateConstraint"


def _started(constraint: Any, day: date) -> bool:
    return constraint is None or constraint.start_date <= day


def _start_dates(prices: Any, variants: list[Any]) -> set[date]:
    constraints = [c.constraint for c in prices] if isinstance(prices, list) else []
    constraints += [v.constraint for v in variants]
    return {c.start_date for c in constraints if c is not None and not _is_hours(c)}


def _minutes(constraint: Any) -> tuple[int, int]:
    return _utc_minute(constraint.start_time), _utc_minute(constraint.end_time)


def _utc_minute(moment: time) -> int:
    offset = moment.utcoffset() or timedelta(0)
    moved = datetime(2000, 1, 2, moment.hour, moment.minute, tzinfo=timezone(offset)).astimezone(UTC)
    return moved.hour * 60 + moved.minute


def _tiers(base: Any, variants: list[Any]) -> tuple[Tier, ...]:
    """Standard prices with the variants' over them, the first variant that names a key counting; () where none."""
    merged = dict(base.__dict__)
    over: dict[str, Any] = {}
    for variant in variants:
        for key, price in variant.prices.__dict__.items():
            if price is not None:
                over.setdefault(key, price)
    merged.update(over)
    if merged.get("input_audio_hours") is not None:
        merged["audio_hours"] = None  # the same price again, on models that only listen
    ladders: dict[str, Ladder] = {}
    for theirs, ours in KEYS:
        price = merged.get(theirs)
        if price is not None and ours not in ladders:
            ladders[ours] = _ladder(price)
    return tiers_of(ladders) if ladders else ()


def _ladder(price: Any) -> Ladder:
    if isinstance(price, Decimal):
        return ((0, price),)
    return ((0, price.base), *((tier.start, tier.price) for tier in price.tiers))


def _left_out(base: Any, variants: list[Any]) -> list[str]:
    prices = [base, *(variant.prices for variant in variants)]
    named = {key for price in prices for key, value in price.__dict__.items() if value is not None}
    return sorted(named - _OURS)


def _note(entry: _Entry, base: Any, variants: list[Any]) -> str:
    left_out = _left_out(base, variants)
    return f"not represented: {', '.join(left_out)}" if left_out else ""


def _why_unpriced(entry: _Entry) -> str:
    prices = entry.model.prices
    base = prices[-1].prices if isinstance(prices, list) else prices
    left_out = _left_out(base, [])
    if left_out:
        return f"it prices only what no usage bucket counts ({', '.join(left_out)})"
    return "it lists the model without a price"


def _boundaries(models: Iterable[Any]) -> Boundaries:
    """Every prompt length and minute at which some price changes, read without making cards."""
    thresholds: set[int] = set()
    minutes: set[int] = set()
    for model in models:
        conditionals = model.prices if isinstance(model.prices, list) else ()
        for conditional in conditionals:
            if _is_hours(conditional.constraint):
                minutes.update(_minutes(conditional.constraint))
        every = [c.prices for c in conditionals] or [model.prices]
        every += [v.prices for v in model.price_variants or ()]
        for prices in every:
            for price in prices.__dict__.values():
                if price is not None and not isinstance(price, Decimal):
                    thresholds.update(tier.start for tier in price.tiers)
    return Boundaries(tuple(sorted(thresholds)), tuple(sorted(minutes)))

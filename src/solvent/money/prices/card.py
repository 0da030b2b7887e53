"""Rate cards: the prices of one model at one provider in one service, over one span of days, from one source.

A card holds tiers (by prompt length; the whole request pays its tier) and windows (hours in UTC, by weekday,
in which other tiers hold). `Rate` is what one request pays. The three catalogues and the user's own prices
all become `PriceList`s of cards; `catalogue` chooses among them.
What it doesn't do: read catalogues, find models by name, multiply prices with usage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

MINUTES_PER_DAY = 1440
STANDARD = "standard"
Ladder = Sequence[tuple[int, Decimal]]


@dataclass(frozen=True, slots=True)
class Tier:
    """Prices (price key → USD) of a whole request whose prompt is longer than `above_prompt_tok`."""

    above_prompt_tok: int
    prices: Mapping[str, Decimal] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes of the UTC day [start, end) on the given weekdays (ISO: Monday is 1), and the tiers that hold then.

    An end at or before the start passes midnight; the weekday is that of the minute itself.
    """

    start_min: int
    end_min: int
    tiers: tuple[Tier, ...]
    weekdays: frozenset[int] = frozenset(range(1, 8))

    def holds(self, minute: int, weekday: int) -> bool:
        if weekday not in self.weekdays:
            return False
        if self.start_min < self.end_min:
            return self.start_min <= minute < self.end_min
        return minute >= self.start_min or minute < self.end_min

    def text(self) -> str:
        days = "" if len(self.weekdays) == 7 else " on weekdays " + ",".join(map(str, sorted(self.weekdays)))
        end = self.end_min or MINUTES_PER_DAY
        return f"{_clock(self.start_min)}–{_clock(end)} UTC{days}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


@dataclass(frozen=True, slots=True)
class RateCard:
    """Prices of `model` at `provider` in `service`, valid from `valid_from` to before `valid_to` (None: open).

    source: catalogue and version.   checked: the day on which the source was taken or checked.
    tiers: by rising prompt length, the first from 0.   windows: the last one that holds wins over the tiers.
    assumed: the user's own assumption.   note: what the source says that a card can't hold.
    """

    id: str
    provider: str
    model: str
    source: str
    tiers: tuple[Tier, ...]
    service: str = STANDARD
    windows: tuple[Window, ...] = ()
    valid_from: date | None = None
    valid_to: date | None = None
    checked: date | None = None
    url: str = ""
    assumed: bool = False
    note: str = ""

    @property
    def dated(self) -> bool:
        """Whether the source says since when or until when; a card without dates prices any day, labelled."""
        return self.valid_from is not None or self.valid_to is not None

    def valid_on(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_to is None or day < self.valid_to)

    def validity(self) -> str:
        """ "2026-01-01 to 2026-06-01" (the first day after), "since …", "before …" or "no dates"."""
        if self.valid_from and self.valid_to:
            return f"{self.valid_from} to {self.valid_to}"
        if self.valid_from:
            return f"since {self.valid_from}"
        return f"before {self.valid_to}" if self.valid_to else "no dates"

    def rate(self, minute: int, weekday: int, prompt_tok: int, note: str = "") -> Rate:
        """What a request pays at `minute` of the UTC day `weekday` (ISO) with `prompt_tok` prompt tokens."""
        tiers, notes = self.tiers, [note] if note else []
        for window in reversed(self.windows):
            if window.holds(minute, weekday):
                tiers = window.tiers
                notes.append(window.text())
                break
        tier = tiers[0]
        for candidate in tiers[1:]:
            if prompt_tok > candidate.above_prompt_tok:
                tier = candidate
        if tier.above_prompt_tok:
            notes.append(f"above {tier.above_prompt_tok:,} prompt tokens")
        if self.note:
            notes.append(self.note)
        method: Literal["priced", "assumed"] = "assumed" if self.assumed else "priced"
        return Rate(self, tier.prices, self.service, self.dated, "; ".join(notes), method)


@dataclass(frozen=True, slots=True)
class Rate:
    """What one request pays: price key → USD, of the card's tier and window that apply."""

    card: RateCard
    prices: Mapping[str, Decimal] = field(hash=False)
    service: str
    dated: bool
    note: str
    method: Literal["priced", "assumed"]


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Why a request has no price.

    reason: unknown_model, needs_provider, no_price, no_service_price, not_valid_on_day.
    """

    reason: str
    detail: str
    fix: str


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Where prices can change: prompt lengths (the tier begins above) and minutes of the UTC day, both sorted."""

    prompt_tok: tuple[int, ...]
    minutes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """One model of a source under its own name there. aliases: further exact names of the same entry."""

    provider: str
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceList:
    """One source of prices, read but not yet turned into cards.

    listings: all models that it names, priced or not.   cards: a listing's cards; none where it has no price.
    match: a provider's further way to recognise a name (catalogues have patterns): the listing's name, and
    whether the pattern says the whole name but for a date or revision.
    why_unpriced: what stands in the way where a listing has no cards.
    fallbacks: providers whose standard prices a provider without its own charges.
    also: provider → the provider under which this source lists it as well.
    is_open: whether anyone may serve the model with this `names.key`.
    """

    name: str
    version: str
    checked: date | None
    listings: tuple[Listing, ...]
    cards: Callable[[Listing], tuple[RateCard, ...]]
    boundaries: Boundaries
    match: Callable[[str, str], tuple[str, bool] | None] = lambda provider, name: None
    why_unpriced: Callable[[Listing], str] = lambda listing: "it states no price"
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    also: Mapping[str, str] = field(default_factory=dict)
    is_open: Callable[[str], bool] = lambda key: False

    @property
    def source(self) -> str:
        return f"{self.name} {self.version}".strip()


def tiers_of(ladders: Mapping[str, Ladder]) -> tuple[Tier, ...]:
    """Merges ladders (price key → [(above, price), …], rising from 0) into tiers that hold every key."""
    starts = sorted({0, *(above for ladder in ladders.values() for above, _ in ladder)})
    tiers = []
    for start in starts:
        prices = {}
        for key, ladder in ladders.items():
            reached = [price for above, price in ladder if above <= start]
            if reached:
                prices[key] = reached[-1]
        tiers.append(Tier(start, prices))
    return tuple(tiers)


def card_id(source: str, provider: str, model: str, service: str, valid_from: date | None) -> str:
    """ "genai-prices:openai/gpt-5:batch@2026-10-14": unique within a catalogue, stable across runs."""
    service_part = "" if service == STANDARD else f":{service}"
    return f"{source}:{provider}/{model}{service_part}" + (f"@{valid_from}" if valid_from else "")

"""The user's own prices: `[[rates]]` tables of solvent.toml, or of the TOML files that `prices.files` names.

One table is one line of a price list: a model's prices in one service, from one prompt length up, in one
span of hours. Tables of the same model, provider, service and validity together make one rate card.
What it doesn't do: choose a price for a request (`catalogue`).
Enter at `OwnRate` and `read_file`; `cards` makes the rate cards. The keys are in docs/reference/prices.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from solvent.errors import PriceError
from solvent.money.prices.card import (
    MINUTES_PER_DAY,
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
from solvent.money.toml_file import read_toml, refuse_endless
from solvent.records import PRICE_KEYS

Usd = Annotated[Decimal, Field(ge=0, le=10**9, max_digits=40, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
_HOURS = re.compile(r"^([01]\d|2[0-4]):([0-5]\d)\s*[-–]\s*([01]\d|2[0-4]):([0-5]\d)$")
Converter = Callable[[dict[str, Any], Path], dict[str, Any]]
NAME = "own"
ANY_PROVIDER = "*"
MAX_BYTES = 16 << 20
MAX_RATES = 100_000


class OwnRate(BaseModel):
    """One table of the user's own prices, in USD; a price that is left out is unknown, and 0 is free.

    provider: None prices the model at every provider.   assumed: the report labels the cost "assumed".
    valid_from is the first day, valid_to the first day after.   hours_utc: "16:30-00:30", may pass midnight.
    above_prompt_tok: these prices hold for the whole request where its prompt is longer than this.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name
    provider: Name | None = None
    source: str = Field(default="", max_length=500)
    checked: date | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    service: Literal["standard", "batch", "flex", "priority"] = "standard"
    above_prompt_tok: int = Field(default=0, ge=0, le=10**9)
    hours_utc: str | None = None
    assumed: bool = False

    input_usd_per_mtok: Usd | None = None
    cache_read_usd_per_mtok: Usd | None = None
    cache_write_5m_usd_per_mtok: Usd | None = None
    cache_write_1h_usd_per_mtok: Usd | None = None
    output_usd_per_mtok: Usd | None = None
    reasoning_usd_per_mtok: Usd | None = None
    input_audio_usd_per_mtok: Usd | None = None
    cache_read_audio_usd_per_mtok: Usd | None = None
    output_audio_usd_per_mtok: Usd | None = None
    input_image_usd_per_mtok: Usd | None = None
    output_image_usd_per_mtok: Usd | None = None
    input_video_usd_per_mtok: Usd | None = None
    input_audio_usd_per_hour: Usd | None = None
    output_audio_usd_per_hour: Usd | None = None
    output_video_usd_per_s: Usd | None = None
    output_usd_per_image: Usd | None = None
    input_usd_per_mchar: Usd | None = None
    web_search_usd_per_1k: Usd | None = None
    usd_per_1k_requests: Usd | None = None

    @field_validator("hours_utc")
    @classmethod
    def _is_span(cls, hours: str | None) -> str | None:
        if hours is not None:
            minutes_utc(hours)
        return hours

    @model_validator(mode="after")
    def _is_whole(self) -> OwnRate:
        if not self.prices():
            raise ValueError(f"{self.model!r} has no price; give at least one of {', '.join(PRICE_KEYS[:5])}, …")
        if self.valid_from and self.valid_to and self.valid_from >= self.valid_to:
            raise ValueError(f"valid_to {self.valid_to} is not after valid_from {self.valid_from}")
        return self

    def prices(self) -> dict[str, Decimal]:
        """Price key → USD, of the prices that the table gives."""
        return {key: price for key in PRICE_KEYS if (price := getattr(self, key)) is not None}


def minutes_utc(hours: str) -> tuple[int, int]:
    """ "16:30-00:30" → (990, 30): the first minute of the span and the first after it, in minutes of the day."""
    match = _HOURS.match(hours.strip())
    if match is None:
        raise ValueError(f"{hours!r} is not a span of hours such as '16:30-00:30' (UTC)")
    start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if max(start, end) > MINUTES_PER_DAY or start % MINUTES_PER_DAY == end % MINUTES_PER_DAY:
        raise ValueError(f"{hours!r} is not a span within a day")
    return start % MINUTES_PER_DAY, end % MINUTES_PER_DAY


def read_files(paths: Iterable[Path], in_usd: Converter = lambda raw, path: raw) -> tuple[OwnRate, ...]:
    """The `[[rates]]` tables of TOML files, in order. in_usd: turns their money of other currencies into dollars.

    Raises: PriceError naming the file, the table and key, what was found and what was expected.
    """
    rates: list[OwnRate] = []
    for path in paths:
        raw = read_toml(path, PriceError, MAX_BYTES)
        refuse_endless(raw, path, PriceError)
        raw = in_usd(raw, path)
        tables = raw.pop("rates", [])
        if raw or not isinstance(tables, list):
            found = f"`{next(iter(raw))}`" if raw else "`rates` that is not a list of tables"
            raise PriceError(str(path), found, "nothing but [[rates]] tables")
        rates += [_parsed(table, f"{path}: rates[{i}]") for i, table in enumerate(tables)]
    return tuple(rates)


def _parsed(table: object, where: str) -> OwnRate:
    try:
        return OwnRate.model_validate(table)
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(map(str, fault["loc"])) or "the table"
        expected = fault["msg"].removeprefix("Value error, ")
        raise PriceError(where, f"`{name}` is {str(fault['input'])[:80]!r}", expected) from None


def price_list(rates: Sequence[OwnRate]) -> PriceList:
    """The user's own prices as one more source, in which a model without a provider is listed under `*`.

    Raises: PriceError where two tables price the same request, or none prices the shortest prompt or the other hours.
    """
    if len(rates) > MAX_RATES:
        raise PriceError("[[rates]]", f"{len(rates)} tables", f"at most {MAX_RATES}")
    by_model: dict[tuple[str, str], list[OwnRate]] = {}
    for rate in rates:
        provider = provider_id(rate.provider) if rate.provider else ANY_PROVIDER
        by_model.setdefault((provider, rate.model), []).append(rate)
    cards = {(provider, model): _cards(provider, model, group) for (provider, model), group in by_model.items()}
    minutes = {minute for rate in rates if rate.hours_utc for minute in minutes_utc(rate.hours_utc)}
    return PriceList(
        name=NAME,
        version="",
        checked=None,
        listings=tuple(Listing(provider, model) for provider, model in by_model),
        cards=lambda listing: cards[listing.provider, listing.name],
        boundaries=Boundaries(
            tuple(sorted({rate.above_prompt_tok for rate in rates if rate.above_prompt_tok})), tuple(sorted(minutes))
        ),
    )


def _cards(provider: str, model: str, rates: Sequence[OwnRate]) -> tuple[RateCard, ...]:
    spans: dict[tuple[str, date | None, date | None], list[OwnRate]] = {}
    for rate in rates:
        spans.setdefault((rate.service, rate.valid_from, rate.valid_to), []).append(rate)
    cards = [_card(provider, model, group) for group in spans.values()]
    for i, card in enumerate(cards):
        for other in cards[:i]:
            if card.service == other.service and _overlap(card, other):
                raise PriceError(
                    f"[[rates]] {model!r}",
                    f"two {card.service} prices, {other.validity()} and {card.validity()}",
                    "one price for a day",
                    "set valid_from and valid_to so that the spans don't overlap",
                )
    return tuple(sorted(cards, key=lambda card: (card.service, card.valid_from or date.min)))


def _overlap(a: RateCard, b: RateCard) -> bool:
    a_from, a_to = a.valid_from or date.min, a.valid_to or date.max
    b_from, b_to = b.valid_from or date.min, b.valid_to or date.max
    return a_from < b_to and b_from < a_to


def _card(provider: str, model: str, rates: Sequence[OwnRate]) -> RateCard:
    """One card of tables with the same service and span: tiers by above_prompt_tok, windows by hours_utc."""
    where = f"[[rates]] {model!r}"
    by_hours: dict[str | None, list[OwnRate]] = {}
    for rate in rates:
        group = by_hours.setdefault(rate.hours_utc, [])
        if any(rate.above_prompt_tok == other.above_prompt_tok for other in group):
            raise PriceError(where, f"two tables above {rate.above_prompt_tok} prompt tokens", "one for a request")
        group.append(rate)
    always = by_hours.pop(None, [])
    if not any(rate.above_prompt_tok == 0 for rate in always):
        raise PriceError(
            where,
            "no table without hours_utc and above_prompt_tok",
            "a price for the shortest prompt at any hour",
            "add that table; the others then name only what differs",
        )
    windows = [Window(*minutes_utc(hours), _tiers([*always, *group])) for hours, group in by_hours.items() if hours]
    first = rates[0]
    return RateCard(
        id=card_id(NAME, provider, model, first.service, first.valid_from),
        provider=provider,
        model=model,
        source=next((rate.source for rate in rates if rate.source), "the project's own prices"),
        tiers=_tiers(always),
        service=first.service,
        windows=tuple(windows),
        valid_from=first.valid_from,
        valid_to=first.valid_to,
        checked=max((rate.checked for rate in rates if rate.checked), default=None),
        assumed=any(rate.assumed for rate in rates),
    )


def _tiers(rates: Sequence[OwnRate]) -> tuple[Tier, ...]:
    """Tiers of the tables; a later table replaces an earlier one's prices from its prompt length up."""
    ladders: dict[str, dict[int, Decimal]] = {}
    for rate in rates:
        for key, price in rate.prices().items():
            ladder = ladders.setdefault(key, {})
            ladder[rate.above_prompt_tok] = price
    rising: dict[str, Ladder] = {key: tuple(sorted(ladder.items())) for key, ladder in ladders.items()}
    return tiers_of(rising)

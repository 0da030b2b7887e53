"""Reads offers, needs and demand from TOML: a file of offers, or the tables of solvent.toml.

What it doesn't do: find prices of APIs (`apis`) or rentals (`rentals`), or check offers against needs (`screen`).
Enter at `read_offers`; the format is docs/reference/choice.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from solvent.choose.offers import memory, rentals, speed
from solvent.choose.offers.apis import api_prices
from solvent.choose.offers.demand import Demand, Hour, shaped
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import HOURS_PER_DAY, Offer, Range
from solvent.choose.offers.tables import Choice, DemandTable, OffersFile, Quantity, Score, faults_of
from solvent.errors import ChoiceError
from solvent.money.toml_file import read_toml, refuse_endless

if TYPE_CHECKING:
    from solvent.money.prices.catalogue import Catalogue

MAX_BYTES = 16 << 20
MAX_OFFERS = 20_000


@dataclass(frozen=True, slots=True)
class Market:
    """What offers are priced with: rate cards (made when the first API asks), the day, and the prompt's length."""

    catalogue: Callable[[], Catalogue]
    day: date
    prompt_tok: int = 0


@dataclass(frozen=True, slots=True)
class Tables:
    """A checked offers file. folder: where the files that it names start."""

    file: OffersFile
    path: Path

    def needs(self) -> Needs:
        return Needs(**self.file.needs.model_dump())

    def offers(self, market: Market) -> list[Offer]:
        """Every choice with its variants. Raises: ChoiceError naming the choice and what is wrong."""
        offers: dict[str, Offer] = {}
        for choice, family in expanded(self.file.choices, str(self.path)):
            where = f"{self.path}: choices.{choice.id}"
            if choice.id in offers:
                raise ChoiceError(where, "an id that stands twice", "ids of their own", "rename one")
            for offer in _priced(choice, market, where, self.path.parent):
                offers[offer.id] = replace(offer, family=family)
            if len(offers) > MAX_OFFERS:
                raise ChoiceError(str(self.path), f"more than {MAX_OFFERS:,} offers", f"at most {MAX_OFFERS:,}")
        return list(offers.values())

    def demand(self, of_statement: Demand | None) -> Demand:
        """The stated day, else the statement's; times the factor. Raises: ChoiceError where there is neither."""
        return demand_of(self.file.demand, of_statement, str(self.path))


def read_offers(path: Path, raw: Mapping[str, Any] | None = None) -> Tables:
    """An offers file, or the tables `raw` of a project file already read.

    Raises: ChoiceError in one line: unreadable, not TOML, a typo with the nearest key, numbers without end.
    """
    tables = dict(raw) if raw is not None else read_toml(path, ChoiceError, MAX_BYTES)
    refuse_endless(tables, path, ChoiceError)
    try:
        return Tables(OffersFile.model_validate(tables), path)
    except ValidationError as error:
        raise ChoiceError(str(path), faults_of(error)) from None


def expanded(choices: Iterable[Choice], where: str) -> Iterable[tuple[Choice, str]]:
    """(each choice, or one for each of its variants: the variant's keys in place of the choice's, ids joined by /;
    the id of the choice)."""
    for choice in choices:
        if not choice.variants:
            yield choice, choice.id
            continue
        base = choice.model_dump(by_alias=True, exclude_unset=True, exclude={"variants"})
        if "pool" not in base and choice.n_machines_max is not None:
            base["pool"] = choice.id
        for number, variant in enumerate(choice.variants):
            suffix = variant.get("id", "-".join(str(v) for v in variant.values() if isinstance(v, str | int)) or number)
            place = f"{where}: choices.{choice.id}.variants.{number}"
            try:
                yield Choice.model_validate({**base, **variant, "id": f"{choice.id}/{suffix}"}), choice.id
            except ValidationError as error:
                raise ChoiceError(place, faults_of(error)) from None


def _priced(choice: Choice, market: Market, where: str, folder: Path) -> list[Offer]:
    """The choice's offer; of an API whose prices differ by the hour one for each set of hours."""
    offer = _offer(choice, where, folder)
    if choice.kind != "api" or choice.price_usd_per_mtok is not None:
        return [offer]
    offers = []
    for priced in api_prices(choice, market.catalogue(), market.day, market.prompt_tok, where):
        hours = offer.hours if priced.hours is None else tuple(h for h in offer.paid_hours() if h in priced.hours)
        name = offer.id if priced.hours is None else f"{offer.id}@{_span(priced.hours)}"
        if hours is None or hours:
            dated = replace(offer, date=market.day.isoformat(), source=priced.source)
            offers.append(replace(dated, id=name, price_usd_per_mtok=priced.usd_per_mtok, hours=hours))
    return offers


def _span(hours: tuple[int, ...]) -> str:
    """ "17-24" of hours that follow one another, else each."""
    if hours == tuple(range(hours[0], hours[-1] + 1)):
        return f"{hours[0]}-{hours[-1] + 1}"
    return ",".join(map(str, hours))


def _offer(choice: Choice, where: str, folder: Path) -> Offer:
    source, day = choice.source, choice.date.isoformat()
    hourly = rentals.usd_per_hour(choice, where) if choice.kind != "api" else None
    fast = _speed(choice, where, folder)
    own = choice.quality[0] if choice.quality else None
    # Whose prices an API has is who serves it, where nobody says otherwise.
    vendor = choice.provider if choice.provider and choice.vendor == "own" else choice.vendor
    return Offer(
        choice.id, choice.kind, vendor, choice.region, choice.model,
        choice.weight_format, choice.cache_format, choice.batch, choice.context_tok, day, source,
        price_usd_per_mtok=choice.price_usd_per_mtok,
        usd_per_hour=hourly,
        capital_usd=choice.capital_usd,
        life_years=choice.life_years,
        residual_usd=choice.residual_usd.value if choice.residual_usd else None,
        watts=rentals.watts(choice),
        usd_per_kwh=choice.usd_per_kwh.value if choice.usd_per_kwh else None,
        n_machines_max=choice.n_machines_max,
        input_tok_per_s=fast.input_tok_per_s if fast else _rate(choice.input_tok_per_s, choice, where),
        output_tok_per_s=fast.output_tok_per_s if fast else _rate(choice.output_tok_per_s, choice, where),
        ttft_s=_range(choice.ttft_s, choice) or (fast.ttft_s if fast else None),
        itl_s=_range(choice.itl_s, choice) or (fast.itl_s if fast else None),
        quality=_score(own) if own else None,
        quality_metric=own.metric if own else "",
        qualities={score.metric: _score(score) for score in choice.quality[1:]} or None,
        memory_bytes=choice.memory_bytes or memory.needed_bytes(
            choice.model, choice.weight_format, choice.cache_format, choice.batch,
            choice.sequence_tok or choice.context_tok, choice.n_gpus,
        ),
        memory_available_bytes=choice.memory_available_bytes or memory.available_bytes(choice.gpu, choice.n_gpus),
        billed=choice.billed or ("hour" if choice.kind == "fleet" else "day"),
        hours=rentals.hours_of(choice, where),
        hardware=choice.gpu or "",
        pool=choice.pool,
    )  # fmt: skip


def _speed(choice: Choice, where: str, folder: Path) -> speed.Speed | None:
    if choice.points:
        found = speed.from_points(choice.points, where, choice.source, choice.method)
        found = speed.spread(found, choice.speed_spread)
    elif choice.measurement:
        found = speed.from_measurement(folder / choice.measurement, where)[0]
    elif choice.predict:
        found = speed.from_prediction(choice.predict, choice.model, choice.weight_format, where)
    else:
        return None
    if choice.availability == 1.0:
        return found
    share, note = choice.availability, f"× {choice.availability:g} available"
    return speed.Speed(
        _shared(found.input_tok_per_s, share, note),
        _shared(found.output_tok_per_s, share, note),
        found.ttft_s,
        found.itl_s,
    )


def _shared(rate: Range, share: float, note: str) -> Range:
    return Range(rate.value * share, rate.low * share, rate.high * share, rate.method, f"{rate.source}; {note}")


def _range(number: Quantity | None, choice: Choice) -> Range | None:
    """A stated number as a range, with the choice's source and method where it states none of its own."""
    if number is None:
        return None
    low = number.value if number.low is None else number.low
    high = number.value if number.high is None else number.high
    return Range(number.value, low, high, number.method or choice.method, number.source or choice.source)


def _rate(number: Quantity | None, choice: Choice, where: str) -> Range | None:
    """A stated speed times the share of the time that the machine is there. Raises: ChoiceError where it may be 0."""
    stated = _range(number, choice)
    if stated is None:
        return None
    if stated.low <= 0:
        raise ChoiceError(
            where, "a speed that may be 0", "tokens per second above 0", "leave out a speed that is unknown"
        )
    share = choice.availability
    return stated if share == 1.0 else _shared(stated, share, f"× {share:g} available")


def _score(score: Score) -> Range:
    low = score.value if score.low is None else score.low
    high = score.value if score.high is None else score.high
    return Range(score.value, low, high, score.method, score.source)


def demand_of(table: DemandTable, of_statement: Demand | None, where: str) -> Demand:
    """The stated day, else the statement's, times the factor."""
    if table.outputs_per_day is not None:
        assert table.input_tok_per_output is not None and table.output_tok_per_output is not None
        outputs = table.outputs_per_day
        day = Hour(
            outputs, outputs * table.input_tok_per_output, outputs * table.cache_read_tok_per_output,
            outputs * table.output_tok_per_output,
        )  # fmt: skip
        note = "" if table.by_hour else "a flat day is assumed: [demand] by_hour says otherwise"
        hours = shaped(day, table.by_hour or [1.0] * HOURS_PER_DAY)
        stated = Demand(hours, "assumed", table.source or where, table.date.isoformat() if table.date else None, note)
        return stated.scaled(table.factor)
    if of_statement is None:
        raise ChoiceError(
            where, "no demand", "[demand] with outputs_per_day and tokens per output, or --statement REPORT.json"
        )
    return of_statement.scaled(table.factor)

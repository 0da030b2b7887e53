"""What the catalogue knows, as JSON-ready documents: of one model all its cards, or of everything the counts.

Decimals are plain text. Nothing here decides: `catalogue` chooses rates, `conflicts` compares.
Enter at `model_document` and `summary_document`; the fields are in docs/reference/prices.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import combinations
from typing import Any

from solvent.errors import PriceError
from solvent.figure import exact_text
from solvent.money.prices import own
from solvent.money.prices.card import STANDARD, PriceList, Rate, RateCard, Tier, Unpriced
from solvent.money.prices.catalogue import Catalogue
from solvent.money.prices.conflicts import COMPARED, NOON, Conflict, compare, differing, spreads
from solvent.money.prices.resolve import Match, Resolved

SCHEMA = "solvent.prices/1"
MAX_SELLERS = 200


def model_document(catalogue: Catalogue, provider: str | None, model: str, day: date, everyone: bool) -> dict[str, Any]:
    """Every card that may price the model, in the order in which they count, and where the sources disagree.

    everyone: also what every other provider takes for a model of that name.
    Raises: PriceError where no source lists the model.
    """
    found = catalogue.resolve(provider, model)
    if isinstance(found, Unpriced) and found.reason == "unknown_model":
        similar = ", ".join(catalogue.resolver.similar(provider, model))
        expected = f"a listed name such as {similar}" if similar else ""
        raise PriceError(f"model {model!r}", found.detail, expected, found.fix)
    day = catalogue.as_of or day
    rates = catalogue.alternatives(provider, model, day, NOON, STANDARD, 0)
    priced = catalogue.rate(provider, model, day, NOON, STANDARD, 0)
    resolved = found if isinstance(found, Resolved) else None
    sellers = resolved.candidates if resolved else catalogue.resolver.sellers(model)
    matches = resolved.matches if resolved else ()
    used = priced.card.id if isinstance(priced, Rate) else None
    return {
        "schema": SCHEMA,
        "day": day.isoformat(),
        "asked": {"provider": provider, "model": model},
        "provider": resolved.provider if resolved else None,
        "model": resolved.model if resolved else None,
        "unpriced": _unpriced(priced) if isinstance(priced, Unpriced) else None,
        "cards": [_card(match, card, used) for match in matches for card in _cards(match)],
        "conflicts": _differences(rates),
        "sold_by": list(sellers),
        "sellers": list(_sellers(catalogue, model, sellers, day)) if everyone or resolved is None else [],
    }


def summary_document(catalogue: Catalogue, day: date) -> dict[str, Any]:
    """Counts by source, and the models that two sources price differently."""
    day = catalogue.as_of or day
    comparison = compare(catalogue.lists, day)
    lists = [prices for prices in catalogue.lists if prices.listings]
    return {
        "schema": SCHEMA,
        "day": day.isoformat(),
        "sources": [_source(prices) for prices in lists],
        "pairs": [_pair(a, b, day) for a, b in combinations(lists, 2) if own.NAME not in (a.name, b.name)],
        "n_shared": comparison.n_shared,
        "n_conflicts": len(comparison.conflicts),
        "conflict_share": exact_text(comparison.share),
        "conflicts": [_conflict(conflict) for conflict in comparison.conflicts],
    }


def _cards(match: Match) -> Iterable[RateCard]:
    return (card for card in match.prices.cards(match.listing) if card.service == STANDARD or not match.standard_only)


def _card(match: Match, card: RateCard, used: str | None) -> dict[str, Any]:
    return {
        "id": card.id,
        "source": card.source,
        "provider": card.provider,
        "model": card.model,
        "service": card.service,
        "valid": card.validity(),
        "valid_from": card.valid_from.isoformat() if card.valid_from else None,
        "valid_to": card.valid_to.isoformat() if card.valid_to else None,
        "dated": card.dated,
        "assumed": card.assumed,
        "checked": card.checked.isoformat() if card.checked else None,
        "url": card.url,
        "matched": match.note,
        "note": card.note,
        "used": card.id == used,
        "tiers": [_tier(tier) for tier in card.tiers],
        "windows": [{"hours": each.text(), "tiers": [_tier(tier) for tier in each.tiers]} for each in card.windows],
    }


def _tier(tier: Tier) -> dict[str, Any]:
    return {"above_prompt_tok": tier.above_prompt_tok, "prices": _texts(tier.prices)}


def _texts(prices: Mapping[str, Decimal]) -> dict[str, str]:
    return {key: f"{price:f}" for key, price in prices.items()}


def _unpriced(unpriced: Unpriced) -> dict[str, str]:
    return {"reason": unpriced.reason, "detail": unpriced.detail, "fix": unpriced.fix}


def _differences(rates: Sequence[Rate]) -> list[dict[str, Any]]:
    """Price keys in which the sources' standard rates differ by more than the tolerance."""
    found = spreads(rates)
    return [
        {
            "key": key,
            "spread": exact_text(found[key]),
            "prices": {rate.card.source: f"{rate.prices[key]:f}" for rate in rates if key in rate.prices},
        }
        for key in differing(found)
    ]


def _conflict(conflict: Conflict) -> dict[str, Any]:
    return {
        "provider": conflict.provider,
        "model": conflict.model,
        "differing": list(conflict.differing),
        "spread": exact_text(conflict.spread),
        "prices": {
            rate.card.source: _texts({key: rate.prices[key] for key in COMPARED if key in rate.prices})
            for rate in conflict.rates
        },
    }


def _sellers(catalogue: Catalogue, model: str, sellers: Sequence[str], day: date) -> Iterable[dict[str, Any]]:
    bare = model.rsplit("/", 1)[-1]
    for seller in sellers[:MAX_SELLERS]:
        rate = catalogue.rate(seller, bare, day, NOON, STANDARD, 0)
        if isinstance(rate, Rate):
            yield {
                "provider": seller,
                "model": rate.card.model,
                "source": rate.card.source,
                "valid": rate.card.validity(),
                "prices": _texts(rate.prices),
            }


def _pair(a: PriceList, b: PriceList, day: date) -> dict[str, Any]:
    comparison = compare((a, b), day)
    return {
        "sources": [a.source, b.source],
        "n_shared": comparison.n_shared,
        "n_conflicts": len(comparison.conflicts),
        "conflict_share": exact_text(comparison.share),
    }


def _source(prices: PriceList) -> dict[str, Any]:
    by_listing = [prices.cards(listing) for listing in prices.listings]
    cards = [card for group in by_listing for card in group]
    dates = sorted({day for card in cards for day in (card.valid_from, card.valid_to) if day})
    return {
        "source": prices.source,
        "taken": prices.checked.isoformat() if prices.checked else None,
        "n_models": len(prices.listings),
        "n_priced": sum(1 for group in by_listing if group),
        "n_providers": len({listing.provider for listing in prices.listings}),
        "n_cards": len(cards),
        "n_dated": sum(card.dated for card in cards),
        "first_date": dates[0].isoformat() if dates else None,
        "last_date": dates[-1].isoformat() if dates else None,
    }

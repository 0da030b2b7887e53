"""Counts what the catalogues hold: models, how many resolve by provider and by every alias, and who disagrees."""

from __future__ import annotations

from datetime import date
from typing import Any

DAY = date(2026, 11, 1)


def version() -> str | None:
    from solvent import __version__

    return f"solvent {__version__}"


def run(job: dict[str, Any]) -> dict[str, Any]:
    from solvent.money.prices.card import Unpriced
    from solvent.money.prices.catalogue import load
    from solvent.money.prices.conflicts import compare

    catalogue = load()
    counts: list[dict[str, Any]] = []
    for prices in catalogue.lists:
        if not prices.listings:
            continue
        priced = [listing for listing in prices.listings if prices.cards(listing)]
        names = [(listing.provider, name) for listing in priced for name in (listing.name, *listing.aliases)]
        found = sum(not isinstance(catalogue.resolve(provider, name), Unpriced) for provider, name in names)
        bare = {name for _, name in names}
        alone = sum(not isinstance(catalogue.resolve(None, name), Unpriced) for name in bare)
        counts.append({
            "source": prices.source, "listed": len(prices.listings), "priced": len(priced),
            "providers": len({listing.provider for listing in priced}), "names": len(names), "resolved": found,
            "bare_names": len(bare), "bare_resolved": alone,
        })  # fmt: skip
    shared = compare(catalogue.lists, DAY)
    conflicts = {"shared": shared.n_shared, "conflicting": len(shared.conflicts), "day": DAY.isoformat()}
    return {"counts": counts, "conflicts": conflicts}

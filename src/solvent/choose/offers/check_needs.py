"""Whether needs speak of the offers at hand: a vendor or region misspelt, a floor on no score in particular.

A name that no offer has may well be meant (a vendor barred in any case); one that is nearly an offer's isn't.
Enter at `checked`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer
from solvent.errors import ChoiceError

# Of the letters, in order, that two names share (difflib's ratio).
NEARLY = 0.8


def checked(needs: Needs, offers: Sequence[Offer], where: str) -> Needs:
    """The needs as they are.

    Raises: ChoiceError (a barred vendor or a region that is nearly, but not quite, one of the offers'; a quality floor
    without a metric over offers that are scored on several).
    """
    _known("barred_vendors", needs.barred_vendors, {offer.vendor for offer in offers}, where)
    _known("regions", needs.regions, {offer.region for offer in offers if offer.region}, where)
    metrics = sorted({offer.quality_metric for offer in offers if offer.quality is not None and offer.quality_metric})
    if needs.quality_floor is not None and not needs.quality_metric and len(metrics) > 1:
        found = f"{needs.quality_floor:g} on no metric, where offers are scored on {', '.join(metrics[:6])}"
        raise ChoiceError(f"{where}: needs.quality_floor", found, "quality_metric beside it", "name one of them")
    return needs


def _known(key: str, names: Iterable[str], of_offers: Iterable[str], where: str) -> None:
    there = {name.lower(): name for name in of_offers}
    for name in names:
        near = [] if name.lower() in there else get_close_matches(name.lower(), there, n=1, cutoff=NEARLY)
        if near:
            fix = f"write {there[near[0]]!r}, or leave the name out"
            raise ChoiceError(f"{where}: needs.{key}", repr(name), "a name that offers have, or one unlike theirs", fix)

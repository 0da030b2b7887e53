"""Which offers can serve at all: physics first, then each need, with a reason in one line for every exclusion.

Unknown never passes: an offer whose latency, quality, context, region or watts nobody states is left out by the
need that asks for it. Needs of the whole plan (budget, power cap) are the program's (`mix`).
Enter at `reasons_against`, `screened`, `at_bad_ends`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer, Range

NeedName = Literal["physics", "price", "ttft_s", "itl_s", "quality_floor", "context_tok", "regions", "barred_vendors"]
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an offer is out. need: what it fails; at: the value that would let it in, where a number does."""

    need: NeedName | Literal["power_cap_w"]
    line: str
    at: float | None = None


def at_bad_ends(offer: Offer) -> Offer:
    """The offer with every interval at its bad 90% end: slower, dearer, later, hotter, worse."""
    scores = {name: _low(score) for name, score in (offer.qualities or {}).items()}
    return replace(
        offer,
        usd_per_hour=_high(offer.usd_per_hour),
        watts=_high(offer.watts),
        ttft_s=_high(offer.ttft_s),
        itl_s=_high(offer.itl_s),
        input_tok_per_s=_low(offer.input_tok_per_s),
        output_tok_per_s=_low(offer.output_tok_per_s),
        quality=_low(offer.quality),
        qualities={name: score for name, score in scores.items() if score is not None} or None,
    )


def bad_alone(offer: Offer) -> Offer:
    """The offer with latency and quality, which it must meet on its own, at their bad ends; the rest as it is."""
    bad = at_bad_ends(offer)
    return replace(offer, ttft_s=bad.ttft_s, itl_s=bad.itl_s, quality=bad.quality, qualities=bad.qualities)


def _low(number: Range | None) -> Range | None:
    return None if number is None else replace(number, value=number.low, high=number.low)


def _high(number: Range | None) -> Range | None:
    return None if number is None else replace(number, value=number.high, low=number.high)


def screened(offers: Sequence[Offer], needs: Needs) -> tuple[list[Offer], list[tuple[Offer, list[Reason]]]]:
    """(offers that pass every need on their own, the others with all their reasons)."""
    passed, out = [], []
    for offer in offers:
        reasons = reasons_against(offer, needs)
        if reasons:
            out.append((offer, reasons))
        else:
            passed.append(offer)
    return passed, out


def reasons_against(offer: Offer, needs: Needs) -> list[Reason]:
    """Every reason why the offer can't serve under the needs; none where it can. Reads the point values."""
    reasons = [*_physics(offer), *_unpriced(offer)]
    reasons += _latest("ttft_s", "time to first token", offer.ttft_s, needs.ttft_s)
    reasons += _latest("itl_s", "inter-token latency", offer.itl_s, needs.itl_s)
    reasons += _quality(offer, needs)
    reasons += _context(offer, needs)
    if needs.regions and (offer.region or "").lower() not in {region.lower() for region in needs.regions}:
        found = f"runs in {offer.region}" if offer.region else "nobody says where it runs"
        reasons.append(Reason("regions", f"{found}; allowed: {', '.join(needs.regions)}"))
    if offer.vendor.lower() in {vendor.lower() for vendor in needs.barred_vendors}:
        reasons.append(Reason("barred_vendors", f"{offer.vendor} is barred"))
    elif needs.barred_vendors and offer.is_api and offer.vendor == "own":
        reasons.append(Reason("barred_vendors", "nobody says who serves it, and vendors are barred"))
    if needs.power_cap_w is not None and not offer.is_api and offer.watts is None:
        reasons.append(Reason("power_cap_w", "its watts are unknown, and there is a power cap"))
    return reasons


def _physics(offer: Offer) -> list[Reason]:
    needed, there = offer.memory_bytes, offer.memory_available_bytes
    if offer.is_api or needed is None or there is None or needed <= there:
        return []
    return [
        Reason("physics", f"needs {needed / GIB:,.1f} GiB for weights, cache and activations; has {there / GIB:,.1f}")
    ]


def _unpriced(offer: Offer) -> list[Reason]:
    if offer.is_api:
        missing = [key for key in ("input", "output") if key not in (offer.price_usd_per_mtok or {})]
        return [Reason("price", f"no price for {' and '.join(missing)} tokens")] if missing else []
    unknown = []
    if offer.usd_per_hour is None:
        unknown.append("what an hour costs")
    if offer.input_tok_per_s is None or offer.output_tok_per_s is None:
        unknown.append("how fast it is")
    return [Reason("price", f"unknown: {' and '.join(unknown)}")] if unknown else []


def _latest(need: Literal["ttft_s", "itl_s"], label: str, found: Range | None, most: float | None) -> list[Reason]:
    if most is None:
        return []
    if found is None:
        return [Reason(need, f"{label} is unknown; at most {most:g} s is needed")]
    if found.value <= most:
        return []
    return [Reason(need, f"{label} is {found.value:.4g} s; at most {most:g} s is needed", found.value)]


def _quality(offer: Offer, needs: Needs) -> list[Reason]:
    if needs.quality_floor is None:
        return []
    metric = needs.quality_metric or offer.quality_metric or "quality"
    score = offer.score(needs.quality_metric)
    if score is None:
        others = {offer.quality_metric: offer.quality, **(offer.qualities or {})}
        known = ", ".join(f"{name} {other.value:.3g}" for name, other in others.items() if name and other)
        also = f" (known: {known})" if known else ""
        return [Reason("quality_floor", f"its {metric} is unknown{also}; at least {needs.quality_floor:g} is needed")]
    if score.value >= needs.quality_floor:
        return []
    line = f"{metric} is {score.value:.3g} ({score.method}); at least {needs.quality_floor:g} is needed"
    return [Reason("quality_floor", line, score.value)]


def _context(offer: Offer, needs: Needs) -> list[Reason]:
    if needs.context_tok is None:
        return []
    if offer.context_tok is None:
        return [Reason("context_tok", f"its context is unknown; {needs.context_tok:,} tokens are needed")]
    if offer.context_tok >= needs.context_tok:
        return []
    line = f"holds {offer.context_tok:,} tokens of context; {needs.context_tok:,} are needed"
    return [Reason("context_tok", line, float(offer.context_tok))]

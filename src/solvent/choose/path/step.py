"""A step: one change to a product, what it does to compute, revenue and quality, and what it asks for.

Effects are factors with 90% intervals. Where several steps act on the same cost they multiply, so nothing is saved
twice. What it doesn't do: read steps (`file`), find them (`derive`), combine them (`model`, `search`).
Format: docs/reference/path.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from solvent.choose.ages import STALE_AFTER_DAYS
from solvent.choose.offers.record import Range
from solvent.figure import Method, weakest

Kind = Literal["offer", "model", "weights", "cache_format", "caching", "batching", "routing", "reasoning", "allowance",
               "overage", "price", "modality", "other"]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
# What each kind is called where a path says which it never tried. `other` is no kind that one could miss.
KIND_WORDS: dict[Kind, str] = {
    "offer": "a cheaper offer", "model": "a smaller model", "weights": "fewer bits in the weights",
    "cache_format": "fewer bits in the cache", "caching": "prompt caching", "batching": "batching",
    "routing": "routing part of the traffic", "reasoning": "shorter reasoning",
    "allowance": "an allowance", "overage": "paid use beyond an allowance", "price": "a higher price",
    "modality": "another modality",
}  # fmt: skip
# Parts of compute that a step can act on. `all` is every part; reasoning follows output unless it has its own.
PARTS: tuple[str, ...] = ("input", "cache", "output", "reasoning", "other")
FACTOR_KEYS: tuple[str, ...] = ("all", *PARTS)


@dataclass(frozen=True, slots=True)
class Tail:
    """What happens to a customer's use beyond `outputs_per_month`: refused, or sold at `usd_per_output`.

    paid_share: of the use beyond that is still bought at that price (None where it is refused).
    leave_share: of the customers who would be hit, those who leave.
    """

    outputs_per_month: float
    leave_share: Range
    usd_per_output: float | None = None
    paid_share: Range | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One change.

    cost: factor on the cost of each part (keys of `FACTOR_KEYS`).   share: of the traffic that it acts on.
    price_factor: on every price of the product.   leave_share: of all customers, who leave over it.
    quality: share of today's quality that is kept; None: unknown. A step that leaves the model alone keeps all.
    fixed_share: of what the cost then is, the part that doesn't fall when use does: machines that are paid for.
    effort_usd, months: what it takes to do.   one_of: of the steps with this name at most one is taken.
    needs: ids of steps that come first.
    """

    id: str
    kind: Kind
    title: str
    source: str
    cost: Mapping[str, Range] = field(default_factory=dict)
    share: Range | None = None
    price_factor: Range | None = None
    leave_share: Range | None = None
    tail: Tail | None = None
    quality: Range | None = None
    quality_note: str = ""
    fixed_share: float = 0.0
    effort_usd: float = 0.0
    months: float = 0.0
    one_of: str = ""
    needs: tuple[str, ...] = ()
    date: str | None = None
    note: str = ""

    def ranges(self) -> tuple[Range, ...]:
        """Every range of the step."""
        return tuple(range_ for _, range_ in self.named_ranges())

    def named_ranges(self) -> tuple[tuple[str, Range], ...]:
        """Every range of the step, with what it is a number of."""
        tail = self.tail
        found: list[tuple[str, Range | None]] = [
            (f"factor on the cost of {'everything' if part == 'all' else part}", r) for part, r in self.cost.items()
        ]
        found += [
            ("share of the traffic", self.share), ("factor on every price", self.price_factor),
            ("share of all customers who leave", self.leave_share),
            ("share of today's quality kept", self.quality),
            ("share of the customers it hits who leave", tail.leave_share if tail else None),
            ("share of the use beyond that is still bought", tail.paid_share if tail else None),
        ]  # fmt: skip
        return tuple((what, range_) for what, range_ in found if range_ is not None)

    def method(self) -> Method:
        """The weakest method among its ranges."""
        return weakest(r.method for r in self.ranges())


@dataclass(frozen=True, slots=True)
class Terms:
    """What a path is asked for.

    probability: with which the policy must be met.   quality_floor: share of today's quality that must be kept.
    horizon_months: over which a step's price is counted.   n_draws, seed: of the uncertainty.
    stale_after_days: from when on what a step rests on is flagged.
    """

    probability: float = 0.9
    quality_floor: float = 0.9
    horizon_months: float = 12.0
    n_draws: int = 8_000
    seed: int = 20_240_229
    stale_after_days: int = STALE_AFTER_DAYS

    def required_share(self) -> float:
        """Share of the draws in which the policy must hold: the probability, and what so few draws may be off by.

        p + z·√(p(1 − p)/n), z the normal's 95% point. Without it the search would pick, of many sets that just fail,
        the one that luck lifts over the line.
        """
        p = self.probability
        return min(1.0, p + 1.645 * math.sqrt(p * (1 - p) / self.n_draws))

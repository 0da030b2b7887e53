"""What a set of assumptions makes of a product's month: revenue, compute, margin, verdict.

  outputs'  = outputs · customers · usage, shared out by `tail`
  compute'  = Σ customers compute · outputs'/outputs · Σ parts share · price factors · log
  revenue'  = recurring · customers · seats + (by use + converting · conversion) · outputs'/outputs
  other'    = what follows revenue · revenue'/revenue + the rest · customers
  margin'   = revenue' − other' − compute'
An API costs the lower of its price and that of an equal open model. Electricity is its share of a machine's cost: of
an owned one's as the statement says it, else [power]'s (an API's vendor is taken to pass all of it on: an upper bound).
Amounts are floats: estimates of a month. Enter at `Model.at` (one state) and `Model.over` (many at once, for indices).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from solvent.choose.economics import Economics, State, compute_per_value, gross_margin, margin_usd, verdict
from solvent.choose.offers.record import Range, exactly
from solvent.choose.stress.assumptions import name_of, scope_of, today
from solvent.choose.stress.product import Part, Product
from solvent.choose.stress.tail import tilted

Array: TypeAlias = npt.NDArray[np.float64]
Values: TypeAlias = Mapping[str, float]
NARROWED = ("api_price", "parity_price")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A month under one state; None is unknown. verdict: the policy applied by `choose.economics`."""

    revenue_usd: float | None
    compute_usd: float | None
    other_usd: float | None
    margin_usd: float | None
    gross_margin: float | None
    cost_per_value: float | None
    n_outputs: float | None
    verdict: State


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of many states at once, (S,) each; NaN is unknown."""

    revenue_usd: Array
    compute_usd: Array
    other_usd: Array
    value_usd: Array
    n_outputs: Array

    @property
    def margin_usd(self) -> Array:
        return self.revenue_usd - self.other_usd - self.compute_usd


class Model:
    """The formulas over one product."""

    def __init__(self, product: Product) -> None:
        self.product = product

    def at(self, values: Values) -> Outcome:
        """The outcome of one state. values: assumption key → value; what isn't named is as today."""
        sums = self._one(values)
        economics = self._economics(sums)
        return Outcome(
            _known(sums.revenue_usd), _known(sums.compute_usd), _known(sums.other_usd), margin_usd(economics),
            gross_margin(economics), compute_per_value(economics), _known(sums.n_outputs), verdict(economics),
        )  # fmt: skip

    def economics(self, values: Values) -> Economics:
        """The economics of one state."""
        return self._economics(self._one(values))

    def _one(self, values: Values) -> Sums:
        return self.over({key: np.array([value]) for key, value in values.items()}, 1)

    def over(self, values: Mapping[str, Array], n_states: int) -> Sums:
        """The sums of `n_states` states. values: key → (S,)."""
        product = self.product

        def of(name: str) -> Array:
            return values.get(name, np.full(n_states, today(name)))

        growth = of("customers") * of("usage")
        if "tail" in values:
            with np.errstate(all="ignore"):
                moved_outputs = tilted(product.outputs, of("tail"), product.counts)
                ratio = np.where(product.outputs > 0, moved_outputs / product.outputs, 1.0)
        else:
            ratio = np.ones((1, len(product.outputs)))
        with np.errstate(all="ignore"):
            return self._sums(values, n_states, (growth, ratio))

    def _sums(self, values: Mapping[str, Array], n_states: int, moved_by: tuple[Array, Array]) -> Sums:
        """The sums, with outputs grown and shared out. What overflows is unknown."""
        product, economics = self.product, self.product.economics
        growth, ratio = moved_by

        def of(name: str) -> Array:
            return values.get(name, np.full(n_states, today(name)))

        compute = (ratio @ product.compute_usd) * growth * self._unit_price(values, n_states)
        moved = (ratio @ (product.by_use_usd)) * growth
        converting = (ratio @ product.converting_usd) * growth * of("conversion")
        recurring = product.recurring_usd.sum() * of("customers") * of("seats")
        revenue = recurring + moved + converting if product.splits else self._whole_revenue(values, n_states)
        outputs = np.full(n_states, product.outputs.sum()) * growth
        other = self._other(revenue, of("customers"))
        value = self._value(revenue, outputs)
        unknown = np.full(n_states, np.nan)
        return Sums(
            revenue, compute if economics.compute_usd else unknown, other, value,
            outputs if economics.n_outputs else unknown,
        )  # fmt: skip

    def moves(self, key: str) -> str | None:
        """Why this assumption can't move this product; None where it can."""
        name, product, scope = name_of(key), self.product, scope_of(key)
        machines = product.share("rented", "owned")
        if name in NARROWED:
            api = [part for part in product.parts if part.kind == "api"]
            if not api:
                return "none of its compute is bought from an API"
            return None if any(_in(part, scope) for part in api) else f"none of its compute is {', '.join(scope)}"
        if name == "subscription_allowance" and not product.share("subscription"):
            return "none of its compute comes out of a vendor's subscription"
        if name == "rental_price" and not product.share("rented"):
            return "it rents no machine"
        owned = [part for part in product.parts if part.kind == "owned"]
        if name == "residual_value" and all(part.residual_share is None for part in owned):
            return "nobody says what its own machines sell for" if owned else "it owns no machine"
        if name == "machine_output" and not machines:
            return "it runs on no machine of its own"
        if name == "power_price":
            return self._power_moves()
        if name == "tail" and not product.has_customers:
            return "the report names no customers"
        return self._revenue_moves(name)

    def _power_moves(self) -> str | None:
        if any(part.electricity_share is not None for part in self.product.parts):
            return None
        if self.product.power is None:
            return "the scenario file has no [power] table"
        return None if self.product.share("api", "rented", "owned") else "a flat subscription has its power inside"

    def _revenue_moves(self, name: str) -> str | None:
        product = self.product
        if name == "seats" and product.splits and not product.recurring_usd.sum():
            return "no revenue is paid by the seat or the month"
        if name == "conversion" and product.splits and not product.converting_usd.sum():
            return "no revenue rests on a conversion"
        return None

    def _unit_price(self, values: Mapping[str, Array], n_states: int) -> Array:
        """Compute of the same outputs, as a factor of today's: Σ parts share · factor · log."""
        factor = np.zeros(n_states)
        for part in self.product.parts:
            factor += part.share * self._part_factor(part, values, n_states)
        return factor * values.get("log", np.ones(n_states))

    def _part_factor(self, part: Part, values: Mapping[str, Array], n_states: int) -> Array:
        def of(name: str) -> Array:
            return values.get(name, np.full(n_states, today(name)))

        if part.kind == "subscription":
            # The statement counts what the subscription serves at list price, as a cost of whoever sells it.
            return of("subscription_allowance")
        power = self.product.power
        electricity = (of("power_price") - 1.0) * (power.share if power else 0.0)
        if part.kind == "api":
            price, parity = np.ones(n_states), np.full(n_states, np.inf)
            for key, value in values.items():
                if name_of(key) in NARROWED and _in(part, scope_of(key)):
                    price = price * value if name_of(key) == "api_price" else price
                    parity = np.minimum(parity, value) if name_of(key) == "parity_price" else parity
            lower: Array = np.minimum(price + electricity, parity)
            return lower
        if part.kind == "rented":
            return (of("rental_price") + electricity) / of("machine_output")
        if part.electricity_share is not None:
            electricity = (of("power_price") - 1.0) * part.electricity_share
        lost = (1.0 - of("residual_value")) * (part.residual_share or 0.0)
        return (1.0 + electricity + lost) / of("machine_output")

    def _whole_revenue(self, values: Mapping[str, Array], n_states: int) -> Array:
        """Revenue that can't be split: it grows with customers, and is unknown where anything else of it moves."""
        economics = self.product.economics
        if economics.revenue_usd is None:
            return np.full(n_states, np.nan)
        known = np.ones(n_states, dtype=bool)
        for name in ("usage", "tail", "seats", "conversion"):
            if name in values:
                known &= values[name] == today(name)
        revenue = economics.revenue_usd.value * values.get("customers", np.ones(n_states))
        return np.where(known, revenue, np.nan)

    def _other(self, revenue: Array, customers: Array) -> Array:
        economics = self.product.economics
        if economics.other_cost_usd is None:
            return np.full(len(revenue), np.nan)
        whole, share = economics.other_cost_usd.value, economics.follows_revenue
        before = economics.revenue_usd.value if economics.revenue_usd else 0.0
        follows = whole * share * (revenue / before) if before else np.zeros(len(revenue))
        return follows + whole * (1.0 - share) * customers

    def _value(self, revenue: Array, outputs: Array) -> Array:
        """Customer value: revenue, or what an output is worth × outputs."""
        economics = self.product.economics
        if economics.customer_value_usd is None:
            return np.full(len(revenue), np.nan)
        if economics.value_is_revenue:
            return revenue
        worth: Array = economics.customer_value_usd.value * outputs / max(float(self.product.outputs.sum()), 1e-300)
        return worth

    def _economics(self, sums: Sums) -> Economics:
        economics = self.product.economics
        revenue = _known(sums.revenue_usd)
        before = economics.revenue_usd.value if economics.revenue_usd else None
        refunds = None
        if economics.refunds_usd is not None and revenue is not None:
            refunds = economics.refunds_usd * (revenue / before if before else 0.0)
        return replace(
            economics,
            revenue_usd=_range(sums.revenue_usd), compute_usd=_range(sums.compute_usd),
            other_cost_usd=_range(sums.other_usd), customer_value_usd=_range(sums.value_usd), refunds_usd=refunds,
        )  # fmt: skip


def _in(part: Part, scope: tuple[str, ...]) -> bool:
    return all(word in (part.vendor, part.modality) for word in scope)


def _known(values: Array) -> float | None:
    value = float(values[0])
    return value if np.isfinite(value) else None


def _range(values: Array) -> Range | None:
    value = _known(values)
    return None if value is None else exactly(value, "assumed", "a scenario over the statement")

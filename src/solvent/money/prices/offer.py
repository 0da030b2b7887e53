"""An offer: a machine, rented or owned, that serves models, costed as reserved: idle hours are paid for.

What it doesn't do: predict throughput. The user states what one machine was measured to do, with its source.
Formulas and an example are in docs/reference/offers.md. Why reserved: comparing an API with only the busy
hours of a machine makes every machine look cheap.
Enter at `Offer`; `reserved_cost_usd` and `utilisation` are what a statement asks.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from solvent.errors import PriceError

HOURS_PER_YEAR = 8_766  # 365.25 days
S_PER_HOUR = 3_600
Usd = Annotated[Decimal, Field(ge=0, le=10**12, max_digits=40, allow_inf_nan=False)]
Positive = Annotated[Decimal, Field(gt=0, le=10**12, max_digits=40, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200)]

_OWNED_ONLY = ("capital_usd", "life_years", "residual_usd", "power_kw", "usd_per_kwh", "pue", "operator_share")
_OWNED_NEEDED = ("capital_usd", "life_years", "power_kw", "usd_per_kwh")


class Offer(BaseModel):
    """A group of equal machines. Every quantity is for one machine; `n_machines` multiplies.

    rented: usd_per_hour.   owned: capital_usd over life_years down to residual_usd, power_kw at the socket of
    the machine × pue × usd_per_kwh, and operator_share: what hosting and staff add, as a share of both.
    other_usd_per_year: any further cost of one machine (network, space, insurance).
    input_tok_per_s and output_tok_per_s: what one machine does of each when it does nothing else.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    kind: Literal["rented", "owned"]
    serves: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)]
    n_machines: int = Field(default=1, ge=1, le=10**7)
    input_tok_per_s: Positive
    output_tok_per_s: Positive
    source: str = Field(min_length=1, max_length=500)
    date: date

    usd_per_hour: Positive | None = None
    capital_usd: Usd | None = None
    life_years: Positive | None = None
    residual_usd: Usd | None = None
    power_kw: Usd | None = None
    pue: Annotated[Decimal, Field(ge=1, le=10)] | None = None
    usd_per_kwh: Usd | None = None
    operator_share: Annotated[Decimal, Field(ge=0, le=100)] | None = None
    other_usd_per_year: Usd = Decimal(0)

    @model_validator(mode="after")
    def _is_whole(self) -> Offer:
        given = [key for key in _OWNED_ONLY if getattr(self, key) is not None]
        if self.kind == "rented":
            if self.usd_per_hour is None:
                raise ValueError("a rented machine needs usd_per_hour")
            if given:
                raise ValueError(f"a rented machine's usd_per_hour covers {', '.join(given)}; leave them out")
            return self
        if self.usd_per_hour is not None:
            raise ValueError("an owned machine has capital_usd and so on, no usd_per_hour")
        missing = [key for key in _OWNED_NEEDED if getattr(self, key) is None]
        if missing:
            raise ValueError(f"an owned machine needs {', '.join(missing)}")
        if self.residual_usd is not None and self.capital_usd is not None and self.residual_usd > self.capital_usd:
            raise ValueError(f"residual_usd {self.residual_usd} is more than capital_usd {self.capital_usd}")
        return self


def usd_per_hour_total(offer: Offer) -> Fraction:
    """USD for an hour of all machines of the offer, busy or idle.

    rented: n · (usd_per_hour + other/8766)
    owned:  n · ((capital_per_h + power_kw · pue · usd_per_kwh) · (1 + operator_share) + other/8766)
            capital_per_h = (capital − residual)/(life · 8766)
    A year has 8,766 hours (365.25 days); residual and operator_share left out are 0, pue left out is 1.
    Exact.
    """
    hourly = _exact(offer.usd_per_hour) if offer.kind == "rented" else _owned_usd_per_hour(offer)
    return offer.n_machines * (hourly + Fraction(offer.other_usd_per_year) / HOURS_PER_YEAR)


def _owned_usd_per_hour(offer: Offer) -> Fraction:
    capital = (_exact(offer.capital_usd) - _exact(offer.residual_usd)) / (_exact(offer.life_years) * HOURS_PER_YEAR)
    pue = _exact(offer.pue) if offer.pue is not None else Fraction(1)
    electricity = _exact(offer.power_kw) * pue * _exact(offer.usd_per_kwh)
    return (capital + electricity) * (1 + _exact(offer.operator_share))


def cost_shares(offer: Offer) -> dict[str, Fraction]:
    """Of an hour's cost of an owned machine: what electricity is, and what the residual value takes off.

    electricity: power_kw · pue · usd_per_kwh · (1 + operator_share) ÷ USD per hour.
    residual: residual/(life · 8766) · (1 + operator_share) ÷ USD per hour; left out where no residual is stated.
    Nothing for a rented machine, whose rent covers both, and for one that costs nothing. Exact.
    """
    total = usd_per_hour_total(offer) / offer.n_machines
    if offer.kind == "rented" or total == 0:
        return {}
    staffed = 1 + _exact(offer.operator_share)
    pue = _exact(offer.pue) if offer.pue is not None else Fraction(1)
    shares = {"electricity": _exact(offer.power_kw) * pue * _exact(offer.usd_per_kwh) * staffed / total}
    if offer.residual_usd is not None:
        shares["residual"] = _exact(offer.residual_usd) / (_exact(offer.life_years) * HOURS_PER_YEAR) * staffed / total
    return shares


def _exact(value: Decimal | None) -> Fraction:
    """The value as a fraction; a part of the cost that the offer's kind lets one leave out is 0."""
    return Fraction(value) if value is not None else Fraction(0)


def reserved_cost_usd(offer: Offer, hours: Fraction) -> Fraction:
    """hours × USD per hour of the whole offer: what a span costs, however little was done in it. Exact."""
    if hours < 0:
        raise PriceError(f"offer {offer.name!r}", f"{float(hours):g} hours", "a span of at least 0 hours")
    return hours * usd_per_hour_total(offer)


def work_s(offer: Offer, input_tok: int, output_tok: int) -> Fraction:
    """input_tok/input_tok_per_s + output_tok/output_tok_per_s: seconds of one machine. Exact."""
    if input_tok < 0 or output_tok < 0:
        found = f"{input_tok} input, {output_tok} output tokens"
        raise PriceError(f"offer {offer.name!r}", found, "no negative counts")
    return input_tok / Fraction(offer.input_tok_per_s) + output_tok / Fraction(offer.output_tok_per_s)


def utilisation(offer: Offer, input_tok: int, output_tok: int, hours: Fraction) -> Fraction:
    """work_s ÷ (n_machines · hours · 3600): the share of the reserved time that the work fills, 0 to 1. Exact.

    Raises: PriceError where the work doesn't fit: more than all machines can do in the span.
    """
    work = work_s(offer, input_tok, output_tok)
    available = offer.n_machines * hours * S_PER_HOUR
    if work > available:
        hours_text = f"{float(hours):.4g} h"
        needed = "no number of" if hours <= 0 else f"{-(-work // (hours * S_PER_HOUR))}"
        raise PriceError(
            f"offer {offer.name!r}",
            f"{input_tok:,} input and {output_tok:,} output tokens are {float(work):,.0f} machine-seconds, but "
            f"{offer.n_machines} machine(s) over {hours_text} have {float(available):,.0f}",
            "work within the capacity",
            f"set n_machines = {needed}" if hours > 0 else "give a span of more than 0 hours",
        )
    return work / available if available else Fraction(0)

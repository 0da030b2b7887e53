"""What the project file says about revenue: plans, who is on them, and the costs beside compute.

A plan is a mix of components: recurring prices, allowances, tokens, credits, outcomes, advertising,
conversions, a free tier. Each component is a small record whose table name is its tag.
It only describes and checks; `money.revenue.attribute` computes.
Enter at `RevenueModel` and `Costs`. Formulas: docs/reference/revenue.md.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

# Beyond these a decimal is a slip of the keyboard or an attack: 1e999999999 as an exact integer fills the memory.
MAX_AMOUNT = Decimal(10) ** 12
MAX_PLACES = 60
MAX_SEATS = 10_000_000


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is expected, not true or false")
    return value


def _bounded(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MAX_PLACES:
        raise ValueError(f"at most {MAX_PLACES} decimal places")
    if value < 0:
        raise ValueError("a number of at least 0 is expected")
    if value > MAX_AMOUNT:
        raise ValueError(f"at most {MAX_AMOUNT:,} is expected")
    return value


def _share(value: Decimal) -> Decimal:
    if value > 1:
        raise ValueError("a share from 0 to 1 is expected (0.3 for 30%)")
    return value


def _day(value: Any) -> Any:
    if not isinstance(value, date | str):
        raise ValueError("a date such as 2026-11-01 is expected")
    return value


Amount = Annotated[Decimal, BeforeValidator(_not_bool), AfterValidator(_bounded)]
Share = Annotated[Amount, AfterValidator(_share)]
Count = Annotated[int, BeforeValidator(_not_bool), Field(ge=0, le=10**12)]
Seats = Annotated[int, BeforeValidator(_not_bool), Field(ge=0, le=MAX_SEATS)]
Day = Annotated[date, BeforeValidator(_day)]
Name = Annotated[str, Field(min_length=1, max_length=256)]


class Table(BaseModel):
    """A table of the project file: unknown keys are errors, so that a typo never goes unnoticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Allowance(Table):
    """What a recurring price includes, and what happens beyond it.

    beyond: charge (the overage price), stop (the product refuses), free (it's served all the same).
    rollover: what is left of one month is there in the next.
    """

    of: Literal["outputs", "requests", "tokens", "input_tokens", "output_tokens"]
    per_month: Amount
    per: Literal["customer", "seat"] = "customer"
    beyond: Literal["charge", "stop", "free"]
    overage_usd_per_unit: Amount | None = None
    overage_usd_per_mtok: Amount | None = None
    rollover: bool = False

    @model_validator(mode="after")
    def _one_overage_price(self) -> Self:
        in_tokens = self.of.endswith("tokens")
        wanted, other = "overage_usd_per_unit", "overage_usd_per_mtok"
        if in_tokens:
            wanted, other = other, wanted
        if getattr(self, other) is not None:
            raise ValueError(f"an allowance of {self.of} takes {wanted}, not {other}")
        if (getattr(self, wanted) is not None) != (self.beyond == "charge"):
            raise ValueError(f'beyond = "charge" and {wanted} go together')
        return self


class Tokens(Table):
    """Tokens resold. Cached input costs `usd_per_mtok_cached`, or the input price where that isn't given."""

    usd_per_mtok_input: Amount
    usd_per_mtok_output: Amount
    usd_per_mtok_cached: Amount | None = None


class Credits(Table):
    """Credits used, at a price each, less those that the plan includes."""

    usd_per_credit: Amount
    credits_per_output: Amount = Decimal(0)
    credits_per_request: Amount = Decimal(0)
    credits_per_mtok_input: Amount = Decimal(0)
    credits_per_mtok_output: Amount = Decimal(0)
    included_per_month: Amount = Decimal(0)

    @model_validator(mode="after")
    def _uses_credits(self) -> Self:
        uses = (self.credits_per_output, self.credits_per_request)
        if not any((*uses, self.credits_per_mtok_input, self.credits_per_mtok_output)):
            raise ValueError("nothing uses credits; give credits_per_output, _per_request, _per_mtok_input or _output")
        return self


class Sample(Table):
    """A share that is assumed outright, or estimated from `successes` among `trials`, with its interval."""

    share: Share | None = None
    successes: Count | None = None
    trials: Count | None = None

    @model_validator(mode="after")
    def _share_or_trials(self) -> Self:
        if (self.successes is None) != (self.trials is None):
            raise ValueError("successes and trials go together")
        if self.trials is not None and self.share is not None:
            raise ValueError("give either share, or successes and trials")
        if self.trials is not None and self.successes is not None:
            if self.trials == 0:
                raise ValueError("trials is 0: a rate can't be estimated from no trials")
            if self.successes > self.trials:
                raise ValueError(f"{self.successes} successes among {self.trials} trials")
        return self

    def given(self) -> bool:
        return self.share is not None or self.trials is not None

    def value(self) -> Fraction:
        """The share, exact: as assumed, or successes ÷ trials."""
        if self.trials is not None and self.successes is not None:
            return Fraction(self.successes, self.trials)
        assert self.share is not None, "attribute() refuses an outcome without a share or a count"
        return Fraction(self.share)


class Outcome(Sample):
    """Paid by success: a share of outputs, or a count per customer in the column `outcomes` of customers.csv."""

    usd_per_outcome: Amount


class Ads(Table):
    """Advertising beside the output: impressions, the share of them that sells, dollars per thousand."""

    impressions_per_output: Amount
    fill_share: Share
    cpm_usd: Amount


class Conversion(Sample):
    """Outputs that lead to a sale (affiliate link, lead): the share that converts × the value of one."""

    usd_per_conversion: Amount
    per: Literal["output", "request"] = "output"

    @model_validator(mode="after")
    def _has_share(self) -> Self:
        if not self.given():
            raise ValueError("give share, or successes and trials")
        return self


class FreeTier(Sample):
    """Free customers of whom a share pays for `paid_plan`: its recurring price × that share."""

    paid_plan: Name

    @model_validator(mode="after")
    def _has_share(self) -> Self:
        if not self.given():
            raise ValueError("give share, or successes and trials")
        return self


class Plan(Table):
    """How one kind of customer pays: the sum of the components that it has."""

    source: str = Field(default="", max_length=1024)
    seats: Seats | None = None
    usd_per_month: Amount | None = None
    usd_per_year: Amount | None = None
    usd_per_seat_month: Amount | None = None
    usd_per_seat_year: Amount | None = None
    usd_per_output: Amount | None = None
    usd_per_request: Amount | None = None
    minimum_usd_per_month: Amount | None = None
    allowances: tuple[Allowance, ...] = Field(default=(), max_length=16)
    tokens: Tokens | None = None
    credits: Credits | None = None
    outcome: Outcome | None = None
    ads: Ads | None = None
    conversion: Conversion | None = None
    free_tier: FreeTier | None = None
    cut_share: Share = Decimal(0)
    payment_fees: bool = True

    @model_validator(mode="after")
    def _earns_somehow(self) -> Self:
        if not (self.recurs() or self.is_use_based()):
            raise ValueError("the plan has no price; write usd_per_month = 0 if it's free")
        measures = [allowance.of for allowance in self.allowances]
        if len(measures) != len(set(measures)):
            raise ValueError("two allowances of the same thing; write one")
        return self

    def recurs(self) -> bool:
        """Whether a customer pays something (or has a free tier) whatever it uses."""
        return self.has_recurring_price() or self.minimum_usd_per_month is not None or self.free_tier is not None

    def has_recurring_price(self) -> bool:
        prices = (self.usd_per_month, self.usd_per_year, self.usd_per_seat_month, self.usd_per_seat_year)
        return any(price is not None for price in prices)

    def is_use_based(self) -> bool:
        parts = (self.usd_per_output, self.usd_per_request, self.tokens, self.credits, self.outcome)
        return any(p is not None for p in (*parts, self.ads, self.conversion))

    def priced_by_seat(self) -> bool:
        return self.usd_per_seat_month is not None or self.usd_per_seat_year is not None

    def billed_yearly(self) -> bool:
        monthly = (self.usd_per_month, self.usd_per_seat_month, self.minimum_usd_per_month)
        return all(p is None for p in monthly) and (self.usd_per_year is not None or self.usd_per_seat_year is not None)


class Segment(Table):
    """Customers by name or glob (`*`, `?`, `[…]`), and their plan or the mix of plans among them."""

    customers: tuple[Name, ...] = Field(min_length=1, max_length=10_000)
    plan: Name | None = None
    mix: dict[Name, Share] = Field(default_factory=dict)
    seats: Seats | None = None
    started: Day | None = None
    ended: Day | None = None
    source: str = Field(default="", max_length=1024)

    @field_validator("customers", mode="before")
    @classmethod
    def _one_or_many(cls, customers: Any) -> Any:
        return (customers,) if isinstance(customers, str) else customers

    @model_validator(mode="after")
    def _plan_or_mix(self) -> Self:
        if (self.plan is None) == (not self.mix):
            raise ValueError("give either plan or mix")
        if self.mix and sum(map(Fraction, self.mix.values())) != 1:
            raise ValueError(f"the shares of the mix add up to {sum(self.mix.values())}, not 1")
        if self.started and self.ended and self.ended < self.started:
            raise ValueError(f"ended {self.ended} is before started {self.started}")
        return self

    def plans(self) -> dict[str, Decimal]:
        return self.mix or {self.plan or "": Decimal(1)}


class RevenueModel(Table):
    """`[revenue]`: plans, and who is on which: customers.csv first, then segments in order, then default_plan.

    unnamed_customer: the customer to whom requests without a customer belong.
    level: of the intervals that samples carry.
    """

    customers: str | None = None
    default_plan: Name | None = None
    unnamed_customer: Name | None = None
    level: Annotated[Share, Field(gt=0, lt=1)] = Decimal("0.95")
    source: str = Field(default="", max_length=1024)
    plans: dict[Name, Plan] = Field(default_factory=dict, max_length=10_000)
    segments: tuple[Segment, ...] = Field(default=(), max_length=1_000)

    @field_validator("customers")
    @classmethod
    def _stays_in_folder(cls, customers: str | None) -> str | None:
        if customers is None:
            return None
        path = PurePosixPath(customers.replace("\\", "/"))
        if not customers.isprintable() or not path.name or path.is_absolute() or ".." in path.parts or ":" in customers:
            raise ValueError("a file beside or below the project file is expected, such as customers.csv")
        return customers

    @model_validator(mode="after")
    def _plans_exist(self) -> Self:
        faults = []
        if self.default_plan is not None and self.default_plan not in self.plans:
            faults.append(f"default_plan names {self.default_plan!r}")
        for i, segment in enumerate(self.segments):
            faults += [f"segments[{i}] names {name!r}" for name in segment.plans() if name not in self.plans]
        for name, plan in self.plans.items():
            if plan.free_tier is not None:
                faults += self._free_tier_faults(name, plan.free_tier.paid_plan)
        if self.customers is not None and not self.plans:
            faults.append("customers is given")
        if faults:
            known = ", ".join(list(self.plans)[:20]) or "none"
            raise ValueError(f"{'; '.join(faults)}; the plans that exist: {known}")
        return self

    def needs_seats(self, plan: Plan) -> bool:
        """Whether the plan, or the plan that its free tier leads to, can't be computed without a count of seats."""
        if plan.free_tier is not None and self.plans[plan.free_tier.paid_plan].priced_by_seat():
            return True
        return plan.priced_by_seat() or any(a.per == "seat" and a.beyond == "charge" for a in plan.allowances)

    def usual_seats(self, plan: Plan) -> int | None:
        """Seats of a customer for whom nothing else says: the plan's, or those of the plan its free tier leads to."""
        if plan.seats is None and plan.free_tier is not None:
            return self.plans[plan.free_tier.paid_plan].seats
        return plan.seats

    def _free_tier_faults(self, name: str, paid: str) -> list[str]:
        if paid not in self.plans:
            return [f"plans.{name}.free_tier names {paid!r}"]
        plan = self.plans[paid]
        if plan.free_tier is not None or not plan.has_recurring_price():
            return [f"plans.{name}.free_tier names {paid!r}, which has no recurring price of its own"]
        return []

    def source_text(self) -> str:
        return self.source or "project file, [revenue]"


class Costs(Table):
    """`[costs]`: what is taken off revenue beside compute. What isn't declared is left out, and the report says so."""

    payment_fee_share: Share = Decimal(0)
    payment_fee_usd_per_charge: Amount = Decimal(0)
    charges_per_month: Amount = Decimal(1)
    refund_share: Share = Decimal(0)
    other_usd_per_output: Amount = Decimal(0)
    other_usd_per_request: Amount = Decimal(0)
    other_usd_per_customer_month: Amount = Decimal(0)
    other_usd_per_month: Amount = Decimal(0)
    source: str = Field(default="", max_length=1024)

    def source_text(self) -> str:
        return self.source or "project file, [costs]"


def single_subscription(usd_per_month: Decimal, source: str = "") -> RevenueModel:
    """The model of one developer on one subscription: every request belongs to them."""
    plan = Plan(usd_per_month=usd_per_month, source=source)
    plans = {"subscription": plan}
    return RevenueModel(default_plan="subscription", unnamed_customer="you", plans=plans, source=source)

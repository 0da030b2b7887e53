"""What a place costs over months, in closed form: an API, subscriptions, a rented machine, one of your own.

Volume grows and prices fall by a constant share a month, so every sum is geometric. A unit is a million tokens of
output, each with the input that comes with it. All arguments broadcast: a number, or an array of draws.
Enter at `cumulative_api`, `cumulative_subscription`, `cumulative_rented`, `cumulative_owned`, `break_even_volume`.
Formulas: docs/reference/path.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solvent.choose.economics import Array

Amount = Array | float
HOURS_PER_MONTH = 8_766 / 12


def monthly(share_per_year: Amount) -> Amount:
    """What is left after a month of something that loses this share in a year."""
    return (1 - np.asarray(share_per_year, dtype=np.float64)) ** (1 / 12)


def geometric(ratio: Amount, months: Amount) -> Array:
    """Σ ratio^t for t = 0 … months − 1; exact to rounding, also where the ratio is near 1.

    Near 1 the quotient (1 − r^T) ÷ (1 − r) loses digits, so it is taken through expm1 and log1p.
    """
    r, n = np.broadcast_arrays(np.asarray(ratio, np.float64), np.asarray(months, np.float64))
    step = r - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(step == 0, n, np.expm1(n * np.log1p(step)) / np.where(step == 0, 1.0, step))
    return np.asarray(found, np.float64)


@dataclass(frozen=True, slots=True)
class Api:
    """usd_per_mtok: today.   keeps: of the price, what is left after a month (`monthly`).

    follower_after: months until an open model does as well; follower_price: its price ÷ this one's at that time.
    """

    usd_per_mtok: Amount
    keeps: Amount
    follower_after: Amount | None = None
    follower_price: Amount = 1.0


@dataclass(frozen=True, slots=True)
class Subscription:
    """n of them, each usd_per_month for mtok_per_month; the allowance keeps a share each month. Beyond it: `beyond`."""

    n: Amount
    usd_per_month: Amount
    mtok_per_month: Amount
    keeps: Amount
    beyond: Api


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: mtok_per_hour when busy, the part of the hours that traffic can use, watts busy and idle.

    rented: usd_per_hour, of which a share is kept each month.   owned: capital_usd, of which value a share is kept
    each month; hosting_usd_per_month; power at usd_per_kwh.
    """

    mtok_per_hour: Amount
    usable: Amount
    busy_w: Amount
    idle_w: Amount
    usd_per_kwh: Amount
    usd_per_hour: Amount = 0.0
    capital_usd: Amount = 0.0
    hosting_usd_per_month: Amount = 0.0
    keeps: Amount = 1.0

    def mtok_per_month(self) -> Amount:
        """What one machine can serve in a month, given when traffic comes."""
        return self.mtok_per_hour * self.usable * HOURS_PER_MONTH

    def idle_power_usd_per_month(self) -> Amount:
        return self.idle_w / 1000 * self.usd_per_kwh * HOURS_PER_MONTH

    def power_usd_per_mtok(self) -> Amount:
        """Beyond idling: each million tokens keeps the machine busy for 1 ÷ mtok_per_hour."""
        return (self.busy_w - self.idle_w) / 1000 * self.usd_per_kwh / self.mtok_per_hour


def cumulative_api(api: Api, mtok: Amount, growth: Amount, months: Amount) -> Amount:
    """Σ over months of volume × price: v·p·G(x, T), x = growth × keeps, and from the follower on its price.

    mtok: the first month's volume.   growth: factor a month.   → USD over `months`.
    """
    ratio = growth * api.keeps
    if api.follower_after is None:
        return mtok * api.usd_per_mtok * geometric(ratio, months)
    before = np.minimum(np.ceil(api.follower_after), months)
    after = geometric(ratio, months) - geometric(ratio, before)
    return mtok * api.usd_per_mtok * (geometric(ratio, before) + api.follower_price * after)


def cumulative_subscription(plan: Subscription, mtok: Amount, growth: Amount, months: int) -> Amount:
    """n × price × months, and what no longer fits in the allowance at the API's price.

    Volume and allowance are both geometric, so they cross once; beyond the crossing each sum is geometric again:
    Σ (v gᵗ − n a sᵗ)⁺ p qᵗ. Exact where no follower comes (`beyond` without one).
    """
    allowance = plan.n * plan.mtok_per_month
    beyond: Amount = 0.0
    total_fee = plan.n * plan.usd_per_month * months
    ratio_v, ratio_a = growth * plan.beyond.keeps, plan.keeps * plan.beyond.keeps
    first, last = _over(mtok, growth, allowance, plan.keeps, months)
    for ratio, amount, sign in ((ratio_v, mtok, 1.0), (ratio_a, allowance, -1.0)):
        beyond = beyond + sign * amount * (geometric(ratio, last) - geometric(ratio, first))
    return total_fee + beyond * plan.beyond.usd_per_mtok


def _over(mtok: Amount, growth: Amount, allowance: Amount, keeps: Amount, months: int) -> tuple[Array, Array]:
    """The months [first, last) in which volume is above the allowance."""
    v, g, a, s = (np.asarray(x, np.float64) for x in (mtok, growth, allowance, keeps))
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.log(a / v) / np.log(g / s)
    rising, level = g > s, g == s
    zero, end = np.zeros_like(v * g * a * s), np.full_like(v * g * a * s, months)
    # v·gᵗ > a·sᵗ: for t above the crossing where the ratio rises, below it where it falls.
    first = np.where(rising, np.clip(np.floor(crossing) + 1, 0, months), zero)
    last = np.where(rising, end, np.clip(np.ceil(crossing), 0, months))
    always = v > a
    return np.where(level, zero, first), np.where(level, np.where(always, end, zero), last)


def cumulative_rented(machine: Machine, n: Amount, months: Amount) -> Amount:
    """n × hours × rent × G(keeps, T): every hour is paid for, busy or idle; power is the owner's."""
    return n * HOURS_PER_MONTH * machine.usd_per_hour * geometric(machine.keeps, months)


def cumulative_owned(machine: Machine, n: Amount, mtok: Amount, growth: Amount, months: Amount) -> Amount:
    """n × (capital × (1 − keepsᵀ) + (hosting + idle power) × T) + volume × power beyond idling.

    Capital is what the machine has lost in value: it could be sold at the end for the rest.
    """
    lost = machine.capital_usd * (1 - np.asarray(machine.keeps, np.float64) ** months)
    fixed = (machine.hosting_usd_per_month + machine.idle_power_usd_per_month()) * months
    return n * (lost + fixed) + mtok * machine.power_usd_per_mtok() * geometric(growth, months)


def machines_for(machine: Machine, mtok: Amount, growth: Amount, months: int) -> Array:
    """Whole machines for the largest month."""
    peak = mtok * np.maximum(1.0, np.asarray(growth, np.float64) ** max(months - 1, 0))
    return np.ceil(peak / machine.mtok_per_month() - 1e-12)


def break_even_volume(api: Api, machine: Machine, growth: Amount, months: int) -> Amount:
    """The first month's volume at which one machine has cost as much as the API after `months`.

    v = fixed ÷ (p·G(x, T) − power·G(g, T)); inf where even power costs more than the API. Above what one machine can
    serve (`mtok_per_month`) it is never reached.
    """
    per_mtok = cumulative_api(api, 1.0, growth, months)
    fixed: Amount
    marginal: Amount
    if np.any(np.asarray(machine.usd_per_hour) > 0):
        fixed, marginal = cumulative_rented(machine, 1.0, months), 0.0
    else:
        fixed = cumulative_owned(machine, 1.0, 0.0, growth, months)
        marginal = machine.power_usd_per_mtok() * geometric(growth, months)
    gain = np.asarray(per_mtok - marginal, np.float64)
    # A gain next to nothing needs a volume beyond any number: never.
    with np.errstate(divide="ignore", over="ignore"):
        return np.where(gain > 0, fixed / np.where(gain > 0, gain, 1.0), np.inf)


def electricity_share(machine: Machine) -> Amount:
    """Of a busy hour's cost, electricity's part: of the rent, or of what an owner pays in the first month."""
    power = machine.busy_w / 1000 * machine.usd_per_kwh
    if np.any(np.asarray(machine.usd_per_hour) > 0):
        return power / machine.usd_per_hour
    month = machine.capital_usd * (1 - np.asarray(machine.keeps, np.float64)) + machine.hosting_usd_per_month
    return power / (power + month / HOURS_PER_MONTH)

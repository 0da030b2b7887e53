"""The seller's side: what a million tokens cost whoever has a machine, and how busy it must be for selling to pay.

Every formula is per hour of one machine; all arguments broadcast.
Enter at `cost_usd_per_mtok`, `utilisation_that_pays`.
"""

from __future__ import annotations

import numpy as np

from solvent.choose.break_even.streams import HOURS_PER_MONTH, Amount, Machine
from solvent.choose.economics import Array


def fixed_usd_per_hour(machine: Machine, sunk: bool) -> Amount:
    """What an hour costs without a token: value lost and hosting (neither, where the machine is there anyway), idling.

    sunk: bought for something else, and on anyway but for its idle power, which counts.
    """
    idle = machine.idle_w / 1000 * machine.usd_per_kwh
    if sunk:
        return idle
    lost = machine.capital_usd * (1 - np.asarray(machine.keeps, np.float64))
    return (lost + machine.hosting_usd_per_month) / HOURS_PER_MONTH + idle


def cost_usd_per_mtok(machine: Machine, utilisation: Amount, sunk: bool = False) -> Amount:
    """(fixed + utilisation × power beyond idling) ÷ (utilisation × tokens an hour).

    utilisation: share of the hours in which the machine earns, 0 < u ≤ 1.
    """
    return fixed_usd_per_hour(machine, sunk) / (utilisation * machine.mtok_per_hour) + machine.power_usd_per_mtok()


def utilisation_that_pays(machine: Machine, usd_per_mtok: Amount, fee_share: Amount = 0.0, sunk: bool = False) -> Array:
    """The utilisation at which selling at this price pays: u = fixed ÷ (R·P·(1 − fee) − power beyond idling).

    → above 1: it never pays; inf where a token brings less than its power.
    """
    earned = machine.mtok_per_hour * np.asarray(usd_per_mtok, np.float64) * (1 - np.asarray(fee_share, np.float64))
    gain = np.asarray(earned - machine.mtok_per_hour * machine.power_usd_per_mtok(), np.float64)
    with np.errstate(divide="ignore"):
        return np.where(gain > 0, fixed_usd_per_hour(machine, sunk) / np.where(gain > 0, gain, 1.0), np.inf)

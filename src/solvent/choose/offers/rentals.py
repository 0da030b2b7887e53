"""What an hour of one machine costs: rented by the table of rentals, or owned by what it was bought for.

  rented  n_gpus · usd_per_hour of the table, or as stated
  owned   ((capital − residual)/(life · 365.25 · H) + kW · pue · usd_per_kwh) · (1 + operator_share)
          H: hours of the day in which it is used: fewer hours make each of them dearer
  fleet   as stated: what the device's owner is paid, with the power
Enter at `usd_per_hour`, `watts`, `hours_of`.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from solvent.choose.offers.record import HOURS_PER_DAY, Range
from solvent.choose.offers.tables import Choice, Quantity
from solvent.errors import ChoiceError

DAYS_PER_YEAR = 365.25


@cache
def table() -> tuple[dict[str, Any], ...]:
    """The rentals: gpu, class, usd_per_hour (low, high), watts, date, source; of one GPU."""
    text = files("solvent.choose").joinpath("data", "rentals.toml").read_text("utf-8")
    return tuple(tomllib.loads(text)["rentals"])


def _entry(choice: Choice, where: str) -> dict[str, Any]:
    """The rental of the choice's GPU and class; the latest where there are several."""
    of_gpu = [entry for entry in table() if entry["gpu"] == choice.gpu]
    if not of_gpu:
        known = ", ".join(sorted({str(entry["gpu"]) for entry in table()}))
        raise ChoiceError(where, f"gpu {choice.gpu!r}", f"one of {known}", "or state usd_per_hour")
    found = [entry for entry in of_gpu if entry["class"] == choice.class_]
    if not found:
        known = ", ".join(sorted({str(entry["class"]) for entry in of_gpu}))
        raise ChoiceError(
            where, f"class {choice.class_!r}", f"for {choice.gpu} one of {known}", "or state usd_per_hour"
        )
    return max(found, key=lambda entry: str(entry["date"]))


def usd_per_hour(choice: Choice, where: str) -> Range | None:
    """USD for an hour of one machine, with the interval that its parts have; None where nobody states it."""
    if choice.usd_per_hour is not None:
        return _stated(choice.usd_per_hour, choice)
    if choice.kind in ("owned", "workstation"):
        return _owned(choice, where)
    if choice.gpu is None or choice.class_ is None:
        return None
    entry = _entry(choice, where)
    value = float(entry["usd_per_hour"])
    low, high = float(entry.get("low", value)), float(entry.get("high", value))
    source = f"{entry['source']}, {entry['date']}: {choice.gpu}, {choice.class_}, × {choice.n_gpus}"
    return Range(value * choice.n_gpus, low * choice.n_gpus, high * choice.n_gpus, "claimed", source)


def _stated(number: Quantity, choice: Choice) -> Range:
    low = number.value if number.low is None else number.low
    high = number.value if number.high is None else number.high
    return Range(number.value, low, high, number.method or choice.method, number.source or choice.source)


def _owned(choice: Choice, where: str) -> Range:
    """Value at the stated parts; low and high at the ends of residual value, electricity and watts."""
    assert choice.capital_usd is not None and choice.life_years is not None
    assert choice.watts is not None and choice.usd_per_kwh is not None
    hours_used = choice.life_years * DAYS_PER_YEAR * len(hours_of(choice, where) or range(HOURS_PER_DAY))
    residual = choice.residual_usd or Quantity(value=0.0)
    left_usd = max(residual.value, residual.high or 0.0)
    if left_usd > choice.capital_usd:
        raise ChoiceError(where, f"residual_usd {left_usd:g}", f"at most capital_usd {choice.capital_usd:g}")
    parts = [_ends(residual), _ends(choice.watts), _ends(choice.usd_per_kwh)]

    def usd(residual_usd: float, watts: float, per_kwh: float) -> float:
        power = watts / 1000 * choice.pue * per_kwh
        return ((choice.capital_usd or 0.0) - residual_usd) / hours_used * (1 + choice.operator_share) + power * (
            1 + choice.operator_share
        )

    value = usd(*(part[1] for part in parts))
    low = usd(parts[0][2], parts[1][0], parts[2][0])
    high = usd(parts[0][0], parts[1][2], parts[2][2])
    source = (
        f"{choice.source}: capital {choice.capital_usd:g} USD over {choice.life_years:g} years, {hours_used:g} hours"
    )
    return Range(value, min(low, value), max(high, value), "assumed", source)


def _ends(number: Quantity) -> tuple[float, float, float]:
    low = number.value if number.low is None else number.low
    high = number.value if number.high is None else number.high
    return low, number.value, high


def watts(choice: Choice) -> Range | None:
    """Watts of one machine at the socket; of a rental the table's all-in watts. None where unknown."""
    if choice.kind == "api":
        return None
    if choice.watts is not None:
        low, value, high = (end * choice.pue for end in _ends(choice.watts))
        return Range(value, low, high, choice.watts.method or choice.method, choice.watts.source or choice.source)
    if choice.gpu is None:
        return None
    drawn = [entry for entry in table() if entry["gpu"] == choice.gpu and "watts" in entry]
    if not drawn:
        return None
    value = float(drawn[0]["watts"]) * choice.n_gpus
    return Range(value, value, value, "claimed", f"{drawn[0]['source']}, {drawn[0]['date']}: all-in")


def hours_of(choice: Choice, where: str) -> tuple[int, ...] | None:
    """ "22-06" is 22, 23, 0 … 5 UTC; None where it is there all day."""
    if choice.hours_utc is None:
        return None
    first, last = (int(part) for part in choice.hours_utc.split("-"))
    if first > HOURS_PER_DAY or last > HOURS_PER_DAY or first % HOURS_PER_DAY == last % HOURS_PER_DAY:
        raise ChoiceError(where, f"hours_utc {choice.hours_utc!r}", "hours from 0 to 24 such as 08-18 or 22-06")
    span = range(first, last if last > first else last + HOURS_PER_DAY)
    return tuple(sorted(hour % HOURS_PER_DAY for hour in span))

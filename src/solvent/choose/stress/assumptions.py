"""The assumptions that scenarios and signals may move, and how changes to one assumption combine.

Three ways, each of which doesn't mind the order: `times` multiplies (today is 1), `plus` adds (today is 0), and `to`
puts a price as a share of today's, of which the lowest counts (today there is none). An assumption may be narrowed
to one vendor or one modality; its key then says so. Enter at `ASSUMPTIONS`, `key_of`, `combined`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Way = Literal["times", "plus", "to"]
MODALITIES = ("text", "image", "speech", "video")


@dataclass(frozen=True, slots=True)
class Assumption:
    """What it is in words, and how changes to it combine. narrows: whether vendor or modality may narrow it."""

    label: str
    way: Way = "times"
    narrows: bool = False


ASSUMPTIONS: dict[str, Assumption] = {
    "api_price": Assumption("price of the API", narrows=True),
    "parity_price": Assumption("price of an equal open model", "to", narrows=True),
    "subscription_allowance": Assumption("what the vendor's subscription includes"),
    "rental_price": Assumption("price of a rented machine"),
    "residual_value": Assumption("what an owned machine sells for at the end"),
    "machine_output": Assumption("outputs of a machine-hour"),
    "power_price": Assumption("price of electricity"),
    "usage": Assumption("use per customer"),
    "customers": Assumption("number of customers"),
    "tail": Assumption("tilt of use toward heavy customers", "plus"),
    "seats": Assumption("seats and subscriptions paid for"),
    "conversion": Assumption("share of outputs or users that convert"),
    "log": Assumption("how far this log speaks for every month"),
}
TODAY: dict[Way, float] = {"times": 1.0, "plus": 0.0, "to": math.inf}


def key_of(name: str, vendor: str | None = None, modality: str | None = None) -> str:
    """The key of an assumption, narrowed or not: api_price, api_price[openai], api_price[openai, video]."""
    scope = ", ".join(part for part in (vendor, modality) if part)
    return f"{name}[{scope}]" if scope else name


def name_of(key: str) -> str:
    return key.partition("[")[0]


def scope_of(key: str) -> tuple[str, ...]:
    """The vendor and modality of a key; nothing where it is for all."""
    inner = key.partition("[")[2].rstrip("]")
    return tuple(part.strip() for part in inner.split(",")) if inner else ()


def label_of(key: str) -> str:
    scope = scope_of(key)
    return ASSUMPTIONS[name_of(key)].label + (f" ({', '.join(scope)})" if scope else "")


def today(key: str) -> float:
    """The value of an assumption that nothing has moved."""
    return TODAY[ASSUMPTIONS[name_of(key)].way]


def combined(moves: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Several moves together: products, sums and minima by key; the order doesn't matter (but for rounding)."""
    values: dict[str, float] = {}
    for key, value in moves:
        before, way = values.get(key, today(key)), ASSUMPTIONS[name_of(key)].way
        values[key] = before * value if way == "times" else before + value if way == "plus" else min(before, value)
    return values


def both(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Two sets of values together."""
    return combined([*one.items(), *other.items()])

"""What a log line says around a vendor's response: when, for whom, for which feature, at which service tier.

Vendors' responses rarely hold a customer, some hold no time; applications wrap them in objects of their own.
What it doesn't do: look into prompts or answers; a `user` that reads like prose is not taken for a customer.
Enter at `around`.
"""

from __future__ import annotations

from typing import Any

from solvent.money.usage.readers.outcome import mapping

CUSTOMER = ("customer", "customer_id", "end_user", "end_user_id", "user_id", "userId", "user", "tenant", "tenant_id",
            "account_id", "organization_id", "client", "client_id", "safety_identifier")  # fmt: skip
FEATURE = ("feature", "feature_name", "use_case", "app", "app_name")
OUTPUT = ("output_id",)
TIME = ("timestamp", "created_at", "createdAt", "created", "ts", "time", "datetime", "date", "@timestamp",
        "start_time", "startTime")  # fmt: skip
PROVIDER = ("provider", "custom_llm_provider")
_SOUGHT = {"customer": CUSTOMER, "feature": FEATURE, "output_id": OUTPUT}
_ANY = frozenset((*CUSTOMER, *FEATURE, *OUTPUT, "metadata"))
_TIMES = frozenset(TIME)
_PROVIDERS = frozenset(PROVIDER)
MAX_NAME_CHARS = 256


def around(places: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Customer, feature and output id, from the outer object inward; the first that has one wins."""
    found: dict[str, Any] = {}
    for place in places:
        if not _ANY.isdisjoint(place):
            _seek(place, found)
            metadata = place.get("metadata")
            if type(metadata) is dict:
                _seek(metadata, found)
    return found


def _seek(place: dict[str, Any], found: dict[str, Any]) -> None:
    for target, keys in _SOUGHT.items():
        if target in found:
            continue
        for key in keys:
            name = place.get(key)
            if name.__class__ in (str, int) and name != "" and _is_a_name(name, key):
                found[target] = name
                break


def _is_a_name(name: str | int, key: str) -> bool:
    """Whether a value names somebody: `user` is also where chat logs keep prompts, so prose isn't taken."""
    if type(name) is int:
        return True
    if len(name) > MAX_NAME_CHARS or "\n" in str(name):  # type: ignore[arg-type]
        return False
    return key != "user" or " " not in str(name)


def time_of(places: tuple[dict[str, Any], ...]) -> Any:
    """The first time that an object states, or None."""
    for place in places:
        if not _TIMES.isdisjoint(place):
            for key in TIME:
                value = place.get(key)
                if value is not None and type(value) in (str, int, float):
                    return value
    return None


def provider_of(places: tuple[dict[str, Any], ...]) -> str | None:
    """The provider that the wrapping object names, in lower case."""
    for place in places:
        if _PROVIDERS.isdisjoint(place):
            continue
        for key in PROVIDER:
            name = place.get(key)
            if type(name) is str and 0 < len(name) <= 64:
                return name.lower()
    return None


def inner(record: dict[str, Any], *paths: tuple[str, ...]) -> dict[str, Any] | None:
    """The first object at one of these paths."""
    for path in paths:
        place: Any = record
        for key in path:
            place = mapping(place).get(key)
        if type(place) is dict:
            return place
    return None

"""What a reader makes of a record: rows, rejections, or the note that nothing was asked of a model.

A row is a tuple in the order of `records.REQUEST_COLUMNS`, with `at` as whole microseconds since 1970 UTC.
Every row made here is valid: counts are integers from 0 to their bucket's limit, the time is between 2015
and 2100, the model is known. Faults are told by templates that hold field names, never values of the log.
Enter at `finish`, which every reader ends with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from solvent.money.usage.problems import Kind
from solvent.money.usage.readers.times import EARLIEST_US, LATEST_US, BadTime, at_us
from solvent.records import BUCKET_NAMES, MAX_COUNT, bucket_limit

Row = tuple[Any, ...]

MAX_TEXT_CHARS = 512
_EARLIEST_S, _LATEST_S = EARLIEST_US // 1_000_000, LATEST_US // 1_000_000
MAX_KEY_CHARS = 80
NO_TIME = "the record has no time"
# What vendors call their service tiers; Amazon and Google write them in capitals.
_SERVICES = {
    "standard": "standard", "default": "standard", "auto": "standard", "on_demand": "standard",
    "standard_only": "standard", "batch": "batch", "flex": "flex", "priority": "priority",
}  # fmt: skip
_ZERO: dict[str, int] = dict.fromkeys(BUCKET_NAMES, 0)


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is a request but can't be counted, and why."""

    kind: Kind
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class NotARequest:
    """A record that asked nothing of a model: a prompt line, a parent span, an error that isn't billed."""

    why: str


Outcome = Row | Reject | NotARequest


class Fault(Exception):
    """Ends the reading of one record; becomes a `Reject`."""

    def __init__(self, kind: Kind, detail: str, fix: str = "") -> None:
        super().__init__(detail)
        self.reject = Reject(kind, detail, fix)


class Skip(Exception):
    """Ends the reading of one record; becomes a `NotARequest`."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.outcome = NotARequest(why)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the project file says about a log.

    zone: of times that have none; None rejects them.   default_at: time of records that have none.
    columns: target (`at`, `customer`, `feature`, …) → dotted path in the record; wins over what the reader finds.
    An empty path says that the log has no such thing.
    constants: target → value where the record has none; `cached` and `reasoning` = "inside" or "beside" settle
    whether input and output hold those parts, where a format leaves it open.
    ignore_keys: usage keys known to cost nothing.
    """

    zone: ZoneInfo | None = None
    default_at: datetime | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str | int] = field(default_factory=dict)
    ignore_keys: frozenset[str] = frozenset()


class RecordReader(Protocol):
    """What `staging` needs of a reader; a reader may keep state along one file."""

    unknown_keys: list[str]

    def feed(self, record: dict[str, Any], line: int) -> Iterable[Outcome]:
        """The outcomes of one record; keys it doesn't know are appended to `unknown_keys`."""
        ...

    def finish(self) -> Iterable[Outcome]:
        """What is still open at the end of the file."""
        ...


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if type(value) is dict else {}


def count(usage: Mapping[str, Any], key: str) -> int:
    """A count of tokens: an integer, or a float or text that is one; absent or null is 0.

    Raises: Fault (negative, not a whole number).
    """
    n = usage.get(key)
    if type(n) is int and n >= 0:
        return n
    return 0 if n is None else _odd_count(n, key)


def _odd_count(n: Any, key: str) -> int:
    if type(n) is str and n.strip().lstrip("+-").isascii() and n.strip().lstrip("+-").isdigit() and len(n) < 30:
        n = int(n)
    if type(n) is float and n.is_integer():
        n = int(n)
    if type(n) is not int:
        raise Fault("malformed", f"`{key}` isn't a whole number")
    if n < 0:
        raise Fault("negative", f"`{key}` is negative")
    return n


def seconds_us(usage: Mapping[str, Any], key: str) -> int:
    """A duration in seconds as whole microseconds, rounded to the nearest."""
    n = usage.get(key)
    if n is None:
        return 0
    try:
        us = round(float(n) * 1e6) if type(n) in (int, float, str) else None
    except (ValueError, OverflowError):
        us = None
    if us is None:
        raise Fault("malformed", f"`{key}` isn't a number of seconds")
    if us < 0:
        raise Fault("negative", f"`{key}` is negative")
    return us


def carries(value: Any) -> bool:
    """Whether a value of an unknown usage key could stand for a cost: anything but null, zero, false and empty."""
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is dict:
            stack.extend(item.values())
        elif type(item) is list:
            stack.extend(item)
        elif item:
            return True
    return False


def note_unknown(unknown: list[str], usage: Mapping[str, Any], known: frozenset[str], path: str) -> None:
    """Appends the keys of `usage` that nobody knows and that carry something."""
    for key in usage.keys() - known:
        if carries(usage[key]):
            unknown.append(f"{path}.{key}"[:MAX_KEY_CHARS])


def service_of(tier: Any, unknown: list[str], path: str = "service_tier") -> str | None:
    """The service that a vendor's tier means; an unknown tier is noted and None: its price isn't known."""
    if tier is None or tier == "":
        return "standard"
    service = _SERVICES.get(tier.lower()) if type(tier) is str else None
    if service is None:
        unknown.append(path)
    return service


def text(value: Any, name: str) -> str | None:
    """A short text or an integer as text; None where there is none. Raises: Fault (too long, not text)."""
    if type(value) is str:
        if not value:
            return None
        if len(value) > MAX_TEXT_CHARS:
            raise Fault("malformed", f"`{name}` is longer than {MAX_TEXT_CHARS} characters")
        if value.isascii():
            return value
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise Fault("malformed", f"`{name}` isn't valid Unicode")
        return value
    if type(value) is int and abs(value) < 10**30:
        return str(value)
    if value is None:
        return None
    raise Fault("malformed", f"`{name}` isn't a text")


def finish(reading: Reading, record: Mapping[str, Any], found: dict[str, Any], buckets: dict[str, int]) -> Row:
    """The valid row of a request.

    found: what the reader knows of `at` and the text columns.   buckets: disjoint counts; absent is 0.
    Raises: Fault (no model, no or bad time, a count out of bounds).
    """
    if reading.columns:
        for target, path in reading.columns.items():
            if not path:
                found[target] = None
                continue
            value = descend(record, path)
            if value is not None:
                found[target] = service_of(value, [], path) if target == "service" else value
    if reading.constants:
        for target, value in reading.constants.items():
            if found.get(target) is None:
                found[target] = value
    get = found.get
    model = get("model")
    if model is None or (model := text(model, "model")) is None:
        raise Fault("no_model", "the record names no model", 'add [log.constants] model = "…"')
    values = tuple({**_ZERO, **buckets}.values())
    if max(buckets.values(), default=0) > MAX_COUNT:
        _check_limits(buckets)
    ident, output, customer = get("request_id"), get("output_id"), get("customer")
    feature, provider = get("feature"), get("provider")
    return (
        _time(get("at"), reading),
        None if ident is None else text(ident, "request_id"), None if output is None else text(output, "output_id"),
        None if customer is None else text(customer, "customer"), None if feature is None else text(feature, "feature"),
        None if provider is None else text(provider, "provider"), model, get("service"), *values,
    )  # fmt: skip


def _check_limits(buckets: Mapping[str, int]) -> None:
    for name, n in buckets.items():
        if n > bucket_limit(name):
            raise Fault("absurd", f"more than {bucket_limit(name):,} in {name} for one request")


def _time(value: Any, reading: Reading) -> int:
    if type(value) is int and _EARLIEST_S <= value < _LATEST_S:
        return value * 1_000_000
    if value is None:
        value = reading.default_at
        if value is None:
            raise Fault("bad_time", NO_TIME, 'add [log.constants] at = "2026-01-31T00:00:00Z"')
    try:
        us = at_us(value, reading.zone)
    except BadTime as error:
        raise Fault(error.kind, error.detail, error.fix) from None
    if not EARLIEST_US <= us < LATEST_US:
        raise Fault("bad_time", "the time isn't between 2015 and 2100")
    return us


def descend(record: Any, path: str) -> Any:
    """The value at a dotted path; a key that itself holds dots is found first."""
    if type(record) is dict and path in record:
        return record[path]
    for part in path.split("."):
        if type(record) is not dict:
            return None
        record = record.get(part)
    return record if type(record) in (str, int, float) else None

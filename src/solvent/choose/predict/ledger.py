"""The ledger: predictions kept, measurements matched to them later, and intervals corrected by what was learned.

A JSON-lines file, one event a line, only ever appended to: each line is written whole and flushed to the disk
before the call returns, under an exclusive lock that is taken before its id is looked up, so that of two writers of
one id one is refused; a line torn by a crash is skipped and counted, never repaired.
What it doesn't do: predict or measure. Enter at `Ledger`.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from solvent.choose.offers.record import Range
from solvent.errors import ChoiceError

SCHEMA = "solvent.prediction-ledger/1"
# Fewer measurements than this correct the bias only: a 90% interval needs 9 scores to have an end at all.
MIN_FOR_WIDTH = 9
LEVEL = 0.9
MAX_LINE_BYTES = 1_000_000
# Seconds and tokens a second lie far inside; numbers beyond are damage, and their ratios would overflow.
SMALLEST, LARGEST = 1e-12, 1e15
# An interval narrower than this on a side is no interval: stretching it would say nothing.
MIN_HALF_WIDTH = 0.01
# An end that lies a factor of e²⁰ away: whatever was measured there wasn't what was predicted.
MAX_LOG = 20.0
SKIP_BYTES = 65_536
# A bias learned from n measurements is trusted n / (n + this): one measurement moves a prediction by a third.
PRIOR_MEASUREMENTS = 2.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One prediction of one quantity; measured: what was found later, or None.

    group: predictions that err together (a GPU with a backend, this machine): they share bias and width."""

    id: str
    group: str
    quantity: str
    predicted: Range
    date: str
    measured: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a group has done: predictions measured, the share of them inside their intervals, measured ÷ predicted
    (geometric mean, shrunk), and by how much its intervals' logarithms are stretched."""

    n_predicted: int
    n_measured: int
    share_covered: float | None
    bias: float
    stretch: float


class Ledger:
    """Predictions and measurements in one append-only file.

    path: created at the first append.   n_torn: lines that could not be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_torn = 0

    def predict(self, entry: Entry) -> None:
        """Keeps a prediction. Raises: ChoiceError where its id is taken or a number isn't positive and finite."""
        numbers = (entry.predicted.low, entry.predicted.value, entry.predicted.high)
        _positive(entry.id, *numbers)
        self._append(
            {
                "event": "predicted",
                "id": entry.id,
                "group": entry.group,
                "quantity": entry.quantity,
                "low": numbers[0],
                "value": numbers[1],
                "high": numbers[2],
                "source": entry.predicted.source,
                "date": entry.date,
            },
            self._is_new,
        )

    def measure(self, prediction_id: str, value: float, date: str) -> None:
        """Keeps what was measured of a prediction; the last measurement of it counts.

        Raises: ChoiceError for an id that isn't there or a number that isn't positive and finite."""
        _positive(prediction_id, value)
        self._append({"event": "measured", "id": prediction_id, "value": value, "date": date}, self._is_kept)

    def _is_new(self, name: str) -> None:
        if name in self.entries():
            raise ChoiceError(str(self.path), f"prediction {name!r} is there already", "a new id")

    def _is_kept(self, name: str) -> None:
        if name not in self.entries():
            raise ChoiceError(str(self.path), f"no prediction {name!r}", "the id of a kept prediction")

    def entries(self) -> dict[str, Entry]:
        """Every prediction by id, in order, with its measurement.   Raises: ChoiceError (a file that can't be read)"""
        found: dict[str, Entry] = {}
        self.n_torn = 0
        if not self.path.exists():
            return found
        with self._opened("rb") as file:
            for raw in _lines(file):
                event = _event(raw)
                if event is None:
                    self.n_torn += 1
                elif event["event"] == "predicted":
                    found.setdefault(event["id"], _entry(event))
                elif event["id"] in found:
                    old = found[event["id"]]
                    found[event["id"]] = Entry(
                        old.id, old.group, old.quantity, old.predicted, old.date, float(event["value"])
                    )
        return found

    def standing(self, group: str, quantity: str) -> Standing:
        """Coverage so far, bias and stretch of a group's predictions of one quantity.

        bias = exp(Σ log(measured/predicted) / (n + 2)); stretch: the conservative 90% order statistic of
        |log(measured/(bias·predicted))| ÷ the interval's own half-width there; 1 while n < 9."""
        mine = [e for e in self.entries().values() if e.group == group and e.quantity == quantity]
        done = [(e, math.log(e.measured / e.predicted.value)) for e in mine if e.measured is not None]
        if not done:
            return Standing(len(mine), 0, None, 1.0, 1.0)
        covered = sum(e.predicted.low <= (e.measured or 0.0) <= e.predicted.high for e, _ in done) / len(done)
        shift = sum(r for _, r in done) / (len(done) + PRIOR_MEASUREMENTS)
        stretch = 1.0
        if len(done) >= MIN_FOR_WIDTH:
            scores = sorted(_score(e.predicted, r - shift) for e, r in done)
            stretch = scores[min(math.ceil(LEVEL * (len(scores) + 1)), len(scores)) - 1]
        return Standing(len(mine), len(done), covered, math.exp(shift), stretch)

    def corrected(self, predicted: Range, group: str, quantity: str) -> Range:
        """The prediction moved by its group's bias, its interval stretched: low and high in logarithms.

        Raises: ChoiceError where that leaves no interval worth the name"""
        standing = self.standing(group, quantity)
        logs = [math.log(x / predicted.value) * standing.stretch for x in (predicted.low, predicted.high)]
        if max(abs(x) for x in (*logs, math.log(standing.bias))) > MAX_LOG:
            found = f"measurements of {group} lie too far from its predictions of {quantity}"
            raise ChoiceError(str(self.path), found, "measurements of what was predicted, in its unit")
        value = predicted.value * standing.bias
        low, high = (value * math.exp(x) for x in logs)
        source = f"{predicted.source}; corrected by {standing.n_measured} measurements of {group}"
        return Range(value, low, high, predicted.method, source) if standing.n_measured else predicted

    def _opened(self, mode: str) -> IO[bytes]:
        try:
            if mode != "rb":
                self.path.parent.mkdir(parents=True, exist_ok=True)
            return self.path.open(mode)
        except OSError as error:
            raise ChoiceError(str(self.path), f"can't be opened ({error.strerror})", "a file, or a new one") from None

    def _append(self, event: Mapping[str, Any], check: Callable[[str], None]) -> None:
        """One line, whole, where check(id) doesn't raise; a torn tail is closed off first, or it would swallow it."""
        line = json.dumps({"schema": SCHEMA, **event}, allow_nan=False) + "\n"
        if len(line) > MAX_LINE_BYTES:
            raise ChoiceError(str(self.path), f"an event of {len(line)} bytes", f"at most {MAX_LINE_BYTES}")
        with self._opened("a+b") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            check(event["id"])
            size = out.seek(0, os.SEEK_END)
            if size:
                out.seek(size - 1)
                if out.read(1) != b"\n":
                    line = "\n" + line
            out.write(line.encode("utf-8"))
            out.flush()
            os.fsync(out.fileno())


def _score(predicted: Range, residual: float) -> float:
    edge = predicted.high if residual > 0 else predicted.low
    half = abs(math.log(edge / predicted.value))
    return abs(residual) / max(half, MIN_HALF_WIDTH)


def _positive(where: str, *values: float) -> None:
    for value in values:
        if not SMALLEST <= value <= LARGEST:
            raise ChoiceError(where, f"{value}", f"a positive number of {SMALLEST:g} to {LARGEST:g}")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines; of one that is longer than any event its beginning only, which no longer is one. Memory stays bounded."""
    while raw := file.readline(MAX_LINE_BYTES + 1):
        rest = raw if len(raw) > MAX_LINE_BYTES else b"\n"
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(SKIP_BYTES)
        yield raw


def _event(raw: bytes) -> dict[str, Any] | None:
    """An event that is whole and well formed, or None."""
    if len(raw) > MAX_LINE_BYTES:
        return None
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("schema") != SCHEMA or not isinstance(event.get("id"), str):
        return None
    wanted = {"predicted": ("low", "value", "high"), "measured": ("value",)}.get(str(event.get("event")), ())
    told = [event.get(name) for name in wanted]
    # Compared before they become floats: an integer of 400 digits doesn't.
    numbers = [n for n in told if isinstance(n, int | float) and not isinstance(n, bool) and SMALLEST <= n <= LARGEST]
    if not wanted or len(numbers) < len(wanted):
        return None
    if numbers != sorted(numbers):
        return None
    return event


def _entry(event: Mapping[str, Any]) -> Entry:
    predicted = Range(event["value"], event["low"], event["high"], "predicted", str(event.get("source", "")))
    return Entry(
        event["id"], str(event.get("group", "")), str(event.get("quantity", "")), predicted, str(event.get("date", ""))
    )

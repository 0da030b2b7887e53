"""What a stress leans on, each with method, source, date and age: the log, changes, confidences, moving, electricity.

It computes nothing of the stress. Enter at `held`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from solvent.choose.ages import aged
from solvent.choose.stress.assumptions import label_of
from solvent.choose.stress.scenario_file import Change, Power, Scenario, Signal
from solvent.figure import METHODS, weakest

Entry = dict[str, Any]


def held(
    statement: Mapping[str, Any], chosen: Sequence[Scenario], signals: Sequence[Signal], power: Power | None,
    judged: tuple[date, int],
) -> dict[str, Any]:  # fmt: skip
    """{as_of, stale_after_days, entries}; an entry: {what, of, value, low, high, method, source, date, age_days, age}.

    judged: the day, and after how many days something is stale.
    """
    as_of, after = judged
    entries = [_log(statement)]
    entries += [entry for scenario in chosen for entry in _scenario(scenario)]
    entries += [entry for signal in signals for entry in _signal(signal)]
    if power is not None:
        stated = (power.method, power.source, power.date)
        drawn, usd = (power.kwh_per_usd, power.low, power.high), power.usd_per_kwh
        entries.append(_entry("electricity of a machine, kWh per USD", "power", drawn, stated))
        entries.append(_entry("price of electricity, USD per kWh", "power", (usd, usd, usd), stated))
    for entry in entries:
        entry |= aged(entry["date"], as_of, after).document()
    return {"as_of": as_of, "stale_after_days": after, "entries": entries}


def _log(statement: Mapping[str, Any]) -> Entry:
    """The audit itself: a price or a use of long ago is as old as its log."""
    figures = statement["figures"]
    methods = [
        f["method"] for name in ("cost_usd", "revenue_usd") if (f := figures.get(name, {})).get("method") in METHODS
    ]
    end = str(statement.get("span", {}).get("end") or "")[:10]
    return _entry("what a month costs and brings", "audit", (None, None, None),
                  (weakest(methods), "the audit's log, priced and paid for on its days", end or None))  # fmt: skip


def _scenario(scenario: Scenario) -> Iterator[Entry]:
    yield from _changes(scenario)
    if scenario.is_structural:
        yield _entry("that a place to run is taken away", scenario.name, (None, None, None),
                     (scenario.method, scenario.source, scenario.date))  # fmt: skip
    yield _confidence(scenario)
    moving = scenario.migration
    if moving is not None:
        stated = (moving.method, moving.source, moving.date or scenario.date)
        yield _entry("person-days of moving", scenario.name, (moving.person_days, moving.low, moving.high), stated)
        usd = moving.usd_per_person_day
        yield _entry("USD per person-day", scenario.name, (usd, usd, usd), stated)
        if moving.people is not None:
            yield _entry("people who move it", scenario.name, (moving.people,) * 3, stated)


def _signal(signal: Signal) -> Iterator[Entry]:
    yield from _changes(signal)
    yield _confidence(signal)


def _changes(of: Scenario | Signal) -> Iterator[Entry]:
    for change in of.changes:
        yield _entry(label_of(change.key), of.name, (change.value, *change.ends), stated_by(change, of))


def _confidence(of: Scenario | Signal) -> Entry:
    source = of.confidence_source or "assumed: no published rate was found"
    return _entry("confidence", of.name, (of.confidence,) * 3, (of.confidence_method, source, of.date))


def stated_by(change: Change, of: Scenario | Signal) -> tuple[str, str, date]:
    """Method, source and date of a change; what it doesn't say is its entry's."""
    return change.method or of.method, change.source or of.source, change.date or of.date


def _entry(
    what: str, of: str, numbers: tuple[float | None, float | None, float | None],
    stated: tuple[str, str, date | str | None],
) -> Entry:  # fmt: skip
    value, low, high = numbers
    method, source, day = stated
    return {"what": what, "of": of, "value": value, "low": low, "high": high, "method": method, "source": source,
            "date": day}  # fmt: skip

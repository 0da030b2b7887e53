"""Headlines: which flip a verdict, one at a time, all together, and the fewest that do."""

from __future__ import annotations

import itertools
from datetime import date

import pytest
from stress_statements import statement

from solvent.choose.stress.assumptions import combined
from solvent.choose.stress.flips import BELIEVED, flips
from solvent.choose.stress.outcome import Model
from solvent.choose.stress.product import from_statement
from solvent.choose.stress.scenario_file import SignalFile

BEFORE, DAY, AFTER = date(2026, 2, 1), date(2026, 3, 3), date(2026, 3, 20)


def model(limit: float = 0.9) -> Model:
    return Model(from_statement(statement(limit=limit)))


def signals(*entries: tuple[str, float, float, date]) -> SignalFile:
    """name, factor on the API's price, confidence, day."""
    return SignalFile.model_validate({
        "schema": "solvent.signals/1",
        "signals": [
            {"name": name, "headline": name, "date": day, "source": "s", "checked": "c", "confidence": confidence,
             "changes": [{"assumption": "api_price", "times": times, "low": min(1.0, times), "high": max(1.0, times)}]}
            for name, times, confidence, day in entries
        ],
    })  # fmt: skip


def test_one_headline_flips_and_is_named() -> None:
    found = flips(model(), signals(("small", 1.1, 0.5, AFTER), ("large", 1.5, 0.5, AFTER)), DAY)
    assert found.base.verdict != "insolvent" and [t.flips for t in found.told] == [False, True]
    assert found.smallest == ("large",) and found.smallest_outcome is not None
    assert found.smallest_outcome.verdict == "insolvent" == found.together.verdict


def test_two_together_flip_where_neither_does_alone() -> None:
    found = flips(model(), signals(("a", 1.1, 0.5, AFTER), ("b", 1.1, 0.5, AFTER), ("c", 1.01, 0.5, AFTER)), DAY)
    assert not any(t.flips for t in found.told) and found.smallest == ("a", "b") and found.exhaustive


@pytest.mark.parametrize(
    ("confidence", "day", "counts"),
    [
        (0.5, AFTER, True),
        (BELIEVED, AFTER, True),
        (BELIEVED - 0.01, AFTER, False),
        (0.5, BEFORE, False),
        (0.5, DAY, False),
    ],
)
def test_only_what_is_later_and_believed_counts(confidence: float, day: date, counts: bool) -> None:
    found = flips(model(), signals(("x", 100.0, confidence, day)), DAY)
    [told] = found.told
    # What it would do is told in any case.
    assert told.flips and told.outcome.verdict == "insolvent"
    assert told.counts is counts and found.smallest == (("x",) if counts else ())


def test_without_a_day_of_the_statement_every_headline_is_news() -> None:
    assert flips(model(), signals(("x", 2.0, 0.9, BEFORE)), None).smallest == ("x",)


def test_a_headline_that_flips_only_within_its_interval_says_so() -> None:
    file = SignalFile.model_validate({
        "schema": "solvent.signals/1",
        "signals": [{"name": "x", "headline": "x", "date": AFTER, "source": "s", "checked": "c", "confidence": 0.5,
                     "changes": [{"assumption": "api_price", "times": 1.0, "low": 1.0, "high": 2.0}]}],
    })  # fmt: skip
    [told] = flips(model(), file, DAY).told
    assert not told.flips and len(told.states) == 2 and "insolvent" in told.states


def test_the_smallest_set_is_the_smallest_that_search_finds() -> None:
    factors = [1.03, 1.05, 1.08, 0.9, 1.02, 1.06]
    file = signals(*((f"s{i}", f, 0.5, AFTER) for i, f in enumerate(factors)))
    m = model()
    found = flips(m, file, DAY)
    sizes = [
        size
        for size in range(1, 7)
        if any(
            m.at(combined(("api_price", f) for f in chosen)).verdict != found.base.verdict
            for chosen in itertools.combinations(factors, size)
        )
    ]
    assert sizes and len(found.smallest) == sizes[0] == 3


def test_a_headline_on_something_else_doesnt_touch() -> None:
    file = SignalFile.model_validate({
        "schema": "solvent.signals/1",
        "signals": [{"name": "x", "headline": "x", "date": AFTER, "source": "s", "checked": "c", "confidence": 1.0,
                     "changes": [{"assumption": "api_price", "times": 100, "modality": "video"}]}],
    })  # fmt: skip
    [told] = flips(model(), file, DAY).told
    assert not told.counts and told.untouched == {"api_price[video]": "none of its compute is video"}

"""What a stress leans on: its methods, sources, dates and ages; notice against moving; what only offers can judge."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from stress_statements import statement

from solvent.choose.ages import aged
from solvent.choose.stress.document import Options, document
from solvent.choose.stress.notice import gap_of
from solvent.choose.stress.product import from_statement
from solvent.choose.stress.scenario_file import Scenario, ScenarioFile, library, load_scenarios, shipped_signals
from solvent.errors import ChoiceError

DAY = date(2026, 11, 21)


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "title": name, "date": date(2026, 3, 1), "source": "s", "confidence": 0.5, **more}


def file_of(*entries: dict[str, Any], **more: Any) -> ScenarioFile:
    return ScenarioFile.model_validate({"schema": "solvent.scenarios/1", "scenarios": entries, **more})


DEARER = {"assumption": "api_price", "times": 2.0, "low": 1.5, "high": 3.0}


def found(file: ScenarioFile, **options: Any) -> dict[str, Any]:
    return document(statement(limit=0.9), file, replace(Options(as_of=DAY), **options))


@pytest.mark.parametrize(
    ("day", "days", "state"),
    [
        ("2026-11-21", 0, "recent"), ("2026-05-25", 180, "recent"), ("2026-05-24", 181, "stale"),
        ("2026-11-22", -1, "later"), (None, None, "undated"), ("soon", None, "undated"),
        ("2026-05-24T10:00:00Z", 181, "stale"),
    ],
)  # fmt: skip
def test_an_age_is_counted_in_days_and_turns_stale_the_day_after(day: str | None, days: int | None, state: str) -> None:
    assert (aged(day, DAY).age_days, aged(day, DAY).state) == (days, state)
    assert aged("2026-11-20", DAY, 0).state == "stale"


def test_all_that_a_stress_leans_on_has_method_source_and_date() -> None:
    whole = document(statement(), library(), Options(signals=shipped_signals(), as_of=DAY))
    entries = whole["held"]["entries"]
    assert all(e["method"] and e["source"] for e in entries)
    assert not [e for e in entries if e["age"] in ("undated", "later")]
    of = {e["of"] for e in entries}
    assert {"audit", "power", *(s.name for s in library().scenarios)} <= of
    assert {s.name for s in shipped_signals().signals} <= of
    # Every number that a scenario moves by, its confidence, and what moving takes.
    n = sum(len(s.changes) + 1 + s.is_structural + (0 if s.migration is None else 3) for s in library().scenarios)
    assert (
        sum(e["of"] not in ("audit", "power") and e["of"] in {s.name for s in library().scenarios} for e in entries)
        == n
    )
    stale = {e["of"] for e in entries if e["age"] == "stale"}
    assert {"audit", "subscription-degraded", "vendor-barred"} <= stale and "region-lost" not in stale


def test_a_change_may_have_a_source_of_its_own_and_its_figure_says_so() -> None:
    own = {**DEARER, "method": "measured", "source": "our invoices", "date": date(2026, 11, 1)}
    whole = found(file_of(entry("a", changes=[own]), entry("b", changes=[DEARER])))
    by = {(e["of"], e["what"]): e for e in whole["held"]["entries"]}
    mine, theirs = by["a", "price of the API"], by["b", "price of the API"]
    assert (mine["method"], mine["source"], mine["age"]) == ("measured", "our invoices", "recent")
    assert (theirs["method"], theirs["source"], theirs["age"]) == ("assumed", "s", "stale")
    figure = whole["figures"]["stress_a_api_price"]
    assert (figure["method"], figure["source"], figure["date"]) == ("measured", "our invoices", "2026-11-01")
    assert found(file_of(entry("b", changes=[DEARER])), stale_after_days=400)["held"]["entries"][1]["age"] == "recent"


def test_a_confidence_that_isnt_assumed_names_its_source(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    head = 'schema = "solvent.scenarios/1"\n[[scenarios]]\nname = "a"\ntitle = "A"\ndate = 2026-03-01\nsource = "s"\n'
    tail = '[[scenarios.changes]]\nassumption = "usage"\ntimes = 2\n'
    path.write_text(head + 'confidence = 0.1\nconfidence_method = "measured"\n' + tail, "utf-8")
    with pytest.raises(ChoiceError, match="confidence_source"):
        load_scenarios(path)
    path.write_text(head + 'confidence = 0.1\nconfidence_methd = "measured"\n' + tail, "utf-8")
    with pytest.raises(ChoiceError, match="is `confidence_method` meant"):
        load_scenarios(path)
    path.write_text(head + 'confidence = 0.1\nconfidence_method = "felt"\n' + tail, "utf-8")
    with pytest.raises(ChoiceError, match="confidence_method"):
        load_scenarios(path)


BARRED: dict[str, Any] = {
    "bars": ["largest"], "notice_days": 5,
    "migration": {"person_days": 20, "low": 4, "high": 60, "usd_per_person_day": 800, "people": 2},
}  # fmt: skip


def test_notice_is_set_against_the_days_that_moving_takes() -> None:
    economics = from_statement(statement()).economics
    gap = gap_of(Scenario.model_validate(entry("x", **BARRED)), economics, 0.5)
    assert gap is not None and gap.moving_days == (10, 2, 30) and gap.without_days == (5, 0, 25)
    # 170 USD a month of 30.4375 days, half of it stops.
    assert gap.revenue_usd == pytest.approx((5 * 85 / 30.4375, 0, 25 * 85 / 30.4375))
    unknown = gap_of(Scenario.model_validate(entry("x", **BARRED)), economics, None)
    assert unknown is not None and unknown.revenue_usd is None
    alone = {**BARRED, "migration": {**BARRED["migration"], "people": None}}
    assert gap_of(Scenario.model_validate(entry("x", **alone)), economics, 0.5) is None
    [row] = found(file_of(entry("x", **BARRED)))["scenarios"]
    assert row["gap"]["without_days"] == [5, 0, 25] and row["stops_share"] == 1


def test_what_only_offers_can_judge_is_neither_passed_nor_failed() -> None:
    fine = entry("fine", changes=[{"assumption": "api_price", "times": 1.01}])
    bad = entry("bad", changes=[{"assumption": "api_price", "times": 3}])
    barred = entry("barred", **BARRED)
    assert found(file_of(fine))["passed"] is True
    whole = found(file_of(fine, barred))
    assert (whole["passed"], whole["not_judged"], whole["fails"]) == (None, ["barred"], [])
    whole = found(file_of(bad, barred))
    assert (whole["passed"], whole["fails"]) == (False, ["bad"])


def test_together_with_a_place_taken_away_no_margin_is_claimed() -> None:
    file = file_of(
        entry("dearer", changes=[DEARER]), entry("barred", **BARRED), entry("seats", changes=[
            {"assumption": "seats", "times": 0.5}]), entry("less", changes=[{"assumption": "api_price", "times": 0.9}]),
        entry("cap", power_cap_share=0.5),
        together=[{"name": "both", "title": "Both", "of": ["dearer", "barred"]}],
    )  # fmt: skip
    rows = {row["name"]: row for row in found(file)["together"]}
    assert rows["both"]["unplanned"] == ["barred"] and rows["dearer+seats"]["unplanned"] == []
    # "All" leaves the barred vendor out, since no factor says what it costs; a cap on machines it lacks is nothing.
    assert rows["all"]["apart"] == ["barred"] and "barred" not in rows["all"]["of"]


def test_without_a_span_amounts_are_those_of_the_log() -> None:
    bare = statement(limit=0.9)
    bare["span"] = {}
    file = file_of(entry("dearer", changes=[DEARER]), entry("seats", changes=[{"assumption": "seats", "times": 0.5}]))
    whole = document(bare, file, Options(as_of=DAY))
    assert whole["per"] == "log" and "in the log" in whole["line"] and "month" not in whole["line"]
    amounts = [f for name, f in whole["figures"].items() if name.startswith("stress_") and f["unit"] != "ratio"]
    assert len(amounts) >= 6 and {f["unit"] for f in amounts} == {"usd"}
    assert not [f["label"] for f in amounts if "month" in f["label"]]
    month = found(file)
    assert {f["unit"] for n, f in month["figures"].items() if n.endswith("margin_usd") and n.startswith("stress")} == {
        "usd/month"
    }


def test_every_number_together_and_every_turn_has_its_lineage() -> None:
    whole = document(statement(limit=0.9), library(), Options(as_of=DAY))
    figures = whole["figures"]
    for row in whole["together"]:
        assert not row["touches"] or float(figures[row["figure"]]["value"]) == pytest.approx(
            row["outcome"]["margin_usd"]
        )
    turn = next(p for p in whole["turning_points"] if p["key"] == "api_price[openai]")
    # Margin zero where compute is 130 + 30.
    assert float(figures[turn["figures"]["margin_at"]]["value"]) == pytest.approx(160 / 130)
    assert all(name in figures for f in figures.values() for name in f.get("inputs", []))

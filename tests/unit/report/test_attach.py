"""One report of all documents: what is attached again replaces what was there, and the path comes last."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from solvent.errors import ReportError
from solvent.report.attach import attach
from solvent.report.html import page
from solvent.report.schema import checked


def figure(label: str, value: str, unit: str = "usd", method: str = "measured") -> dict[str, Any]:
    return {"label": label, "value": value, "unit": unit, "method": method, "source": "a test"}


def choice(line: str, usd_per_day: str) -> dict[str, Any]:
    use = {"offer": "<b>one</b>", "kind": "rented", "model": "m", "usd_per_day": "plan.usd_per_day",
           "idle_share": 0.25, "machines_by_hour": [1, 2], "share_by_hour": [0.5, 1.0]}  # fmt: skip
    return {
        "schema": "solvent.choice/1", "output": "answer", "needs": {"ttft_s": 5.0, "regions": ["eu", "us"]},
        "verdict": {"state": "plan", "passed": True, "line": line}, "relax": {},
        "plan": {"usd_per_day": "plan.usd_per_day", "cost_per_output_usd": "plan.usd_per_day", "gap": "plan.gap",
                 "uses": [use]},
        "ranked": [{**use, "n_machines": 2, "share": 1.0}], "n_ranked": 3,
        "excluded": [{"offer": "two", "reasons": [{"line": "too slow"}]}], "n_excluded": 1,
        "figures": {"plan.usd_per_day": figure("a day", usd_per_day, "usd/day"),
                    "plan.gap": figure("gap", "0.001", "share")},
    }  # fmt: skip


def measured() -> dict[str, Any]:
    row = {"name": "tiny<i>", "model": "m", "kind": "engine", "weight_format": "q4_1", "cache_format": "tq4",
           "concurrency": 1, "answers": 3, "input_tok": 4000, "output_tok": 64, "date": "2026-11-21",
           "figures": {"usd_per_thousand": "measured.0.usd_per_thousand"}}  # fmt: skip
    return {
        "schema": "solvent.measured/1", "machine": {"cpu": "some cpu", "n_cores": 2}, "rows": [row],
        "figures": {"measured.0.usd_per_thousand": figure("cost of 1,000 outputs", "0.19", method="assumed")},
    }  # fmt: skip


def test_a_document_that_comes_again_replaces_its_figures(statement: dict[str, Any]) -> None:
    once = attach(statement, choice("first", "10"))
    twice = attach(once, choice("second", "20"))
    assert once["figures"]["plan.usd_per_day"]["value"] == "10"
    assert twice["figures"]["plan.usd_per_day"]["value"] == "20" and twice["choice"]["verdict"]["line"] == "second"
    other = choice("third", "30")
    del other["figures"]["plan.gap"]
    assert "plan.gap" not in attach(twice, other)["figures"]
    checked(twice, "twice")


def test_the_statements_own_figures_stay_whatever_is_attached(statement: dict[str, Any]) -> None:
    document = choice("c", "10")
    document["figures"]["revenue_usd"] = figure("other", "1")
    before = copy.deepcopy(statement["figures"]["revenue_usd"])
    whole = attach(attach(statement, document), choice("d", "11"))
    assert whole["figures"]["revenue_usd"] == before


def test_an_unknown_document_goes_into_no_report(statement: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="goes into no report"):
        attach(statement, {"schema": "solvent.nothing/1"})


def test_choice_and_measurements_are_sections_and_their_names_no_markup(statement: dict[str, Any]) -> None:
    drawn = page(attach(statement, choice("a <u>plan</u>", "1234.5"), measured()))
    sections = re.findall(r'<section id="([a-z_]+)"', drawn)
    assert sections.index("measured") < sections.index("choice")
    for text in ("<b>one</b>", "tiny<i>", "<u>plan</u>"):
        assert text not in drawn.split("<script")[0]
    said = re.sub(r"<[^>]*>", " ", drawn.split('id="measured"')[1].split('id="figures"')[0])
    for text in ("some cpu, 2 cores", "4,000 tokens in, 64 out; 3 answers", "$0.19", "assumed", "$1,234.50", "50%–100%",
                 "1–2", "25%", "too slow", "And 2 more.", "more than 0.1% cheaper", "regions eu, us"):  # fmt: skip
        assert text in said, text


def test_a_measure_that_nobody_took_is_a_dash(statement: dict[str, Any]) -> None:
    drawn = page(attach(statement, measured()))
    row = drawn.split('id="measured"')[1].split("</section>")[0].split("<tbody")[1]
    assert row.count("unknown, which isn") == 6


def test_a_statement_alone_has_neither(statement: dict[str, Any]) -> None:
    drawn = page(statement)
    assert 'id="choice"' not in drawn and 'id="measured"' not in drawn


@pytest.mark.parametrize("key", ["measured", "choice", "places", "stress", "path"])
@pytest.mark.parametrize("planted", [5, [1], {"line": 1}, {"verdict": {"line": "x"}, "rows": 3}])
def test_what_was_attached_and_has_another_shape_is_refused_by_name(
    statement: dict[str, Any], key: str, planted: Any
) -> None:
    with pytest.raises(ReportError, match=f"report: {key}") as raised:
        page({**statement, key: planted})
    assert "\n" not in str(raised.value)

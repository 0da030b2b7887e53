"""The path in a report: a section with every number linked, a link from the verdict, lines for a terminal."""

from __future__ import annotations

import re
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from solvent.choose.break_even.document import break_even_document
from solvent.choose.break_even.file import read_places
from solvent.choose.path.file import read_steps
from solvent.choose.path.run import path_document
from solvent.errors import ReportError
from solvent.money.audit.run import AuditOptions, run_audit
from solvent.money.project import load
from solvent.report.attach import attach
from solvent.report.html import page
from solvent.report.lineage import find
from solvent.report.numerals import interval
from solvent.report.path_text import path_lines
from solvent.report.read import read_report
from solvent.report.write import write_report

TAG = re.compile(r"<[^>]*>")


@pytest.fixture(scope="module")
def statement(repo: Path) -> dict[str, Any]:
    example = repo / "examples/clients-day"
    done: dict[str, Any] = run_audit(
        [str(example / "requests.parquet")], load(example / "solvent.toml"), AuditOptions(None, "customer", None, False)
    )
    return done


@pytest.fixture(scope="module")
def path(statement: dict[str, Any], repo: Path) -> dict[str, Any]:
    return path_document(statement, read_steps(repo / "examples/clients-day/steps.toml"))


def section(html: str) -> str:
    start = html.index('<section id="path"')
    return html[start : html.index("</section>", start)]


def test_the_verdict_links_to_the_path_and_the_path_comes_last(statement: dict[str, Any], path: dict[str, Any]) -> None:
    html = page(attach(statement, path))
    link = html.index('href="#path"')
    assert html.index('class="verdict') < link < html.index('class="headline"')
    ids = re.findall(r'<section id="([a-z_]+)"|<section class="appendix" id="([a-z]+)"', html)
    assert [a or b for a, b in ids][-2:] == ["path", "figures"]


def test_a_statement_without_a_path_has_no_section(statement: dict[str, Any]) -> None:
    html = page(statement)
    assert 'id="path"' not in html and "#path" not in html


def test_the_amounts_that_are_shown_add_up(statement: dict[str, Any], path: dict[str, Any]) -> None:
    rows = re.findall(r'<span class="value">(.*?)</span>', section(page(attach(statement, path))))
    shown = [Decimal(TAG.sub("", row).replace("−", "-").replace("$", "").replace(",", "")) for row in rows]
    assert len(shown) >= 4 and sum(shown[:-1]) == shown[-1]
    assert sum(shown[:-1]) + Decimal("0.01") != shown[-1]


def test_every_number_of_the_section_opens_its_lineage(statement: dict[str, Any], path: dict[str, Any]) -> None:
    whole = attach(statement, path)
    html = page(whole)
    named = set(re.findall(r'data-figure="([^"]+)"', section(html)))
    assert {name for step in path["steps"] for name in step["figures"].values()} >= {n for n in named if "_" in n} - {
        name for name in named if name in path["headline"]
    }
    for name in named:
        assert find(whole, name, "test").fields["source"]
        assert f'id="f-{list(whole["figures"]).index(name)}"' in html
    tree = find(whole, "path_margin_usd", "test")
    assert any(node.address == "path_margin_today_usd" for node in tree.inputs)


def test_what_fails_is_said_in_the_page_and_on_the_terminal(statement: dict[str, Any], path: dict[str, Any]) -> None:
    text = TAG.sub("", section(page(attach(statement, path))))
    lines = " ".join(" ".join(path_lines(path)).split())
    for said in (text, lines):
        assert "Serve SmolLM2 135M" in said and "ails the quality floor: it keeps 2%" in said


def test_it_survives_html_and_back(statement: dict[str, Any], path: dict[str, Any], tmp_path: Path) -> None:
    whole = attach(statement, path)
    for name in ("report.html", "report.json"):
        write_report(whole, tmp_path / name)
        back = read_report(tmp_path / name)
        assert back["path"]["waterfall"] == path["waterfall"]
        assert find(back, "path_probability", "test").fields["value"] == path["figures"]["path_probability"]["value"]


def test_hostile_text_of_a_step_stays_text(statement: dict[str, Any], path: dict[str, Any]) -> None:
    bad = "<script>alert(1)</script>\x1b[2J"
    steps = [{**step, "title": bad, "why": bad and step["why"]} for step in path["steps"]]
    bars = [{**bar, "label": bad} for bar in path["waterfall"]]
    hostile = {**path, "steps": steps, "waterfall": bars}
    html = section(page(attach(statement, hostile)))
    assert "<script>" not in html and "&lt;script&gt;" in html and "\x1b" not in html
    assert "\x1b" not in "\n".join(path_lines(hostile))


@pytest.mark.parametrize("change", [{"waterfall": [{"id": "x"}]}, {"steps": [{"id": "a"}]}, {"verdict": {}}])
def test_a_path_of_another_shape_is_refused(
    statement: dict[str, Any], path: dict[str, Any], change: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ReportError, match="path"):
        write_report(attach(statement, {**path, **change}), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_lines_keep_to_the_width(path: dict[str, Any], width: int) -> None:
    lines = path_lines(path, width)
    assert all(len(line) <= width for line in lines)
    spread = interval(path["figures"]["path_cost_per_value"])
    assert any(spread in line for line in lines) == (width >= 80)


def test_an_unknown_path_is_a_line_of_text(statement: dict[str, Any]) -> None:
    figures = {**statement["figures"], "revenue_usd": {**statement["figures"]["revenue_usd"], "value": None}}
    unknown = path_document({**statement, "figures": figures})
    assert path_lines(unknown)[0] == "Path to viability: the path is unknown"
    assert "not known" in section(page(attach(statement, unknown)))


def test_the_break_even_in_the_page(statement: dict[str, Any], path: dict[str, Any], tmp_path: Path) -> None:
    compared = break_even_document(read_places(), 3_463.0, "a test")
    whole = attach(statement, path, compared)
    html = page(whole)
    start = html.index('<section id="places"')
    part = html[start : html.index("</section>", start)]
    text = unescape(TAG.sub("", part))
    assert start < html.index('<section id="path"')
    assert "electricity is 3.0% of what a busy hour costs" in text and "so it can't pay" in text
    # The product's own volume stands first, and every number opens its lineage.
    assert text.index("3,463 M") < text.index("1,000 M")
    for name in set(re.findall(r'data-figure="([^"]+)"', part)):
        assert "places.toml" in find(whole, name, "test").fields["source"]
    with pytest.raises(ReportError, match="places"):
        write_report(attach(statement, {**compared, "by_volume": [{}]}), tmp_path / "report.html")

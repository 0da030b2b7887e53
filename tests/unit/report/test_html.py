"""The HTML report: whole, offline, within its size, and made of nothing but our own elements whatever the log says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from solvent.report import html
from solvent.report.html import page
from solvent.report.html_parts import unbroken
from solvent.report.markup import Markup, h
from solvent.report.numerals import human
from solvent.report.svg import inline_svg

MAX_BYTES = 2_000_000


class Elements(HTMLParser):
    """Every element with its attributes, the text outside scripts, and the text of each script and style."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.declared: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        (self.scripts if self._inside in ("script", "style") else self.texts).append(data)

    def handle_comment(self, data: str) -> None:
        self.declared.append(data)

    def unknown_decl(self, data: str) -> None:
        self.declared.append(data)

    def handle_pi(self, data: str) -> None:
        self.declared.append(data)


def _shape(text: str) -> Counter[tuple[str, ...]]:
    """How often each element with its attribute names occurs; lines of a fix are as many as its text has."""
    found = Elements(text).elements
    return Counter((tag, *sorted(attributes)) for tag, attributes in found if tag != "br")


def test_payloads_add_no_element_and_no_attribute(hostile: dict[str, Any], harmless: dict[str, Any]) -> None:
    attacked, plain = _shape(page(hostile)), _shape(page(harmless))
    # An empty text leaves out the paragraph that would hold it, so there may be less, never more.
    assert not attacked - plain, attacked - plain
    assert sum((plain - attacked).values()) < 60


@pytest.mark.parametrize("payload", ['"><script>1</script>', "'><img src=x onerror=1>", "</script></style></title><b>"])
def test_one_payload_in_every_place(payload: str, fill: Callable[[list[str]], dict[str, Any]]) -> None:
    assert _shape(page(fill([payload, payload + " "]))) == _shape(page(fill(["word", "word "])))


@pytest.mark.parametrize("hole", ["text", "attribute", "json"])
def test_a_hole_would_be_seen(
    hole: str, hostile: dict[str, Any], harmless: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: with one escape taken away it does."""
    if hole == "text":
        monkeypatch.setattr(
            "solvent.report.markup._one", lambda c: c if isinstance(c, str) else "".join(map(str, c or ()))
        )
    elif hole == "attribute":
        monkeypatch.setattr("solvent.report.markup.html.escape", lambda text, quote: text.replace("<", "&lt;"))
    else:
        monkeypatch.setattr("solvent.report.embedded.script_json", json.dumps)
    assert _shape(page(hostile)) - _shape(page(harmless))


def test_nothing_runs_and_nothing_is_loaded(hostile: dict[str, Any], statement: dict[str, Any]) -> None:
    for text in (page(hostile), page(statement)):
        found = Elements(text)
        assert found.declared == []
        for tag, attributes in found.elements:
            assert tag not in (
                "iframe",
                "object",
                "embed",
                "base",
                "form",
                "img",
                "link",
                "audio",
                "video",
                "use",
                "image",
            )
            for name, value in attributes.items():
                assert not name.startswith("on") and name not in (
                    "style",
                    "src",
                    "srcset",
                    "srcdoc",
                    "action",
                    "formaction",
                )
                if name in ("href", "xlink:href"):
                    assert re.fullmatch(r"#f-\d+", value or ""), value
        scripts = [a for tag, a in found.elements if tag == "script"]
        assert scripts == [{"type": "application/json", "id": "solvent-statement"}, {}]


def test_the_policy_allows_only_the_page_itself(statement: dict[str, Any]) -> None:
    text = page(statement)
    metas = [a["content"] or "" for tag, a in Elements(text).elements if tag == "meta" and a.get("http-equiv")]
    assert len(metas) == 1 and metas[0].startswith("default-src 'none';") and "unsafe" not in metas[0]
    style = re.findall(r"<style>(.*?)</style>", text, re.S)
    script = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(style) == len(script) == 1
    for content, directive in ((style[0], "style-src"), (script[0], "script-src")):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in metas[0]
    assert "http:" not in style[0] + script[0].replace("http://www.w3.org/2000/svg", "") and "url(" not in style[0]


def test_the_verdict_comes_first_and_the_rest_in_order(statement: dict[str, Any]) -> None:
    text = page(statement)
    heads = re.findall(r"<h[12][^>]*>(.*?)</h[12]>", text)
    assert heads == [
        "Insolvent territory", "From revenue to margin", "Margin per customer", "The tail", "Cost by model and feature",
        "Over time", "What would have to change", "Prices", "Accounting", "Assumptions", "Notes",
        "Where the numbers come from",
    ]  # fmt: skip
    verdict = text[text.index("<h1>") : text.index("<dl")]
    assert statement["verdict"]["left_out"][1:] in verdict
    assert statement["verdict"]["policy"]["text"] in verdict


def test_every_figure_is_a_link_to_its_lineage(statement: dict[str, Any]) -> None:
    text = page(statement)
    for name in statement["headline"] + statement["tail"]["figures"]:
        figure = statement["figures"][name]
        exact, shown = re.escape(figure["value"]), re.escape(human(figure["value"], figure["unit"]))
        assert re.search(rf'data-figure="{name}" title="{exact} [^"]*">{shown}</a>', text)
    anchors = set(re.findall(r'<dt id="(f-\d+)"', text))
    assert len(anchors) == len(statement["figures"]) and set(re.findall(r'href="#(f-\d+)"', text)) <= anchors


def test_assumed_is_labelled_and_unknown_is_said(statement: dict[str, Any]) -> None:
    statement["figures"]["margin_usd"] |= {"value": None, "low": None, "high": None}
    statement["tables"]["customers"]["rows"][0] |= {"margin_usd": None, "gross_margin": None}
    text = page(statement)
    assert re.search(r'data-figure="margin_usd" title="unknown">unknown</a>', text)
    card = text[text.index("<dt>Revenue</dt>") :]
    assert '<span class="badge assumed">assumed</span>' in card[: card.index("</div>")]
    assert "From revenue to margin" not in text


def test_what_was_left_out_is_said_once(statement: dict[str, Any]) -> None:
    statement["verdict"]["line"] += " (" + statement["verdict"]["left_out"] + ")"
    text = page(statement)
    assert text[: text.index("<script")].count("412 unpriced and 18 rejected") == 1


def test_ten_thousand_customers_fit(make_statement: Callable[..., dict[str, Any]]) -> None:
    large = make_statement(10_000)
    text = page(large)
    assert len(text.encode()) < MAX_BYTES
    found = re.search(r"This page holds ([\d,]+) of 10,000 rows", text)
    held = int(found[1].replace(",", "")) if found else 10_000
    assert held > 5_000
    assert f"25 of {held:,} shown" in text


def test_without_revenue_or_optional_parts_the_page_still_stands(statement: dict[str, Any]) -> None:
    for name in ("revenue_usd", "margin_usd", "gross_margin", "cost_per_value"):
        statement["figures"][name] = {"label": name, "value": None, "unit": "usd", "method": "assumed", "source": ""}
    for row in statement["tables"]["customers"]["rows"]:
        row |= {"margin_usd": None, "revenue_usd": None, "gross_margin": None}
    bare = {k: statement[k] for k in ("schema", "verdict", "accounting", "figures")}
    bare |= {"tables": {}, "product": {}, "headline": []}
    bare["verdict"] = {**statement["verdict"], "policy": {"text": "no policy"}}
    assert "<h1>" in page(statement) and "<h1>" in page(bare)


def test_elements_escape_by_construction() -> None:
    assert h("b", {"title": '"><x>'}, "<i>", Markup("<u></u>")) == '<b title="&quot;&gt;&lt;x&gt;">&lt;i&gt;<u></u></b>'
    for bad in ("onclick", "style", "x y"):
        with pytest.raises(AssertionError):
            h("b", {bad: "1"})
    with pytest.raises(AssertionError):
        h("b><script", None)


DRAWN = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="10" height="5">'
    '<g><script>1</script><foreignObject/><a xlink:href="javascript:1"><text>in a link</text></a>'
    '<rect onclick="1" style="fill:red" fill="#040404" stroke="url(#x)" width="3" transform="translate(1,2)"'
    ' x="url(y)"/>'
    "<image href='x'/><text fill='#010101'>&lt;b&gt;</text></g></svg>"
)


def test_a_drawing_keeps_only_what_is_known() -> None:
    svg = inline_svg(DRAWN, '"<label>', "wide")
    assert svg == (
        '<svg class="chart wide" role="img" aria-label="&quot;&lt;label&gt;" width="10" height="5" viewBox="0 0 10 5">'
        '<rect class="f-loss" width="3" transform="translate(1,2)"/><text class="f-ink">&lt;b&gt;</text></svg>'
    )


def test_charts_have_a_text_alternative_and_no_colours_of_their_own(statement: dict[str, Any]) -> None:
    text = page(statement)
    charts = re.findall(r'<svg class="chart (\w+)" role="img" aria-label="([^"]+)".*?</svg>', text, re.S)
    assert [kind for kind, _ in charts] == ["wide", "narrow"] * 4
    assert any(label.startswith("Margin of 73 customers, 14 of them below zero") for _, label in charts)
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        assert not re.search(r'(?:fill|stroke)="(?!none)', svg) and " style=" not in svg


def test_the_module_states_its_entry() -> None:
    assert html.page.__doc__


def test_no_amount_is_cut_at_the_end_of_a_line() -> None:
    said = str(h("p", None, unbroken("from −$269 to $9,054.50 a month, $0.")))
    whole = '<span class="whole">{}</span>'
    assert said == f"<p>from {whole.format('−$269')} to {whole.format('$9,054.50')} a month, {whole.format('$0')}.</p>"
    assert str(h("p", None, unbroken("<b>$5</b>"))) == f"<p>&lt;b&gt;{whole.format('$5')}&lt;/b&gt;</p>"

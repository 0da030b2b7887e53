"""The HTML report: one file that opens offline, with the statement in it, so that every number opens its lineage.

The page is whole without its script (tables, charts, an appendix with every figure's lineage); the script adds
sorting, filtering and the lineage dialog. It loads nothing: the policy in its head forbids all but its own
style and script, by hash. Enter at `page`. Source: CSP level 3; the skeleton and styles are in assets/.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib.resources import files
from string import Template
from typing import Any

from solvent.errors import ReportError
from solvent.report import charts
from solvent.report.accounts import (
    Section,
    amount,
    balance_line,
    break_even_figure,
    moment,
    sections,
    span_line,
    undated_line,
)
from solvent.report.break_even_html import break_even_section
from solvent.report.choose_html import choice_section
from solvent.report.embedded import fit
from solvent.report.gauge import gauge
from solvent.report.html_parts import Page, badge, facts, figure_link, figure_value, table, unbroken
from solvent.report.markup import Markup, h, join
from solvent.report.measured_html import measured_section
from solvent.report.numerals import human, interval, level
from solvent.report.path_html import path_link, path_section
from solvent.report.read import DATA_ID
from solvent.report.stress_html import stress_section

_LEDES = {
    "customers": "What each customer brings, less payment fees, refunds, other cost of goods and compute.",
    "tail": "How unevenly customers cause the cost, and what the worst of them lose.",
    "cost": "Where the compute goes.",
    "days": "Days and hours are UTC.",
    "break_even": "What each of these would have to be, all else unchanged.",
    "prices": "The rates that priced the requests, and where other catalogues would have given another cost.",
}


def page(statement: Mapping[str, Any]) -> str:
    """The whole page as text; under 2 MB however large the statement."""
    held, data = fit(statement)
    view = Page(
        held,
        {name: i for i, name in enumerate(held["figures"])},
        {name: table["n_rows"] for name, table in statement["tables"].items()},
    )
    style, script = _asset("report.css"), _asset("report.js")
    verdict, product = held["verdict"], held["product"]
    title = h("i", None, f"{product.get('name', 'This product')}: {verdict['title']}")
    own = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"
    return Template(_asset("report.html")).substitute(
        policy=policy, title=title[3:-4], style=style, script=script, body=_body(view), data=data, data_id=DATA_ID
    )


def _asset(name: str) -> str:
    return (files("solvent.report") / "assets" / name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _body(view: Page) -> Markup:
    statement = view.statement
    top = h(
        "header", {"class": "top"},
        h("div", {"class": "name"}, str(statement["product"].get("name", "This product"))),
        h("div", {"class": "when"}, span_line(statement)),
    )  # fmt: skip
    parts: list[Markup | None] = [_verdict(view), _headline(view), _waterfall(view)]
    parts += [_section(view, section) for section in sections(statement)]
    parts += [_accounting(view), _assumptions(view)]
    parts += [_attached(view, key, section) for key, section in _ATTACHED.items()]
    parts.append(_appendix(view))
    made = f"solvent {statement.get('version', '')}, made {moment(statement.get('made_at'))} UTC."
    foot = h("footer", None, f"{made} Select any number to see where it comes from.")
    return join((top, h("main", None, *parts), foot))


# In the order in which a report shows what was attached to the statement; the path comes last.
_ATTACHED: dict[str, Callable[[Page], Markup]] = {
    "measured": measured_section,
    "choice": choice_section,
    "places": break_even_section,
    "stress": stress_section,
    "path": path_section,
}


def _attached(view: Page, key: str, section: Callable[[Page], Markup | None]) -> Markup | None:
    """A section of a document that was attached; a report may come from anywhere, and so may what is in it.

    Raises: ReportError where the document hasn't the shape of what `attach` puts there.
    """
    try:
        return section(view)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, ArithmeticError) as fault:
        found = f"{type(fault).__name__}: {fault}"[:120]
        raise ReportError(f"report: {key}", found, f"what solvent attaches as {key}", "write that part again") from None


def _verdict(view: Page) -> Markup:
    verdict = view.statement["verdict"]
    missing = verdict.get("left_out") or ""
    said = missing and missing in verdict["line"]
    state = verdict["state"] if verdict["state"] in ("solvent", "thin", "insolvent") else "unknown"
    return h(
        "section", {"class": f"verdict {state}"},
        h("h1", None, verdict["title"]),
        h("p", {"class": "line"}, unbroken(verdict["line"])),
        _attached(view, "path", path_link),
        h("p", {"class": "missing"}, missing[:1].upper() + missing[1:] + ".") if missing and not said else None,
        gauge(view),
        h("p", {"class": "policy"}, "Policy: ", verdict["policy"]["text"]),
    )  # fmt: skip


def _headline(view: Page) -> Markup:
    cards = []
    for name in view.statement["headline"]:
        figure = view.figure(name)
        if figure is None:
            continue
        spread = interval(figure)
        cards.append(h(
            "div", None,
            h("dt", None, figure["label"]),
            h("dd", {"class": "value"}, figure_value(view, name)),
            h("dd", {"class": "spread"}, f"{spread}, {level(figure)}") if spread else None,
            h("dd", {"class": "tags"}, badge(figure["method"])),
        ))  # fmt: skip
    return h("dl", {"class": "headline"}, *cards) if cards else Markup()


def _waterfall(view: Page) -> Markup:
    chart = charts.waterfall(view.statement["figures"])
    if chart is None:
        return Markup()
    assumed = view.statement["figures"]["revenue_usd"]["method"] == "assumed"
    caption = "Revenue is assumed by the project file. " if assumed else ""
    return h(
        "section",
        None,
        h("h2", None, "From revenue to margin"),
        h("figure", None, chart, h("figcaption", None, caption)),
    )


def _section(view: Page, section: Section) -> Markup:
    body: list[Markup | None] = [h("h2", None, section.title)]
    if section.key in _LEDES:
        body.append(h("p", {"class": "lede"}, _LEDES[section.key]))
    if section.key == "prices" and (undated := undated_line(view.statement)):
        body.append(h("p", {"class": "undated"}, undated))
    if section.key == "tail":
        body.append(_tail(view, section))
    elif section.key == "break_even":
        body.append(_break_even(view))
    for name in section.names:
        body.append(_chart(view, name))
        if len(section.names) > 1 or section.key == "other":
            body.append(h("h3", None, view.statement["tables"][name]["label"]))
        body.append(table(view, name))
    return h("section", {"id": section.key}, *body)


def _chart(view: Page, name: str) -> Markup | None:
    rows = view.statement["tables"][name]["rows"]
    key = view.statement["tables"][name]["columns"][0]["key"]
    if name == "customers":
        chart = charts.margins(rows, key)
        caption = "Margin of every customer, worst first, and by name those at both ends."
    elif name in ("days", "hours"):
        chart = charts.over_time(rows, key, name.removesuffix("s"))
        caption = f"Compute per {name.removesuffix('s')}" + (
            "; the line is revenue." if chart and "revenue" in chart[:400] else "."
        )
    else:
        return None
    return h("figure", None, chart, h("figcaption", None, caption)) if chart else None


def _tail(view: Page, section: Section) -> Markup:
    chart = charts.lorenz(view.statement["tail"])
    shown = facts(view, section.figures)
    if chart is None:
        return shown
    caption = "Lorenz curve: were all customers alike, it would be the dashed line."
    return h("div", {"class": "beside"}, h("figure", None, chart, h("figcaption", None, caption)), shown)


def _break_even(view: Page) -> Markup:
    rows = []
    for entry in view.statement["break_even"]:
        cells = [h("td", {"class": "text"}, entry["what"])]
        for side in ("now", "at"):
            name = break_even_figure(view.statement, entry, side)
            cells.append(h("td", None, _side(view, entry, side, name)))
        rows.append(h("tr", None, *cells))
    heads = (
        h("th", {"class": "text", "scope": "col"}, "What"),
        h("th", {"scope": "col"}, "Now"),
        h("th", {"scope": "col"}, "Breaks even at"),
    )
    drawn = h("table", {"class": "fit"}, h("thead", None, h("tr", None, *heads)), h("tbody", None, *rows))
    return h("div", {"class": "scroll"}, drawn)


def _side(view: Page, entry: Mapping[str, Any], side: str, name: str | None) -> Markup | str:
    if name is None:
        return amount(view.statement, entry, side)
    factor = "×" if view.statement["figures"][name]["unit"] == "ratio" else None
    return join((factor, figure_value(view, name)))


def _accounting(view: Page) -> Markup:
    statement = view.statement
    entries = []
    for entry in statement.get("left_out", []):
        where = f" ({entry['where']})" if entry.get("where") else ""
        fix = h("pre", None, *_lines(entry["fix"])) if entry.get("fix") else None
        entries.append(
            h("li", None, h("b", None, f"{entry['n']:,} {entry['kind']}"), f": {entry['reason']}{where}", fix)
        )
    return h(
        "section", {"id": "accounting"},
        h("h2", None, "Accounting"),
        h("p", {"class": "lede"}, "Every row of the log is in exactly one of these."),
        h("p", {"class": "balance"}, balance_line(statement["accounting"])),
        h("ul", {"class": "plain"}, *entries) if entries else None,
    )  # fmt: skip


def _lines(text: str) -> list[str | Markup]:
    """Text with its line breaks as elements: everything else that breaks lines is shown escaped."""
    parts: list[str | Markup] = []
    for line in text.split("\n"):
        parts += [h("br"), line] if parts else [line]
    return parts


def _assumptions(view: Page) -> Markup:
    items = []
    for entry in view.statement.get("assumptions", []):
        links = [
            [", " if i else " Behind: ", figure_link(view, name, label=True)]
            for i, name in enumerate(entry.get("figures", []))
        ]
        source = h("span", {"class": "quiet"}, f" {entry.get('source') or 'no source'}.", *links)
        items.append(h("li", None, entry["text"], source))
    notes = [h("li", None, note) for note in view.statement.get("notes", [])]
    parts = []
    if items:
        parts.append(
            h("section", {"id": "assumptions"}, h("h2", None, "Assumptions"), h("ul", {"class": "plain"}, *items))
        )
    if notes:
        parts.append(h("section", {"id": "notes"}, h("h2", None, "Notes"), h("ul", {"class": "plain"}, *notes)))
    return join(parts)


def _appendix(view: Page) -> Markup:
    """Every figure with its lineage in words: what links lead to without script, and what is printed."""
    entries = []
    for name, figure in view.statement["figures"].items():
        spread = interval(figure)
        lines = [
            f"{human(figure['value'], figure['unit'])} {view.words(figure)}".strip()
            + (f", {level(figure)} {spread}" if spread else ""),
            f"= {view.readable(figure)}" if figure.get("formula") else None,
            " · ".join(filter(None, (figure["method"], figure.get("source"), figure.get("date")))),
            figure.get("note") or None,
        ]
        entries.append(h(
            "div", None,
            h("dt", {"id": view.anchor(name)}, figure["label"], " ", h("code", {"class": "quiet"}, name)),
            *(h("dd", None, line) for line in [*lines, *(figure.get("lines") or [])] if line),
        ))  # fmt: skip
    summary = h("summary", None, f"All {len(entries)} figures")
    return h(
        "section", {"class": "appendix", "id": "figures"},
        h("h2", None, "Where the numbers come from"),
        h("details", None, summary, h("dl", None, *entries)),
    )  # fmt: skip

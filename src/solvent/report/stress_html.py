"""The stress as a section of the HTML report: the tornado, scenarios, plans, turning points, indices, headlines.

It formats the document "solvent.stress/1" that `attach` put into the statement, and computes nothing; a margin is a
link to its lineage. Enter at `stress_section`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from solvent.report.html_parts import Page, figure_link
from solvent.report.markup import Child, Markup, h, join
from solvent.report.stress_chart import tornado
from solvent.report.stress_text import (
    INDEX_TITLES,
    change_words,
    electricity_words,
    policy_words,
    share_text,
    signal_state,
    signal_words,
    times,
    two,
    usd,
    ways_of,
    what_comes,
)

Document = Mapping[str, Any]
MAX_INDICES = 6


def stress_section(view: Page) -> Markup:
    """The section; nothing where the statement holds no stress."""
    stress = view.statement.get("stress")
    if stress is None:
        return Markup()
    return h(
        "section", {"id": "stress"},
        h("h2", None, "Under stress"),
        h("p", {"class": "lede"}, stress["line"], f" {stress['plan_line']}" if stress["plan_line"] else None),
        _tornado(stress),
        _scenarios(view, stress),
        _plans(stress),
        _together(stress),
        _turning(stress),
        _indices(stress),
        _signals(stress["signals"]) if stress["signals"] else None,
        h("p", {"class": "quiet"}, electricity_words(stress)) if stress["electricity"] else None,
    )  # fmt: skip


def _tornado(stress: Document) -> Markup | None:
    chart = tornado(stress["tornado"], stress["base"]["margin_usd"], ways_of(stress))
    if chart is None:
        return None
    caption = "Margin a month from one end of each assumption's interval to the other, all else as things are."
    caption += " The upright line is the margin as things are, the dashed one zero."
    return h("figure", None, chart, h("figcaption", None, caption))


def _scenarios(view: Page, stress: Document) -> Markup:
    rows: list[Sequence[Child]] = []
    said, untouched = [], []
    for row in stress["scenarios"]:
        if not row["touches"] and not row["needs_offers"] and not row["replan"]:
            untouched.append(f"{row['title']} ({'; '.join(what_comes(row))})")
            continue
        moved = [change_words(c) for c in row["changes"] if c["label"] not in row["untouched"]]
        said.append((row["title"], "; ".join([*moved, *what_comes(row)]), f"{row['source']}, {row['date']}"))
        low, high = usd(row["margin_low_usd"]), usd(row["margin_high_usd"])
        spread = "" if not row["touches"] or row["margin_low_usd"] is None or low == high else f"{low} to {high}"
        margin = figure_link(view, row["figure"]) if row["touches"] else "–"
        otherwise = "needs offers" if row["needs_offers"] else "replanned"
        rows.append((row["title"], margin, row["outcome"]["verdict"] if row["touches"] else otherwise, spread))
    rest = h("p", {"class": "quiet"}, "Without effect here: ", "; ".join(untouched), ".") if untouched else None
    heads = ("Scenario", "Margin a month", "Verdict", "Over its interval")
    return join(
        (h("h3", None, "Each alone"), _table(heads, rows), _sources("What each assumes, and who says so", said), rest)
    )


def _plans(stress: Document) -> Markup | None:
    plans = [("As things are", stress["plan"])] if stress["plan"] else []
    plans += [(row["title"], row["replan"]) for row in stress["scenarios"] + stress["together"] if row["replan"]]
    if not plans:
        return None
    rows: list[Sequence[Child]] = []
    said = []
    for title, plan in plans:
        once = plan["migration_usd"]
        uses = ", ".join(f"{use['offer']} {share_text(use['cost_share'])}" for use in plan["uses"][:4])
        says = uses if plan["feasible"] else "no plan: " + "; ".join(plan["lines"])
        said.append(
            (title, f"without {plan['lost']}: {says}" if plan["lost"] else says, "the cheapest mix of the offers")
        )
        moving = "–" if once is None else usd(once["value"])
        cells = (usd(plan["margin_usd"]), usd(plan["compute_usd"])) if plan["feasible"] else ("no plan", "–")
        rows.append((title, *cells, moving))
    heads = ("The cheapest plan", "Margin a month", "Compute a month", "Moving costs once")
    return join((h("h3", None, "A way out"), _table(heads, rows), _sources("What each plan runs on", said)))


def _together(stress: Document) -> Markup | None:
    titles = {row["name"]: row["title"] for row in stress["scenarios"]}
    rows: list[Sequence[Child]] = []
    for row in stress["together"]:
        if row["touches"]:
            text = " + ".join(titles.get(n, n) for n in row["of"]) if "+" in row["name"] else row["title"]
            rows.append((text, usd(row["outcome"]["margin_usd"]), row["outcome"]["verdict"]))
    return join((h("h3", None, "Together"), _table(("Scenarios", "Margin a month", "Verdict"), rows))) if rows else None


def _turning(stress: Document) -> Markup | None:
    ways = ways_of(stress)
    rows: list[Sequence[Child]] = [
        (p["label"], *(times(p[at], ways.get(p["key"], "times")) for at in ("margin_at", "policy_at")))
        for p in stress["turning_points"]
    ]
    heads = ("All else as things are", "Margin is zero at", "The policy's line is at")
    return join((h("h3", None, "How far each may go"), _table(heads, rows))) if rows else None


def _indices(stress: Document) -> Markup | None:
    if not stress["sensitivity"]:
        return None
    parts: list[Markup] = []
    for of, title in INDEX_TITLES.items():
        found = stress["sensitivity"]["of"][of]
        parts.append(h("h3", None, title))
        if of == "policy_holds":
            parts.append(h("p", None, policy_words(found)))
        rows: list[Sequence[Child]] = [
            (i["label"], two(i["total"]), f"{two(i['total_low'])} to {two(i['total_high'])}", two(i["first"]))
            for i in found["indices"][:MAX_INDICES]
        ]
        if rows:
            parts.append(_table(("Assumption", "Total index", "95% interval", "First order"), rows))
    return join(parts)


def _signals(signals: Document) -> Markup:
    rows: list[Sequence[Child]] = []
    said = []
    for told in signals["told"]:
        state = f"flips to {told['outcome']['verdict']}" if told["flips"] else signal_state(told)
        rows.append((told["headline"], f"{told['confidence']:g}", state))
        moved = "; ".join(map(change_words, told["changes"]))
        said.append((told["headline"], f"{moved}. Checked: {told['checked']}", f"{told['source']}, {told['date']}"))
    words = h("p", None, signal_words(signals))
    table = _table(("Headline", "Confidence", "Verdict"), rows)
    more = _sources("What each moves, how it was checked, and who says so", said)
    return join((h("h3", None, f"Headlines: {signals['title']}"), words, table, more))


def _sources(summary: str, said: Sequence[tuple[str, str, str]]) -> Markup:
    """Title, words and source of each, folded away."""
    items = [
        h("li", None, h("b", None, title), f": {words}.", h("span", {"class": "quiet"}, f" {source}."))
        for title, words, source in said
    ]
    return h("details", None, h("summary", None, summary), h("ul", {"class": "plain"}, *items))


def _table(heads: Sequence[str], rows: Sequence[Sequence[Child]]) -> Markup:
    """A plain table: text on the left, the rest on the right."""
    top = [h("th", {"scope": "col", "class": "text" if i == 0 else None}, head) for i, head in enumerate(heads)]
    body = [
        h("tr", None, *(h("td", {"class": "text" if i == 0 else None}, c) for i, c in enumerate(row))) for row in rows
    ]
    drawn = h("table", None, h("thead", None, h("tr", None, *top)), h("tbody", None, *body))
    return h("div", {"class": "scroll"}, drawn)

"""The stress as a section of the HTML report: the tornado, scenarios, plans, turning points, indices, headlines.

It formats the document "solvent.stress/1" that `attach` put into the statement, and computes nothing; a margin is a
link to its lineage. Enter at `stress_section`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from solvent.report.html_parts import Page, badge, figure_link, unbroken
from solvent.report.markup import Child, Markup, h, join
from solvent.report.numerals import decimal, significant
from solvent.report.stress_chart import tornado
from solvent.report.stress_text import (
    INDEX_TITLES,
    PER,
    apart_words,
    change_words,
    decides_words,
    electricity_words,
    gap_words,
    held_words,
    plan_signal_words,
    policy_words,
    share_text,
    signal_state,
    signal_words,
    stale_words,
    times,
    together_cells,
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
        h("p", {"class": "lede"}, unbroken(stress["line"]), " ", unbroken(stress["plan_line"] or "")),
        _tornado(stress),
        _scenarios(view, stress),
        _plans(view, stress),
        _notice(stress),
        _together(view, stress),
        _turning(view, stress),
        _indices(stress),
        _signals(stress["signals"]) if stress["signals"] else None,
        h("p", {"class": "quiet"}, electricity_words(stress)) if stress["electricity"] else None,
        _held(stress),
    )  # fmt: skip


def _tornado(stress: Document) -> Markup | None:
    chart = tornado(stress["tornado"], stress["base"]["margin_usd"], ways_of(stress), PER[stress["per"]])
    if chart is None:
        return None
    caption = (
        f"Margin {PER[stress['per']]} from one end of each assumption's interval to the other, all else as things are."
    )
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
        words = [*moved, *what_comes(row), *stale_words(stress, row["name"]), _confidence(row)]
        said.append((row["title"], "; ".join(words), f"{row['source']}, {row['date']}"))
        low, high = usd(row["margin_low_usd"]), usd(row["margin_high_usd"])
        spread = "" if not row["touches"] or row["margin_low_usd"] is None or low == high else f"{low} to {high}"
        margin = figure_link(view, row["figure"]) if row["touches"] else "–"
        otherwise = "needs offers" if row["needs_offers"] else "replanned"
        rows.append((row["title"], margin, row["outcome"]["verdict"] if row["touches"] else otherwise, spread))
    rest = h("p", {"class": "quiet"}, "Without effect here: ", "; ".join(untouched), ".") if untouched else None
    heads = ("Scenario", _amount("Margin", stress), "Verdict", "Over its interval")
    return join(
        (h("h3", None, "Each alone"), _table(heads, rows), _sources("What each assumes, and who says so", said), rest)
    )


def _amount(word: str, stress: Document) -> str:
    return f"{word} {PER[stress['per']]}"


def _confidence(row: Document) -> str:
    return f"confidence {row['confidence']:g}, {row['confidence_method']}"


def _plans(view: Page, stress: Document) -> Markup | None:
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
        rows.append((title, *_plan_cells(view, plan), moving))
    heads = ("The cheapest plan", _amount("Margin", stress), "Verdict", _amount("Compute", stress), "Moving costs once")
    return join((h("h3", None, "A way out"), _table(heads, rows), _sources("What each plan runs on", said)))


def _notice(stress: Document) -> Markup | None:
    """Of each scenario with a notice: how long moving takes, and how long nothing is served."""
    lines = [h("li", None, h("b", None, row["title"]), ": ", gap_words(row["gap"], row["notice_days"], True), ".")
             for row in stress["scenarios"] if row["gap"] and row["stops_share"] != 0]  # fmt: skip
    return h("ul", {"class": "plain"}, *lines) if lines else None


def _plan_cells(view: Page, plan: Document) -> tuple[Child, ...]:
    """Margin, verdict and compute; the amounts are links to their lineage."""
    if not plan["feasible"]:
        return "no plan", "–", "–"
    ids = plan["figures"]
    margin, compute = (
        figure_link(view, ids[key]) if key in ids else "unknown" for key in ("margin_usd", "compute_usd")
    )
    return margin, plan["verdict"], compute


def _together(view: Page, stress: Document) -> Markup | None:
    titles = {row["name"]: row["title"] for row in stress["scenarios"]}
    rows: list[Sequence[Child]] = []
    for row in stress["together"]:
        if row["touches"] and not row["replan"]:
            text = " + ".join(titles.get(n, n) for n in row["of"]) if "+" in row["name"] else row["title"]
            _, verdict = together_cells(row)
            margin = "–" if row["unplanned"] else figure_link(view, row["figure"])
            rows.append((text + apart_words(row), margin, verdict))
    heads = ("Scenarios", _amount("Margin", stress), "Verdict")
    return join((h("h3", None, "Together"), _table(heads, rows))) if rows else None


def _turning(view: Page, stress: Document) -> Markup | None:
    ways = ways_of(stress)

    def at(point: Document, end: str) -> Child:
        words = times(point[end], ways.get(point["key"], "times"))
        return figure_link(view, point["figures"][end], words=words) if end in point["figures"] else words

    rows: list[Sequence[Child]] = [
        (p["label"], *(at(p, end) for end in ("margin_at", "policy_at"))) for p in stress["turning_points"]
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
        says = " ".join(filter(None, (policy_words(found) if of == "policy_holds" else "", decides_words(found))))
        parts.append(h("p", None, says))
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
        more_words = f"{moved}; {told['confidence_method']} confidence. Checked: {told['checked']}"
        said.append((told["headline"], more_words, f"{told['source']}, {told['date']}"))
    words = h("p", None, signal_words(signals))
    table = _table(("Headline", "Confidence", "Verdict"), rows)
    more = _sources("What each moves, how it was checked, and who says so", said)
    plans = [h("p", None, line) for line in plan_signal_words(signals)]
    return join((h("h3", None, f"Headlines: {signals['title']}"), words, table, *plans, more))


def _held(stress: Document) -> Markup:
    """What the stress leans on: how much of it is assumed, what is stale, and every entry, folded away."""
    entries = stress["held"]["entries"]
    rows: list[Sequence[Child]] = []
    for entry in entries:
        numbers = [
            significant(n, 3) for n in (decimal(entry[key]) for key in ("value", "low", "high")) if n is not None
        ]
        said = "" if not numbers else numbers[0] + (f" ({numbers[1]} to {numbers[2]})" if len({*numbers}) > 1 else "")
        age = (
            "undated"
            if entry["date"] is None
            else f"{entry['date']}" + (f", {entry['age']}" if entry["age"] in ("stale", "later") else "")
        )
        rows.append((f"{entry['what']}: {entry['of']}", said, badge(entry["method"]), age))
    table = _table(("What it leans on", "Number", "Method", "Date"), rows)
    lines = [h("p", {"class": "quiet"}, line.replace(" in --json", "")) for line in held_words(stress)]
    return join((*lines, h("details", None, h("summary", None, f"All {len(entries)}"), table)))


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
    drawn = h(
        "table",
        {"class": "fit" if len(heads) < 5 else None},
        h("thead", None, h("tr", None, *top)),
        h("tbody", None, *body),
    )
    return h("div", {"class": "scroll"}, drawn)

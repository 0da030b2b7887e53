"""The choice as a section of the HTML report: the plan of a day, the offers that meet the needs, those left out.

It formats the document "solvent.choice/1" that `attach` put into the statement, and computes nothing.
Enter at `choice_section`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from solvent.report.html_parts import Page, figure_link
from solvent.report.markup import Child, Markup, h, join
from solvent.report.numerals import decimal, percent

MAX_RANKED, MAX_EXCLUDED = 12, 20
# As the solver counts: below this a gap is the rounding of its sums.
ROUNDING = Decimal("1e-9")
_TITLES = {"plan": "there is a plan that holds", "fragile": "a plan that may not hold", "none": "no plan"}


def choice_section(view: Page) -> Markup:
    """The section; nothing where the statement holds no choice."""
    choice = view.statement.get("choice")
    if choice is None:
        return Markup()
    verdict = choice["verdict"]
    relax = choice["relax"]
    gives_way = [*relax.get("alone", []), *relax.get("together", [])] if relax else []
    return h(
        "section", {"id": "choice"},
        h("h2", None, f"Where to run it: {_TITLES.get(verdict['state'], verdict['state'])}"),
        h("p", {"class": "lede"}, f"{verdict['line']}."),
        h("p", {"class": "quiet"}, _needs(choice["needs"])) if choice["needs"] else None,
        _plan(view, choice["plan"], choice["output"]) if choice["plan"] else None,
        h("ul", {"class": "plain"}, *[h("li", None, one["line"]) for one in gives_way]) if gives_way else None,
        _ranked(view, choice),
        _excluded(choice),
    )  # fmt: skip


def _needs(needs: Mapping[str, Any]) -> str:
    said = [f"{k} {', '.join(map(str, v)) if isinstance(v, list | tuple) else v}" for k, v in needs.items()]
    return "Needs: " + "; ".join(said) + "."


def _plan(view: Page, plan: Mapping[str, Any], output: str) -> Markup:
    rows: list[Sequence[Child]] = []
    for use in plan["uses"]:
        counts, hours = use["machines_by_hour"], use["share_by_hour"]
        low, high = min(counts, default=0), max(counts, default=0)
        machines = "–" if use["kind"] == "api" else f"{low:,}" if low == high else f"{low:,}–{high:,}"
        share = f"{min(hours):.0%}–{max(hours):.0%}"
        rows.append((_offer(use), figure_link(view, use["usd_per_day"]), share, machines, _share(use["idle_share"])))
    total = h("p", None, "In all ", figure_link(view, plan["usd_per_day"]), " a day, ",
              figure_link(view, plan["cost_per_output_usd"]), f" per {output}. {_gap(view, plan)}")  # fmt: skip
    return join((_table(("The plan of a day", "A day", "Share of an hour", "Machines", "Idle"), rows), total))


def _gap(view: Page, plan: Mapping[str, Any]) -> str:
    """What may be left to save; a solver's rounding is nothing."""
    gap = decimal((view.figure(plan["gap"]) or {}).get("value"))
    if gap is None:
        return ""
    return "No plan is cheaper." if gap < ROUNDING else f"No plan is more than {percent(gap)} cheaper."


def _ranked(view: Page, choice: Mapping[str, Any]) -> Markup | None:
    rows: list[Sequence[Child]] = []
    for one in choice["ranked"][:MAX_RANKED]:
        machines = "–" if one["n_machines"] is None else f"{one['n_machines']:,}"
        cost = figure_link(view, one["usd_per_day"]) if one["usd_per_day"] else "–"
        rows.append((_offer(one), cost, _share(one["share"]), machines, _share(one["idle_share"])))
    if not rows:
        return None
    heads = ("Offers that meet the needs, each alone", "A day", "Serves", "Machines", "Idle")
    more = choice["n_ranked"] - len(rows)
    return join((_table(heads, rows), h("p", {"class": "quiet"}, f"And {more:,} more.") if more > 0 else None))


def _excluded(choice: Mapping[str, Any]) -> Markup | None:
    items = []
    for one in choice["excluded"][:MAX_EXCLUDED]:
        reasons = "; ".join(reason["line"] for reason in one["reasons"])
        items.append(h("li", None, h("b", None, one["offer"]), f": {reasons}."))
    if not items:
        return None
    more = choice["n_excluded"] - len(items)
    rest = h("p", {"class": "quiet"}, f"And {more:,} more.") if more > 0 else None
    return join((h("h3", None, "Left out"), h("ul", {"class": "plain"}, *items), rest))


def _offer(one: Mapping[str, Any]) -> Markup:
    return join(
        (h("bdi", None, one["offer"]), h("br"), h("span", {"class": "quiet"}, f"{one['kind']}, {one['model']}"))
    )


def _share(value: Any) -> str:
    return "–" if value is None else f"{float(value):.0%}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Child]]) -> Markup:
    top = [h("th", {"scope": "col", "class": "text" if i == 0 else None}, head) for i, head in enumerate(heads)]
    body = [
        h("tr", None, *(h("td", {"class": "text" if i == 0 else None}, c) for i, c in enumerate(row))) for row in rows
    ]
    drawn = h("table", {"class": "places"}, h("thead", None, h("tr", None, *top)), h("tbody", None, *body))
    return h("div", {"class": "scroll"}, drawn)

"""Renting, owning or calling an API, as a section of the HTML report: costs by volume, who breaks even, the seller.

It formats the document "solvent.break-even/1" that `attach` put into the statement, and computes nothing.
Enter at `break_even_section`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from solvent.report.break_even_text import age_line, pair_line, seller_line, short_spread
from solvent.report.html_parts import Page, badge, figure_link
from solvent.report.markup import Markup, h
from solvent.report.numerals import decimal, significant


def break_even_section(view: Page) -> Markup:
    """The section; nothing where the statement holds no break-even."""
    found = view.statement.get("places")
    if found is None:
        return Markup()
    # The sentences read the figures, which `attach` moved among the statement's.
    document = {**found, "figures": view.statement["figures"]}
    sentences = [pair_line(document, pair) for pair in found["break_even"]]
    if found["seller"]:
        sentences += [seller_line(document, row) for row in found["seller"]["rows"]]
    power = [h("li", None, place["title"], ": electricity is ", figure_link(view, entry["figure"]),
               " of what a busy hour costs.") for entry in found["electricity"] for place in found["places"]
             if place["id"] == entry["machine"]]  # fmt: skip
    lede = (
        f"What a million tokens cost over {found['horizon_months']} months, by millions a month. Machines are whole "
        "and paid for busy or idle. Bold: the cheapest that runs the same model."
    )
    return h(
        "section", {"id": "places"},
        h("h2", None, "Rent, own or call an API"),
        h("p", {"class": "lede"}, lede),
        h("div", {"class": "scroll"}, _table(view, found)),
        h("ul", {"class": "plain"}, *[h("li", None, line) for line in sentences], *power),
        h("p", {"class": "quiet"}, age_line(document)),
    )  # fmt: skip


def _table(view: Page, found: Mapping[str, Any]) -> Markup:
    # The product's own volume first: a phone shows no more than two.
    columns = sorted(found["by_volume"], key=lambda column: not column["own"])
    heads = [h("th", {"class": "text", "scope": "col"}, "Place")]
    heads += [h("th", {"scope": "col"}, _volume(column), h("br") if column["own"] else None,
                badge("this product") if column["own"] else None) for column in columns]  # fmt: skip
    rows = []
    for place in found["places"]:
        cells = [h("td", {"class": "text"}, place["title"], " ", badge(place["method"]))]
        for column in columns:
            name = column["figures"][place["id"]]
            link = figure_link(view, name)
            spread = short_spread(view.figure(name) or {})
            cells.append(h("td", None, h("b", None, link) if column["cheapest"] == place["id"] else link,
                           h("br"), h("span", {"class": "quiet"}, spread)))  # fmt: skip
        rows.append(h("tr", None, *cells))
    return h("table", {"class": "places"}, h("thead", None, h("tr", None, *heads)), h("tbody", None, *rows))


def _volume(column: Mapping[str, Any]) -> str:
    number = decimal(column["mtok_per_month"])
    return "" if number is None else f"{significant(number, 3)} M"

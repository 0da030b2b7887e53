"""The pieces that the sections of the HTML report are made of: linked numbers, badges, tables.

A figure's number is a link to its entry in the appendix, and a cell's a button; the script opens either in the
lineage dialog. Rows carry their place in the embedded statement, so that the script finds them again.
Enter at `Page`, `figure_value`, `facts`, `table`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from solvent.report.lineage import words
from solvent.report.markup import Child, Markup, h, join
from solvent.report.numerals import decimal, human, unit_words

ROWS_DRAWN = 25
_AMOUNT = re.compile(r"([−+-]?\$[0-9][0-9,.]*[0-9]|[−+-]?\$[0-9])")
_METHODS = ("measured", "priced", "predicted", "assumed", "claimed")
# Opens sorted by this column, where it holds numbers: who loses most comes first.
_FIRST_SORT = {"customers": "margin_usd"}
# What a reader looks for first stands first, where a phone shows it; other columns keep their order.
_FIRST_COLUMNS = ("margin_usd", "gross_margin", "revenue_usd", "cost_usd", "cost_share", "cost_per_output_usd")
# Small bars beside these, in tables that have the room.
_BAR_COLUMN, _BAR_TABLES = "cost_share", ("features", "models", "days", "hours")


@dataclass(frozen=True, slots=True)
class Page:
    """The statement that the page holds. order: its figures' places.   n_rows: rows of each whole table."""

    statement: Mapping[str, Any]
    order: Mapping[str, int]
    n_rows: Mapping[str, int]

    def figure(self, name: object) -> Mapping[str, Any] | None:
        found = self.statement["figures"].get(name)
        return found if isinstance(found, Mapping) else None

    def anchor(self, name: str) -> str:
        return f"f-{self.order[name]}"

    def words(self, figure: Mapping[str, Any]) -> str:
        return unit_words(figure["unit"], self.statement["product"]) if figure["value"] is not None else ""

    def readable(self, figure: Mapping[str, Any]) -> str:
        """A formula with the labels of its inputs in place of their ids."""
        formula = str(figure["formula"])
        for name in sorted(set(words(formula)) & set(figure.get("inputs", [])), key=len, reverse=True):
            source = self.figure(name)
            if source is not None:
                formula = formula.replace(name, source["label"])
        return formula


def badge(method: str) -> Markup:
    """How far a number may be relied on."""
    return h("span", {"class": f"badge {method}" if method in _METHODS else "badge"}, method)


def figure_link(view: Page, name: str, label: bool = False, words: str | None = None) -> Markup:
    """A figure's number (or its label, or words for it) that opens its lineage; its exact value on hover."""
    figure = view.figure(name)
    if figure is None:
        return h("span", None, name)
    value = figure["value"]
    kind = "num unknown" if value is None else "num negative" if (decimal(value) or 0) < 0 else "num"
    text = words or (figure["label"] if label else human(value, figure["unit"]))
    exact = f"{value} {figure['unit']}" if value is not None else "unknown"
    kind = "num" if label else kind
    return h("a", {"class": kind, "href": f"#{view.anchor(name)}", "data-figure": name, "title": exact}, text)


def unbroken(text: object) -> list[Child]:
    """Text in which no amount of money is cut at the end of a line, as between a minus and its dollars."""
    parts: list[Child] = []
    for i, part in enumerate(_AMOUNT.split(str(text))):
        parts.append(h("span", {"class": "whole"}, part) if i % 2 else part)
    return parts


def figure_value(view: Page, name: str) -> Markup:
    """The number with the words of its unit."""
    figure = view.figure(name)
    said = view.words(figure) if figure else ""
    return join((figure_link(view, name), [" ", h("span", {"class": "words"}, said)] if said else None))


def facts(view: Page, names: Sequence[str]) -> Markup:
    """Figures as a list of label and number."""
    rows = []
    for name in names:
        figure = view.figure(name)
        if figure is not None:
            assumed = badge(figure["method"]) if figure["method"] in ("assumed", "claimed", "predicted") else None
            rows.append(
                h("div", None, h("dt", None, figure["label"], " ", assumed), h("dd", None, figure_value(view, name)))
            )
    return h("dl", {"class": "facts"}, *rows)


def table(view: Page, name: str) -> Markup:
    """A table of the statement: its first rows drawn, the rest for the script to draw."""
    source = view.statement["tables"][name]
    columns, rows = _reading_order(source["columns"]), source["rows"]
    order, sorted_by = _order(name, rows)
    heads = [_head(column, column["key"] == sorted_by) for column in columns]
    with_bars = name in _BAR_TABLES
    body = [
        h("tr", {"data-row": i}, *(cell(rows[i], column, with_bars) for column in columns)) for i in order[:ROWS_DRAWN]
    ]
    drawn = h(
        "table", {"data-table": name, "data-bars": with_bars, "aria-label": source["label"]},
        h("thead", None, h("tr", None, *heads)), h("tbody", None, *body),
    )  # fmt: skip
    return join((_tools(name, source), h("div", {"class": "scroll"}, drawn), _note(view, name, len(body))))


def _reading_order(columns: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    name, *others = columns
    last = len(_FIRST_COLUMNS)
    places = {key: i for i, key in enumerate(_FIRST_COLUMNS)}
    return [name, *sorted(others, key=lambda column: places.get(column["key"], last))]


def _order(name: str, rows: Sequence[Mapping[str, Any]]) -> tuple[list[int], str | None]:
    """Indices of the rows in the order in which they are drawn, and the column that gave it."""
    key = _FIRST_SORT.get(name)
    values = {i: value for i, row in enumerate(rows) if key and (value := decimal(row.get(key))) is not None}
    if not values:
        return list(range(len(rows))), None
    return sorted(range(len(rows)), key=lambda i: (i not in values, values.get(i, 0))), key


def _head(column: Mapping[str, Any], is_sorted: bool) -> Markup:
    text = column["unit"] == "text"
    assumed = column.get("method") in ("assumed", "claimed", "predicted") and not text
    order = "ascending" if is_sorted else None
    attributes = {"scope": "col", "class": "text" if text else None, "aria-sort": order, "data-label": column["label"]}
    button = h("button", {"type": "button", "data-key": column["key"]}, column["label"])
    return h("th", attributes, button, h("br") if assumed else None, badge(column["method"]) if assumed else None)


def cell(row: Mapping[str, Any], column: Mapping[str, Any], with_bar: bool = False) -> Markup:
    """One cell; a number is a button that opens its lineage. assets/report.js draws the same."""
    value, unit = row.get(column["key"]), column["unit"]
    if unit == "text":
        return h("td", {"class": "text"}, h("bdi", None, "" if value is None else str(value)))
    number = decimal(value)
    if value is None:
        inner = h("span", {"class": "unknown", "title": "unknown, which isn't zero"}, "–")
    else:
        kind = "num negative" if number is not None and number < 0 else "num"
        button = {"type": "button", "class": kind, "data-key": column["key"], "tabindex": "-1", "title": str(value)}
        inner = h("button", button, human(value, unit))
    share = float(number) if number is not None and with_bar and column["key"] == _BAR_COLUMN else None
    return h("td", None, bar(share) if share is not None else None, inner)


def bar(share: float) -> Markup:
    """A small bar of a share of the whole."""
    width = f"{max(0.0, min(1.0, share)) * 64:.1f}"
    ground = h("rect", {"class": "f-rule", "width": "64", "height": "8"})
    filled = h("rect", {"class": "f-bar", "width": width, "height": "8"})
    return h("svg", {"class": "inbar", "viewBox": "0 0 64 8", "aria-hidden": "true"}, ground, filled)


def _tools(name: str, source: Mapping[str, Any]) -> Markup | None:
    if len(source["rows"]) <= 12:
        return None
    choices = None
    if name == "customers" and any(column["key"] == "margin_usd" for column in source["columns"]):
        options = [
            h("option", {"value": value}, text)
            for value, text in (("", "all"), ("losing", "losing money"), ("earning", "earning"))
        ]
        choices = h("select", {"data-filter": name, "aria-label": "Which customers"}, *options)
    search = h("input", {"type": "search", "data-search": name, "placeholder": f"Find in {source['label'].lower()}",
                         "aria-label": f"Find in {source['label']}"})  # fmt: skip
    return h(
        "div", {"class": "tools"}, search, choices, h("span", {"class": "n", "data-count": name, "aria-live": "polite"})
    )


def _note(view: Page, name: str, n_drawn: int) -> Markup | None:
    source = view.statement["tables"][name]
    n_held, n_rows = len(source["rows"]), max(view.n_rows.get(name, 0), source["n_rows"])
    parts: list[Markup | str] = []
    if n_held < n_rows:
        parts.append(f"This page holds {n_held:,} of {n_rows:,} rows; the JSON and CSV reports hold the rest. ")
    if n_drawn < n_held:
        more = h("button", {"type": "button", "class": "more", "data-more": name}, "Show more")
        parts += [more, " ", h("span", {"data-shown": name}, f"{n_drawn:,} of {n_held:,} shown")]
    return h("p", {"class": "quiet"}, *parts) if parts else None

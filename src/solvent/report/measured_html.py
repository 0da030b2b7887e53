"""Measurements as a section of the HTML report: a table of what ran here, every number with its lineage.

It formats the document "solvent.measured/1" that `attach` put into the statement, and computes nothing.
Enter at `measured_section`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from solvent.report.html_parts import Page, badge, figure_link
from solvent.report.markup import Markup, h
from solvent.report.measured_text import COLUMNS, row_name
from solvent.report.numerals import interval


def measured_section(view: Page) -> Markup:
    """The section; nothing where the statement holds no measurements."""
    found = view.statement.get("measured")
    if found is None or not found["rows"]:
        return Markup()
    heads = [h("th", {"class": "text", "scope": "col"}, "What ran")]
    heads += [h("th", {"scope": "col"}, title) for title in COLUMNS.values()]
    rows = [h("tr", None, _name(row), *(_cell(view, row, key) for key in COLUMNS)) for row in found["rows"]]
    drawn = h("table", {"class": "places"}, h("thead", None, h("tr", None, *heads)), h("tbody", None, *rows))
    return h(
        "section", {"id": "measured"},
        h("h2", None, "Measured on this machine"),
        h("p", {"class": "lede"}, f"{_machine(found['machine'])}. A dash is what nobody measured. The divergence is "
          "from the model that the measurement named as its reference, in nats a token; perplexities compare where the "
          "tokens are the same. The machine is taken to be busy all the time, idle hours come on top."),
        h("div", {"class": "scroll"}, drawn),
    )  # fmt: skip


def _machine(machine: Mapping[str, Any]) -> str:
    parts = [machine.get("cpu") or "a processor nobody named"]
    if machine.get("n_cores"):
        parts.append(f"{machine['n_cores']} cores")
    if machine.get("memory_gib"):
        parts.append(f"{machine['memory_gib']} GiB")
    return ", ".join(map(str, parts)) + (", a virtual machine" if machine.get("virtual") else "")


def _name(row: Mapping[str, Any]) -> Markup:
    lengths = ""
    if row["input_tok"] and row["output_tok"]:
        lengths = f"{row['input_tok']:,} tokens in, {row['output_tok']:,} out"
        lengths += f"; {row['answers']} answers" if row["answers"] else ""
    return h("td", {"class": "text"}, h("bdi", None, row_name(row)), h("br"), h("span", {"class": "quiet"}, lengths))


def _cell(view: Page, row: Mapping[str, Any], key: str) -> Markup:
    name = row["figures"].get(key)
    figure = view.figure(name)
    if name is None or figure is None:
        return h("td", None, h("span", {"class": "unknown", "title": "unknown, which isn't zero"}, "–"))
    spread = interval(figure)
    mark = badge(figure["method"]) if figure["method"] != "measured" else None
    quiet = h("span", {"class": "quiet"}, spread) if spread else None
    return h(
        "td", None, figure_link(view, name), h("br") if quiet or mark else None, quiet, " " if mark else None, mark
    )

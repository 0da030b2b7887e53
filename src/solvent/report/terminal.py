"""A statement on a terminal, for 60 to 200 columns; plain text where the console is no terminal.

Rich lays it out; everything is `Text`, so that no content is markup, and escapes and overrides are shown.
The verdict comes first. Columns that don't fit are left out from the least important.
Enter at `console_for`, `print_statement`, `print_lineage`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from solvent.report.accounts import Section, balance_line, break_even_row, sections, span_line, undated_line
from solvent.report.hostile import visible
from solvent.report.lineage import Node
from solvent.report.numerals import decimal, human, interval, level, unit_words

MAX_ROWS = 10
PLAIN_WIDTH = 100
MAX_NAME = 28
# The column of ids, which must stay whole to be copied.
FIGURE = "figure"
_STATE_STYLE = {"solvent": "bold green", "thin": "bold yellow", "insolvent": "bold red", "unknown": "bold yellow"}
# Which columns stay on a narrow terminal; those that aren't named come after these, in their own order.
_KEEP = ("margin_usd", "cost_usd", "revenue_usd", "used_cost_usd", "other_cost_usd", "difference", "delta_usd",
         "cost_per_output_usd", "n_requests", "cost_share", "gross_margin", "plan", "n_outputs")  # fmt: skip


def print_statement(statement: Mapping[str, Any], console: Console) -> None:
    """Prints the report: verdict, headline, sections, accounting, assumptions, notes."""
    print_verdict(statement, console)
    # The table that was asked for comes first.
    asked = str(statement.get("by", "customer")) + "s"
    for section in sorted(sections(statement), key=lambda section: asked not in section.names):
        if section.key == "prices":
            _prices(section, undated_line(statement), console)
            continue
        _title(section.title, console)
        _figures(statement, section.figures, console)
        for name, table in zip(section.names, section.tables, strict=True):
            _table(name, table, console)
        if section.key == "break_even":
            rows = [break_even_row(statement, entry) for entry in statement["break_even"]]
            _grid([("", "left"), ("now", "right"), ("breaks even at", "right")], rows, console)
    _end(statement, console)


def print_verdict(statement: Mapping[str, Any], console: Console) -> None:
    """Prints what a report begins with: the verdict and the headline's figures."""
    _verdict(statement, console)
    _figures(statement, statement["headline"], console)


def _verdict(statement: Mapping[str, Any], console: Console) -> None:
    verdict = statement["verdict"]
    name = visible(statement["product"].get("name", "this product"))
    head = Text(visible(verdict["title"]), style=_STATE_STYLE.get(verdict["state"], "bold"))
    _say(Text.assemble(head, Text(f"  {name}", style="bold")), console)
    _say(Text(visible(verdict["line"])), console)
    if verdict.get("left_out"):
        text = visible(verdict["left_out"])
        if text not in visible(verdict["line"]):
            _say(Text(text[:1].upper() + text[1:] + ".", style="yellow"), console)
    _say(Text("Policy: " + visible(verdict["policy"]["text"]), style="dim"), console)
    _say(Text(visible(span_line(statement)), style="dim"), console)


def _figures(statement: Mapping[str, Any], ids: Sequence[str], console: Console) -> None:
    rows: list[Sequence[Any]] = []
    for name in ids:
        figure = statement["figures"].get(name)
        if figure is None:
            continue
        value = human(figure["value"], figure["unit"])
        words = unit_words(figure["unit"], statement["product"])
        spread = interval(figure)
        method = Text(
            visible(figure["method"]), style="yellow" if figure["method"] in ("assumed", "claimed") else "dim"
        )
        rows.append(
            (
                figure["label"],
                Text(visible(value), style="bold"),
                words,
                f"{spread} ({level(figure).removesuffix(' interval')})" if spread else "",
                method,
            )
        )
    heads = [("", "left"), ("", "right"), ("", "left"), ("", "left"), ("", "left")]
    if console.width < 90:
        rows = [(label, value, words, method) for label, value, words, _, method in rows]
        heads.pop()
    _grid(heads, rows, console)


def _table(name: str, table: Mapping[str, Any], console: Console) -> None:
    first, *others = table["columns"]
    ranked = sorted(others, key=lambda c: _KEEP.index(c["key"]) if c["key"] in _KEEP else len(_KEEP))
    rows, label = _worst_first(name, table)
    room = max(1, (console.width - MAX_NAME) // 14)
    kept = {column["key"] for column in ranked[:room]}
    columns = [first, *(column for column in others if column["key"] in kept)]
    heads = []
    for column in columns:
        assumed = " *" if column.get("method") == "assumed" and column["unit"] != "text" else ""
        heads.append((column["label"] + assumed, "left" if column["unit"] == "text" else "right"))
    cells = [[_cell(row.get(c["key"]), c["unit"]) for c in columns] for row in rows[:MAX_ROWS]]
    if label:
        _say(Text(label, style="dim"), console)
    _grid(heads, cells, console)
    notes = ["* assumed"] if any(head.endswith(" *") for head, _ in heads) else []
    if table["n_rows"] > len(cells):
        notes.append(f"{table['n_rows'] - len(cells):,} more of {table['n_rows']:,}")
    if notes:
        _say(Text("; ".join(notes), style="dim"), console)


def _worst_first(name: str, table: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], str]:
    """The rows in the order in which a reader wants the first ten of them."""
    rows = list(table["rows"])
    if name == "customers" and len(rows) > MAX_ROWS:
        known = [(margin, row) for row in rows if (margin := decimal(row.get("margin_usd"))) is not None]
        if known:
            return [row for _, row in sorted(known, key=lambda pair: pair[0])], "those with the lowest margin"
        return rows, "the costliest"
    if name == "days" and len(rows) > MAX_ROWS:
        return rows[-MAX_ROWS:], f"the last {MAX_ROWS}"
    return rows, ""


def _prices(section: Section, undated: str, console: Console) -> None:
    for name, table in zip(section.names, section.tables, strict=True):
        _title("Prices used" if name == "prices" else table["label"], console)
        if name == "prices":
            _say(Text(undated), console)
        if name != "prices":
            _table(name, table, console)
            continue
        keys = [
            key for key in ("card", "source", "valid", "cost_usd") if any(c["key"] == key for c in table["columns"])
        ]
        columns = [next(c for c in table["columns"] if c["key"] == key) for key in keys]
        heads = [(c["label"], "left" if c["unit"] == "text" else "right") for c in columns]
        _grid(
            heads, [[_cell(row.get(c["key"]), c["unit"]) for c in columns] for row in table["rows"][:MAX_ROWS]], console
        )


def _end(statement: Mapping[str, Any], console: Console) -> None:
    _title("Accounting", console)
    _say(Text(balance_line(statement["accounting"])), console)
    for entry in statement.get("left_out", [])[:MAX_ROWS]:
        where = f" ({visible(entry['where'])})" if entry.get("where") else ""
        _say(Text(f"  {entry['n']:,} {visible(entry['kind'])}: {visible(entry['reason'])}{where}"), console)
    if statement.get("assumptions"):
        _title("Assumed", console)
        for assumption in statement["assumptions"]:
            _say(Text(f"  {visible(assumption['text'])} ({visible(assumption.get('source') or 'no source')})"), console)
    if statement.get("notes"):
        _title("Notes", console)
        for note in statement["notes"]:
            _say(Text("  " + visible(note)), console)


def _cell(value: Any, unit: str) -> Text:
    if value is None:
        return Text("–", style="dim")
    number = decimal(value)
    style = "red" if unit != "text" and number is not None and number < 0 else ""
    return Text(_short(visible(human(value, unit)) if unit != "text" else visible(value)), style=style)


def _short(text: str) -> str:
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"


def _title(text: str, console: Console) -> None:
    console.print()
    _say(Text(visible(text), style="bold"), console)


def _say(text: Text, console: Console) -> None:
    if text.plain:
        console.print(text, highlight=False, soft_wrap=not console.is_terminal)


def _grid(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]], console: Console) -> None:
    if not rows:
        return
    titled = any(head for head, _ in heads)
    table = Table(box=box.SIMPLE_HEAD if titled else None, show_header=titled, pad_edge=False, padding=(0, 2, 0, 0),
                  header_style="dim", show_edge=False)  # fmt: skip
    for head, side in heads:
        table.add_column(
            Text(visible(head)),
            justify="right" if side == "right" else "left",
            no_wrap=side == "right" or head == FIGURE,
        )
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row))
    console.print(table, highlight=False)


class _Piped(Console):
    """A console whose reader may go away: that is no failed check, which is what Rich's own exit code would say."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        raise BrokenPipeError


def console_for(stream: TextIO) -> Console:
    """A console for a stream: coloured and as wide as a terminal; plain and at least 100 wide where it is none."""
    if stream.isatty():
        return _Piped(file=stream, markup=False, emoji=False, highlight=False)
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() and 20 <= int(columns) <= 1000 else PLAIN_WIDTH
    return _Piped(file=stream, markup=False, emoji=False, highlight=False, no_color=True, width=width)


def print_list(statement: Mapping[str, Any], console: Console) -> None:
    """Prints the id, label and value of every figure, and how to address cells."""
    rows = [
        (
            name,
            f["label"],
            Text(visible(human(f["value"], f["unit"]))),
            unit_words(f["unit"], statement["product"]),
            f["method"],
        )
        for name, f in statement["figures"].items()
    ]
    _grid([(FIGURE, "left"), ("", "left"), ("value", "right"), ("", "left"), ("method", "left")], rows, console)
    for name, table in statement["tables"].items():
        first, *others = table["columns"]
        if others:
            keys = ", ".join(column["key"] for column in others)
            _say(Text(visible(f"{name}/<{first['key']}>/<column>: {keys}"), style="dim"), console)


def print_lineage(node: Node, product: Mapping[str, Any], console: Console) -> None:
    """Prints a number's lineage as a tree."""
    tree = Tree(_node_text(node, product), guide_style="dim")
    _grow(tree, node, product)
    console.print(tree, highlight=False)


def _grow(tree: Tree, node: Node, product: Mapping[str, Any]) -> None:
    for line in node.lines:
        tree.add(Text(visible(line), style="dim"))
    for child in node.inputs:
        _grow(tree.add(_node_text(child, product)), child, product)


def _node_text(node: Node, product: Mapping[str, Any]) -> Text:
    fields = node.fields
    unit = str(fields.get("unit", ""))
    text = Text.assemble((visible(fields["label"]), "bold"))
    if unit != "text" or fields.get("value") is not None:
        text.append(" = " + visible(human(fields.get("value"), unit)))
        words = unit_words(unit, product)
        text.append(f" {visible(words)}" if words and fields.get("value") is not None else "")
        exact = str(fields.get("value"))
        if fields.get("value") is not None and decimal(exact) is not None and len(exact) > 6:
            text.append(f"  [{visible(exact)}]", style="dim")
    if fields.get("method"):
        text.append(
            f"  {visible(fields['method'])}", style="yellow" if fields["method"] in ("assumed", "claimed") else "dim"
        )
    text.append(f"\n{visible(node.address)}", style="dim")
    spread = interval(fields)
    extras = (("formula", fields.get("formula")), (level(fields), spread), ("source", fields.get("source")),
              ("date", fields.get("date")), ("note", fields.get("note")))  # fmt: skip
    for name, value in extras:
        if value:
            text.append(f"\n  {name}: {visible(value)}", style="dim")
    if node.repeated:
        text.append("\n  (unfolded elsewhere in this tree)", style="dim")
    return text

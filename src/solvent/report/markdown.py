"""A statement as Markdown: the verdict first, then figures and tables; for pull requests, wikis and chats.

Everything from the log is escaped, so that it shows as text. Long tables are cut with a note.
Enter at `markdown`. Source: CommonMark 0.31 and GitHub's tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from solvent.report.accounts import balance_line, break_even_row, sections, span_line, undated_line
from solvent.report.hostile import markdown_text as safe
from solvent.report.numerals import human, interval, level, unit_words

MAX_ROWS = 30


def markdown(statement: Mapping[str, Any]) -> str:
    """The whole report as one Markdown document."""
    verdict, product = statement["verdict"], statement["product"]
    blocks = [
        f"# {safe(product.get('name', 'This product'))}: {safe(verdict['title'])}",
        f"**{safe(verdict['line'])}**",
        f"Policy: {safe(verdict['policy']['text'])}",
    ]
    if verdict.get("left_out"):
        blocks.append(f"**{safe(verdict['left_out'][:1].upper() + verdict['left_out'][1:])}.**")
    blocks.append(safe(span_line(statement)))
    blocks.append(_figures(statement, statement["headline"]))
    for section in sections(statement):
        body = []
        if section.figures:
            body.append(_figures(statement, section.figures))
        if section.key == "prices":
            body.append(safe(undated_line(statement)))
        body += [_table(table, product) for table in section.tables]
        if section.key == "break_even":
            body.append(_break_even(statement))
        if body:
            blocks += [f"## {section.title}", *body]
    blocks += _end(statement)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _figures(statement: Mapping[str, Any], ids: Sequence[str]) -> str:
    rows = []
    for name in ids:
        figure = statement["figures"].get(name)
        if figure is not None:
            words = unit_words(figure["unit"], statement["product"])
            value = " ".join(filter(None, (human(figure["value"], figure["unit"]), words)))
            spread = interval(figure)
            rows.append((figure["label"], value, f"{spread} ({level(figure)})" if spread else "", figure["method"]))
    return _grid(("figure", "value", "interval", "method"), "lrrl", rows)


def _table(table: Mapping[str, Any], product: Mapping[str, Any]) -> str:
    columns = table["columns"]
    heads = [
        " ".join(filter(None, (c["label"], f"({c['method']})" if c.get("method") == "assumed" else "")))
        for c in columns
    ]
    rows = [
        [human(row.get(c["key"]), c["unit"]) if row.get(c["key"]) is not None else "" for c in columns]
        for row in table["rows"][:MAX_ROWS]
    ]
    grid = _grid(heads, "".join("l" if c["unit"] == "text" else "r" for c in columns), rows)
    left = table["n_rows"] - len(rows)
    note = f"\n\n{left:,} more rows of {table['n_rows']:,} are in the JSON and CSV reports." if left > 0 else ""
    return f"### {safe(table['label'])}\n\n{grid}{note}"


def _break_even(statement: Mapping[str, Any]) -> str:
    rows = [break_even_row(statement, entry) for entry in statement["break_even"]]
    return _grid(("what", "now", "breaks even at"), "lrr", rows)


def _grid(heads: Sequence[str], sides: str, rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    lines = [_row(heads), "|" + "|".join("---:" if side == "r" else "---" for side in sides) + "|"]
    return "\n".join(lines + [_row(row) for row in rows])


def _row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(safe(cell) for cell in cells) + " |"


def _end(statement: Mapping[str, Any]) -> list[str]:
    accounting = ["## Accounting", safe(balance_line(statement["accounting"]))]
    if statement.get("left_out"):
        rows = [(e["kind"], e["reason"], e.get("where", ""), f"{e['n']:,}") for e in statement["left_out"][:MAX_ROWS]]
        accounting.append(_grid(("left out", "why", "where", "rows"), "lllr", rows))
    assumptions = [
        f"- {safe(a['text'])} ({safe(a.get('source') or 'no source')})" for a in statement.get("assumptions", [])
    ]
    notes = [f"- {safe(note)}" for note in statement.get("notes", [])]
    blocks = accounting
    blocks += ["## Assumptions", "\n".join(assumptions)] if assumptions else []
    blocks += ["## Notes", "\n".join(notes)] if notes else []
    return [*blocks, safe(f"solvent {statement.get('version', '')}, {statement.get('made_at', '')}")]

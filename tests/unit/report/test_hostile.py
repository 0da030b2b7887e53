"""What a terminal, a spreadsheet, Markdown and HTML would obey is shown instead."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from solvent.report.csv_tables import all_csv, table_csv
from solvent.report.hostile import csv_text, markdown_text, script_json, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u200bb", "a\\u200bb"),
        ("two\nlines", "two\\x0alines"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("Zoë – 東京 مرحبا", "Zoë – 東京 مرحبا"),
    ],
)
def test_what_is_invisible_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not {unicodedata.category(c) for c in visible(text)} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\tx",
    " =1",
    '"=1',
    "'=1",
    "\u200b=1",
    "＝1",
    "＋1",
    "－1",
    "＠x",
    "−1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_cell_is_neutralised(text: str) -> None:
    (cell,) = next(csv.reader(io.StringIO(csv_text(text))))
    assert cell.startswith("'")
    assert cell[1:].endswith(visible(text).lstrip("\"' "))


@pytest.mark.parametrize("text", ["client-035", "a=b", "1+1", "a@b.c", "", "東京", "(none)"])
def test_an_ordinary_cell_stays(text: str) -> None:
    assert next(csv.reader(io.StringIO(csv_text(text) + "\n"))) == [text]


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_cells_never_leave_their_field(texts: list[str]) -> None:
    rows = list(csv.reader(io.StringIO(",".join(csv_text(text) for text in texts) + "\n")))
    assert len(rows) == 1
    assert [cell.removeprefix("'") for cell in rows[0]] == [visible(text).removeprefix("'") for text in texts]


def test_numbers_stay_numbers_and_unknown_stays_empty() -> None:
    columns = [
        {"key": "name", "label": "", "unit": "text"},
        {"key": "margin_usd", "label": "", "unit": "usd"},
        {"key": "cost_usd", "label": "", "unit": "usd"},
    ]
    rows = [
        {"name": "-5", "margin_usd": "-5.25", "cost_usd": None},
        {"name": "x", "margin_usd": "=1+1", "cost_usd": "0"},
    ]
    text = table_csv({"columns": columns, "rows": rows})
    assert text == '"name","margin_usd","cost_usd"\n"\'-5",-5.25,\n"x","\'=1+1",0\n'


def test_no_cell_of_a_hostile_statement_is_a_formula(hostile: dict[str, Any]) -> None:
    n_cells = 0
    for text in all_csv(hostile).values():
        for row in csv.reader(io.StringIO(text), strict=True):
            for cell in row:
                n_cells += 1
                rest = cell.lstrip("\"' \u3000")
                assert cell.startswith("'") or not rest.startswith(tuple("=+@＝＋－＠")), cell
    assert n_cells > 1000


def test_markdown_shows_a_payload_as_text(payloads: list[str]) -> None:
    renderer = MarkdownIt("commonmark", {"linkify": False}).enable("table").enable("strikethrough")
    for payload in payloads:
        for before in ("", "- ", "| head |\n|---|\n| "):
            tokens = renderer.parse(before + markdown_text(payload) + (" |" if before.startswith("|") else ""))
            kinds = {t.type for token in tokens for t in (token, *(token.children or []))}
            allowed = {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}
            if before == "- ":
                allowed |= {"bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"}
            if before.startswith("|"):
                allowed |= {
                    f"{part}_{end}"
                    for part in ("table", "thead", "tbody", "tr", "th", "td")
                    for end in ("open", "close")
                }
                assert sum(token.type == "td_open" for token in tokens) == 1, payload
            assert kinds <= allowed, (payload, kinds - allowed)
            if visible(payload).strip():
                texts = [t.content for token in tokens for t in (token.children or [])]
                assert visible(payload).strip() in "".join(texts), payload


def test_unescaped_markdown_would_be_caught() -> None:
    """The check above can fail: the same parser sees what the same payloads do unescaped."""
    kinds = {t.type for token in MarkdownIt().parse("<b>x</b> [x](http://a)") for t in (token, *(token.children or []))}
    assert {"html_inline", "link_open"} <= kinds


@given(
    st.recursive(
        st.text() | st.none() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_in_a_script_has_nothing_that_html_reads(document: Any) -> None:
    text = script_json(document)
    assert text.isascii() and not set(text) & set("<>&")
    assert json.loads(text) == document

"""The report on a terminal and in Markdown."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from solvent.report.accounts import span_line
from solvent.report.html import page
from solvent.report.lineage import find
from solvent.report.markdown import markdown
from solvent.report.terminal import console_for, print_lineage, print_list, print_statement


def _printed(statement: dict[str, Any], width: int, terminal: bool = True) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    print_statement(statement, console)
    return stream.getvalue()


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_it_fits_its_width_with_the_verdict_first(width: int, statement: dict[str, Any]) -> None:
    lines = _plain(_printed(statement, width)).splitlines()
    assert max(len(line) for line in lines) <= width
    assert lines[0].startswith("Insolvent territory")
    text = "\n".join(lines)
    for part in ("412 unpriced", "Margin per customer", "client-009", "−$57.15", "The tail", "Accounting", "Notes"):
        assert part in text


def test_a_wider_terminal_shows_more_columns(statement: dict[str, Any]) -> None:
    assert "Margin share" not in _printed(statement, 60) and "Margin share" in _printed(statement, 200)


def test_without_a_terminal_it_is_plain(statement: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    stream = io.StringIO()
    console = console_for(stream)
    assert console.width == 100
    print_statement(statement, console)
    assert "\x1b" not in stream.getvalue()
    assert "Margin" in stream.getvalue()
    for columns, width in (("150", 150), ("x", 100), ("9" * 30, 100)):
        monkeypatch.setenv("COLUMNS", columns)
        assert console_for(io.StringIO()).width == width


def test_what_was_asked_for_comes_first(statement: dict[str, Any]) -> None:
    statement["by"] = "model"
    text = _printed(statement, 100)
    assert text.index("Cost by model") < text.index("Margin per customer")


def test_no_payload_reaches_the_terminal(hostile: dict[str, Any], fill: Callable[[list[str]], dict[str, Any]]) -> None:
    every_place = fill(["\x1b]0;t\x07\u202e[red]x[/red]:smile:", "\x9b31m\r\n[red]x[/red]:smile:"])
    for made, terminal in ((hostile, True), (hostile, False), (every_place, True)):
        stream = io.StringIO()
        console = Console(
            file=stream, width=120, force_terminal=terminal, color_system="standard" if terminal else None
        )
        print_statement(made, console)
        print_list(made, console)
        row = made["tables"]["customers"]["rows"][1]["customer"]
        print_lineage(find(made, "gross_margin", "r"), made["product"], console)
        print_lineage(find(made, f"customers/{row}/cost_usd", "r"), made["product"], console)
        rest = _plain(stream.getvalue()).replace("\n", "")
        assert rest.isprintable(), {c for c in rest if not c.isprintable()}
        # Rich's own markup shows as it stands.
        assert "[red]x[/red]" in rest and ":smile:" in rest


def test_markdown_has_every_section_and_says_what_it_cut(
    statement: dict[str, Any], make_statement: Callable[..., dict[str, Any]]
) -> None:
    text = markdown(statement)
    assert text.startswith("# Redline: Insolvent territory\n\n**Compute is $1,282")
    assert re.findall(r"^## (.*)", text, re.M) == [
        "Margin per customer", "The tail", "Cost by model and feature", "Over time", "What would have to change",
        "Prices", "Accounting", "Assumptions", "Notes",
    ]  # fmt: skip
    assert "83,002 rows in = 82,475 priced + 412 unpriced + 97 duplicates + 18 rejected" in text
    assert "970 more rows of 1,000" in markdown(make_statement(1000))
    customers = text[text.index("### Customers") : text.index("## The tail")]
    widths = {line.count("|") for line in customers.splitlines() if line.startswith("|")}
    assert len(widths) == 1


@pytest.mark.parametrize(
    ("days", "said"),
    [("14", "14 days: "), ("1", "1 day: "), ("1.5", "1.5 days: "), ("0.5", "12 hours: "), ("0.0398", "57.3 minutes: ")],
)
def test_the_span_in_words(days: str, said: str, statement: dict[str, Any]) -> None:
    statement["span"]["days"] = days
    assert span_line(statement) == said + "2026-09-01 00:00 to 2026-09-15 00:00, Europe/Berlin"


def test_a_factor_is_written_as_one(statement: dict[str, Any]) -> None:
    factor = {"label": "Every price", "value": "1.04", "unit": "ratio", "method": "assumed"}
    statement["figures"]["factor"] = factor
    statement["break_even"] = [{"what": "Every price", "now": "1", "at": "1.04", "figure": "factor"}]
    assert "| Every price | ×1 | ×1.04 |" in markdown(statement)
    assert re.search(r'<td>×1</td><td>×<a[^>]*data-figure="factor"[^>]*>1.04</a>', page(statement))


def test_what_does_not_balance_is_shouted(statement: dict[str, Any]) -> None:
    statement["accounting"]["balanced"] = False
    assert "DOES NOT BALANCE" in markdown(statement) and "DOES NOT BALANCE" in _printed(statement, 100)


@pytest.mark.parametrize(
    ("share", "said"), [("0.03", "3.0% of compute"), ("1", "100% of compute"), ("0", ""), (None, "")]
)
def test_the_share_without_dates_stands_beside_the_prices(
    share: str | None, said: str, statement: dict[str, Any]
) -> None:
    statement["figures"]["undated_cost_share"]["value"] = share
    for text in (_printed(statement, 100), _shown(markdown(statement)), page(statement).split("</main>")[0]):
        assert text.count(said + " is priced by cards without dates.") == (1 if said else 0)
        if said:
            assert text.index(said) > text.index("Prices")


def _shown(text: str) -> str:
    """Markdown without its escapes."""
    return text.replace("\\", "")

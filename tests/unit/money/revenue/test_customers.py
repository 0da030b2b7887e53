"""customers.csv: what it says, and every way in which it can be wrong."""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from solvent.errors import RevenueError
from solvent.money.revenue import customers
from solvent.money.revenue.customers import CustomerRow, read_customers

PLANS = ("free", "pro")


def read(tmp_path: Path, content: str | bytes) -> dict[str, CustomerRow]:
    path = tmp_path / "customers.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_customers(path, PLANS)


def refusal(tmp_path: Path, content: str | bytes) -> str:
    with pytest.raises(RevenueError) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_all_columns(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "customer,plan,seats,started,ended,outcomes,usd_per_month,_note\n"
        "acme,pro,12,2026-01-31,2026-11-30,400,99.50,asked for it\n"
        "beta,free,,,,,,\n",
    )
    assert rows["acme"] == CustomerRow(
        "acme", "pro", 2, 12, date(2026, 1, 31), date(2026, 11, 30), 400, Decimal("99.50")
    )
    assert rows["beta"] == CustomerRow("beta", "free", 3)


def test_byte_order_mark_quotes_line_ends_and_blank_lines(tmp_path: Path) -> None:
    text = '\ufeffplan,customer\r\npro,"Smith, Jones & ""Co"""\r\n\r\n , \r\nfree,"two\nlines"\r\nfree,after\r\n'
    rows = read(tmp_path, text)
    assert list(rows) == ['Smith, Jones & "Co"', "two\nlines", "after"]
    assert [row.line for row in rows.values()] == [2, 5, 7]


def test_a_header_alone_names_nobody(tmp_path: Path) -> None:
    assert read(tmp_path, "customer,plan") == {}


def test_all_faults_at_once_with_their_lines(tmp_path: Path) -> None:
    text = refusal(
        tmp_path,
        "customer,plan,seats,started,ended,usd_per_month\n"
        "a,gold,,,,\n"
        "b,pro,-3,,,\n"
        "c,pro,1.5,,,\n"
        "d,pro,,2026-13-01,,\n"
        "e,pro,,20260101,,\n"
        "f,pro,,2026-02-01,2026-01-31,\n"
        "g,pro,,,,19.00 EUR\n"
        "h,pro,,,,-1\n"
        "i,pro,,,,1e9\n"
        ",pro,,,,\n"
        " j,pro,,,,\n"
        "k,pro\n"
        "l,free,,,,\n"
        "l,pro,,,,\n",
    )
    for line in (*range(2, 14), 15):
        assert f"line {line}: " in text, line
    assert "line 14: " not in text
    assert "unknown plan 'gold'" in text and "free, pro" in text
    assert "'l' is there already, on line 14" in text


def test_many_faults_are_counted(tmp_path: Path) -> None:
    text = refusal(tmp_path, "customer,plan\n" + "".join(f"c{i},gold\n" for i in range(50)))
    assert text.count("unknown plan") == 20 and "and 30 more" in text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "the file is empty"),
        ("customer;plan\na;pro\n", "separated by semicolons"),
        ("name,plan\na,pro\n", "unknown column 'name'"),
        ("customer,plan,seat\na,pro,1\n", "unknown column 'seat'"),
        ("customer,plan,plan\na,pro,pro\n", "column plan twice"),
        (b"customer,plan\nM\xfcller,pro\n", "not UTF-8"),
        ('customer,plan\n"a,pro\n', "not CSV"),
        ('customer,plan\n"a"b,pro\n', "not CSV"),
        ("customer,plan\n" + "a" * 200_000 + ",pro\n", "not CSV"),
        ("customer,plan\n" + "a" * 2_000 + ",pro\n", "too long"),
        ("customer,plan,seats\na,pro,٣\n", "'٣' is not a whole number"),
        ("customer,plan,seats\na,pro,10000001\n", "not a whole number"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, content: str | bytes, why: str) -> None:
    text = refusal(tmp_path, content)
    assert why in text and len(text) < 2_000


def test_the_line_of_a_fault_in_the_encoding(tmp_path: Path) -> None:
    assert "customers.csv:3:" in refusal(tmp_path, b"customer,plan\na,pro\n\xff,pro\n")


def test_a_control_character_never_reaches_the_terminal(tmp_path: Path) -> None:
    assert "\x1b" not in refusal(tmp_path, "customer,plan\na,\x1b[2J\n")


def test_no_file_a_folder_a_pipe_and_a_file_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RevenueError, match="can't be read"):
        read_customers(tmp_path / "none.csv", PLANS)
    with pytest.raises(RevenueError, match="not a file"):
        read_customers(tmp_path, PLANS)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(RevenueError, match="not a file"):
        read_customers(tmp_path / "pipe.csv", PLANS)
    monkeypatch.setattr(customers, "MAX_BYTES", 20)
    assert "at most 20 bytes" in refusal(tmp_path, "customer,plan\nabc,pro\n")

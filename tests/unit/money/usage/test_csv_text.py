"""Records of CSV text by line, and the copy without broken ones, against records known by construction."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from solvent.money.usage.csv_text import is_tidy, line_numbers, lines_of_records, tidy

cell = st.one_of(
    st.text("ab 1.", max_size=4).filter(lambda t: not t.startswith(" ")),
    st.text('ab",;\n\r\t ', max_size=6).map(lambda t: '"' + t.replace('"', '""') + '"'),
)
BROKEN = ('"a"b,c', 'a,"open', '"x" "y",z', "a\rb,c")


@given(
    records=st.lists(st.lists(cell, min_size=2, max_size=4), min_size=1, max_size=8),
    crlf=st.booleans(),
    last=st.booleans(),
)
def test_whole_records_are_kept_byte_for_byte(
    records: list[list[str]], crlf: bool, last: bool, tmp_path_factory: object
) -> None:
    folder: Path = tmp_path_factory.mktemp("csv")  # type: ignore[attr-defined]
    texts = [",".join(cells) for cells in records]
    end = "\r\n" if crlf else "\n"
    (folder / "a").write_bytes((end.join(texts) + (end if last else "")).encode())
    assert is_tidy(folder / "a", ",")
    assert tidy(folder / "a", folder / "b", ",") == []
    assert (folder / "b").read_bytes() == "".join(text + "\n" for text in texts).encode()
    line, expected = 1, {}
    for i, text in enumerate(texts):
        if text:
            expected[i] = line
        line += text.count("\n") + 1
    rows = [row for row, _ in enumerate(expected)]
    found = line_numbers(folder / "a", ",", (), rows[1:])
    assert found == {row: place for row, place in zip(rows, expected.values(), strict=True) if row}


@given(broken=st.sampled_from(BROKEN), before=st.integers(0, 3), after=st.integers(0, 3))
def test_a_broken_line_becomes_a_blank_one(broken: str, before: int, after: int, tmp_path_factory: object) -> None:
    folder: Path = tmp_path_factory.mktemp("csv")  # type: ignore[attr-defined]
    text = "h,i\n" + '"x\ny",2\n' * before + broken + "\n" + 'a,"b,c"\n' * after
    (folder / "a").write_bytes(text.encode())
    assert tidy(folder / "a", folder / "b", ",") == [2 + 2 * before]
    assert (folder / "b").read_text().splitlines() == text.replace(broken, "").splitlines()
    assert not is_tidy(folder / "a", ",") and is_tidy(folder / "b", ",")


def test_a_tab_between_quoted_cells_is_no_space(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('a\tb\n"1"\t"2"\n')
    assert is_tidy(tmp_path / "a", "\t")


def test_records_have_lines(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'h,i\r\n\r\n"a\r\nb",1\r\nx\r\n')
    assert lines_of_records(tmp_path / "a", ",", [1, 2, 3, 4, 9]) == {1: 1, 2: 2, 3: 3, 4: 5}


def test_mixed_line_endings_are_not_tidy(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"h,i\r\n1,2\n")
    assert not is_tidy(tmp_path / "a", ",")

"""What errors and notes show of text that a stranger chose: one line that a terminal obeys nothing of."""

from __future__ import annotations

import os

import pytest

from solvent.errors import SolventError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, é, 🙂 and 日本", "plain, é, 🙂 and 日本"),
        ("a\nb\tc\x1b[31m\x7f\x9b", "a\\x0ab\\x09c\\x1b[31m\\x7f\\x9b"),
        # Right-to-left override, line separator, a tag: more digits, so that what follows isn't taken for one.
        ("\u202ebad", "\\u202ebad"),
        ("\u20285", "\\u20285"),
        ("\U000e0041", "\\U000e0041"),
        # Bytes that aren't UTF-8, as Python has them in file names and on the command line; other halves of pairs.
        (os.fsdecode(b"a\xff\x80.gguf"), "a\\xff\\x80.gguf"),
        ("\ud800\udc7f\udd00", "\\ud800\\udc7f\\udd00"),
    ],
)
def test_what_a_terminal_would_obey_is_spelt_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert str(SolventError(text, "missing")) == f"{shown}: missing"

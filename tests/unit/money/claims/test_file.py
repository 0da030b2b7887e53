"""Claims files: what is read, and that whatever is wrong is told with its place and what was expected."""

from __future__ import annotations

import datetime
from fractions import Fraction
from pathlib import Path

import pytest

from solvent.errors import ClaimsError
from solvent.money.claims.file import MAX_BYTES, ClaimsFile, load

HEAD = 'schema = "solvent.claims/1"\n'
A = '[claims.a]\nvalue = 1.50\nsource = "s"\n'
B = '[claims.b]\nvalue = 2\nkind = "definition"\n'
VARIED = '[claims.v]\nsource = "s"\n' + "".join(
    f'[[claims.v.variants]]\nreads = "{reads}"\nvalue = 1\n' for reads in "xy"
)
CHOICE = '[claims.w]\nkind = "assumed"\n[[claims.w.variants]]\nreads = "x"\n[[claims.w.variants]]\nreads = "y"\n'


def loaded(tmp_path: Path, text: str | bytes) -> ClaimsFile:
    path = tmp_path / "claims.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path)


def test_a_claim_keeps_its_digits_and_its_lineage(tmp_path: Path) -> None:
    text = HEAD + A + 'unit = "usd/clip"\ndate = 2025-11-10\nquote = "q"\n' + B + '[[relations]]\nsays = "a  <=  b"\n'
    file = loaded(tmp_path, text)
    [variant] = file.claims["a"].variants
    assert variant.stated is not None and variant.stated.low == Fraction("1.495")
    assert file.claims["a"].table.date == datetime.date(2025, 11, 10) and file.claims["a"].table.quote == "q"
    assert file.claims["b"].trusted() and file.claims["b"].variants[0].stated is not None
    assert file.claims["b"].variants[0].stated.low == 2
    assert file.title == "claims" and file.relations[0].says == "a <= b"


def test_a_definition_is_exact_unless_it_says_otherwise(tmp_path: Path) -> None:
    file = loaded(tmp_path, HEAD + B + "tolerance = { plus_minus = 1 }\n")
    assert file.claims["b"].variants[0].stated is not None and file.claims["b"].variants[0].stated.high == 3


FAULTS = [
    ("", "schema", "Field required"),
    ('schema = "solvent.claims/2"\n' + A, "schema", "solvent.claims/1"),
    (HEAD, "claims", "required"),
    (HEAD + "[claims]\n", "claims", "at least 1"),
    (HEAD + A + "valu = 3\n", "claims.a.valu", "Extra inputs"),
    (HEAD + A + "[claims.1a]\nvalue = 1\n", "claims.1a", "pattern"),
    (HEAD + "[claims.a]\nvalue = 1\n", "claims.a.source", "who claimed it"),
    (HEAD + '[claims.a]\nvalue = 1\nkind = "measured"\n', "claims.a.source", "who measured it"),
    (HEAD + '[claims.a]\nvalue = 1\nkind = "true"\n', "claims.a.kind", "definition"),
    (HEAD + '[claims.a]\nsource = "s"\n', "claims.a.value", "no value"),
    (HEAD + A + '[[claims.a.variants]]\nreads = "x"\nvalue = 1\n', "claims.a.value", "beside variants"),
    (HEAD + '[claims.a]\nvalue = "about 3"\nsource = "s"\n', "claims.a.value", "a number such as"),
    (HEAD + '[claims.a]\nvalue = nan\nsource = "s"\n', "claims.a.value", "expected"),
    (HEAD + '[claims.a]\nvalue = 1e400\nsource = "s"\n', "claims.a.value", "expected"),
    (HEAD + '[claims.a]\nvalue = 2020-01-01\nsource = "s"\n', "claims.a.value", "expected a number"),
    (HEAD + A + 'unit = "usd per clip"\n', "claims.a.unit", "names joined by"),
    (HEAD + A + "tolerance = {}\n", "claims.a.tolerance", "one of digits"),
    (HEAD + A + "tolerance = { digits = 1, percent = 1 }\n", "claims.a.tolerance", "one of digits"),
    (HEAD + A + "tolerance = { digits = 0 }\n", "claims.a.tolerance", "greater than"),
    (HEAD + A + "tolerance = { percent = -1 }\n", "claims.a.tolerance.percent", "zero or more"),
    (HEAD + A + 'tolerance = { plus_minus = "x" }\n', "claims.a.tolerance.plus_minus", "a number such as"),
    (HEAD + A.replace("1.50", "[1, 2]") + "tolerance = { digits = 1 }\n", "claims.a.value", "one or the other"),
    (HEAD + A + "headline = true\n" + B + "headline = true\n", "headlines: a, b", "at most one"),
    (HEAD + VARIED.replace('"y"', '"x"'), "claims.v.variants", "different `reads`"),
    (HEAD + A + 'varies_with = "z"\n', "claims.a.varies_with", "variants of its own"),
    (HEAD + VARIED + CHOICE.replace('"y"', '"z"').replace("[claims.w]\n", '[claims.w]\nvaries_with = "v"\n'),
     "claims.w.varies_with", "the readings of v"),
    (HEAD + A + '[[relations]]\nsays = "a = "\n', "relations[0].says", "column 4"),
    (HEAD + A + '[[relations]]\nsays = "a = z"\n', "relations[0].says", "unknown claim 'z'"),
    (HEAD + A + CHOICE + '[[relations]]\nsays = "a = w"\n', "relations[0].says", "a value in every variant"),
    (HEAD + A + '[[relations]]\nsays = "a ≈ 2"\n', "relations[0].within", "where the relation says ≈"),
    (HEAD + A + '[[relations]]\nsays = "a = 2"\nwithin = "10%"\n', "relations[0].within", "only there"),
    (HEAD + A + '[[relations]]\nsays = "a ≈ 2"\nwithin = "100%"\n', "relations[0].within", "below 1"),
    (HEAD + A + '[[relations]]\nsays = "a = 2"\nwhen = { v = "x" }\n', "relations[0].when.v", "a reading of a claim"),
    (HEAD + A + VARIED + '[[relations]]\nsays = "a = 2"\nwhen = { v = ["x", "z"] }\n', "relations[0].when.v", "'z'"),
    (HEAD + A + 'quote = "' + "q" * 2001 + '"\n', "claims.a.quote", "at most 2000"),
    (HEAD + "".join(f'[claims.c{n}]\nvalue = 1\nsource = "s"\n' for n in range(101)), "claims", "at most 100"),
    (HEAD + "x = " + "[" * 5000, "", "not TOML"),
    (HEAD + "x = " + "9" * 5000, "", "not TOML"),
    (HEAD + "x = 'a", "", "not TOML"),
    (b"\xff\xfe", "", "not TOML"),
    ("#" * (MAX_BYTES + 1), "", "at most that size"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "expected"), FAULTS, ids=range(len(FAULTS)))
def test_what_is_wrong_is_told(tmp_path: Path, text: str | bytes, place: str, expected: str) -> None:
    with pytest.raises(ClaimsError) as caught:
        loaded(tmp_path, text)
    told = str(caught.value)
    assert told.startswith(str(tmp_path / "claims.toml")) and place in told and expected in told
    assert len(told) < 3_000 and "\n" not in told


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClaimsError, match="No such file"):
        load(tmp_path / "none.toml")


def test_a_claim_in_step_follows_its_leader(tmp_path: Path) -> None:
    text = HEAD + VARIED + CHOICE.replace("[claims.w]\n", '[claims.w]\nvaries_with = "v"\n')
    assert loaded(tmp_path, text).claims["w"].axis == "v"


def test_sources_may_stand_with_the_variants(tmp_path: Path) -> None:
    text = HEAD + VARIED.replace('source = "s"\n', "").replace("value", 'source = "s"\nvalue')
    assert [v.source for v in loaded(tmp_path, text).claims["v"].variants] == ["s", "s"]

"""Why a cost changed: pure changes are attributed to their cause alone, and causes always add up exactly."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvent.errors import ReportError
from solvent.money.audit.compare import (
    CostBasis,
    ModelUse,
    basis_document,
    changes,
    changes_table,
    read_basis,
    read_statement,
)

F = Fraction


def basis(n_outputs: int, **models: tuple[int, int, int]) -> CostBasis:
    """models: name → (requests, tokens, USD)."""
    return CostBasis(
        F(n_outputs), {m: ModelUse(n, {"input_tok": F(t)}, {"input_tok": F(usd)}) for m, (n, t, usd) in models.items()}
    )


OLD = basis(100, a=(100, 1000, 50), b=(100, 4000, 400))


@pytest.mark.parametrize(
    ("new", "cause", "usd"),
    [
        (basis(200, a=(200, 2000, 100), b=(200, 8000, 800)), "volume", 450),
        (basis(100, a=(200, 2000, 100)), "mix", -350),
        (basis(100, a=(100, 2000, 100), b=(100, 8000, 800)), "usage per output", 450),
        (basis(100, a=(200, 2000, 100), b=(200, 8000, 800)), "usage per output", 450),
        (basis(100, a=(100, 1000, 75), b=(100, 4000, 600)), "price", 225),
        (OLD, "price", 0),
    ],
)
def test_a_pure_change_has_one_cause(new: CostBasis, cause: str, usd: int) -> None:
    found = changes(OLD, new)
    assert {name: value for name, value in found.items() if value} == ({cause: usd} if usd else {})


uses = st.dictionaries(
    st.sampled_from("abcd"),
    st.tuples(st.integers(1, 50), st.integers(0, 10**6), st.integers(0, 10**4)),
    min_size=1,
    max_size=4,
)


@given(st.integers(1, 100), uses, st.integers(1, 100), uses)
def test_causes_add_up_to_the_difference(n0: int, old: dict, n1: int, new: dict) -> None:  # type: ignore[type-arg]
    before, after = basis(n0, **old), basis(n1, **new)
    assert sum(changes(before, after).values()) == after.cost_usd() - before.cost_usd()


def test_a_basis_survives_its_document() -> None:
    document = json.loads(json.dumps({"basis": basis_document(OLD)}))
    assert read_basis(document, Path("old.json")) == OLD


@pytest.mark.parametrize(
    "content",
    [
        b"{", b"[]", b'{"schema": "other/1"}', b'{"schema": "solvent.statement/1"}',
        b'{"schema": "solvent.statement/1", "basis": {"n_outputs": "1/0", "n_left_out": 0, "models": {}}}',
        b'{"schema": "solvent.statement/1", "basis": {"n_outputs": "1e999999999", "n_left_out": 0, "models": {}}}',
        b'{"schema": "solvent.statement/1", "basis": {"n_outputs": "1", "n_left_out": 0, "models": {"a": 3}}}',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_statement_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(content)
    with pytest.raises(ReportError, match="old") as fault:
        read_basis(read_statement(path), path)
    assert "\n" not in str(fault.value)


def test_causes_are_not_told_where_requests_were_left_out() -> None:
    """The same log with its unpriced requests priced isn't "more usage per output"."""
    partial = CostBasis(OLD.n_outputs, OLD.models, n_left_out=990)
    rows = changes_table(partial, basis(100, a=(1000, 10_000, 5000)))["rows"]
    assert [row["delta_usd"] for row in rows] == [None, "4550"]
    assert "990 then, 0 now" in rows[0]["cause"]

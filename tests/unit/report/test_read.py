"""A report that is read back may come from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from solvent.errors import ReportError
from solvent.report import read
from solvent.report.embedded import fit, pack, unpack
from solvent.report.hostile import script_json
from solvent.report.html import page
from solvent.report.read import read_report
from solvent.report.write import render


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "3", '"x"', "<html></html>", "[" * 100_000,
        '{"a":' * 100_000, '{"schema": NaN}', "9" * 10_000,
        '{"schema": "solvent.statement/1"}', '{"schema": "solvent.statement/2"}', '{"schema": ["solvent.statement/1"]}',
        '{"layout": "solvent.statement/1 packed"}', '{"layout": "solvent.statement/1 packed", "tables": {"a": 1}}',
        '<script type="application/json" id="solvent-statement">{}</script>',
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ReportError) as error:
        read_report(path)
    assert str(error.value).startswith(str(path)) and len(str(error.value)) < 600


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError):
        read_report(tmp_path / name)


def test_bytes_that_are_no_text_and_too_many_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ReportError, match="UTF-8"):
        read_report(path)
    monkeypatch.setattr(read, "MAX_BYTES", 3)
    with pytest.raises(ReportError, match="too large"):
        read_report(path)


FAULTS: list[tuple[list[Any], Any]] = [
    (["figures", "cost_usd", "value"], 5),
    (["figures", "cost_usd", "value"], "NaN"),
    (["figures", "cost_usd", "value"], "1" * 1000),
    (["figures", "cost_usd", "inputs"], "n_requests"),
    (["tables", "customers", "columns"], []),
    (["tables", "customers", "rows", 0, "cost_usd"], {"a": 1}),
    (["verdict"], None),
    (["verdict", "line"], 7),
    (["accounting"], []),
    (["headline"], [1]),
    (["tail", "lorenz"], [["0"]]),
    (["notes"], "text"),
]


@pytest.mark.parametrize(("place", "value"), FAULTS)
def test_a_field_of_another_shape_is_named(
    place: list[Any], value: Any, statement: dict[str, Any], tmp_path: Path
) -> None:
    part: Any = statement
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (tmp_path / "r.json").write_text(json.dumps(statement))
    with pytest.raises(ReportError) as error:
        read_report(tmp_path / "r.json")
    assert str(place[0]) in str(error.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_report_is_a_report_or_an_error(
    data: st.DataObject, statement: dict[str, Any], tmp_path: Path
) -> None:
    statement["tables"] = {"days": statement["tables"]["days"]}
    text = script_json(pack(statement, 5)) if data.draw(st.booleans()) else render(statement, ".json")
    at = data.draw(st.integers(0, len(text) - 1))
    cut = data.draw(st.integers(0, 30))
    new = data.draw(st.text(alphabet='{}[]",:0123456789eE.-nulltrue\\', max_size=8))
    (tmp_path / "r.json").write_text(text[:at] + new + text[at + cut :], "utf-8")
    try:
        found = read_report(tmp_path / "r.json")
    except ReportError:
        return
    # What passes can be shown.
    assert render(found, ".md") and render(found, ".json")


def test_packing_loses_nothing_that_fits(statement: dict[str, Any], hostile: dict[str, Any]) -> None:
    for document in (statement, hostile):
        document["tables"]["models"]["rows"][0]["n_unpriced"] = "3"
        document["tables"]["customers"]["rows"][2] |= {"_revenue_lineage": ["a", "b"], "_margin_lineage": ["c"]}
        held, text = fit(document)
        read_back = unpack(json.loads(text))
        assert read_back == held
        for name, table in document["tables"].items():
            for old, new in zip(table["rows"], held["tables"][name]["rows"], strict=True):
                assert {k: v for k, v in new.items() if v is not None} == {
                    k: v for k, v in old.items() if v is not None
                }


def test_what_does_not_fit_is_cut_and_said(statement: dict[str, Any]) -> None:
    full = len(fit(statement)[1])
    held, text = fit(statement, full - 1_000)
    assert len(text) < full - 1_000 and all("_lineage" not in row for row in held["tables"]["customers"]["rows"][20:])
    assert held["tables"]["customers"]["shown"] == 73
    held, text = fit(statement, full // 3)
    table = held["tables"]["customers"]
    assert len(text) <= full // 3 and 0 < table["shown"] == len(table["rows"]) < table["n_rows"] == 73


def test_a_page_of_a_cut_statement_says_so(
    statement: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("solvent.report.html.fit", lambda s: fit(s, 30_000))
    text = page(statement)
    (tmp_path / "r.html").write_text(text, "utf-8")
    shown = read_report(tmp_path / "r.html")["tables"]["customers"]["shown"]
    assert shown < 73 and f"This page holds {shown} of 73 rows" in text

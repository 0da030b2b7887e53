"""Where a number comes from, as a tree and through `solvent explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from solvent.cli.main import main
from solvent.errors import ReportError
from solvent.report.lineage import Node, find
from solvent.report.write import write_report


def _all(node: Node) -> list[Node]:
    return [node, *(deeper for child in node.inputs for deeper in _all(child))]


def test_a_figure_unfolds_to_what_it_was_made_of(statement: dict[str, Any]) -> None:
    tree = find(statement, "gross_margin", "r.json")
    assert [node.address for node in tree.inputs] == ["margin_usd", "revenue_usd", "refunds_usd"]
    reached = {node.address for node in _all(tree)}
    assert {"cost_usd", "fees_usd", "n_requests", "n_customers"} <= reached
    unfolded = [node.address for node in _all(tree) if node.inputs]
    assert len(unfolded) == len(set(unfolded)), "each is unfolded once"
    assert any(node.repeated and node.address == "revenue_usd" for node in _all(tree))


def test_a_circle_ends(statement: dict[str, Any]) -> None:
    statement["figures"]["n_requests"]["inputs"] = ["gross_margin", "nowhere"]
    tree = find(statement, "gross_margin", "r.json")
    assert len(_all(tree)) < 40
    assert any(node.address == "nowhere" and node.fields["value"] is None for node in _all(tree))


def test_a_cell_names_its_row_its_formula_and_how_the_cost_came_about(statement: dict[str, Any]) -> None:
    row = next(r for r in statement["tables"]["customers"]["rows"] if r["customer"] == "client-035")
    cell = find(statement, "customers/client-035/margin_usd", "r.json")
    assert cell.fields["value"] == row["margin_usd"]
    by_address = {node.address: node for node in _all(cell)}
    assert by_address["customers/client-035/cost_usd"].lines == row["_lineage"]
    assert by_address["customers/client-035/revenue_usd"].lines == []
    whole = find(statement, "customers/client-035", "r.json")
    assert whole.lines == row["_lineage"] and len(whole.inputs) == len(statement["tables"]["customers"]["columns"]) - 1


def test_rows_with_slashes_and_rows_with_the_same_name(statement: dict[str, Any]) -> None:
    rows = statement["tables"]["prices"]["rows"]
    rows.append({**rows[0], "cost_usd": "5"})
    name = rows[0]["card"]
    assert "/" in name
    assert find(statement, f"prices/{name}/cost_usd", "r").fields["value"] == rows[0]["cost_usd"]
    assert find(statement, f"prices/{name}#2/cost_usd", "r").fields["value"] == "5"


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("gros_margin", "gross_margin"),
        ("margin", "margin_usd"),
        ("customers/client-35/cost_usd", "client-035"),
        ("customers/client-035/cost", "cost_usd"),
        ("customer/client-035/cost_usd", "customers"),
    ],
)
def test_an_unknown_address_names_the_nearest(address: str, near: str, statement: dict[str, Any]) -> None:
    with pytest.raises(ReportError) as error:
        find(statement, address, "r.json")
    assert near in str(error.value) and "did you mean" in str(error.value)


def test_a_row_that_was_cut_is_said_to_be(statement: dict[str, Any]) -> None:
    statement["tables"]["customers"]["rows"] = statement["tables"]["customers"]["rows"][:3]
    with pytest.raises(ReportError, match="70 of its rows aren't in this report"):
        find(statement, "customers/client-035/cost_usd", "r.html")


@pytest.mark.parametrize("name", ["r.json", "r.html"])
def test_explain_prints_the_tree(
    name: str, statement: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(statement, tmp_path / name)
    assert main(["explain", str(tmp_path / name), "gross_margin"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Gross margin = 84.3%")
    for part in (
        "margin_usd ÷ (revenue_usd − refunds_usd)",
        "95% interval",
        "2.9% × revenue_usd",
        "2026-09-14",
        "assumed",
    ):
        assert part in printed
    assert main(["explain", str(tmp_path / name), "customers/client-035/cost_usd"]) == 0
    assert "USD per Mtok" in capsys.readouterr().out


def test_explain_lists_and_speaks_json(
    statement: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    path = tmp_path / "r.json"
    write_report(statement, path)
    assert main(["explain", str(path)]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in statement["figures"])
    assert main(["explain", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == statement["figures"]
    assert main(["explain", str(path), "cost_per_output_usd", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (
        document["schema"] == "solvent.lineage/1"
        and document["value"] == statement["figures"]["cost_per_output_usd"]["value"]
    )
    assert [node["address"] for node in document["inputs"]] == ["cost_usd", "n_outputs"]


def test_explain_of_nothing_is_one_line_and_exit_2(
    statement: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    write_report(statement, path)
    for words in (["cost"], ["customers/nobody/cost_usd"]):
        assert main(["explain", str(path), *words]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and str(path) in err
    assert main(["explain", str(tmp_path / "none.json")]) == 2


SUM = ["9 requests at x/y = 3 USD", "2 more rates = 1 USD"]
PARTS = ["seats: 3 USD/seat/month × 2 seats × 1 months = 6 USD"]
TAKEN = ["− 0.5 USD refunds"]


def _with_parts(statement: dict[str, Any]) -> dict[str, Any]:
    statement["figures"]["cost_usd"]["lines"] = SUM
    row = next(r for r in statement["tables"]["customers"]["rows"] if r["customer"] == "client-035")
    row |= {"_revenue_lineage": PARTS, "_margin_lineage": TAKEN}
    return statement


@pytest.mark.parametrize("name", ["r.json", "r.html"])
def test_a_sum_shows_its_parts_wherever_it_is_unfolded(
    name: str, statement: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    write_report(_with_parts(statement), path)
    for address, lines in (
        ("cost_usd", SUM),
        ("gross_margin", SUM),
        ("customers/client-035/revenue_usd", PARTS),
        ("customers/client-035/margin_usd", TAKEN + PARTS),
    ):
        assert main(["explain", str(path), address]) == 0
        printed = capsys.readouterr().out
        assert all(printed.count(line) == 1 for line in lines), (address, printed)
    assert main(["explain", str(path), "cost_usd", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lines"] == SUM


def test_each_cell_has_its_own_lines(statement: dict[str, Any]) -> None:
    _with_parts(statement)
    row = next(r for r in statement["tables"]["customers"]["rows"] if r["customer"] == "client-035")
    for key, lines in (("revenue_usd", PARTS), ("margin_usd", TAKEN), ("cost_usd", row["_lineage"]), ("plan", [])):
        assert find(statement, f"customers/client-035/{key}", "r").lines == lines

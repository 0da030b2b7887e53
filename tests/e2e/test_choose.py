"""`solvent choose` as a user runs it: the example, a check that fails, faults in one line, quiet JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from solvent.cli.main import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "clients-day"
DEMAND = """
[demand]
outputs_per_day = 74416
input_tok_per_output = 1353
output_tok_per_output = 1529
by_hour = [37, 32, 29, 27, 26, 26, 29, 32, 36, 43, 49, 49, 43, 42, 46, 49, 50, 48, 45, 43, 46, 50, 49, 44]
source = "about the day of the example's log"
"""
RENTED = """
[[choices]]
id = "m"
kind = "rented"
model = "x"
usd_per_hour = 2
input_tok_per_s = 20000
output_tok_per_s = 2000
date = 2026-11-01
source = "test"
"""


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["choose", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_chooses_and_says_plainly_what_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "choices.toml").write_text((EXAMPLE / "choices.toml").read_text("utf-8") + DEMAND, "utf-8")
    code, out, _ = run(capsys, "--offers", "choices.toml", "--as-of", "2026-11-01", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["schema"] == "solvent.choice/1" and document["verdict"]["state"] == "plan"
    out_of = {row["offer"]: " ".join(reason["line"] for reason in row["reasons"]) for row in document["excluded"]}
    assert "gpqa_diamond is unknown (known: gsm8k 0.0038" in out_of["smollm2-135m-this-machine"]
    assert "GiB for weights" in out_of["r1-8xh100"]
    assert "0.671 (claimed)" in out_of["gpt-oss-120b-low-effort"]
    figures = document["figures"]
    costs = [float(figures[row["usd_per_day"]]["value"]) for row in document["ranked"] if row["share"] == 1]
    assert costs == sorted(costs) and float(figures["plan.usd_per_day"]["value"]) <= costs[0]
    code, out, _ = run(capsys, "--offers", "choices.toml", "--as-of", "2026-11-01")
    assert code == 0 and out.startswith("A plan that holds: gpt-oss-120b-1xh200")
    assert "Left out:" in out and "smollm2-135m-this-machine" in out


def test_choices_may_stand_in_the_project_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "solvent.toml").write_text('[product]\nname = "p"\n' + DEMAND + RENTED, "utf-8")
    code, out, err = run(capsys, "--json")
    assert code == 0 and "using ./solvent.toml" in err
    (use,) = json.loads(out)["plan"]["uses"]
    assert use["offer"] == "m" and len(use["machines_by_hour"]) == 24


def test_a_log_is_audited_for_its_demand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("requests.csv", "solvent.toml"):
        shutil.copy(EXAMPLE.parent / "azure-code" / name, folder / name)
    (folder / "offers.toml").write_text(RENTED, "utf-8")
    code, out, _ = run(capsys, "--offers", "offers.toml", "--log", "requests.csv", "--json")
    assert code == 0
    document = json.loads(out)
    assert "requests.csv" in document["demand"]["source"]
    assert float(document["figures"]["demand.input_tok"]["value"]) > 1e6


def test_needs_that_nothing_meets_fail_a_check_and_say_by_how_much(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "offers.toml").write_text(DEMAND + "[needs]\nbudget_usd_per_day = 1\n" + RENTED, "utf-8")
    code, out, _ = run(capsys, "--offers", "offers.toml", "--check")
    assert code == 1 and out.startswith("No plan: ")
    assert "Enough alone: budget at most 1 USD/day: at most" in out
    code, out, _ = run(capsys, "--offers", "offers.toml", "--json")
    assert code == 0 and json.loads(out)["plan"] is None
    assert json.loads(out)["relax"]["alone"][0]["need"] == "budget_usd_per_day"


def test_needs_of_another_file_stand_in_place_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "offers.toml").write_text(DEMAND + RENTED, "utf-8")
    (folder / "needs.toml").write_text("[needs]\nttft_s = 1\n", "utf-8")
    code, out, _ = run(capsys, "--offers", "offers.toml", "--needs", "needs.toml", "--check")
    assert code == 1 and "time to first token is unknown" in out and "drop it" in out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (DEMAND + RENTED.replace("usd_per_hour", "usd_per_houre"), "is `usd_per_hour` meant?"),
        (RENTED, "no demand"),
        (DEMAND, "no offers"),
        (DEMAND + RENTED.replace("= 2000\n", "= inf\n", 1).replace("20000", "inf"), "Infinity"),
    ],
)
def test_a_fault_is_one_line_and_exit_2(text: str, told: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "offers.toml").write_text(text, "utf-8")
    code, out, err = run(capsys, "--offers", "offers.toml", "--json")
    assert (code, out) == (2, "") and told in err and err.count("\n") == 1, err


def test_demand_above_all_capacity_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "offers.toml").write_text(DEMAND.replace("74416", "7e9") + RENTED + "n_machines_max = 2\n", "utf-8")
    code, out, _ = run(capsys, "--offers", "offers.toml", "--check")
    assert code == 1 and "demand is above all capacity" in out


def test_a_terminal_never_obeys_a_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "offers.toml").write_text(DEMAND + RENTED.replace('"m"', '"m\\u001b[31m[bold]"'), "utf-8")
    code, out, _ = run(capsys, "--offers", "offers.toml")
    assert code == 0 and "\x1b" not in out and "[bold]" in out


def test_no_offers_at_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys)
    assert code == 2 and "--offers FILE" in err


def test_how_many_bad_ends_is_an_option_and_a_need(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speed = "output_tok_per_s = { value = 2000, low = 1500, high = 2500 }"
    choices = "".join(
        RENTED.replace('"m"', f'"{name}"').replace("output_tok_per_s = 2000", speed) + "n_machines_max = 20\n"
        for name in "ab"
    )
    (folder / "offers.toml").write_text(DEMAND.replace("74416", "2e6") + choices, "utf-8")
    costs = []
    for words in ((), ("--robust", "0"), ("--robust", "1"), ("--robust", "all")):
        code, out, _ = run(capsys, "--offers", "offers.toml", "--json", *words)
        document = json.loads(out)
        assert code == 0 and [one["n_bad_ends"] for one in document["robust"]["budgets"]] == [0, 1, None]
        costs.append(float(document["figures"]["plan.usd_per_day"]["value"]))
    assert costs[1] < costs[2] < costs[3] == costs[0]
    (folder / "needs.toml").write_text("[needs]\nn_bad_ends = 1\n", "utf-8")
    code, out, _ = run(capsys, "--offers", "offers.toml", "--needs", "needs.toml")
    assert code == 0 and "holds with any 1 choice at the bad 90% ends" in out and "of the draws" in out
    for word in ("-1", "some", "9" * 40, "١"):
        code, out, err = run(capsys, "--offers", "offers.toml", "--robust", word)
        assert (code, out) == (2, "") and err.count("\n") == 1, err

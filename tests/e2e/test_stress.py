"""`solvent stress` as a user runs it, on the day of 73 customers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import solvent
from solvent.cli.main import main

HEAD = 'schema = "solvent.scenarios/1"\n'
ENTRY = '[[scenarios]]\nname = "dearer"\ntitle = "Dearer"\ndate = 2026-03-01\nsource = "s"\nconfidence = 0.5\n'
CHANGE = '[[scenarios.changes]]\nassumption = "api_price"\ntimes = {}\n'
SIGNAL = (
    '[[signals]]\nname = "{0}"\nheadline = "{0}"\ndate = 2026-03-01\nsource = "s"\nchecked = "c"\nconfidence = {2}\n'
    '[[signals.changes]]\nassumption = "api_price"\ntimes = {1}\n'
)
OFFERS = """
[[choices]]
id = "the same"
kind = "api"
vendor = "deepseek"
region = "cn"
model = "deepseek-r1"
date = 2025-04-07
source = "rate card"
price_usd_per_mtok = { input = 0.55, cache_read = 0.14, output = 2.19 }

[[choices]]
id = "another"
kind = "api"
vendor = "elsewhere"
region = "eu"
model = "deepseek-r1"
date = 2025-04-07
source = "assumed"
price_usd_per_mtok = { input = 1.35, cache_read = 1.35, output = 5.40 }
"""


@pytest.fixture(scope="module")
def folder(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audit of the day under its own policy, and under one that compute of up to its value passes."""
    folder: Path = tmp_path_factory.mktemp("stress")
    day = repo / "examples" / "clients-day"
    shutil.copy(day / "customers.csv", folder)
    project = (day / "solvent.toml").read_text("utf-8")
    (folder / "solvent.toml").write_text(project, "utf-8")
    (folder / "lenient.toml").write_text(project.replace("per_value = 0.10", "per_value = 1.0"), "utf-8")
    for name in ("solvent", "lenient"):
        words = ["audit", str(day / "requests.parquet"), "--project", str(folder / f"{name}.toml")]
        assert main([*words, "-o", str(folder / f"{name}.json"), "-o", str(folder / f"{name}.html")]) == 0
    return folder


def stressed(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["stress", *map(str, words), "--json"]) == 0
    told = capsys.readouterr()
    document: dict[str, Any] = json.loads(told.out)
    assert document["schema"] == "solvent.stress/1"
    return document


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[str, Any]:
    """Everything about the day, as the command writes it."""
    out = folder / "whole.json"
    assert main(["stress", str(folder / "solvent.json"), "--signals", "march-2026", "-o", str(out)]) == 0
    document: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return document


def test_ten_times_the_use_kills_the_day_of_73_customers(whole: dict[str, Any]) -> None:
    base, rows = whole["base"], {row["name"]: row for row in whole["scenarios"]}
    assert (base["verdict"], round(base["margin_usd"])) == ("insolvent", -269)
    assert whole["killer"] == "use-times-ten" and "ten times as much" in whole["line"] and whole["passed"] is False
    # Revenue is by the month alone: compute grows tenfold, revenue and the rest stay.
    ten = rows["use-times-ten"]["outcome"]
    assert ten["compute_usd"] == pytest.approx(10 * base["compute_usd"]) and ten["revenue_usd"] == base["revenue_usd"]
    assert ten["margin_usd"] == pytest.approx(base["margin_usd"] - 9 * base["compute_usd"])
    # Sold per outcome, fewer seats would take nothing away.
    assert rows["seats-shrink"]["per_outcome_margin_usd"] == pytest.approx(base["margin_usd"])
    assert rows["rental-halved"]["touches"] is False and rows["vendor-barred"]["stops_share"] == 1
    assert rows["heavier-tail"]["outcome"]["n_outputs"] == pytest.approx(base["n_outputs"], rel=1e-9)


def test_electricity_is_little_and_decides_nothing(whole: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in whole["scenarios"]}
    base, dearer = whole["base"]["compute_usd"], rows["power-price"]["outcome"]["compute_usd"]
    assert dearer / base - 1 == pytest.approx(2 * whole["electricity"]["share"], rel=1e-6)
    assert 0.03 < whole["electricity"]["share"] < 0.04
    ratio = whole["sensitivity"]["of"]["log10_cost_per_value"]["indices"]
    assert ratio[0]["key"] == "usage" and ratio[0]["total_low"] > ratio[1]["total_high"]
    assert next(i for i in ratio if i["key"] == "power_price")["total"] < 0.01


def test_the_headlines_of_march_2026_flip_nothing_here_and_130_a_clip_is_not_believed(whole: dict[str, Any]) -> None:
    signals = whole["signals"]
    told = {entry["name"]: entry for entry in signals["told"]}
    assert signals["since"] == "2025-04-08" and signals["smallest"] == [] and signals["base"] == "insolvent"
    assert told["clip-costs-130"]["confidence"] == 0 and not told["clip-costs-130"]["counts"]
    assert signals["together_of"] == ["gpu-rent-up"]


def test_a_log_gives_what_its_report_gives(folder: Path, repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = repo / "examples" / "clients-day" / "requests.parquet"
    sources = (["--project", folder / "solvent.toml", log], [folder / "solvent.json"], [folder / "solvent.html"])
    found = [stressed(capsys, *words, "--only", "heavier-tail")["scenarios"] for words in sources]
    assert found[0] == found[1]
    assert found[2][0]["outcome"]["compute_usd"] == pytest.approx(found[1][0]["outcome"]["compute_usd"], rel=1e-9)


def test_offers_give_a_way_out_or_say_there_is_none(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offers = tmp_path / "offers.toml"
    offers.write_text(OFFERS, "utf-8")
    words = [folder / "solvent.json", "--only", "vendor-barred", "--offers", offers]
    [row] = stressed(capsys, *words)["scenarios"]
    plan = row["replan"]
    assert plan["feasible"] and plan["uses"] == [{"offer": "another", "cost_share": 1}] and plan["lost"] == "deepseek"
    assert plan["margin_usd"] < 0 < plan["migration_usd"]["value"] and plan["payback_months"] is None
    offers.write_text("[needs]\nbudget_usd_per_day = 400\n" + OFFERS, "utf-8")
    [row] = stressed(capsys, *words)["scenarios"]
    assert not row["replan"]["feasible"] and any("budget" in line for line in row["replan"]["lines"])
    assert main(["stress", *map(str, words)]) == 0
    assert "no plan" in capsys.readouterr().out


@pytest.mark.parametrize(("times", "code"), [(1.01, 0), (1.1, 1)])
def test_check_fails_where_a_scenario_breaks_the_policy(
    times: float, code: int, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scenarios.toml"
    path.write_text(HEAD + ENTRY + CHANGE.format(times), "utf-8")
    assert main(["stress", str(folder / "lenient.json"), "--scenarios", str(path), "--check"]) == code


def test_a_headline_flips_the_verdict_and_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "signals.toml"
    entries = [SIGNAL.format("small", 1.015, 0.9), SIGNAL.format("other", 1.015, 0.9), SIGNAL.format("wild", 100, 0.1)]
    path.write_text('schema = "solvent.signals/1"\n' + "".join(entries), "utf-8")
    words = ["stress", str(folder / "lenient.json"), "--only", "api-price-doubled", "--signals", str(path)]
    assert main(words) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "small and other together do it: thin becomes insolvent" in out
    assert main([*words, "--since", "2026-03-02"]) == 0
    assert "0 of 3 headlines count" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "vendor-bared"], "is 'vendor-barred' meant?"),
        (["--since", "tomorrow"], "a day such as"),
        (["--scenarios", "nowhere.toml"], "can't be read"),
        (["--signals", "nowhere.toml"], "can't be read"),
        (["--offers", "nowhere.toml"], "can't be read"),
        (["-o", "nowhere/deep/x.json"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["stress", str(folder / "solvent.json"), *words]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and said in told.err


def test_texts_of_files_are_shown_and_not_obeyed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = r"\u001b[31m[bold]x[/bold]\u202e\u0007\n</script><img src=x>"
    scenarios, signals = tmp_path / "a.toml", tmp_path / "b.toml"
    entry = ENTRY.replace('"Dearer"', f'"{evil}"').replace('"s"', f'"{evil}"')
    scenarios.write_text(
        HEAD + entry + CHANGE.format(2) + f'vendor = "{evil.replace("[", "(").replace("]", ")")}"\n', "utf-8"
    )
    signals.write_text('schema = "solvent.signals/1"\n' + SIGNAL.format("x", 2, 1).replace('"s"', f'"{evil}"').replace(
        'headline = "x"', f'headline = "{evil}"').replace('"c"', f'"{evil}"'), "utf-8")  # fmt: skip
    words = ["stress", str(folder / "solvent.json"), "--scenarios", str(scenarios), "--signals", str(signals)]
    for more in ([], ["--json"]):
        capsys.readouterr()
        assert main([*words, *more]) == 0
        told = capsys.readouterr()
        assert not set(told.out + told.err) & {"\x1b", "\u202e", "\x07"}
    page = section_of(folder, json.loads(told.out))
    assert "<img" not in page and "</script" not in page and "&lt;img" in page


def section_of(folder: Path, document: dict[str, Any]) -> str:
    """The section of the HTML report."""
    from solvent.report.attach import attach
    from solvent.report.html_parts import Page
    from solvent.report.read import read_report
    from solvent.report.stress_html import stress_section

    statement = attach(read_report(folder / "solvent.json"), document)
    view = Page(statement, {name: i for i, name in enumerate(statement["figures"])}, {})
    return str(stress_section(view))


def test_the_page_shows_every_scenario_and_its_margins_are_links(folder: Path, whole: dict[str, Any]) -> None:
    page = section_of(folder, whole)
    for row in whole["scenarios"]:
        assert row["title"].replace("'", "&#x27;") in page
        assert not row["touches"] or f'data-figure="{row["figure"]}"' in page
    assert page.count("<svg") == 2 and 'class="chart wide"' in page and 'class="chart narrow"' in page
    assert "use per customer: −$141,348 at ×20 to −$269 at ×1" in page
    assert "style=" not in page and "<script" not in page


def test_a_margin_leads_back_to_the_statement_and_the_assumption(whole: dict[str, Any]) -> None:
    figures = whole["figures"]
    margin = figures["stress_api_price_doubled_margin_usd"]
    assert margin["inputs"] == ["stress_base_margin_usd", "stress_api_price_doubled_api_price_deepseek"]
    assert figures[margin["inputs"][1]]["source"].startswith("rate cards") and margin["method"] == "assumed"
    assert "cost_usd" in figures["stress_base_margin_usd"]["inputs"]
    assert all(name in figures for figure in figures.values() for name in figure.get("inputs", []))


def test_every_field_of_the_result_is_documented(repo: Path, whole: dict[str, Any]) -> None:
    page = (repo / "docs" / "reference" / "scenarios.md").read_text("utf-8")
    keys = {*whole, *whole["base"], *whole["scenarios"][0], *whole["together"][0], *whole["turning_points"][0]}
    keys |= {*whole["tornado"][0], *whole["sensitivity"], *whole["signals"], *whole["signals"]["told"][0]}
    keys |= {*whole["sensitivity"]["of"], *next(iter(whole["sensitivity"]["of"].values()))["indices"][0]}
    assert not {key for key in keys if not re.search(rf"\b{key}\b", page)}


def test_the_terminal_is_plain_and_the_verdict_comes_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["stress", str(folder / "solvent.json")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Insolvent") and "\x1b" not in out
    heads = ["Alone, a month", "Together", "How far each may go", "decides compute per dollar", "Electricity is 3.4%"]
    places = [out.index(head) for head in heads]
    assert places == sorted(places)


def test_the_command_runs_as_a_program(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(solvent.__file__).parents[1])}
    command = [sys.executable, "-m", "solvent", "stress", str(folder / "solvent.json"), "--only", "use-times-ten"]
    done = subprocess.run([*command, "--check"], capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (1, "") and "−$67,096" in done.stdout


def test_check_says_what_it_could_not_judge_and_how_old_things_are(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scenarios.toml"
    barred = ENTRY.replace('"dearer"', '"barred"') + 'bars = ["largest"]\nnotice_days = 5\n'
    barred += "[scenarios.migration]\nperson_days = 20\nlow = 4\nhigh = 60\nusd_per_person_day = 800\npeople = 2\n"
    path.write_text(HEAD + ENTRY + CHANGE.format(1.001) + barred, "utf-8")
    words = ["stress", str(folder / "lenient.json"), "--scenarios", str(path), "--as-of", "2026-08-29", "--check"]
    capsys.readouterr()
    assert main(words) == 1
    told = capsys.readouterr()
    out = " ".join(told.out.split())
    assert told.err == "solvent: not judged without --offers: barred; or leave them out with --only\n"
    assert "moving takes 2 people 10 days (2 to 30), notice is 5 days: 5 days without service (0 to 25)" in out
    # 1 March 2026 is 181 days before.
    assert "Older than 180 days on 2026-08-29" in out and "stale: dated 2026-03-01" in out
    assert main([*words, "--only", "dearer", "--stale-after", "181"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "stale: dated" not in out and "Older than 181 days on 2026-08-29 (1): audit (2025-04-08)" in out


def test_headlines_are_told_with_what_they_make_of_the_plan(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offers = tmp_path / "offers.toml"
    offers.write_text(OFFERS, "utf-8")
    path = tmp_path / "signals.toml"
    path.write_text('schema = "solvent.signals/1"\n' + SIGNAL.format("dearer", 2, 0.9), "utf-8")
    words = [folder / "solvent.json", "--only", "api-price-doubled", "--offers", offers, "--signals", path]
    document = stressed(capsys, *words)
    [told], plan = document["signals"]["told"], document["plan"]
    # Every offer here is an API's, so that both double.
    assert told["replan"]["compute_usd"] == pytest.approx(2 * plan["compute_usd"], rel=1e-6)
    assert document["signals"]["plan_margin_usd"] == plan["margin_usd"] and told["flips_plan"] is False
    for row in document["scenarios"]:
        for what, name in row["replan"]["figures"].items():
            assert float(document["figures"][name]["value"]) == pytest.approx(row["replan"][what], rel=1e-6)
    page = section_of(folder, document)
    assert "takes the margin of the cheapest plan from" in page and 'data-figure="stress_as_things_are_plan_m' in page

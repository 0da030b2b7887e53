"""Scenario and signal files: what ships, what is refused, and what scenarios do alone and together."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from stress_statements import statement

from solvent.choose.stress.assumptions import ASSUMPTIONS, both, combined, key_of, scope_of
from solvent.choose.stress.outcome import Model
from solvent.choose.stress.product import from_statement
from solvent.choose.stress.run import alone, apply, at_home, corners, killer, swings, together, turning_points
from solvent.choose.stress.scenario_file import (
    Scenario,
    ScenarioFile,
    library,
    load_scenarios,
    load_signals,
    shipped_signals,
)
from solvent.errors import ChoiceError

HEAD = 'schema = "solvent.scenarios/1"\n'
ENTRY = '[[scenarios]]\nname = "a"\ntitle = "A"\ndate = 2026-03-01\nsource = "s"\nconfidence = 0.5\n'
CHANGE = '[[scenarios.changes]]\nassumption = "api_price"\ntimes = 2\n'

MIGRATION = "[scenarios.migration]\nperson_days = 1\nlow = 2\nhigh = 3\nusd_per_person_day = 1\n"


def load(text: str, tmp_path: Path) -> ScenarioFile:
    path = tmp_path / "scenarios.toml"
    path.write_text(text, "utf-8")
    return load_scenarios(path)


def model(**changes: object) -> Model:
    return Model(from_statement(statement(**changes), library().power))  # type: ignore[arg-type]


def test_what_ships_covers_what_may_happen_and_says_where_it_comes_from() -> None:
    file = library()
    moved = {change.assumption for scenario in file.scenarios for change in scenario.changes}
    assert moved == set(ASSUMPTIONS) - {"machine_output", "log"}
    assert any(s.bars for s in file.scenarios) and any(s.loses_regions for s in file.scenarios)
    assert any(s.freezes_capacity for s in file.scenarios) and any(s.power_cap_share for s in file.scenarios)
    assert file.named("vendor-barred").notice_days == 5 and file.named("vendor-barred").migration
    for scenario in file.scenarios:
        assert len(scenario.source) >= 7 and scenario.date.year >= 2023
        assert all(change.ends[0] < change.ends[1] for change in scenario.changes), scenario.name
    assert file.power is not None and 0.03 < file.power.share < 0.04


def test_the_headlines_that_ship_say_how_they_were_checked() -> None:
    file = shipped_signals()
    told = {signal.name: signal for signal in file.signals}
    assert told["clip-costs-130"].confidence == 0 and "wrong by 100 times" in told["clip-costs-130"].checked
    assert all(signal.checked and signal.source for signal in file.signals)
    assert all(signal.date.isoformat() <= "2026-03-31" for signal in file.signals)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "scenarios"),
        (HEAD + ENTRY, "changes nothing"),
        (HEAD + ENTRY + CHANGE.replace("api_price", "api_prise"), "is 'api_price' meant?"),
        (HEAD + ENTRY.replace("confidence", "confidense") + CHANGE, "is `confidence` meant?"),
        (HEAD + ENTRY.replace("0.5", "1.5") + CHANGE, "confidence"),
        (HEAD + ENTRY.replace("2026-03-01", '"soon"') + CHANGE, "date"),
        (HEAD + ENTRY.replace('"s"', '""') + CHANGE, "source"),
        (HEAD + ENTRY + CHANGE.replace("times", "plus"), "moved by `times`"),
        (HEAD + ENTRY + CHANGE + "plus = 1\n", "moved by `times`"),
        (HEAD + ENTRY + CHANGE.replace("2", "-2"), "times"),
        (HEAD + ENTRY + CHANGE.replace("2", "nan"), "times"),
        (HEAD + ENTRY + CHANGE.replace("2", "1e999999999"), "times"),
        (HEAD + ENTRY + CHANGE + "low = 3\nhigh = 4\n", "low ≤ times ≤ high"),
        (HEAD + ENTRY + CHANGE + "low = 1\n", "go together"),
        (HEAD + ENTRY + CHANGE + 'modality = "smell"\n', "modality"),
        (HEAD + ENTRY + CHANGE.replace("api_price", "usage") + 'vendor = "x"\n', "no vendor"),
        (HEAD + ENTRY + CHANGE + 'vendor = "a,b]"\n', "no brackets"),
        (HEAD + (ENTRY + CHANGE) * 2, "two entries are named 'a'"),
        (HEAD + (ENTRY + CHANGE) + '[[together]]\nname = "t"\ntitle = "t"\nof = ["a", "aa"]\n', "no scenario 'aa'"),
        (HEAD + ENTRY + CHANGE + MIGRATION, "low ≤ person_days"),
        (HEAD + (ENTRY + CHANGE) * 101, "scenarios"),
        ("x" * 300_000, "more than"),
        ("[[[", "not TOML"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_says_where_and_how(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ChoiceError) as raised:
        load(text, tmp_path)
    line = str(raised.value)
    assert said in line and "scenarios.toml" in line and "\n" not in line and len(line) < 3_000


def test_a_scenario_file_is_no_signal_file(tmp_path: Path) -> None:
    path = tmp_path / "scenarios.toml"
    path.write_text(HEAD + ENTRY + CHANGE, "utf-8")
    assert load(path.read_text("utf-8"), tmp_path).scenarios[0].changes[0].ends == (2, 2)
    with pytest.raises(ChoiceError, match="signals"):
        load_signals(path)


def test_keys_say_what_they_are_narrowed_to() -> None:
    assert key_of("api_price", "openai", "video") == "api_price[openai, video]"
    assert scope_of("api_price[openai, video]") == ("openai", "video") and scope_of("api_price") == ()


def test_moves_multiply_add_or_take_the_lowest() -> None:
    moves = [
        ("api_price", 2.0),
        ("tail", 0.2),
        ("parity_price", 0.5),
        ("api_price", 1.5),
        ("tail", 0.1),
        ("parity_price", 0.3),
    ]
    assert combined(moves) == pytest.approx({"api_price": 3.0, "tail": 0.3, "parity_price": 0.3})
    assert both({"usage": 2.0}, {"usage": 3.0}) == {"usage": 6.0}


def test_scenarios_alone_and_together() -> None:
    m = model()
    file = at_home(library(), m)
    doubled = alone(m, file.named("api-price-doubled"))
    assert doubled.outcome.margin_usd == pytest.approx(30 - 130)
    # ×1.3 and ×3 at the ends of its interval.
    assert (doubled.margin_low_usd, doubled.margin_high_usd) == pytest.approx((30 - 260, 30 - 39))
    assert not alone(m, file.named("rental-halved")).touches
    found = {r.name: r for r in together(m, file, file.scenarios)}
    squeeze = found["squeeze"]
    assert squeeze.values == pytest.approx({"api_price[openai]": 2.0, "tail": 0.3, "seats": 0.5})
    assert squeeze.outcome.margin_usd == m.at(squeeze.values).margin_usd
    pairs = [r.outcome.margin_usd for r in found.values() if "+" in r.name]
    assert pairs == sorted(pairs) and len(pairs) > 10
    adverse = found["all-adverse"]
    assert "open-model-parity" in found["all"].of and "open-model-parity" not in adverse.of
    assert adverse.outcome.margin_usd == min(r.outcome.margin_usd for r in found.values() if r.outcome.margin_usd)
    assert adverse.values == combined(
        (c.key, c.value) for name in adverse.of for c in file.named(name).changes if m.moves(c.key) is None
    )


def test_the_killer_is_the_one_that_takes_the_margin_lowest() -> None:
    m = model()
    file = at_home(library(), m)
    results = [alone(m, s) for s in file.scenarios]
    worst = killer(m.at({}), results)
    assert worst is not None and worst.name == "use-times-ten"
    lowest = min(r.outcome.margin_usd for r in results if r.outcome.margin_usd is not None)
    assert worst.outcome.margin_usd == lowest < 0
    good = [alone(m, file.named("open-model-parity"))]
    assert killer(m.at({}), good) is None


def test_turning_points_are_where_the_margin_and_the_policy_turn() -> None:
    m = model(limit=0.9)
    points = {p.key: p for p in turning_points(m, ["api_price", "seats", "tail", "customers", "parity_price"])}
    # 160 left for compute of 130; the policy allows 153.
    assert points["api_price"].margin_at == pytest.approx(160 / 130, rel=1e-9)
    assert points["api_price"].policy_at == pytest.approx(153 / 130, rel=1e-9)
    assert points["customers"].margin_at is None and points["customers"].policy_at is None
    assert points["parity_price"].margin_at is None
    seats = points["seats"].margin_at
    assert seats is not None and m.at({"seats": seats}).margin_usd == pytest.approx(0, abs=1e-6)
    assert m.at({"seats": seats * 0.99}).margin_usd < 0  # type: ignore[operator]


def test_the_tornado_is_ordered_by_width_and_its_ends_are_margins() -> None:
    m = model()
    file = at_home(library(), m)
    found = swings(m, file.scenarios)
    assert [s.width_usd for s in found] == sorted((s.width_usd for s in found), reverse=True)
    usage = next(s for s in found if s.key == "usage")
    # Two scenarios move use: ×1 to ×3 and ×2 to ×20.
    assert (usage.low, usage.high) == (1, 20)
    assert usage.margin_at_high_usd == m.at({"usage": 20.0}).margin_usd


def test_corners_move_one_assumption_by_all_its_changes_at_once() -> None:
    scenario = Scenario.model_validate({
        "name": "two", "title": "t", "date": library().scenarios[0].date, "source": "s", "confidence": 1,
        "changes": [{"assumption": "api_price", "times": 2, "low": 1, "high": 3}] * 2,
    })  # fmt: skip
    m = model()
    assert sorted(c.compute_usd for c in corners(m, scenario.changes)) == pytest.approx([130, 130 * 9])  # type: ignore[type-var]
    assert apply(scenario, {"api_price": 0.5}) == {"api_price": 2.0}


def test_electricity_is_little_of_a_machine_and_the_result_shows_it() -> None:
    m = model(provider="rented", reserved=True)
    dearer = alone(m, library().named("power-price")).outcome
    assert dearer.compute_usd is not None
    # Tripled, where it is 3.4%: compute rises by 6.8%. From $0.03 to $0.10 a kWh: by 2.4%.
    assert dearer.compute_usd / 130 == pytest.approx(1 + 2 * 0.034)
    cheap = m.at({"power_price": 0.3}).compute_usd
    assert cheap is not None and 130 / cheap - 1 == pytest.approx(0.024, abs=1e-3)


def test_every_assumption_and_key_is_documented(repo: Path) -> None:
    page = (repo / "docs/reference/scenarios.md").read_text("utf-8")
    keys = {name for kind in (ScenarioFile, Scenario) for name in kind.model_fields} - {"schema_"}
    missing = [name for name in (*ASSUMPTIONS, *keys) if not re.search(rf"`{name}`", page)]
    assert not missing and math.isfinite(len(page))


@pytest.mark.parametrize("planted", ["times = true", 'times = "2"', "times = 2\nlow = true\nhigh = 3"])
def test_a_truth_or_a_text_is_no_number(planted: str, tmp_path: Path) -> None:
    with pytest.raises(ChoiceError, match=r"times|low"):
        load(HEAD + ENTRY + CHANGE.replace("times = 2", planted), tmp_path)
    assert load(HEAD + ENTRY + CHANGE, tmp_path).scenarios[0].changes[0].value == 2

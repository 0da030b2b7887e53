"""A newcomer's own log and product through the whole loop, and what a slip in any file of theirs says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from solvent.choose.mix.relax import dollars
from solvent.cli.main import main

LOG = """time,user,model,input_tokens,output_tokens
2026-10-01T09:00:00Z,anna,gpt-5-mini,1200,300
2026-10-02T09:00:00Z,bert,gpt-5-mini,52000,9000
2026-10-03T09:00:00Z,anna,gpt-5,2200,700
2026-10-20T09:00:00Z,cleo,gpt-5-mini,800,100
"""
FILES = {
    "log.csv": LOG,
    "empty.csv": "",
    "header.csv": LOG.splitlines()[0] + "\n",
    "broken.json": "{",
    "solvent.toml": 'schema = "solvent.project/1"\n[product]\nname = "Pocket lawyer"\noutput = "letter"\n'
    '[revenue]\ndefault_plan = "basic"\n[revenue.plans.basic]\nusd_per_month = 0.5\n',
    "offers.toml": 'schema = "solvent.offers/1"\n[needs]\nttft_s = 2.0\n[[choices]]\nid = "mini"\nkind = "api"\n'
    'vendor = "openai"\nmodel = "gpt-5-mini"\ndate = 2026-11-01\nsource = "rate card"\nttft_s = 1.0\n',
    "steps.toml": 'schema = "solvent.steps/1"\n[[steps]]\nid = "short"\nkind = "reasoning"\ntitle = "Shorter letters"\n'
    'cost = { output = [0.7, 0.6, 0.9] }\nsource = "a guess"\nquality = [0.99, 0.95, 1.0]\nweeks = 1\n',
}


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newcomer's files, and the report of their audit."""
    folder: Path = tmp_path_factory.mktemp("newcomer")
    for name, text in FILES.items():
        (folder / name).write_text(text, "utf-8")
    words = ["audit", str(folder / "log.csv"), "--project", str(folder / "solvent.toml")]
    assert main([*words, "-o", str(folder / "report.json")]) == 0
    return folder


@pytest.fixture
def here(audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A copy of them to work in."""
    shutil.copytree(audited, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    return tmp_path


def test_the_loop_ends_in_one_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["choose", "--statement", "report.json", "--offers", "offers.toml", "--steps", "steps.toml"]
    assert main([*chosen, "--report", "report.html"]) == 0
    said = capsys.readouterr().out
    # A cheap day is no free one.
    assert "mini: 0.0018 USD/day" in said and "0.00 USD/day" not in said
    assert main(["stress", "report.html", "--report", "report.html"]) == 0
    assert main(["choose", "--statement", "report.html", "--offers", "offers.toml", "--report", "again.json"]) == 0
    again = json.loads((here / "again.json").read_text("utf-8"))
    assert {"choice", "places", "stress", "path"} <= set(again)
    # The second choice took no steps, so none of theirs is left.
    assert not [name for name in again["figures"] if name.startswith("path_short")]


@pytest.mark.parametrize(("usd", "said"), [(0.0, "0.00"), (0.0018, "0.0018"), (1.0, "1.00"), (12345.678, "12,345.68")])
def test_dollars_below_one_keep_their_digits(usd: float, said: str) -> None:
    assert dollars(usd) == said


@pytest.mark.parametrize(
    ("file", "wrong", "words", "told"),
    [
        ("solvent.toml", ("default_plan", "defalt_plan"), "audit log.csv", "is `default_plan` meant?"),
        ("offers.toml", ("ttft_s = 2", "tftt_s = 2"), "choose --statement report.json --offers offers.toml",
         "is `ttft_s` meant?"),
        ("offers.toml", ("vendor", "vendr"), "choose --statement report.json --offers offers.toml",
         "is `vendor` meant?"),
        ("steps.toml", ("quality", "qualty"),
         "choose --statement report.json --offers offers.toml --steps steps.toml", "is `quality` meant?"),
        ("", (), "audit empty.csv", "empty.csv: empty"),
        ("", (), "audit header.csv", "no request in it"),
        ("", (), "audit nothing.csv", "nothing.csv"),
        ("", (), "choose --statement nothing.json --offers offers.toml", "nothing.json: can't be read"),
        ("", (), "choose --statement report.json --offers nothing.toml", "nothing.toml: can't be read"),
        ("", (), "choose --statement report.json --offers steps.toml", "solvent.offers/1"),
        ("", (), "choose --statement report.json --offers offers.toml --steps nothing.toml", "can't be read"),
        ("", (), "choose --statement report.json --offers offers.toml --measured broken.json", "not JSON"),
        ("", (), "choose --statement report.json --offers offers.toml --measured report.json", "solvent.measurement/1"),
        ("", (), "choose --log empty.csv --offers offers.toml", "empty.csv: empty"),
        ("", (), "stress broken.json", "not JSON"),
        ("", (), "stress report.json --scenarios steps.toml", "solvent.scenarios/1"),
        ("", (), "stress report.json --signals nothing.toml", "nothing.toml: can't be read"),
        ("", (), "stress report.json --report no/folder/r.html", "mkdir -p no/folder"),
        ("", (), "stress report.json --report report.pdf", "unknown suffix '.pdf'"),
        ("", (), "measure nothing.gguf", "nothing.gguf"),
        ("", (), "demo --out log.csv", "log.csv"),
    ],
)  # fmt: skip
def test_a_slip_is_one_line_that_names_it(
    here: Path, capsys: pytest.CaptureFixture[str], file: str, wrong: tuple[str, str], words: str, told: str
) -> None:
    if file:
        (here / file).write_text(FILES[file].replace(*wrong), "utf-8")
    assert main(words.split()) == 2
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line != "solvent: using ./solvent.toml"]
    assert printed.out == "" and len(lines) == 1 and told in lines[0], printed.err

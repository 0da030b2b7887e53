"""`solvent claims` as a user runs it: the four examples and their verdicts, JSON, exit codes, hostile files."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import solvent
from solvent.cli.main import main

EXAMPLES = ("video-product", "cache-codec", "ternary-13b", "sparse-5-percent")


@pytest.fixture
def examples(repo: Path) -> Path:
    return repo / "examples" / "claims"


def as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["claims", str(path), "--json"]) == 0
    told = capsys.readouterr()
    assert told.err == "" and told.out.count("\n") == 1
    document = json.loads(told.out)
    assert document["schema"] == "solvent.claims-result/1"
    return dict(document)


def relations_only(path: Path, wanted: tuple[str, ...], to: Path) -> Path:
    """The file with the relations whose text contains one of `wanted`."""
    head, *relations = path.read_text("utf-8").split("[[relations]]")
    to.write_text("[[relations]]".join([head, *(r for r in relations if any(w in r for w in wanted))]), "utf-8")
    return to


def test_the_video_product_names_130_dollars(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(examples / "video-product.toml", capsys)
    assert found["consistent"] is False and found["named"] == ["usd_per_clip"]
    [correction] = found["corrections"]
    [change] = correction["claims"]
    assert float(change["implied_low"]) < 1.30 < float(change["implied_high"]) < 1.5
    assert change["slip_value"] == "1.3" and 1.9 < correction["size_log10"] < 2.1
    assert [r["status"] for r in found["relations"]] == ["holds", "broken", "holds", "broken", "broken"]
    for part in ("$130/clip", "no primary source", "would have to be $1.28/clip to $1.38/clip", "$1.30/clip, it fits"):
        assert part in found["verdict"]


def test_at_1_30_dollars_the_video_product_is_consistent(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (examples / "video-product.toml").read_text("utf-8")
    fixed = tmp_path / "fixed.toml"
    fixed.write_text(text.replace("value = 130\n", 'value = "1.30"\n', 1), "utf-8")
    found = as_json(fixed, capsys)
    assert found["state"] == "consistent" and found["corrections"] == []


def test_the_odd_one_out_needs_no_price_bound_but_needs_more_than_one_relation(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, to = examples / "video-product.toml", tmp_path / "part.toml"
    volumes = ("users * ", "clips_per_day * usd_per_clip", "cost_to_revenue")
    assert as_json(relations_only(path, volumes, to), capsys)["named"] == ["usd_per_clip"]
    alone = as_json(relations_only(path, ("clips_per_day * usd_per_clip",), to), capsys)
    assert alone["named"] is None and "don't say which is wrong" in alone["verdict"]
    candidates = [change["claim"] for c in alone["corrections"] for change in c["claims"]]
    assert sorted(candidates) == ["clips_per_day", "usd_per_clip", "usd_per_day"]
    sizes = [c["size_log10"] for c in alone["corrections"]]
    assert sizes == sorted(sizes)


def test_the_ratio_of_cost_to_revenue_fits(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relation = as_json(examples / "video-product.toml", capsys)["relations"][2]
    assert abs(float(relation["left"]["value"]) - 15e6 * 182.625 / 2.1e6) < 1e-6


def test_the_codec_keeps_all_its_promises_in_one_reading_of_24(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(examples / "cache-codec.toml", capsys)
    holding = [r["choice"] for r in found["readings"]["list"] if r["state"] == "holds"]
    assert found["state"] == "depends" and found["readings"]["n"] == 24 and len(holding) == 1
    assert holding[0]["baseline_bits"].startswith("32-bit keys") and holding[0]["codec_bits"] == "paper, 3.5 bits"
    # Against a 16-bit cache only 2.5 bits are a sixth, and those lose points.
    for reading in found["readings"]["list"]:
        if reading["choice"]["baseline_bits"].startswith("16-bit"):
            less_memory = "baseline_bits / codec_bits >= times_less_memory" not in reading["broken"]
            assert less_memory == ("2.5 bits" in reading["choice"]["codec_bits"])
            assert not less_memory or "points_lost <= points_lost_at_most" in reading["broken"]


def test_the_ternary_weights_are_29_percent_smaller_in_no_format(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(examples / "ternary-13b.toml", capsys)
    holding = [r["choice"] for r in found["readings"]["list"] if r["state"] == "holds"]
    tuning = "memory while fine-tuning, as published"
    assert holding == [{"what_is_compared": tuning, "ternary_tuning": "TQ1_0 column"}]
    told = {(v["claim"], v["reads"]): v for v in found["readings"]["by_variant"]}
    weights = told["what_is_compared", "the weights"]
    assert (weights["n"], weights["n_holding"]) == (60, 0)
    # The same by plain arithmetic: 13B and 4B shapes, every pair of formats.
    linear, embedding = 40 * (4 * 5120**2 + 3 * 5120 * 13824), 32000 * 5120
    rival = 36 * (2 * 2560 * 4096 + 2 * 2560 * 1024 + 3 * 2560 * 9728)
    shares = [
        1 - (linear * t + embedding * e) / (rival * r + 151936 * 2560 * h)
        for t, e, r, h in itertools.product((1.584, 2.0625), (6.5625, 16), (4, 4.5, 5), (6.5625, 16))
    ]
    assert float(weights["headline"]["low"]) == pytest.approx(min(shares), abs=1e-12)
    assert float(weights["headline"]["high"]) == pytest.approx(max(shares), abs=1e-12)
    training = told["ternary_tuning", "TQ2_0 column (the format that trains)"]["headline"]
    assert float(training["high"]) == pytest.approx(1 - 6835 / 3942)


def test_five_percent_of_neurons_is_20_times_only_if_selection_is_free(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(examples / "sparse-5-percent.toml", capsys)
    told = {v["reads"]: v["headline"] for v in found["readings"]["by_variant"]}
    holding = [r["choice"] for r in found["readings"]["list"] if r["state"] == "holds"]
    selection = "5% of everything, selection included"
    assert holding == [{"share_of_selection": selection, "how_counted": "bytes read"}]
    for reads, touched in (("rotary positions", 1.28), ("decay instead of rotation", 1.18)):
        span = told[f"exact selection, {reads}"]
        assert float(span["low"]) == pytest.approx(5 / touched) == pytest.approx(float(span["high"]))
    assert float(told["exact selection, densities of reproductions"]["high"]) == pytest.approx(5 / 1.97)
    assert 5 < float(told["by the clock"]["low"]) < 7.1 / 1.38 < float(told["by the clock"]["high"]) < 5.3


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_prints_plain_text_with_the_verdict_first(
    name: str, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = as_json(examples / f"{name}.toml", capsys)["verdict"]
    assert main(["claims", str(examples / f"{name}.toml")]) == 0
    told = capsys.readouterr()
    assert "\x1b" not in told.out and told.err == ""
    assert told.out.index(verdict) < told.out.index("\nRelations\n") < told.out.index("\nClaims\n")


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_claim_of_the_examples_is_checked_and_sourced(
    name: str, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for claim_id, claim in as_json(examples / f"{name}.toml", capsys)["claims"].items():
        assert claim["checked"] or not any("value" in v for v in claim["variants"]), claim_id
        sourced = claim["source"] or all(v["source"] for v in claim.get("variants", [{"source": ""}]))
        assert sourced or claim["kind"] in ("definition", "assumed"), claim_id


@pytest.mark.parametrize(("name", "code"), [("video-product", 1), ("ternary-13b", 0)])
def test_check_fails_only_where_no_reading_holds(name: str, code: int, examples: Path) -> None:
    assert main(["claims", str(examples / f"{name}.toml"), "--check"]) == code


HEAD = 'schema = "solvent.claims/1"\n'
UNITS = (
    HEAD + '[claims.day]\nvalue = 30\nunit = "clips/day"\nsource = "s"\n'
    '[claims.month]\nvalue = 30\nunit = "clips/month"\nsource = "s"\n[[relations]]\nsays = "day = month"\n'
)


def test_a_day_taken_for_a_month_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "units.toml"
    path.write_text(UNITS, "utf-8")
    assert main(["claims", str(path), "--check"]) == 1
    assert "clip/day on the left, clip/month on the right" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + "claims = 3\n", "`claims` is 3"),
        (HEAD + '[claims.a]\nvalue = 1\nsource = "s"\n[[relations]]\nsays = "a = __import__(1)"\n', "column 15"),
        (HEAD + '[claims.a]\nvalue = 1\nsource = "s"\n[[relations]]\nsays = "' + "(" * 500 + 'a = 1"\n', "levels"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, "utf-8")
    assert main(["claims", str(path)]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and expected in told.err and "bad.toml" in told.err


def test_texts_of_the_file_are_shown_and_not_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hostile.toml"
    evil = r"\u001b[31m[bold]x[/bold]\u202e\u0007\n"
    path.write_text(
        HEAD + f'title = "{evil}"\nquestion = "{evil}"\nnote = "{evil}"\n[claims.a]\nvalue = 1\nsource = "{evil}"\n'
        f'label = "{evil}"\nquote = "{evil}"\n[[relations]]\nsays = "a = 2"\nwhy = "{evil}"\n',
        "utf-8",
    )
    for words in ([], ["--json"]):
        assert main(["claims", str(path), *words]) == 0
        out = capsys.readouterr().out
        assert not set(out) & {"\x1b", "\u202e", "\x07"}
    assert main(["claims", str(path)]) == 0
    assert "\\x1b[31m[bold]x[/bold]\\u202e" in "".join(capsys.readouterr().out.split())


def test_the_command_runs_as_a_program(examples: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(solvent.__file__).parents[1])}
    command = [sys.executable, "-m", "solvent", "claims", str(examples / "video-product.toml"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (1, "") and done.stdout.startswith("Not all of it can be true")


@pytest.mark.parametrize(
    ("page", "states"),
    [("reference/claims-format.md", ["inconsistent", "depends"]), ("how-to/check-a-headline.md", ["inconsistent"])],
)
def test_the_files_in_the_docs_are_claims_files(
    page: str, states: list[str], repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (repo / "docs" / page).read_text("utf-8"), re.DOTALL)
    path = tmp_path / "block.toml"
    found = []
    for block in blocks:
        path.write_text(block, "utf-8")
        found.append(as_json(path, capsys)["state"])
    assert found == states


def test_the_verdict_in_the_docs_is_the_verdict(repo: Path, examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (repo / "docs/how-to/check-a-headline.md").read_text("utf-8")
    assert f"\n> {as_json(examples / 'video-product.toml', capsys)['verdict']}\n" in page


def test_every_field_of_the_result_is_documented(
    repo: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (repo / "docs/reference/claims-format.md").read_text("utf-8")
    for name in EXAMPLES:
        found = as_json(examples / f"{name}.toml", capsys)
        keys = {*found, *found["readings"], *found["readings"]["list"][0]}
        keys |= {key for part in ("relations", "corrections") for row in found[part] for key in row}
        keys |= {key for c in found["corrections"] for change in c["claims"] for key in change}
        keys |= {key for claim in found["claims"].values() for key in claim}
        assert not {key for key in keys if not re.search(rf"\b{key}\b", page)}

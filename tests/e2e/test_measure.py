"""`solvent measure` as a user runs it: models, servers good and bad, kills, comparisons. No timings."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import engine_models
import pytest
from measure_server import Server

import solvent
from solvent.cli.main import main
from solvent.machine import native

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(solvent.__file__).parents[1])}
needs_kernels = pytest.mark.skipif(not native.available(), reason="the native kernels aren't built")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["measure", *map(str, words)])
    told = capsys.readouterr()
    return code, told.out, told.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0 and out.count("\n") == 1
    return dict(json.loads(out))


@pytest.fixture(scope="module")
def server() -> Server:
    with Server() as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return str(engine_models.write(engine_models.tiny("llama", "q4_1"), path))


SMALL = ("--input-tok", "12", "--output-tok", "6", "--requests", "10")


@needs_kernels
def test_a_model_file(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = as_json(capsys, model, *SMALL, "--concurrency", "3", "--threads", "1", "--usd-per-hour", "0.36")
    assert document["schema"] == "solvent.measurement/1" and document["totals"]["answers"] == 10
    assert document["totals"]["output_tok"] == 60 and document["totals"]["prompt_tok"] == 120
    assert document["target"]["kind"] == "engine" and document["target"]["weight_format"] == "q4_1"
    assert document["target"]["threads"] == 1 and document["machine"]["n_cores"] >= 1
    figures = document["figures"]
    for name in ("output_token_throughput", "cost_per_output_usd", "peak_memory_bytes", "time_to_first_token.p50"):
        assert float(figures[name]["value"]) > 0
    rate, cost = (float(figures[name]["value"]) for name in ("output_token_throughput", "usd_per_mtok_output"))
    assert cost == pytest.approx(0.36 / 3600 / rate * 1e6)
    for one in document["samples"]:
        assert (
            len(one["chunk_s"]) == 6 and one["chunk_s"] == sorted(one["chunk_s"]) and one["sent_s"] < one["chunk_s"][0]
        )
    assert document["client"]["bottleneck"] == [] or all("late" in why for why in document["client"]["bottleneck"])


@needs_kernels
def test_the_engine_decodes_what_it_would_alone(model: str) -> None:
    """Requests that join a batch midway get the tokens that a prompt alone gets: what is timed is real work."""
    import asyncio

    from solvent.cli.engine_target import EngineTarget
    from solvent.machine.engine.load import load
    from solvent.measure.target import Request

    loaded = load(model, threads=1)
    target = EngineTarget(loaded, 3)
    made: dict[str, list[int]] = {}
    take = target._take

    def noted(job: Any, token: int) -> bool:
        made.setdefault(job.request.id, []).append(token)
        return take(job, token)

    target._take = noted  # type: ignore[method-assign]
    prompts = {f"r{i}": [(7 * i + k) % 250 for k in range(3 + 5 * i)] for i in range(5)}
    loaded.tokens = lambda prompt: prompts[str(prompt)]  # type: ignore[method-assign, assignment]

    async def all_of_them() -> None:
        requests = [Request(name, None, name, None, 4 + i) for i, name in enumerate(prompts)]
        await asyncio.gather(*(target.answer(one, time.perf_counter) for one in requests))

    asyncio.run(all_of_them())
    target.close()
    for i, (name, prompt) in enumerate(prompts.items()):
        # Whole texts at once read the same: the likeliest next token after each prefix.
        logits = loaded.logits(prompt + made[name][:-1])
        assert made[name] == logits[len(prompt) - 1 :].argmax(axis=1).tolist() and len(made[name]) == 4 + i


@needs_kernels
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--input-tok", "100", "--output-tok", "100"), "128, the context"),
        (("--concurrency", "0"), "--concurrency"),
        (("--kv", "nonsense"), "nonsense"),
        (("--kv", ""), "cache format: ''; expected f16, q8_0"),
        (("--precision", "7"), "--precision"),
        (("--slo", "ttf=1"), "--slo"),
        (("--usd-per-hour", "-1"), "--usd-per-hour"),
        (("--offer", "mine"), "solvent.toml"),
        (("--trace", "nothing.csv"), "nothing.csv"),
        (("--compare", "nothing.json"), "nothing.json"),
        (("--usd-per-mtok", "1"), "--usd-per-mtok"),
        (("--max-time-s", "nan"), "--max-time-s"),
        (("--seed", "-1"), "--seed"),
        (("--sweep", "2", "--rate", "5"), "--sweep"),
        (("--rate", "5", "--trace", "t.csv"), "--rate"),
    ],
)
def test_a_wrong_word_is_one_line(
    words: tuple[str, ...], said: str, model: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, model, "--requests", "2", "--threads", "1", *words)
    assert code == 2 and out == "" and err.count("\n") == 1 and said in err


@needs_kernels
def test_an_offer_of_the_project_is_what_the_hour_costs(
    model: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    project = tmp_path / "solvent.toml"
    project.write_text(
        '[[offers]]\nname = "box"\nkind = "rented"\nserves = ["m"]\nusd_per_hour = 1.5\nn_machines = 3\n'
        'input_tok_per_s = 1\noutput_tok_per_s = 1\nsource = "a quote"\ndate = 2026-10-01\n',
        "utf-8",
    )
    document = as_json(capsys, model, *SMALL, "--threads", "1", "--offer", "box", "--project", project)
    hour = document["figures"]["usd_per_hour"]
    assert float(hour["value"]) == 1.5 and "a quote" in hour["source"] and hour["method"] == "priced"
    code, _, err = run(capsys, model, "--offer", "bix", "--project", project)
    assert code == 2 and "one of box" in err


def test_a_server(server: Server, capsys: pytest.CaptureFixture[str], repo: Path) -> None:
    document = as_json(
        capsys, server.url, "--model", "good", *SMALL, "--concurrency", "4", "--usd-per-mtok", "1,2", "--slo", "ttft=60"
    )
    assert document["totals"]["answers"] == 10 and document["faults"] == {}
    assert document["target"]["kind"] == "http" and document["target"]["model"] == "good"
    figures = document["figures"]
    assert float(figures["cost_per_output_usd"]["value"]) == pytest.approx((12 * 1 + 6 * 2) / 1e6)
    assert figures["good_request_fraction"]["value"] == "1.0" and figures["peak_memory_bytes"]["value"] is None
    assert all(s["output_tok"] == 6 and len(s["chunk_s"]) == 6 for s in document["samples"])


def test_a_failing_server_is_counted_not_dropped(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, server.url, "--model", "flaky", *SMALL, "--warm-up", "4", "--json")
    document = json.loads(out)
    assert code == 0 and document["totals"]["requests"] == 10 and len(document["samples"]) == 10
    assert sum(document["faults"].values()) == 10 - document["totals"]["answers"]
    assert set(document["faults"]) == {"http_429", "http_500", "died_midstream"}
    code, out, _ = run(capsys, server.url, "--model", "flaky", *SMALL, "--warm-up", "4")
    assert code == 0 and "died_midstream:" in out and "failed" in out


def test_a_server_that_never_answers_well_fails(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, server.url, "--model", "breaks", *SMALL)
    assert code == 2 and "http_500: oops" in err
    code, out, _ = run(capsys, server.url, "--model", "breaks", *SMALL, "--warm-up", "0")
    assert code == 1 and "http_500: 10 answers" in out and "unknown" in out


def test_a_key_is_sent_and_shown_nowhere(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sesame-1234")
    code, out, err = run(capsys, server.url, "--model", "good", *SMALL, "--key-env", "MY_KEY", "--json")
    assert code == 0 and "Authorization: Bearer sesame-1234" in server.heads[-1]
    assert "sesame" not in out + err


def test_a_trace_is_replayed(server: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    rows = [{"timestamp": 40 * i, "input_length": 5 + i, "output_length": 2 + i % 3} for i in range(12)]
    trace.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    document = as_json(
        capsys, server.url, "--model", "good", "--trace", trace, "--rate-scale", "4", "--requests", "100"
    )
    samples = sorted(document["samples"], key=lambda s: s["request_id"])
    assert [(s["prompt_tok"], s["output_tok"]) for s in samples] == [(5 + i, 2 + i % 3) for i in range(12)]
    first_s = samples[0]["scheduled_s"]
    assert [s["scheduled_s"] - first_s for s in samples] == pytest.approx([0.01 * i for i in range(12)])
    assert all(s["sent_s"] >= s["scheduled_s"] for s in samples) and document["concurrency"] is None
    closed = as_json(capsys, server.url, "--model", "good", "--trace", trace, "--closed", "--concurrency", "2")
    assert closed["concurrency"] == 2 and closed["totals"]["answers"] == 12


def test_a_rate_and_a_sweep(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    document = as_json(capsys, server.url, "--model", "good", *SMALL, "--rate", "200")
    assert document["workload"]["rate_per_s"] == 200 and document["concurrency"] is None
    swept = as_json(capsys, server.url, "--model", "good", *SMALL, "--sweep", "2")
    assert swept["sweep"]["knee"] == swept["concurrency"] and {p["concurrency"] for p in swept["sweep"]["points"]} == {
        1,
        2,
    }
    code, out, _ = run(capsys, server.url, "--model", "good", *SMALL, "--sweep", "2")
    assert code == 0 and "the knee" in out


def test_wrong_counts_are_found_by_a_tokeniser(
    server: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    made = Tokenizer(WordLevel({"word": 0, "?": 1}, unk_token="?"))
    made.pre_tokenizer = Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    words = (server.url, "--model", "wrong-count", *SMALL)
    document = as_json(capsys, *words, "--tokeniser", tmp_path / "tokenizer.json")
    assert document["faults"] == {"note:wrong_token_count": 10} and document["totals"]["output_tok"] == 60
    assert as_json(capsys, *words)["totals"]["output_tok"] == 180, "without one the server's word stands"


def test_a_result_is_written_compared_and_refused_across_machines(
    server: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (server.url, "--model", "good", *SMALL)
    old = tmp_path / "old.json"
    assert run(capsys, *words, "--out", old)[0] == 0
    assert not Path(f"{old}.samples").exists() and json.loads(old.read_text("utf-8"))["totals"]["answers"] == 10
    code, out, _ = run(capsys, *words, "--compare", old)
    assert code == 0 and "the same machine" in out and "then" in out
    other = json.loads(old.read_text("utf-8"))
    other["machine"]["memory_gib"] = 4096
    old.write_text(json.dumps(other), "utf-8")
    code, _, err = run(capsys, *words, "--compare", old)
    assert code == 2 and "memory_gib" in err
    code, out, _ = run(capsys, *words, "--compare", old, "--across-machines")
    assert code == 0 and "ANOTHER MACHINE" in out


def test_a_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    adapter = tmp_path / "a.toml"
    table = 'name = "echo"\ncommand = ["cat"]\nstdin = "{prompt}"\n[output]\ncount = "words"\nunit = "word"\n'
    adapter.write_text(table, "utf-8")
    words = (adapter, "--requests", "4", "--input-tok", "20", "--usd-per-hour", "3.6")
    document = as_json(capsys, *words)
    assert document["target"]["kind"] == "command" and document["totals"]["outputs"] == 80
    rate, cost = (float(document["figures"][n]["value"]) for n in ("output_throughput", "cost_per_output_usd"))
    assert cost == pytest.approx(0.001 / rate)
    assert document["figures"]["output_token_throughput"]["value"] is None
    assert document["figures"]["energy_per_output_token"]["value"] is None
    code, out, _ = run(capsys, *words)
    assert code == 0 and "cost per word" in out and "outputs a second" in out


# ---------------------------------------------------------------- kills


def kill_until_done(server: Server, out: Path, n_kills: int, seed: int) -> int:
    """Runs one measurement, killing it at random moments n_kills times; then lets it end.   → kills that hit"""
    words = ["measure", server.url, "--model", "good", "--input-tok", "5", "--output-tok", "8", "--requests", "400"]
    command = [sys.executable, "-m", "solvent", *words, "--concurrency", "4", "--out", str(out)]
    rng = random.Random(seed)
    hits = 0
    for _ in range(n_kills):
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(rng.uniform(0.1, 1.2))
        process.send_signal(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM]))
        _, told = process.communicate(timeout=60)
        hits += process.returncode != 0
        assert process.returncode in (0, 130, 143, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT), told.decode()
        if out.exists():
            # Complete before the kill: begin another one.
            json.loads(out.read_text("utf-8"))
            out.unlink()
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return hits


def check_whole(out: Path) -> None:
    document = json.loads(out.read_text("utf-8"))
    names = [sample["request_id"] for sample in document["samples"]]
    assert sorted(names) == [f"r{i:06d}" for i in range(400)], "each once"
    assert document["totals"]["answers"] == 400 and document["totals"]["output_tok"] == 3200
    assert not Path(f"{out}.samples").exists()


def test_a_killed_measurement_goes_on(tmp_path: Path) -> None:
    with Server(gap_s=0.002) as server:
        kill_until_done(server, tmp_path / "out.json", 4, seed=1)
        check_whole(tmp_path / "out.json")


@pytest.mark.slow
def test_a_hundred_kills(tmp_path: Path) -> None:
    with Server(gap_s=0.002) as server:
        hits = 0
        for seed in range(10):
            hits += kill_until_done(server, tmp_path / "out.json", 10, seed)
            check_whole(tmp_path / "out.json")
            (tmp_path / "out.json").unlink()
        assert hits >= 60

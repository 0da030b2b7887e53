"""solvent's engine, timed as llama-bench times itself: the tokens alone, after loading and one warm-up run.

step=logits (the default) computes all logits of every decoded token, as the peers do; step=greedy asks for the best
token alone, which lets the head be screened, and goes on from it, as greedy decoding does: how many rows of the head
are computed again depends on the text. kernel: the feature word for SOLVENT_KERNEL. cache: what keys and values are
kept as. Other tokens are random.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

TEXT = Path(__file__).parents[2] / "examples/shakespeare/tinyshakespeare.txt.zst"


def version() -> str | None:
    from solvent import __version__

    try:
        from solvent.machine import _native  # noqa: F401
    except ImportError:
        return None
    return f"solvent {__version__}"


def run(job: dict[str, Any]) -> dict[str, Any]:
    if "kernel" in job:
        os.environ["SOLVENT_KERNEL"] = job["kernel"]
    import numpy as np

    import solvent

    language = solvent.load(job["model"], threads=job["threads"])
    model, config = language.model, language.config
    n_tokens = job["depth"] + job["n_tokens"]
    tokens = np.random.default_rng(1).integers(0, config.n_vocab, n_tokens).tolist()
    if job.get("text"):
        tokens = _text_tokens(language, n_tokens)
    filled, timed = tokens[: job["depth"]], tokens[job["depth"] :]
    sequence = model.new_sequence(len(tokens), job.get("cache", "f16"))
    if filled:
        model.extend(sequence, filled, "none")
    rates = []
    for repetition in range(1 + job["repetitions"]):
        sequence.truncate(len(filled))
        started = time.perf_counter()
        _advance(job, model, sequence, timed)
        if repetition:
            rates.append(len(timed) / (time.perf_counter() - started))
        assert sequence.n_tokens == len(tokens), (sequence.n_tokens, len(tokens))
    return {"rates": rates, "model_bytes": sum(tensor.data.nbytes for tensor in language.file.tensors.values())}


def _text_tokens(language: Any, n_tokens: int) -> list[int]:
    import zstandard

    text = zstandard.ZstdDecompressor().decompress(TEXT.read_bytes()).decode()
    tokens: list[int] = language.tokeniser.encode(text[: 16 * n_tokens])[:n_tokens]
    assert len(tokens) == n_tokens, "the text is too short"
    return tokens


def _advance(job: dict[str, Any], model: Any, sequence: Any, tokens: list[int]) -> None:
    if job["kind"] == "prefill":
        model.extend(sequence, tokens, "last")
    elif job.get("step", "logits") == "greedy":
        token = tokens[0]
        for _ in tokens:
            token = model.greedy(sequence, token)
    else:
        for token in tokens:
            model.decode([sequence], [token])

"""A model's card for a terminal: one and several, and a name that a terminal would obey."""

from __future__ import annotations

from typing import Any

import pytest

from solvent.report.card_text import card_lines, explanation_lines

CARD: dict[str, Any] = {
    "model": "m", "family": "llama", "activations": "int8", "kernel": "avx2", "threads": 2, "depth": 0, "parts": [],
    "bytes_per_token": 1000, "operations_per_token": 10, "bandwidth_bytes_per_s": 1e9, "limit_tok_per_s": 10.0,
    "decode_tok_per_s": 9.0, "decode_tok_per_s_low": 8.0, "decode_tok_per_s_high": 10.0, "share_of_limit": 0.9,
    "held": {"weights_bytes": 1, "head_bytes": 1, "whole_head_bytes": 0, "cache_bytes": 1},
    "cache_bytes_per_token_of_context": 1, "cache_full_precision_bytes": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("threads", "depth", "said"),
    [
        (1, 0, "1 thread"),
        (2, 0, "2 threads"),
        (1, 1, "1 thread, after 1 token of context"),
        (12, 1000, "12 threads, after 1,000 tokens of context"),
    ],
)
def test_one_thread_and_several(threads: int, depth: int, said: str) -> None:
    assert next(card_lines({**CARD, "threads": threads, "depth": depth})) == f"m (llama), avx2 kernels, {said}"


def test_activations_of_sixteen_bits_are_told() -> None:
    said = next(card_lines({**CARD, "activations": "int16"}))
    assert said == "m (llama), avx2 kernels, 2 threads, int16 activations"
    found = {"kernel": "avx2", "runnable": [], "features": [], "threads": 1, "types": {}, "head": "whole"}
    lines = list(explanation_lines({**found, "screen_bytes": 0, "activations": "int16"}))
    assert lines[-1] == "activations: int16, as two int8"


def test_one_matrix_and_several() -> None:
    types = {name: {"matrices": n, "copied": 0, "bytes": 1e6} for name, n in (("f16", 1), ("q8_0", 7))}
    found = {"kernel": "avx2", "runnable": [], "features": [], "threads": 1, "types": types, "head": "whole"}
    found["activations"] = "int8"
    lines = list(explanation_lines({**found, "screen_bytes": 0}))
    assert lines[-2].startswith("f16: 1 matrix, 1.00 MB") and lines[-1].startswith("q8_0: 7 matrices, 1.00 MB")


def test_a_name_that_a_terminal_would_obey_is_shown() -> None:
    assert next(card_lines({**CARD, "model": "a\n\x1b[31m"})).startswith("a\\x0a\\x1b[31m (llama)")

"""Bytes that a model and its cache are counted as, beside what native code takes and what the formats say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import engine_models
import numpy as np
import pytest
from kernel_products import one_scale, random_matrix

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.engine import memory, models
from solvent.machine.engine.model_file import Tensor
from solvent.machine.engine.quants import TYPES
from solvent.machine.turboquant.cache_format import parse

CONFIG = dataclasses.replace(engine_models.LLAMA, n_layers=10, n_kv_heads=8, head_size=128, context=4096)
# Their one scale a matrix is kept in float16 beside each row of a panel: 2 bytes to columns / 4, which aren't counted.
ONE_SCALE = ("i2_s", "i2_s_arm", "hf_ternary")


@pytest.mark.skipif(not native.available(), reason="the native kernels aren't built")
@pytest.mark.parametrize("kind", TYPES)
def test_a_matrix_takes_what_is_counted(kind: str) -> None:
    """36 rows aren't whole panels of 16; three blocks of 4 or 32 aren't whole pairs of 16 or of 32 columns."""
    for n_rows, n_blocks in ((36, 3), (4, 8)):
        tensor = random_matrix(kind, n_rows, n_blocks * TYPES[kind][0])
        packed = native.extension().Matrix(tensor.type, *tensor.shape, tensor.data, tensor.scale)
        n_filled_rows = {36: 48, 4: 16}[n_rows]
        uncounted = 2 * n_filled_rows if kind in ONE_SCALE else 0
        assert memory.panel_bytes(tensor) == packed.n_bytes - uncounted


@pytest.mark.skipif(not native.available(), reason="the native kernels aren't built")
@pytest.mark.parametrize("kernel", native.kernels() if native.available() else ())
@pytest.mark.parametrize("kind", memory.TERNARY_BITS)
def test_a_matrix_of_one_scale_takes_what_is_counted(kind: str, kernel: str) -> None:
    """1,024 columns are 51.2 units of 20, which fill 52; 36 rows three panels."""
    tensor = one_scale(random_matrix(kind, 36, 1024))
    packed = native.extension().Matrix(
        tensor.type, *tensor.shape, tensor.data, tensor.scale, per_token=True, packed_for=kernel
    )
    if native.packs_fives(kernel):
        assert packed.n_bytes == memory.panel_bytes(tensor, fives=True) == 3 * 52 * 64
    else:
        assert packed.n_bytes == 3 * 1024 * 4
        assert 0 <= memory.panel_bytes(tensor) / packed.n_bytes - 1 < 0.13  # scales per block, which it doesn't have


def test_a_vector_takes_the_files_bytes() -> None:
    assert memory.panel_bytes(Tensor("a", "q8_0", (64,), np.zeros(68, np.uint8))) == 68


def test_a_head_of_its_own_is_no_block_and_the_table_beside_it_is_not_held() -> None:
    found = []
    for tied in (True, False):
        file = engine_models.tiny("llama", {"linears": "q8_0", "token_embd": "q8_0", "output": "f16"}, tied=tied)
        found.append((memory.held(models.config(file), file.tensors, "whole"), file))
    (with_table, _), (with_head, file) = found
    assert with_table.weights_bytes == with_head.weights_bytes
    assert with_head.head_bytes == file.tensors["output.weight"].data.nbytes != with_table.head_bytes


def test_a_cache_of_codes_with_sinks_and_a_tail() -> None:
    """Of 2,000 tokens the tail begins two chunks before that of the last token, at 1,280: 256 + 720 in f16, of 40,960
    bytes each, and four chunks of codes. One of a head: keys 256 · (4 · 128 + 8) bits and two centres of 128 · 16,
    values without centres, 32 bits of exponents; 8 heads in 10 layers."""
    chunk_bits = 256 * (4 * 128 + 8) * 2 + 2 * 128 * 16 + 32
    kept = parse("tq4+sinks256+tail512")
    assert memory.cache_bytes(CONFIG, 2000, kept) == 976 * 40_960 + 4 * chunk_bits * 8 * 10 // 8 == 50_791_680
    # A token more of codes is a 256th of a chunk of all heads: 10,561.25 bytes.
    assert memory.cache_token_bytes(CONFIG, kept) == memory.cache_token_bytes(CONFIG, parse("tq4")) == 10_562
    assert memory.cache_token_bytes(CONFIG) == 40_960


@pytest.mark.parametrize(
    ("name", "n_tok"),
    [("f16", 0), ("tq4", 0), ("tq4+sinks256", 256), ("tq4+tail512", 768), ("tq4+sinks256+tail512", 1024)],
)
def test_tokens_in_full_precision_at_most(name: str, n_tok: int) -> None:
    assert memory.full_precision_tok(parse(name)) == n_tok


def test_a_cache_of_another_number_of_layers_is_refused() -> None:
    with pytest.raises(EngineError, match="bits for 3 layers; expected 10"):
        memory.cache_bytes(CONFIG, 1, dataclasses.replace(parse("tq4"), bits=((4, 4), (3, 3), (2, 2))))


@pytest.mark.parametrize(
    ("limit", "stat", "available"),
    [
        (4000, "anon 1\n", 1000),
        (2000, "anon 1\n", 0),
        (2000, "inactive_file 1500\n", 500),
        (2000, "active_file 1001\n", 1),
    ],
)
def test_a_control_group_without_files_or_beyond_its_limit(
    limit: int, stat: str, available: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("memory.max", f"{limit}\n"), ("memory.current", "3000\n"), ("memory.stat", stat)):
        (tmp_path / name).write_text(text, "ascii")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_bytes() == available


@pytest.mark.parametrize(("n_bytes", "said"), [(1 << 28, r"0\.25 GiB more"), ((1 << 28) - 1, "256 MiB more")])
def test_small_sizes_are_told_in_mib(n_bytes: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
    with pytest.raises(EngineError, match=said):
        memory.check_room("head", n_bytes)

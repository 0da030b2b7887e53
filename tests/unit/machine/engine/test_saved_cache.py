"""Caches in files: saved, restored to the same bits, begun from; and whatever a file says, an error in one line or the
sequence that it holds."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
from functools import cache
from pathlib import Path
from typing import Any

import engine_models
import numpy as np
import pytest

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.engine import models, saved_cache
from solvent.machine.engine.model import Model, Sequence
from solvent.machine.turboquant.cache_format import CacheFormat

pytestmark = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")

CONTEXT = 700
TOKENS = [(7 * i + i * i) % 271 for i in range(600)]


@cache
def model(seed: int = 0) -> Model:
    file = engine_models.tiny("llama", "f32", seed=seed, context=CONTEXT)
    return Model(file, models.config(file), threads=1)


def filled(name: str, n: int) -> Sequence:
    sequence = model().new_sequence(cache=name)
    model().extend(sequence, TOKENS[:n], "none")
    return sequence


def contents(sequence: Sequence) -> list[bytes]:
    return [sequence.native.chunk(i) for i in range(sequence.native.n_chunks)]


def test_saved_and_restored(tmp_path: Path) -> None:
    path = tmp_path / "prompt.kv"
    sequence = filled("tq4-3", 300)
    saved_cache.save(sequence, TOKENS[:300], path)
    restored, tokens = saved_cache.restore(model(), path)
    assert tokens == TOKENS[:300] and contents(restored) == contents(sequence)
    assert np.array_equal(model().extend(restored, [4], "last"), model().extend(sequence, [4], "last"))
    assert [p.name for p in tmp_path.iterdir()] == ["prompt.kv"]


def test_every_changed_byte_and_every_cut_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.kv"
    saved_cache.save(filled("tq2", 20), TOKENS[:20], path)
    whole = path.read_bytes()
    for at in [*range(16), 40, 300, len(whole) // 2, len(whole) - 33, len(whole) - 1]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(EngineError, match=r"checksum|no saved cache|version|header"):
            saved_cache.restore(model(), path)
        path.write_bytes(whole[:at])
        with pytest.raises(EngineError, match=r"checksum|no saved cache|version|header"):
            saved_cache.restore(model(), path)
    with pytest.raises(EngineError, match="can't be read"):
        saved_cache.restore(model(), tmp_path / "none.kv")


def resealed(path: Path, change: dict[str, object]) -> None:
    """The file with other fields in its header, and the checksum that goes with them."""
    data = path.read_bytes()
    magic, version, length = saved_cache.PREFIX.unpack_from(data)
    start = saved_cache.PREFIX.size
    header = {**json.loads(data[start : start + length]), **change}
    text = json.dumps(header).encode()
    body = saved_cache.PREFIX.pack(magic, version, len(text)) + text + data[start + length : -32]
    path.write_bytes(body + hashlib.blake2b(body, digest_size=32).digest())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "0" * 32}, "another model"),
        ({"tokens": [0] * 21}, ""),
        ({"tokens": [0] * 600}, "chunks of 37440 bytes; expected 37440, 35904, 35904"),
        ({"tokens": [272] * 20}, "vocabulary"),
        ({"tokens": ["1"] * 20}, "other kinds"),
        ({"tokens": list(range(200)) * 4}, "context"),
        ({"chunk_bytes": [12]}, "as many as its header says"),
        ({"format": {}}, "format"),
        ({"format": CacheFormat(((4, 4),)).document()}, "this format's"),
        ({"format": CacheFormat(((4, 4),) * 3).document()}, "layers"),
        ({"format": {**CacheFormat().document(), "bits": [[7, 7]]}}, "bits"),
        ({"format": {**CacheFormat().document(), "trellis": 1}}, "flag"),
    ],
)
def test_a_header_that_contradicts_is_refused(change: dict[str, object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.kv"
    saved_cache.save(filled("tq2", 20), TOKENS[:20], path)
    resealed(path, change)
    if not said:  # one token more than was stored lies in the same chunk: its codes are zeros, which is harmless
        assert saved_cache.restore(model(), path)[0].n_tokens == 21
        return
    with pytest.raises(EngineError, match=said):
        saved_cache.restore(model(), path)


def test_another_models_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.kv"
    saved_cache.save(filled("tq4", 20), TOKENS[:20], path)
    with pytest.raises(EngineError, match="another model"):
        saved_cache.restore(model(1), path)


FORMAT = CacheFormat(((2, 2),) * 2).document()
HOSTILE: list[Any] = [
    None, True, 0, -1, 1 << 80, 1.5, float("nan"), "", "a" * 999, [], [[]], [None], [True], [1.0], [-1], [1 << 41], {},
    {"a": 1}, [[4.0, 4.0]], [[True, True]], [[2]], [[2, 2, 2]], ["22", "22"], {"22": 1}, [[2, 2]] * 5000,
    [[[], []]] * 2,
]  # fmt: skip


@pytest.mark.parametrize("field", ["model", "format", "tokens", "chunk_bytes", *FORMAT])
def test_whatever_a_field_holds_is_an_error_in_one_line(field: str, tmp_path: Path) -> None:
    path = tmp_path / "a.kv"
    saved_cache.save(filled("tq2", 20), TOKENS[:20], path)
    whole = path.read_bytes()
    for value in HOSTILE:
        path.write_bytes(whole)
        if field in FORMAT and type(FORMAT[field]) is type(value) and value in (False, True, FORMAT[field]):
            continue  # another format, and a whole one, or the same
        resealed(path, {"format": {**FORMAT, field: value}} if field in FORMAT else {field: value})
        with pytest.raises(EngineError) as told:
            saved_cache.restore(model(), path)
        assert "\n" not in str(told.value) and len(str(told.value)) < 600


def test_random_damage_is_an_error_or_harmless(tmp_path: Path) -> None:
    """Bytes changed, cut out and put in, resealed with a good checksum or not: never another exception."""
    path = tmp_path / "a.kv"
    saved_cache.save(filled("tq2", 20), TOKENS[:20], path)
    whole, draw = path.read_bytes(), random.Random(7)
    n_restored = 0
    for _ in range(400):
        body = bytearray(whole[:-32])
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(draw.choice([20, 400, len(body)]))
            if draw.random() < 0.7:
                body[at] = draw.randrange(256)
            elif draw.random() < 0.5:
                del body[at : at + draw.randint(1, 50)]
            else:
                body[at:at] = draw.randbytes(draw.randint(1, 50))
        seal = hashlib.blake2b(body, digest_size=32).digest() if draw.random() < 0.9 else draw.randbytes(32)
        path.write_bytes(bytes(body) + seal)
        try:
            sequence, tokens = saved_cache.restore(model(), path)
        except EngineError:
            continue
        n_restored += 1
        assert sequence.n_tokens == len(tokens)
        # Codes, scales and exponents of any value decode to something; what isn't finite is said, not sampled.
        model().extend(sequence, [1], "last")
    assert n_restored > 20


def test_scales_beyond_all_numbers_are_told_where_a_token_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "a.kv"
    saved_cache.save(filled("tq2", 20), TOKENS[:20], path)
    whole = path.read_bytes()
    _, _, length = saved_cache.PREFIX.unpack_from(whole)
    # The exponents of the chunk, first in it: 2^127.
    start = saved_cache.PREFIX.size + length
    body = whole[:start] + b"\x7f" * 16 + whole[start + 16 : -32]
    path.write_bytes(body + hashlib.blake2b(body, digest_size=32).digest())
    sequence, _ = saved_cache.restore(model(), path)
    with pytest.raises(EngineError, match="not finite"):
        model().greedy(sequence, 1)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(EngineError, match="not a file"):
            saved_cache.open_saved(path)
    for path in (Path("a\0b"), tmp_path / "none", tmp_path / ("x" * 999)):
        with pytest.raises(EngineError, match="can't be read"):
            saved_cache.open_saved(path)


def test_a_huge_header_or_file_is_refused_before_it_is_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "a.kv"
    n_bytes = saved_cache.MAX_HEADER_BYTES * 8
    tracemalloc.start()
    for length in (saved_cache.MAX_HEADER_BYTES + 1, 2**32 - 1, 100):
        path.write_bytes(saved_cache.PREFIX.pack(saved_cache.MAGIC, saved_cache.VERSION, length))
        os.truncate(path, n_bytes)
        with pytest.raises(EngineError, match=r"header|checksum"):
            saved_cache.open_saved(path)
    # A few pieces of one mebibyte.
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_file_that_changes_after_it_was_checked_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.kv"
    saved_cache.save(filled("tq2", 20), TOKENS[:20], path)
    saved = saved_cache.open_saved(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
    with pytest.raises(EngineError, match="changed while"):
        saved.restore(model())


def test_what_cannot_be_written_is_said_before_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = filled("tq2", 20)
    for path in (tmp_path, Path(), tmp_path / "none" / "a.kv"):
        with pytest.raises(EngineError, match=r"a folder|can't be written"):
            saved_cache.save(sequence, TOKENS[:20], path)
    with pytest.raises(EngineError, match="19 tokens"):
        saved_cache.save(sequence, TOKENS[:19], tmp_path / "a.kv")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        saved_cache.save(sequence, TOKENS[:20], tmp_path / "a.kv")
    assert list(tmp_path.iterdir()) == []


def test_a_restored_prompt_goes_on_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.kv"
    for name in ("f16", "tq4", "tq3-2"):
        sequence = filled(name, 520)
        n_bytes = saved_cache.save(sequence, TOKENS[:520], path)
        assert n_bytes == path.stat().st_size
        restored, _ = saved_cache.restore(model(), path)
        restored.truncate(400)
        sequence.truncate(400)
        rest = TOKENS[400:560]
        assert np.array_equal(model().extend(restored, rest, "all"), model().extend(sequence, rest, "all"))
        assert contents(restored) == contents(sequence)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "{n:,} bytes of free space there"),
        (errno.EDQUOT, "{n:,} bytes of free space there"),
        (errno.EACCES, "a folder that can be written"),
    ],
)
def test_a_full_disk_is_one_that_needs_space(
    number: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sequence = tmp_path / "a.kv", filled("tq2", 20)
    n_bytes = saved_cache.save(sequence, TOKENS[:20], path)
    path.unlink()

    def refused(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(EngineError) as caught:
        saved_cache.save(sequence, TOKENS[:20], path)
    assert caught.value.expected == expected.format(n=n_bytes) and os.strerror(number) in caught.value.found
    assert list(tmp_path.iterdir()) == []

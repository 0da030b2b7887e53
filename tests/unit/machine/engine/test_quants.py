"""Every number format, against the `gguf` package where it has the format and against bytes made by hand where not."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from solvent.errors import ModelFileError
from solvent.machine.engine.model_file import Tensor
from solvent.machine.engine.quants import DECODERS, TYPES, dequantise, i2_s_scale, n_bytes

IN_GGUF = ["bf16", "q8_0", "q4_0", "q4_1", "q4_k", "q5_k", "q6_k", "tq1_0", "tq2_0"]
# Where each block's float16 scales lie: random bytes there would be infinities, which compare equal too easily.
SCALES = {"q4_1": (0, 2), "q4_k": (0, 2), "q5_k": (0, 2), "q6_k": (208,), "tq1_0": (52,), "tq2_0": (64,)}
ROWS = 6


def tensor_of(kind: str, data: bytes, shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
    return Tensor("w", kind, shape, np.frombuffer(data, np.uint8), scale)


def random_blocks(kind: str, n_blocks: int) -> np.ndarray:
    """Every byte drawn at random but the scales, which are halves of ordinary size and either sign."""
    random = np.random.default_rng(7)
    blocks = random.integers(0, 256, (n_blocks, TYPES[kind][1]), np.uint8)
    for start in () if kind == "bf16" else SCALES.get(kind, (0,)):
        blocks[:, start : start + 2] = random.normal(size=(n_blocks, 1)).astype("<f2").view(np.uint8)
    return blocks


def equal_bits(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return bool((ours.view(np.uint32) == theirs.astype(np.float32).view(np.uint32)).all())


@pytest.mark.parametrize("kind", IN_GGUF)
def test_weights_equal_those_of_the_gguf_package_in_every_bit(kind: str) -> None:
    weights, _ = TYPES[kind]
    blocks = random_blocks(kind, ROWS * 3)
    theirs = gguf.dequantize(blocks.reshape(ROWS, -1), gguf.GGMLQuantizationType[kind.upper()])
    ours = dequantise(tensor_of(kind, blocks.tobytes(), (ROWS, 3 * weights)))
    assert ours.dtype == np.float32 and ours.shape == theirs.shape
    assert equal_bits(ours, theirs)


@pytest.mark.parametrize("kind", IN_GGUF)
def test_no_bit_of_a_block_is_without_effect(kind: str) -> None:
    """A fault as small as there is, one bit flipped anywhere, changes the weights: what the test above compares
    covers every bit of the format. TQ1_0 alone has codes that decode alike (256 byte values for 243 words)."""
    weights, size = TYPES[kind]
    blocks = random_blocks(kind, 1)
    # No scale may be zero, or what it multiplies would be without effect.
    for start in range(4, 16) if kind in ("q4_k", "q5_k") else range(192, 208) if kind == "q6_k" else ():
        blocks[0, start] |= 0x55
    before = dequantise(tensor_of(kind, blocks.tobytes(), (weights,)))
    without = []
    for bit in range(8 * size):
        flipped = blocks.copy()
        flipped[0, bit // 8] ^= 1 << bit % 8
        if equal_bits(dequantise(tensor_of(kind, flipped.tobytes(), (weights,))), before):
            without.append(bit)
    assert all(bit < 52 * 8 for bit in without) and len(without) <= 52 if kind == "tq1_0" else without == []


@pytest.mark.parametrize("kind", ["f32", "f16"])
def test_floats_are_what_they_are(kind: str) -> None:
    values = np.random.default_rng(3).normal(size=(4, 5)).astype({"f32": "<f4", "f16": "<f2"}[kind])
    assert equal_bits(dequantise(tensor_of(kind, values.tobytes(), (4, 5))), values)


def trits(n: int) -> list[int]:
    """−1, 0, +1 in an order that no shift or swap of neighbours leaves alike."""
    return [(i * i + i // 7) % 3 - 1 for i in range(n)]


def i2_s_bytes(values: list[int], run: int, scale: float) -> bytes:
    """I2_S by its definition: byte i of a block holds elements i, i + run, i + 2 run, i + 3 run, highest bits first."""
    packed = bytearray()
    for start in range(0, len(values), 4 * run):
        for i in range(run):
            a, b, c, d = (values[start + i + run * j] + 1 for j in range(4))
            packed.append(a << 6 | b << 4 | c << 2 | d)
    return bytes(packed) + struct.pack("<f", scale) + bytes(28)


@pytest.mark.parametrize(("kind", "run"), [("i2_s", 32), ("i2_s_arm", 16)])
def test_i2_s_by_hand(kind: str, run: int) -> None:
    values = trits(512)
    data = i2_s_bytes(values, run, 0.75)
    tensor = tensor_of(kind, data, (2, 256))
    assert len(data) == n_bytes(kind, (2, 256)) and i2_s_scale(tensor) == 0.75
    assert dequantise(tensor).ravel().tolist() == [0.75 * v for v in values]


def test_the_two_orders_of_i2_s_are_no_permutation_that_a_reader_could_miss() -> None:
    values = trits(512)
    data = i2_s_bytes(values, 32, 1.0)
    assert dequantise(tensor_of("i2_s_arm", data, (2, 256))).ravel().tolist() != values


def test_i2_s_known_byte() -> None:
    """0b10_01_00_10 is +1, 0, −1, +1 at 0, 32, 64, 96."""
    data = bytes([0b10010010]) + bytes([0b01010101]) * 31 + struct.pack("<f", 2.0) + bytes(28)
    values = dequantise(tensor_of("i2_s", data, (128,)))
    assert [values[i] for i in (0, 32, 64, 96)] == [2.0, 0.0, -2.0, 2.0] and not values[1:32].any()


@pytest.mark.parametrize("group", [64, 128])
def test_q2_0_by_hand(group: int) -> None:
    codes = [(i * i + i // 5) % 4 for i in range(3 * group)]
    data = b""
    for block in range(3):
        part = codes[block * group : (block + 1) * group]
        packed = bytes(sum(part[4 * b + j] << 2 * j for j in range(4)) for b in range(group // 4))
        data += np.float16(0.5 + block).tobytes() + packed
    values = dequantise(tensor_of(f"q2_0_g{group}", data, (3 * group,)))
    assert values.tolist() == [(code - 1) * (0.5 + i // group) for i, code in enumerate(codes)]


def test_hf_ternary_by_hand() -> None:
    """transformers' packing: byte row r holds rows r, r + M/4, …, lowest bits first; the scale multiplies."""
    rows = np.array(trits(8 * 6)).reshape(8, 6)
    packed = bytes(
        sum((rows[r + 2 * j, k] + 1) << 2 * j for j in range(4)) for r in range(2) for k in range(6)
    )  # fmt: skip
    assert (dequantise(tensor_of("hf_ternary", packed, (8, 6), 0.25)) == 0.25 * rows).all()


def test_tq1_0_round_trips_every_word_of_five() -> None:
    """All 243 words of five trits: what the gguf package packs, we unpack; the scale is exact in half precision."""
    words = np.array([[w // 3**j % 3 - 1 for j in range(5)] for w in range(243)], np.float32)
    values = np.zeros(256 * math.ceil(243 / 48), np.float32)
    values[: words.size] = words.ravel()
    values[255::256] = 1.0  # so that no block is all zero and each scale is 1
    packed = gguf.quantize(values.reshape(1, -1), gguf.GGMLQuantizationType.TQ1_0)
    assert (dequantise(tensor_of("tq1_0", packed.tobytes(), (values.size,))) == values).all()


def test_every_type_has_a_decoder_and_a_size() -> None:
    assert set(DECODERS) | {"hf_ternary"} == set(TYPES)
    for kind in IN_GGUF:
        assert TYPES[kind] == gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind.upper()]]


def test_too_few_bytes_are_refused_and_so_is_a_scale_that_is_no_number() -> None:
    with pytest.raises(ModelFileError, match=r"tensor w: 33 bytes .* expected 34"):
        dequantise(tensor_of("q8_0", bytes(33), (32,)))
    with pytest.raises(ModelFileError, match="no_such"):
        dequantise(tensor_of("no_such", bytes(33), (32,)))
    with pytest.raises(ModelFileError, match="scale of nan"):
        dequantise(tensor_of("i2_s", i2_s_bytes(trits(128), 32, float("nan")), (128,)))


def test_the_pages_say_what_the_formats_are(repo: Path) -> None:
    """The tables of both pages list every type once, with the block sizes and bits per weight that the readers use."""
    pages = [repo / "docs" / "reference" / f"{name}.md" for name in ("quantised-blocks", "ternary-format")]
    rows = [
        row
        for page in pages
        for row in re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| ([\d.]+) \|", page.read_text("utf-8"), re.MULTILINE)
    ]
    assert {kind: (int(weights), int(size)) for kind, weights, size, _ in rows} == TYPES and len(rows) == len(TYPES)
    assert all(float(bits) == 8 * int(size) / int(weights) for _, weights, size, bits in rows)

"""Reads GGUF, versions 2 and 3, by mapping it: nothing of the weights is touched, and nothing in it is believed.

Every count, length, dimension and offset is checked against the file's size before it is used; tensors must lie
inside the file, aligned, apart from each other and under names of their own. Enter at `read_gguf`.
Two ids need more than the file says: 36 (I2_S) has two byte orders, and 42 (Q2_0) two group sizes, told apart by
the room that each tensor takes. Source: GGUF specification; docs/reference/gguf.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from solvent.machine.engine import quants
from solvent.machine.engine.gguf_values import DAMAGED, Cursor, read_metadata
from solvent.machine.engine.model_file import Bytes, I2SOrder, ModelFile, Tensor, shown

MAX_TENSORS = 65_536
MAX_NAME_BYTES = 64  # ggml's GGML_MAX_NAME
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1 << 20
I2_S, Q2_0 = 36, 42
# ggml's type id → ours, for the types that this engine reads; I2_S and Q2_0 are decided in `_kinds`.
IDS = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 8: "q8_0", 12: "q4_k", 13: "q5_k", 14: "q6_k", 30: "bf16",
    34: "tq1_0", 35: "tq2_0", I2_S: "i2_s", Q2_0: "q2_0",
}  # fmt: skip
# Those that it doesn't, so that an error can name them. 137 and up are ik_llama.cpp's, 36 and 38 Microsoft's.
OTHER_IDS = {
    6: "q5_0", 7: "q5_1", 9: "q8_1", 10: "q2_k", 11: "q3_k", 15: "q8_k", 16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs",
    19: "iq1_s", 20: "iq4_nl", 21: "iq3_s", 22: "iq2_s", 23: "iq4_xs", 24: "i8", 25: "i16", 26: "i32", 27: "i64",
    28: "f64", 29: "iq1_m", 38: "tl1", 39: "mxfp4", 40: "nvfp4", 41: "q1_0", 134: "iq1_bn", 135: "iq2_bn",
    335: "iq2_bn_r4",
}  # fmt: skip
# Which elements rotate together, by architecture, as llama.cpp's graphs have it.
ROPE_PAIRS = {
    "llama": "adjacent", "qwen2": "halves", "qwen3": "halves", "bitnet": "halves", "bitnet-b1.58": "halves",
    "bitnet-25": "halves",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Info:
    """A row of the tensor table: start is counted from the start of the data."""

    name: str
    id: int
    shape: tuple[int, ...]
    start: int


def read_gguf(path: Path, data: Bytes, i2_s_order: I2SOrder = "x86") -> ModelFile:
    """The model in a mapped GGUF file.

    data: (size,) uint8.   i2_s_order: byte order of I2_S tensors.   → tensors as views of data.
    Exactness: no byte is copied or changed.
    Raises: ModelFileError, naming the tensor or key.   Source: docs/reference/gguf.md"""
    cursor = Cursor(str(path), data)
    _, version = cursor.need(4, "header"), cursor.u32("header")
    if version not in (2, 3):
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        found = f"GGUF version {swapped}, big-endian" if swapped in (2, 3) else f"GGUF version {version}"
        raise cursor.fault("", found, "version 2 or 3, little-endian", "convert the model again")
    n_tensors, n_keys = cursor.u64("header"), cursor.u64("header")
    if n_tensors > MAX_TENSORS:
        raise cursor.fault("header", f"{n_tensors} tensors", f"at most {MAX_TENSORS}")
    metadata = read_metadata(cursor, n_keys)
    alignment = _alignment(cursor, metadata)
    infos = [_info(cursor, number) for number in range(n_tensors)]
    base = -(-cursor.at // alignment) * alignment
    tensors = _tensors(cursor, infos, _Layout(base, alignment), i2_s_order)
    pairs = metadata.get("solvent.rope_pairs", ROPE_PAIRS.get(str(metadata.get("general.architecture"))))
    if pairs is not None:
        if not isinstance(pairs, str) or pairs not in ("adjacent", "halves"):
            raise cursor.fault("metadata solvent.rope_pairs", repr(pairs)[:40], '"adjacent" or "halves"')
        metadata["solvent.rope_pairs"] = pairs
    return ModelFile(path, metadata, tensors)


@dataclass(frozen=True, slots=True)
class _Layout:
    base: int
    alignment: int

    def room(self, n_bytes: int) -> int:
        return -(-n_bytes // self.alignment) * self.alignment


def _alignment(cursor: Cursor, metadata: dict[str, Any]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.fault(
            "metadata general.alignment", repr(alignment)[:40], f"a power of two up to {MAX_ALIGNMENT}"
        )  # fmt: skip
    n_files = metadata.get("split.count", 0)
    if not isinstance(n_files, int) or n_files not in (0, 1):
        raise cursor.fault(
            "metadata split.count", f"one of {n_files} files"[:60], "a model in one file",
            "merge it with llama-gguf-split",
        )  # fmt: skip
    return alignment


def _info(cursor: Cursor, number: int) -> _Info:
    name = cursor.text(f"tensor {number}", MAX_NAME_BYTES)
    where = f"tensor {shown(name)}" if name else f"tensor {number}"
    n_dimensions = cursor.u32(where)
    if not name or not 1 <= n_dimensions <= MAX_DIMENSIONS:
        raise cursor.fault(where, f"{n_dimensions} dimensions, name {name!r}", f"a name and 1 to {MAX_DIMENSIONS}")
    # GGUF writes the fastest dimension first, NumPy last.
    shape = tuple(cursor.u64(where) for _ in range(n_dimensions))[::-1]
    # No type takes less than 1.6 bits a weight, so a true count stays below 8 a byte.
    if min(shape) == 0 or math.prod(shape) > 8 * cursor.size:
        raise cursor.fault(
            where, f"shape {shape} in a file of {cursor.size} bytes", "dimensions that fit the file", DAMAGED
        )
    return _Info(name, cursor.u32(where), shape, cursor.u64(where))


def _tensors(cursor: Cursor, infos: list[_Info], layout: _Layout, i2_s_order: I2SOrder) -> dict[str, Tensor]:
    """Tensors in the table's order, each checked to lie in the file, aligned, and apart from its neighbours."""
    size = cursor.size - layout.base
    q2_0 = _q2_0_kind(cursor, infos, layout)
    tensors: dict[str, Tensor] = {}
    for info in infos:
        where = f"tensor {shown(info.name)}"
        kind = _kind(cursor, info, i2_s_order, q2_0)
        n_bytes = quants.n_bytes(kind, info.shape)
        if info.name in tensors:
            raise cursor.fault(where, "a name that stands twice", "each tensor once")
        if info.start % layout.alignment:
            raise cursor.fault(where, f"offset {info.start}", f"a multiple of {layout.alignment}")
        if info.start + n_bytes > size:
            raise cursor.fault(
                where, f"{n_bytes} bytes ({kind}, {info.shape}) at {info.start} of {max(size, 0)} bytes of data",
                "them inside the file", DAMAGED,
            )  # fmt: skip
        start = layout.base + info.start
        tensors[info.name] = Tensor(info.name, kind, info.shape, cursor.data[start : start + n_bytes])
    ends = sorted((info.start, info.start + len(tensors[info.name].data), info.name) for info in infos)
    for (_, end, before), (start, _, name) in pairwise(ends):
        if start < end:
            raise cursor.fault(f"tensor {shown(name)}", f"bytes that {shown(before)} has too", "tensors apart")
    return tensors


def _kind(cursor: Cursor, info: _Info, i2_s_order: I2SOrder, q2_0: str) -> str:
    """The tensor's type; raises ModelFileError (not read here, or rows that aren't whole blocks)."""
    where = f"tensor {shown(info.name)}"
    if info.id not in IDS:
        name = OTHER_IDS.get(info.id, "one of no known name")
        raise cursor.fault(
            where, f"type {info.id} ({name})", f"one of {', '.join(IDS.values())}", "convert it to one of these"
        )  # fmt: skip
    kind = IDS[info.id]
    if info.id == I2_S:
        kind = "i2_s_arm" if i2_s_order == "arm" else "i2_s"
    if info.id == Q2_0:
        kind = q2_0
    weights, _ = quants.TYPES[kind]
    if info.shape[-1] % weights:
        raise cursor.fault(where, f"rows of {info.shape[-1]} in {kind}", f"a multiple of {weights}")
    return kind


def _q2_0_kind(cursor: Cursor, infos: list[_Info], layout: _Layout) -> str:
    """q2_0_g64 or q2_0_g128: the one whose sizes fill the room between each such tensor and what follows it.

    llama.cpp's blocks hold 64 weights, those of Ternary-Bonsai's own files 128, under the same id. Raises
    ModelFileError where neither fits, or both (tensors so small that padding hides the difference)."""
    those = [info for info in infos if info.id == Q2_0]
    if not those:
        return ""
    starts = sorted({info.start for info in infos} | {cursor.size - layout.base})
    next_start = dict(pairwise(starts))
    fits = []
    faults = []
    for kind in ("q2_0_g64", "q2_0_g128"):
        for info in those:
            n_bytes = quants.n_bytes(kind, info.shape)
            room = next_start.get(info.start, info.start) - info.start
            whole_rows = info.shape[-1] % quants.TYPES[kind][0] == 0
            if not whole_rows or room not in (n_bytes, layout.room(n_bytes)):
                faults.append((info, room))
                break
        else:
            fits.append(kind)
    if len(fits) == 1:
        return fits[0]
    info, room = faults[0] if faults else (those[0], -1)
    where = f"tensor {shown(info.name)}"
    if fits:
        raise cursor.fault(where, "a size that Q2_0 has with groups of 64 and of 128", "a larger tensor")
    raise cursor.fault(
        where, f"{room} bytes for shape {info.shape} in Q2_0",
        f"{quants.n_bytes('q2_0_g64', info.shape)} (groups of 64) or {quants.n_bytes('q2_0_g128', info.shape)} (128)",
    )  # fmt: skip

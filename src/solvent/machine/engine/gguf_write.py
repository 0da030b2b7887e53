"""Writes a GGUF file, version 3, whole or not at all: beside its place first, then renamed over it.

It writes the tensors' bytes as they are and quantises nothing. llama.cpp loads the result where it knows the types
(I2_S is Microsoft's, Q2_0 with groups of 128 PrismML's). Enter at `write_gguf`.
Source: GGUF specification, version 3; docs/reference/gguf.md.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from solvent.errors import ModelFileError
from solvent.machine.engine.gguf import I2_S, IDS, MAX_NAME_BYTES, Q2_0
from solvent.machine.engine.gguf_values import ARRAY, BOOL, NUMBERS, STRING
from solvent.machine.engine.model_file import Tensor, shown
from solvent.machine.engine.quants import n_bytes

ALIGNMENT = 32
TYPE_IDS = {kind: number for number, kind in IDS.items()} | {"i2_s_arm": I2_S, "q2_0_g64": Q2_0, "q2_0_g128": Q2_0}
NUMBER_IDS = {np.dtype(name).str: number for number, name in NUMBERS.items()}


def write_gguf(path: Path | str, metadata: Mapping[str, Any], tensors: Iterable[Tensor]) -> None:
    """A GGUF file with this metadata and these tensors, in this order.

    metadata: str, bool, int (u32, or the smallest of i32, u64, i64 that holds it), float (f32: rounded), a NumPy
    scalar or one-dimensional array (its own type), or a sequence of str, int or float.
    `general.architecture` must be there.   tensors: of any type but hf_ternary; two of one Q2_0 group size.
    Exactness: open_model gives back the same bytes, and the same metadata up to float32.
    Raises: ModelFileError (what GGUF can't say, or the disk refuses), and then nothing stands at path.
    Source: GGUF specification, version 3"""
    path, tensors = Path(path), list(tensors)
    header = _header(path, metadata, tensors)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            _write(file, header, tensors)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        why = f"can't be written: {error.strerror or error}"
        raise ModelFileError(str(path), why, fix="free space, or name another place") from error
    finally:
        # Also after Ctrl-C; after the rename there is nothing left to remove.
        temporary.unlink(missing_ok=True)


def _write(file: IO[bytes], header: bytes, tensors: Sequence[Tensor]) -> None:
    file.write(header + bytes(-len(header) % ALIGNMENT))
    for tensor in tensors:
        file.write(np.ascontiguousarray(tensor.data).data)
        file.write(bytes(-len(tensor.data) % ALIGNMENT))


def _header(path: Path, metadata: Mapping[str, Any], tensors: Sequence[Tensor]) -> bytes:
    if not isinstance(metadata.get("general.architecture"), str):
        raise ModelFileError(str(path), "no architecture", "metadata general.architecture")
    if metadata.get("general.alignment", ALIGNMENT) != ALIGNMENT:
        raise ModelFileError(f"{path}: metadata general.alignment", "another", f"{ALIGNMENT}, or none")
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names) or len({t.type for t in tensors if t.type.startswith("q2_0")}) > 1:
        raise ModelFileError(str(path), "a name twice, or both group sizes of Q2_0", "names apart and one group size")
    parts = [struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts.append(_text(key) + _value(value, f"{path}: metadata {shown(key)}"))
    start = 0
    for tensor in tensors:
        where = f"{path}: tensor {shown(tensor.name)}"
        if tensor.type not in TYPE_IDS or tensor.scale != 1.0:
            raise ModelFileError(where, f"type {tensor.type}, scale {tensor.scale}", f"one of {', '.join(TYPE_IDS)}")
        if len(tensor.data) != n_bytes(tensor.type, tensor.shape):
            raise ModelFileError(where, f"{len(tensor.data)} bytes", f"{n_bytes(tensor.type, tensor.shape)}")
        if not 0 < len(tensor.name.encode()) <= MAX_NAME_BYTES:
            raise ModelFileError(where, "a long or empty name", f"1 to {MAX_NAME_BYTES} bytes")
        dimensions = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape[::-1])
        parts.append(_text(tensor.name) + dimensions + struct.pack("<IQ", TYPE_IDS[tensor.type], start))
        start += -(-len(tensor.data) // ALIGNMENT) * ALIGNMENT
    return b"".join(parts)


def _text(text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any, where: str) -> bytes:
    """A value behind its type's number."""
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _text(value)
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int | float | np.generic):
        number = _array_of([value] if not isinstance(value, np.generic) else value.reshape(1), where)
        return struct.pack("<I", NUMBER_IDS[number.dtype.str]) + number.tobytes()
    if isinstance(value, Sequence) and all(isinstance(text, str) for text in value):
        texts = [_text(text) for text in value]
        return struct.pack("<IIQ", ARRAY, STRING, len(texts)) + b"".join(texts)
    if isinstance(value, Sequence | np.ndarray):
        numbers = _array_of(value, where)
        return struct.pack("<IIQ", ARRAY, NUMBER_IDS[numbers.dtype.str], len(numbers)) + numbers.tobytes()
    raise ModelFileError(where, f"a {type(value).__name__}", "text, numbers, or a list of one of them")


def _array_of(values: Any, where: str) -> np.ndarray[Any, Any]:
    """Numbers as an array of a type that GGUF has; whole numbers of Python as the first type that holds them all."""
    try:
        array = np.asarray(values)
        if not isinstance(values, np.ndarray) and array.dtype.kind in "iuf":
            array = np.array(values, _smallest(values) if array.dtype.kind in "iu" else "<f4")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    except (ValueError, TypeError, OverflowError) as error:
        raise ModelFileError(where, str(error), "numbers of one kind") from error
    if array.dtype.str not in NUMBER_IDS or array.ndim != 1:
        raise ModelFileError(where, f"an array of {array.dtype}, {array.ndim} dimensions", "one dimension of numbers")
    return array


def _smallest(values: Sequence[int]) -> str:
    for kind in ("<u4", "<i4", "<u8"):
        if np.iinfo(kind).min <= min(values) and max(values) <= np.iinfo(kind).max:
            return kind
    return "<i8"

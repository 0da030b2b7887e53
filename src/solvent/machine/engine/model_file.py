"""What every reader of model files returns: named tensors over the mapped bytes, and metadata under GGUF's keys.

Enter at `open_model`. Whatever the file, tensors and metadata carry GGUF's names, so that what stands above knows
one vocabulary. It doesn't judge whether the tensors make a model (models/<family>.py does), and it reads no weight:
the bytes stay in the file until somebody touches them. A file that another program truncates while it is mapped
kills the process (SIGBUS); no reader that maps can prevent that.
Source: docs/reference/gguf.md.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from solvent.errors import ModelFileError

I2SOrder = Literal["x86", "arm"]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One tensor as it lies in the file.

    name: GGUF's, whatever the file.   type: a key of `quants.TYPES`.
    shape: NumPy order, (M rows, K columns) or (K,).
    data: uint8, 1-D, read-only, exactly the tensor's bytes (I2_S with the scale that trails it).
    scale: multiplies the weights; 1 but for hf_ternary."""

    name: str
    type: str
    shape: tuple[int, ...]
    data: Bytes
    scale: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class ModelFile:
    """A model file, open: metadata under GGUF's keys, tensors by name.

    Metadata values: str, int, float, bool; arrays of numbers are read-only NumPy arrays, arrays of strings are
    sequences of str. `solvent.rope_pairs` says which elements rotate together: "adjacent" (2i, 2i+1) or "halves"
    (i, i + d/2)."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


class MappedFile(mmap.mmap):
    """A file's bytes, mapped, and a descriptor of the file, which single rows can be read by.

    To touch a mapping makes 64 KiB around that place resident; to read doesn't."""

    descriptor = -1

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Kept as a default: when the interpreter ends, os may be gone before a model is.
        if self.descriptor >= 0:
            close(self.descriptor)


def open_model(path: Path | str, *, i2_s_order: I2SOrder = "x86") -> ModelFile:
    """The model at path: a .gguf, a directory of safetensors with config.json, or a llama2.c .bin.

    i2_s_order: which of the two byte orders an I2_S tensor has; the file doesn't say (Microsoft's x86 and ARM
    builds write different ones under one id).
    Raises: ModelFileError (missing, unreadable, malformed, or of a type that isn't read), naming tensor or key.
    Source: docs/reference/gguf.md"""
    path = Path(path)
    if path.is_dir():
        from solvent.machine.engine.safetensors_file import open_safetensors

        return open_safetensors(path)
    data = map_file(path)
    if bytes(data[:4]) == b"GGUF":
        from solvent.machine.engine.gguf import read_gguf

        return read_gguf(path, data, i2_s_order)
    if path.suffix == ".safetensors":
        from solvent.machine.engine.safetensors_file import open_safetensors

        return open_safetensors(path.parent)
    if path.suffix == ".bin":
        from solvent.machine.engine.llama2c import read_llama2c

        return read_llama2c(path, data)
    raise ModelFileError(
        str(path),
        f"a file that starts with {bytes(data[:4])!r}",
        "GGUF, a directory of safetensors with config.json, or a llama2.c .bin",
    )


def map_file(path: Path) -> Bytes:
    """The file's bytes, mapped read-only: (size,) uint8.

    Raises: ModelFileError (missing, unreadable, empty, or no regular file)."""
    try:
        # Before it is opened: to open a pipe waits for somebody who writes into it.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(str(path), "no regular file", "a model file")
        if status.st_size == 0:
            raise ModelFileError(str(path), "an empty file", "a model file", "download it again")
        with path.open("rb") as file:
            mapped = MappedFile(file.fileno(), 0, access=mmap.ACCESS_READ)
            mapped.descriptor = os.dup(file.fileno())
            return np.frombuffer(mapped, np.uint8)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ModelFileError(str(path), why, "a readable model file") from error


def give_back(file: ModelFile) -> None:
    """Lets go of the memory of mapped bytes that were read, and of those that came along; they come again if needed."""
    for mapped in {id(one): one for one in map(_mapping, (t.data for t in file.tensors.values())) if one}.values():
        if hasattr(mapped, "madvise"):
            mapped.madvise(mmap.MADV_DONTNEED)


def place(data: Bytes) -> tuple[int, int] | None:
    """Where bytes lie in their mapped file: a descriptor of it and the offset; None for bytes of another origin."""
    base = _mapping(data)
    if base is None or base.descriptor < 0:
        return None
    return base.descriptor, data.ctypes.data - np.frombuffer(base, np.uint8).ctypes.data


def _mapping(data: Bytes) -> MappedFile | None:
    base: Any = data
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    return base if isinstance(base, MappedFile) else None


def shown(name: str) -> str:
    """A name out of a file, short enough for a line."""
    return name if len(name) <= 96 else f"{name[:80]}… ({len(name)} characters)"

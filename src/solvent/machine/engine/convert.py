"""A model in another number format, as GGUF: tensor by tensor, whole or not at all, metadata and tokeniser kept.

The linear layers of the blocks take the new type; embedding and head take one of their own, since they carry most of
what rounding would lose; norms and biases are float32, as llama.cpp wants them. A tensor's bytes are made when the
writer asks for them, so one tensor is in memory at a time. The result is measured against the original before it
takes its place, and one that is no longer the model is not written unless it is forced.
Enter at `convert_file`. Source: docs/how-to/convert-a-model.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError, ModelFileError
from solvent.machine.engine import models
from solvent.machine.engine.config import Config
from solvent.machine.engine.damage import Damage, check_room_to_measure, measure_damage, tokens_to_measure
from solvent.machine.engine.gguf import ROPE_PAIRS
from solvent.machine.engine.gguf_write import write_gguf
from solvent.machine.engine.model_file import Bytes, ModelFile, Tensor, give_back, open_model, shown
from solvent.machine.engine.quantise import quantise
from solvent.machine.engine.quants import F32, TYPES, dequantise, n_bytes
from solvent.machine.ternary.rounding import absmean, is_ternary, round_to_ternary

TERNARY = ("tq2_0", "tq1_0")
TARGETS = (*TERNARY, "q4_0", "q4_1", "q8_0", "f16")
HEADS = ("q4_0", "q4_1", "q8_0", "f16")
HEAD_NAMES = ("token_embd.weight", "output.weight")
FLOATS = ("f32", "f16", "bf16")
# llama.cpp's number for a file of mostly one type (enum llama_ftype).
FILE_TYPES = {"f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "tq1_0": 36, "tq2_0": 37}
# Keys that describe the old file and not the model.
DROPPED_KEYS = ("general.alignment", "general.file_type", "solvent.rope_pairs")
# Weights widened to float32 at once, but for the formats whose rows aren't whole by themselves.
PART_WEIGHTS = 1 << 22
WHOLE_ONLY = ("i2_s", "i2_s_arm", "hf_ternary")

Tell = Callable[[str, float | None], None]
Order = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Request:
    """kind: one of TARGETS, for the blocks' linear layers.   head: one of HEADS, for embedding and head; None keeps
    what isn't float there, and takes q8_0 (f16 with f16) for what is.   text: to measure the damage on; "" leaves it
    unknown.   force: write even what is no longer the model.   overwrite: replace a file that is there."""

    kind: str
    head: str | None = None
    text: str = ""
    force: bool = False
    overwrite: bool = False


@dataclass(slots=True)
class Conversion:
    """What was written. heads: types of embedding and head.   damage: None where there was no text to measure it on.
    roundings: ternary tensors by how they came about: "kept" (they were ternary), "absmean" (BitNet's rounding, part
    of its training), "absmax" (llama.cpp's, for weights that no training prepared for it)."""

    kind: str
    heads: tuple[str, ...]
    bytes_before: int
    bytes_after: int
    roundings: dict[str, int] = field(default_factory=dict)
    damage: Damage | None = None

    def document(self) -> dict[str, Any]:
        """As JSON; damage null where it wasn't measured."""
        damage = self.damage.document() if self.damage else None
        return {**asdict(self), "heads": list(self.heads), "damage": damage}


def convert_file(source: Path, out: Path, request: Request, tell: Tell | None = None) -> Conversion:
    """Converts the model at source, measures what that did to it, and puts the result at out.

    tell: called with what is being done and the share that is done.
    Raises: ModelFileError (a source that can't be read or run, rows that the type can't hold, a disk that refuses);
    EngineError (out is there, is no file or is the source; no memory to measure in, or no text that the vocabulary can
    express; the result is no longer the model and wasn't forced). Then nothing new stands at out.
    Source: docs/how-to/convert-a-model.md"""
    tell = tell or (lambda what, share: None)
    file = open_model(source)
    if out.exists():
        if out.resolve() == source.resolve() or source.resolve() in out.resolve().parents:
            raise EngineError(str(out), "the model itself", "another file", "name another place for the result")
        if not out.is_file():
            found = "a folder" if out.is_dir() else "no regular file"
            raise EngineError(str(out), found, "a file to write", "name another place for the result")
        if not request.overwrite:
            raise EngineError(str(out), "a file that is there", "a new one", "name another, or --overwrite it")
    if request.text:  # before minutes of work; with the result beside it that is asked again
        check_room_to_measure(file)
        tokens_to_measure(file, request.text)
    try:
        folder = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.")
    except OSError as error:
        raise ModelFileError(str(out), f"can't be written: {error.strerror}", fix="name another place") from None
    with folder as name:
        written = Path(name) / out.name
        try:
            conversion = convert(file, written, request, tell)
            if request.text:
                tell("measuring", None)
                conversion.damage = measure_damage(file, open_model(written), request.text)
            if not request.force:
                _refuse_ruin(out, conversion)
            written.replace(out)
        except ModelFileError as error:
            where = error.where.replace(str(written), str(out))
            raise ModelFileError(where, error.found, error.expected, error.fix) from error
        except OSError as error:
            raise ModelFileError(str(out), f"can't be written: {error.strerror}", fix="name another place") from error
    return conversion


def _refuse_ruin(out: Path, conversion: Conversion) -> None:
    """Raises EngineError where the result is known not to be the model any more, or is likely not to be and unknown."""
    damage, fix = conversion.damage, "a type of more bits, or --force to write it anyway"
    if damage is None:
        if "absmax" in conversion.roundings:
            raise EngineError(
                str(out), "weights rounded to ternary that weren't trained for it, and the damage not measured",
                "a text to measure it on", fix,
            )  # fmt: skip
    elif damage.is_ruin:
        raise EngineError(str(out), f"not written: {damage.sentence()}", "a result that is still the model", fix)


def convert(file: ModelFile, out: Path, request: Request, tell: Tell) -> Conversion:
    """Writes the model with the linear layers of its blocks in another type, unmeasured.

    Exactness: a tensor that has its type already keeps its bytes; others are widened to float32 and rounded once.
    Ternary types: weights that are ternary keep their codes; in a BitNet others are rounded by the mean magnitude of
    their tensor, as in its training; elsewhere by the largest of each 256, as llama.cpp does.
    Raises: ModelFileError (rows that the type can't hold, a weight that isn't finite, a disk that refuses), and then
    nothing stands at out."""
    config = models.config(file)
    orders = _row_orders(file, config)
    conversion = Conversion(request.kind, (), 0, 0)
    tensors: list[Tensor] = []
    for number, tensor in enumerate(file.tensors.values()):
        target = _target(tensor, request)
        if tensor.shape[-1] % TYPES[target][0]:
            raise ModelFileError(
                f"tensor {shown(tensor.name)}", f"rows of {tensor.shape[-1]}",
                f"a multiple of {TYPES[target][0]} for {target}", "choose another type",
            )  # fmt: skip
        work = _Work(tensor, target, orders.get(_within_block(tensor.name)), config.family.startswith("bitnet"))

        def make(work: _Work = work, share: float = number / len(file.tensors)) -> Bytes:
            tell(f"converting {work.tensor.name}", share)
            give_back(file)  # what was mapped for the tensors before
            return work.data(conversion.roundings)

        data = cast(Bytes, _Pending(n_bytes(target, tensor.shape), make))
        tensors.append(Tensor(tensor.name, target, tensor.shape, data))
    write_gguf(out, _metadata(file, request.kind), tensors)
    conversion.heads = tuple(sorted({tensor.type for tensor in tensors if tensor.name in HEAD_NAMES}))
    conversion.bytes_before, conversion.bytes_after = _size(file.tensors.values()), _size(tensors)
    return conversion


class _Pending:
    """The bytes of a tensor that is still to be converted: made when the writer asks, so one is in memory at a time."""

    def __init__(self, size: int, make: Callable[[], Bytes]) -> None:
        self._size, self._make = size, make

    def __len__(self) -> int:
        return self._size

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Bytes:
        data = self._make()
        assert len(data) == self._size, f"{len(data)} bytes, {self._size} announced"
        return data


@dataclass(frozen=True, slots=True)
class _Work:
    """One tensor to convert. order: its rows in the order in which they are wanted, None for as they are."""

    tensor: Tensor
    target: str
    order: Order | None
    bitnet: bool

    def data(self, roundings: dict[str, int]) -> Bytes:
        tensor, target = self.tensor, self.target
        if tensor.type == target:
            if not all(np.isfinite(part).all() for part in self._parts()):
                raise ModelFileError(f"tensor {shown(tensor.name)}", "a weight that isn't finite", "finite weights")
            return tensor.data if self.order is None else _rows(tensor, self.order).reshape(-1)
        scale = None
        if target in TERNARY:
            how = self._rounding()
            roundings[how] = roundings.get(how, 0) + 1
            scale = absmean(self._parts()) if how == "absmean" else None
        parts = self._parts() if scale is None else (round_to_ternary(part, scale) for part in self._parts())
        return np.concatenate([quantise(part, target, tensor.name) for part in parts])

    def _rounding(self) -> str:
        if all(is_ternary(part) for part in self._parts()):
            return "kept"
        return "absmean" if self.bitnet else "absmax"

    def _parts(self) -> Iterator[F32]:
        """The weights in float32, some rows at a time."""
        tensor = self.tensor
        if len(tensor.shape) == 1 or tensor.type in WHOLE_ONLY:
            weights = dequantise(tensor)
            yield weights if self.order is None else weights[self.order]
            return
        n_rows, n_columns = tensor.shape
        step = max(1, PART_WEIGHTS // n_columns)
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            wanted = slice(start, stop) if self.order is None else self.order[start:stop]
            rows = _rows(tensor, wanted)
            yield dequantise(Tensor(tensor.name, tensor.type, (stop - start, n_columns), rows.reshape(-1)))


def _rows(tensor: Tensor, wanted: slice | Order) -> Bytes:
    """Bytes of some rows of a tensor: (rows, bytes per row)."""
    rows: Bytes = tensor.data.reshape(tensor.shape[0], -1)[wanted]
    return rows


def _target(tensor: Tensor, request: Request) -> str:
    """The type that a tensor takes."""
    if len(tensor.shape) == 1:
        return "f32"
    if tensor.name not in HEAD_NAMES:
        return request.kind
    if request.head is not None:
        return request.head
    if request.kind == "f16":
        return "f16"
    return "q8_0" if tensor.type in FLOATS else tensor.type


def _within_block(name: str) -> str:
    """blk.7.attn_q.weight → attn_q"""
    parts = name.split(".")
    return parts[2] if len(parts) == 4 and parts[0] == "blk" else ""


def _row_orders(file: ModelFile, config: Config) -> dict[str, Order]:
    """Rows of queries and keys in the order that the architecture's name implies in GGUF, where the file has another.

    RoPE turns rows of a head in pairs; Hugging Face's Llama pairs i with i + d/2, GGUF's 2i with 2i + 1."""
    usual = ROPE_PAIRS.get(str(file.metadata.get("general.architecture")), config.rope_pairs)
    if usual == config.rope_pairs:
        return {}
    by_pair = np.arange(config.head_size).reshape(2, -1).T.reshape(-1)
    within = by_pair if usual == "adjacent" else np.argsort(by_pair)

    def of(n_heads: int) -> Order:
        return (np.arange(n_heads)[:, None] * config.head_size + within).reshape(-1)

    one, kv = of(1), of(config.n_kv_heads)
    return {"attn_q": of(config.n_heads), "attn_k": kv, "attn_q_norm": one, "attn_k_norm": one}


def _metadata(file: ModelFile, kind: str) -> dict[str, Any]:
    kept = {k: v for k, v in file.metadata.items() if k not in DROPPED_KEYS and not k.startswith("split.")}
    if file.metadata.get("general.architecture") not in ROPE_PAIRS and "solvent.rope_pairs" in file.metadata:
        kept["solvent.rope_pairs"] = file.metadata["solvent.rope_pairs"]
    return {**kept, "general.file_type": FILE_TYPES[kind], "general.quantization_version": 2}


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(len(tensor.data) for tensor in tensors)

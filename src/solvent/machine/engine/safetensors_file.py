"""Reads a directory of Hugging Face's: safetensors (in shards or whole), config.json, and the tokeniser's files.

The header is parsed and checked here, nothing in it is believed, and the weights stay in the mapped files. Names and
configuration become GGUF's (hf_config.py), the tokeniser too (hf_tokeniser.py). Packed ternary weights carry a scale
that two kinds of layer read in opposite ways; `_ternary` decides.
Enter at `open_safetensors`. Source: the safetensors format description; transformers integrations/bitnet.py;
docs/reference/ternary-format.md.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from solvent.errors import ModelFileError
from solvent.machine.engine.hf_config import gguf_name, metadata_of, rope_factors
from solvent.machine.engine.hf_tokeniser import tokeniser_metadata
from solvent.machine.engine.json_file import Fields, parse_object, read_json
from solvent.machine.engine.model_file import Bytes, ModelFile, Tensor, map_file, shown
from solvent.machine.engine.quants import F32, dequantise

MAX_TENSORS = 65_536
# 500 for each of so many tensors. The format's own bound is 100 MB, which as objects of Python take 2 GB.
MAX_HEADER_BYTES = 1 << 25
# safetensors' types → ours and bytes per element. U8 is only read as four ternary weights.
FLOATS = {"F32": ("f32", 4), "F16": ("f16", 2), "BF16": ("bf16", 2)}
SIZES = {name: size for name, (_, size) in FLOATS.items()} | {
    "U8": 1, "I8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8,
    "U64": 8, "F64": 8,
}  # fmt: skip
# A scale that multiplies is mean |W| of the weights trained, and never below 1e-5, where transformers clamps it. One
# that was stored to divide is the inverse; with a mean below 0.1 it is above 10, and so shows that it is read wrongly.
SCALE_RANGE = (1e-5, 10.0)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One tensor of one file, under its own name."""

    where: str
    type: str
    shape: tuple[int, ...]
    data: Bytes


def open_safetensors(directory: Path) -> ModelFile:
    """The model in a directory with config.json and *.safetensors.

    Exactness: no weight is copied or changed; rope_freqs.weight is computed where Llama 3's configuration asks.
    Raises: ModelFileError, naming file, key or tensor.   Source: docs/reference/ternary-format.md"""
    if not (directory / "config.json").exists():
        expected = "config.json and safetensors in it, or the path of a .gguf or .bin"
        raise ModelFileError(str(directory), "a folder without config.json", expected)
    config = read_json(directory / "config.json")
    metadata = metadata_of(config)
    entries: dict[str, _Entry] = {}
    for path in _files(directory):
        for name, entry in read_header(path, map_file(path)).items():
            if name in entries:
                raise ModelFileError(entry.where, "a tensor that another file holds too", "each tensor once")
            entries[name] = entry
    _check_index(directory, entries)
    tensors = _translated(entries, config)
    factors = rope_factors(config)
    if factors is not None:
        factors.setflags(write=False)
        tensors["rope_freqs.weight"] = Tensor("rope_freqs.weight", "f32", factors.shape, factors.view(np.uint8))
    embedding = tensors.get("token_embd.weight")
    if embedding is not None:
        metadata |= tokeniser_metadata(directory, config, embedding.shape[0])
    return ModelFile(directory, metadata, tensors)


def _files(directory: Path) -> list[Path]:
    """The shards that the index names, or the one file there is."""
    index = directory / "model.safetensors.index.json"
    if index.exists():
        names = {str(name): name for name in read_json(index).fields("weight_map").values.values()}.values()
        for name in names:
            if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
                raise ModelFileError(f"{index}: weight_map", repr(name)[:60], "names of .safetensors files beside it")
        return [directory / name for name in sorted(names)]
    found = sorted(directory.glob("*.safetensors"))
    if len(found) != 1:
        fix = "keep one" if found else "convert the model to safetensors"
        raise ModelFileError(str(directory), f"{len(found)} .safetensors files and no index", "one, or an index", fix)
    return found


def _check_index(directory: Path, entries: dict[str, _Entry]) -> None:
    index = directory / "model.safetensors.index.json"
    listed = read_json(index).fields("weight_map").values if index.exists() else {}
    missing = [name for name in listed if name not in entries]
    if missing:
        found = f"in no file ({len(missing)} such)"
        raise ModelFileError(f"{index}: tensor {shown(missing[0])}", found, "it in a shard", "download it again")


def read_header(path: Path, data: Bytes) -> dict[str, _Entry]:
    """The tensors of one mapped safetensors file.

    8 bytes of header length, the header in JSON, then the data, which the tensors must fill without gap or overlap.
    Raises: ModelFileError (counts, sizes, offsets or types that contradict each other or the file).
    Source: the safetensors format description"""
    length = struct.unpack("<Q", bytes(data[:8]))[0] if len(data) >= 8 else 0
    if not 2 <= length <= min(MAX_HEADER_BYTES, len(data) - 8):
        found = f"{length} bytes in a file of {len(data)}"
        raise ModelFileError(f"{path}: header", found, "a header inside the file", "download it again")
    header = parse_object(bytes(data[8 : 8 + length]), f"{path}: header")
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise ModelFileError(f"{path}: header", f"{len(header)} tensors", f"at most {MAX_TENSORS}")
    body = data[8 + length :]
    entries: dict[str, _Entry] = {}
    spans: list[tuple[int, int, str]] = []
    for name, value in header.items():
        where = f"{path}: tensor {shown(name)}"
        start, end, entry = _entry(where, value, body)
        entries[name] = entry
        spans.append((start, end, where))
    at = 0
    for start, end, where in sorted(spans):
        if start != at:
            raise ModelFileError(where, f"offset {start}", f"{at}, where the tensor before it ends")
        at = end
    if at != len(body):
        raise ModelFileError(str(path), f"{len(body)} bytes of data", f"{at}, as the header says", "download it again")
    return entries


def _entry(where: str, value: Any, body: Bytes) -> tuple[int, int, _Entry]:
    """Where a tensor starts and ends in the data, and itself; the claim checked against the data's size."""
    expected = "dtype, shape of up to 4 and data_offsets of two whole numbers"
    if not isinstance(value, dict):
        raise ModelFileError(where, f"a JSON {type(value).__name__}", expected)
    claim: dict[str, Any] = value
    kind, shape, offsets = (claim.get(key, ()) for key in ("dtype", "shape", "data_offsets"))
    lists = isinstance(shape, list) and isinstance(offsets, list) and len(shape) <= 4
    known = isinstance(kind, str) and kind in SIZES
    if not known or not lists or not all(type(n) is int and 0 <= n < 1 << 63 for n in [*shape, *offsets]):
        raise ModelFileError(where, repr(value)[:100], expected, f"types known: {', '.join(SIZES)}")
    if len(offsets) != 2 or offsets[0] > offsets[1] or offsets[1] > len(body):
        raise ModelFileError(where, f"data_offsets {offsets}", f"a span inside {len(body)} bytes", "download it again")
    size = math.prod(shape) * SIZES[kind]
    if offsets[1] - offsets[0] != size or size == 0:
        found = f"{offsets[1] - offsets[0]} bytes for shape {shape} in {kind}"
        raise ModelFileError(where, found, f"{size}, and more than none")
    start, end = offsets
    return start, end, _Entry(where, kind, tuple(shape), body[start:end])


def _translated(entries: dict[str, _Entry], config: Fields) -> dict[str, Tensor]:
    """Tensors under GGUF's names; a tied head that is stored all the same is left out."""
    tensors: dict[str, Tensor] = {}
    for own_name, entry in entries.items():
        name = gguf_name(own_name, entry.where.rsplit(": tensor ", 1)[0])
        if name is None or name.endswith("weight_scale") or (name == "output.weight" and _tied(config)):
            continue
        if entry.type == "U8":
            tensor = _ternary(name, entry, entries.get(f"{own_name}_scale"), config)
        elif entry.type in FLOATS and entry.shape:
            tensor = Tensor(name, FLOATS[entry.type][0], entry.shape, entry.data)
        else:
            raise ModelFileError(entry.where, f"{entry.type} of shape {entry.shape}", f"one of {', '.join(FLOATS)}, U8")
        if name in tensors:
            raise ModelFileError(entry.where, f"a second {name}", "each tensor once")
        tensors[name] = tensor
    _check_ternary(tensors, config)
    return tensors


def _tied(config: Fields) -> bool:
    # transformers' default for Llama and BitNet is untied; a file without the tensor is tied all the same.
    return config.flag("tie_word_embeddings")


def _ternary(name: str, entry: _Entry, scale: _Entry | None, config: Fields) -> Tensor:
    """Four rows of ternary weights in each row of bytes, and the scale as something to multiply by.

    `AutoBitLinear` multiplies by weight_scale (it holds mean |W|), `BitLinear` divides by it (it holds the inverse);
    the layer is named in quantization_config.linear_class, and BitLinear is the default.
    Raises: ModelFileError (no scale, no such layer, or a magnitude that only the other reading explains)."""
    quantised = config.fields("quantization_config")
    if quantised.text("quant_method", "") != "bitnet":
        raise quantised.fault("quant_method", '"bitnet", since there are packed weights')
    layer = quantised.text("linear_class", "bitlinear")
    if layer not in ("bitlinear", "autobitlinear"):
        raise quantised.fault("linear_class", '"bitlinear" or "autobitlinear"')
    if len(entry.shape) != 2:
        raise ModelFileError(entry.where, f"shape {entry.shape} in U8", "(rows / 4, columns)")
    if scale is None or scale.type not in FLOATS or math.prod(scale.shape) != 1:
        raise ModelFileError(f"{entry.where}_scale", "missing, or no single float", "the scale of these packed weights")
    stored = float(_floats(scale)[0])
    factor = stored if layer == "autobitlinear" else 1 / stored if stored else math.inf
    if not SCALE_RANGE[0] <= factor <= SCALE_RANGE[1]:
        raise ModelFileError(
            scale.where, f"{stored:g}, so weights of ±{factor:g} under linear_class {layer}",
            f"weights of {SCALE_RANGE[0]:g} to {SCALE_RANGE[1]:g}",
            "check linear_class in config.json: bitlinear divides by the scale, autobitlinear multiplies",
        )  # fmt: skip
    return Tensor(name, "hf_ternary", (4 * entry.shape[0], entry.shape[1]), entry.data, factor)


def _floats(entry: _Entry) -> F32:
    size = math.prod(entry.shape)
    return dequantise(Tensor("", FLOATS[entry.type][0], (size,), entry.data))


def _check_ternary(tensors: dict[str, Tensor], config: Fields) -> None:
    """A BitNet whose weights are the trainer's master copy would run as another model: its rounding is missing."""
    quantised = config.fields("quantization_config")
    online = quantised.text("quantization_mode", "offline") == "online" or config.values.get("weight_bits") == 1
    method = quantised.text("quant_method", "bitnet")
    if method != "bitnet":
        raise quantised.fault("quant_method", '"bitnet", or no quantisation', "use the unquantised files, or a GGUF")
    if online and not any(tensor.type == "hf_ternary" for tensor in tensors.values()):
        raise ModelFileError(
            config.where, "a master copy, to be made ternary at every start", "packed ternary weights",
            "use the packed files of this model, or a GGUF in I2_S",
        )  # fmt: skip

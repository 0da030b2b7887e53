"""The native model: weights packed for the kernels, sequences, and the step from tokens to logits.

One step runs in native code from the embedding to the logits, without the interpreter lock. Threads of Python may
share a model, each with its own sequence; steps then take turns.
What it doesn't do: tokens to text (tokeniser.py), choosing tokens (sample.py).
Enter at `Model`. The step itself: native/step.cpp; the layouts: docs/reference/weight-panels.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Items
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError, ModelFileError
from solvent.machine import native
from solvent.machine.engine.config import LINEARS, Config, tensor_shapes
from solvent.machine.engine.head import BITS, FLOATS, head_tensor, head_used
from solvent.machine.engine.memory import check_room
from solvent.machine.engine.model_file import ModelFile, Tensor, give_back, place
from solvent.machine.engine.precision import Activations, Precision, PrecisionOptions
from solvent.machine.engine.quants import dequantise
from solvent.machine.engine.sample import is_whole
from solvent.machine.turboquant.cache_format import CacheFormat, parse
from solvent.machine.turboquant.native_cache import check_format, native_format

if TYPE_CHECKING:
    from solvent.machine import _native

Logits = Literal["last", "all", "none"]
Floats = NDArray[np.float32]


class Sequence:
    """The tokens that a model has seen in one text: their keys and values, up to `context` tokens."""

    def __init__(self, model: Model, native_sequence: _native.Sequence, cache: CacheFormat) -> None:
        self.model = model
        self.native = native_sequence
        self.cache = cache

    @property
    def n_tokens(self) -> int:
        """Tokens in the cache."""
        return self.native.n_tokens

    @property
    def context(self) -> int:
        """Tokens that fit."""
        return self.native.context

    @property
    def n_bytes(self) -> int:
        """Bytes that keys and values take, everything counted; what other sequences share with it too."""
        return int(self.native.n_bytes)

    @property
    def coded_tok(self) -> int:
        """Where a tail is kept in full precision: tokens from here on are in it; else those of all chunks."""
        return int(self.native.coded_tok)

    def fork(self) -> Sequence:
        """Another sequence with the same tokens. Full chunks of 256 tokens are shared, the last is copied."""
        return Sequence(self.model, self.native.fork(), self.cache)

    def truncate(self, n_tokens: int) -> None:
        """Forgets all but the first n_tokens; what left the tail stays in codes.   Raises: EngineError (more than
        there are)"""
        if not 0 <= n_tokens <= self.n_tokens:
            raise EngineError("truncate", f"{n_tokens} tokens", f"0 to {self.n_tokens}, those in the sequence")
        self.native.truncate(n_tokens)


class Model:
    """A model file ready to run.

    threads: None takes one for each core that this process may use.   kernel: None takes SOLVENT_KERNEL, else the
    best of this CPU.   head: "screened" finds greedy tokens by 3-bit codes of the head and exact rescoring of the
    rows that may win, with the same result as "whole"; "8-bit" and "6-bit" round it: see head.py. `head` says what
    came of it.   activations: "int16" rounds vectors to sixteen bits before weights in blocks: see precision.py.
    cache: what sequences keep keys and values as, a format or its name (f16, tq4, tq4-3+sinks256, …).
    Exactness: results are equal bit for bit whatever the kernel, the threads, and the tokens that run together,
    but for attention, whose sums are split otherwise where more than a few tokens run together.
    Raises: KernelError (no native kernels, or not the one asked for); ModelFileError (a tensor that can't be packed);
    EngineError (a head, activations or a cache format that aren't, or not for this model)"""

    def __init__(
        self,
        file: ModelFile,
        config: Config,
        *,
        threads: int | None = None,
        kernel: str | None = None,
        cache: CacheFormat | str = "f16",
        **precision: Unpack[PrecisionOptions],
    ) -> None:
        asked = Precision(**precision)
        asked.check(config, file.path.name)
        self.config = config
        self.file = file
        self.kernel = native.kernel(kernel)
        self.cache = _cache_format(cache, config)
        self.threads = threads or _n_cores()
        extension = native.extension()
        self.native = extension.Decoder(_native_config(config, asked), self.kernel, self.threads)
        head_name = head_tensor(config)
        self.head = head_used(asked.head, file.tensors[head_name].type, config)
        # The table of embeddings is read by rows, and the head is packed when it is first multiplied.
        lazy = {"token_embd.weight", head_name}
        parts = {name: self._part(file.tensors[name], name in lazy) for name in tensor_shapes(config)}
        self.matrices = {name: part for name, part in parts.items() if not isinstance(part, np.ndarray)}
        self.head_matrix = self.matrices[head_name]
        if self.head in BITS:
            self.head_matrix = parts["output.weight"] = self._rounded(head_name)
        for layer in range(config.n_layers):
            prefix = f"blk.{layer}."
            self.native.set_layer(
                layer, {name.removeprefix(prefix): part for name, part in parts.items() if name.startswith(prefix)}
            )
        self.activations: Activations = asked.activations if any(map(self.takes_blocks, self.matrices)) else "int8"
        ends = {name: part for name, part in parts.items() if not name.startswith("blk.")}
        self.native.set_ends(ends, _rope_frequency(config, file), self.head == "screened")
        give_back(file)

    def takes_blocks(self, name: str) -> bool:
        """Whether vectors are rounded by blocks before the matrix of that name: its weights are in blocks, or a head
        of floats that was rounded."""
        head = head_tensor(self.config)
        is_multiplied = name == head or name.startswith("blk.")
        in_blocks = self.file.tensors[name].type not in FLOATS or (self.head in BITS and name == head)
        return is_multiplied and in_blocks and not self.config.int8_per_token

    def new_sequence(self, context: int | None = None, cache: CacheFormat | str | None = None) -> Sequence:
        """An empty sequence; context: tokens that it may hold, None for the model's own.   cache: as for the model;
        None takes the model's.

        Raises: EngineError (more than the model was made for; a cache format that isn't, or not for this model)"""
        context = self.config.context if context is None else context
        if not 0 < context <= self.config.context:
            raise EngineError("context", str(context), f"1 to {self.config.context}, the model's")
        format = self.cache if cache is None else _cache_format(cache, self.config)
        made = native_format(format, self.config.n_layers, self.config.head_size)
        return Sequence(self, self.native.new_sequence(context, made), format)

    @cached_property
    def fingerprint(self) -> str:
        """BLAKE2b of all tensors, names, types and shapes included, and of activations that aren't int8: what a saved
        cache is checked against."""
        import hashlib  # OpenSSL comes with it: 3 MB

        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.file.tensors.items()):
            digest.update(f"{name} {tensor.type} {tensor.shape} {tensor.scale!r}\n".encode())
            digest.update(tensor.data.data)
        if self.activations != "int8":
            digest.update(self.activations.encode())
        return digest.hexdigest()

    def extend(self, sequence: Sequence, tokens: Iterable[int], logits: Logits = "last") -> Floats:
        """Appends tokens and gives logits: (n_vocab,) of the last, (T, n_vocab) of all, or (0, n_vocab).

        Raises: EngineError (no token, a token outside the vocabulary, a full context; keys or values that are no
        numbers and can't be codes; no memory left)"""
        ids = self._checked(tokens)
        self._check_room(sequence, len(ids))
        n_logits = {"last": 1, "all": len(ids), "none": 0}[logits]
        if n_logits:
            self._check_head()
        found: Floats = _step(self.native.extend, sequence.native, ids, n_logits)
        return found[0] if logits == "last" else found

    def decode(self, sequences: Items[Sequence], tokens: Iterable[int]) -> Floats:
        """Appends one token to each sequence: logits (B, n_vocab).

        Raises: EngineError (as extend; other than one token each; a sequence that occurs twice)"""
        ids = self._checked(tokens)
        if len(ids) != len(sequences) or len({id(one) for one in sequences}) != len(sequences):
            raise EngineError("decode", f"{len(ids)} tokens for {len(sequences)} sequences", "one for each, none twice")
        for sequence in sequences:
            self._check_room(sequence, 1)
        self._check_head()
        found: Floats = _step(self.native.decode, [one.native for one in sequences], ids)
        return found

    def greedy(self, sequence: Sequence, tokens: int | Iterable[int]) -> int:
        """Appends a token, or several, and gives the likeliest next one: argmax of what extend would give, the first
        of equals.

        Raises: EngineError (as extend; logits that are no numbers: the largest isn't finite, or one is NaN)"""
        ids = self._checked([tokens] if isinstance(tokens, int | np.integer) else tokens)
        self._check_room(sequence, len(ids))
        found = int(_step(self.native.greedy, sequence.native, ids))
        if found < 0:
            raise EngineError("logits", "not finite", "numbers", "the model's weights are damaged or overflow")
        return found

    def _checked(self, tokens: Iterable[int]) -> NDArray[np.int32]:
        try:
            ids = np.asarray(tokens if isinstance(tokens, np.ndarray) else list(tokens))
        except ValueError:  # lists of different lengths
            raise EngineError("tokens", "lists in a list", "at least one token in a row") from None
        if ids.ndim != 1 or not len(ids):
            raise EngineError("tokens", f"an array of shape {ids.shape}", "at least one token in a row")
        most = self.config.n_vocab - 1
        suspects = ids[(ids < 0) | (ids > most)] if ids.dtype.kind in "iu" else ids
        wrong = [token for token in suspects.tolist() if not is_whole(token, 0, most)]
        if wrong:
            raise EngineError("tokens", repr(wrong[0])[:40], f"0 to {most}, the vocabulary")
        return ids.astype(np.int32)

    def _check_room(self, sequence: Sequence, n_tokens: int) -> None:
        if sequence.model is not self:
            raise EngineError("sequence", "one of another model", "one that this model made")
        if sequence.n_tokens + n_tokens > sequence.context:
            raise EngineError(
                "context",
                f"{sequence.n_tokens} tokens and {n_tokens} more",
                f"at most {sequence.context}",
                "shorten the text or ask for a longer context",
            )

    def _rounded(self, name: str) -> _native.Matrix:
        try:
            return self.matrices[name].rounded(BITS[self.head], self.threads)
        except ValueError as error:
            where = f"{self.file.path}: tensor {name}"
            raise ModelFileError(where, str(error), "weights that can be rounded", "take another head") from None

    def _check_head(self) -> None:
        """Before all logits are first asked for, which packs the head."""
        if not self.head_matrix.is_packed:
            check_room("the head", self.head_matrix.n_bytes)

    def _part(self, tensor: Tensor, lazy: bool) -> _native.Matrix | Floats:
        """A matrix for the kernels, or a vector as floats."""
        if len(tensor.shape) == 1:
            return np.ascontiguousarray(dequantise(tensor), dtype=np.float32)
        rows, columns = tensor.shape
        per_token = self.config.int8_per_token and tensor.name.split(".")[-2] in LINEARS
        try:
            matrix: _native.Matrix = native.extension().Matrix(
                tensor.type,
                rows,
                columns,
                tensor.data,
                tensor.scale,
                per_token,
                place(tensor.data),
                self.threads,
                lazy,
                packed_for=self.kernel,
            )
        except ValueError as error:
            where = f"{self.file.path}: tensor {tensor.name}"
            raise ModelFileError(where, str(error), "a tensor that the engine can run") from None
        if tensor.name.endswith("ffn_down.weight"):  # the last of a block
            give_back(self.file)
        return matrix


def _step(call: Callable[..., Any], *given: Any) -> Any:
    """What a native call gives.   Raises: EngineError (what only shows while it runs: no numbers, no memory)"""
    try:
        return call(*given)
    except ValueError as error:
        weights = "the model's weights are damaged or overflow" if "finite" in str(error) else ""
        raise EngineError("sequence", str(error), "", weights) from error
    except MemoryError as error:
        fix = "take a shorter context, or a cache of fewer bits"
        raise EngineError("memory", "none left for keys, values or the head", "", fix) from error


def _cache_format(cache: CacheFormat | str, config: Config) -> CacheFormat:
    format = (parse(cache) if isinstance(cache, str) else cache).of_layers(config.n_layers)
    check_format(format, config.head_size)
    return format


def _native_config(config: Config, precision: Precision) -> dict[str, Any]:
    names = ("n_layers", "width", "n_heads", "n_kv_heads", "head_size", "ff_width", "n_vocab", "context")
    found = {name: getattr(config, name) for name in (*names, "norm_eps", "rope_pairs", "activation")}
    return {**found, "int16_activations": precision.activations == "int16"}


def _rope_frequency(config: Config, file: ModelFile) -> NDArray[np.float64]:
    """Radians per token of each pair: base^(−2i/d), divided by the file's factors (Llama 3) where it has them."""
    frequency = config.rope_base ** (-np.arange(0, config.head_size, 2, dtype=np.float64) / config.head_size)
    factors = file.tensors.get("rope_freqs.weight")
    return frequency if factors is None else frequency / dequantise(factors).astype(np.float64)


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

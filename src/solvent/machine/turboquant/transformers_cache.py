"""A transformers cache that holds keys and values as codes: `model.generate(past_key_values=TurboQuantCache(config))`.

Every token is packed at once and nothing else is kept of it. A model's own attention gets what the codes decode to,
made anew for each layer and step. The registered attention (transformers_attention.py) has the layer packed and
attended to by native kernels, where there are some for its heads.
What it doesn't do: sliding windows and other layers that aren't full attention; it says so.
Enter at `TurboQuantCache`. Needs torch and transformers, which nothing else of the package does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvent.errors import EngineError, KernelError
from solvent.machine.turboquant.cache_format import CacheFormat
from solvent.machine.turboquant.centring import PackedHeads
from solvent.machine.turboquant.codebook import MAX_TABLE_BITS, MAX_TRELLIS_BITS, SMALLEST_HEAD
from solvent.machine.turboquant.reference import UNIFORM_BITS, Code
from solvent.machine.turboquant.transformers_native import NativeRows, runs_natively

try:
    import torch
    from transformers.cache_utils import Cache, CacheLayerMixin, get_layer_types_and_kwargs
except ImportError as error:
    raise KernelError(
        "TurboQuantCache", str(error), "torch and transformers", "pip install torch transformers"
    ) from error

WHERE = "TurboQuantCache"
ATTENTION = "solvent_turboquant"
FULL = "full_attention"
# Of keys. With more bits the bias is below 1 %, and a scale's rounding costs more: docs/explanation/turboquant.md.
MOST_UNBIASED_BITS = 3


class TurboQuantLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer, of all sequences of a batch. Head sizes are known when the first tensors come."""

    is_sliding = False
    is_croppable = True

    def __init__(self, format: CacheFormat) -> None:
        super().__init__()
        self.format = format
        self.packed_keys: PackedHeads | None = None
        self.packed_values: PackedHeads | None = None
        self.native: NativeRows | None = None
        self.n_kv_heads = 0

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        """(B, H, T, D) and (B, H, T, D'). Raises: EngineError (a head size without a codebook)."""
        batch, self.n_kv_heads = key_states.shape[:2]
        self.dtype, self.device = key_states.dtype, key_states.device
        if self.device.type == "meta":
            raise EngineError(WHERE, "tensors on the device meta", "numbers to pack")
        for states in (key_states, value_states):
            if states.shape[-1] < SMALLEST_HEAD:
                raise EngineError(WHERE, f"a head size of {states.shape[-1]}", f"{SMALLEST_HEAD} or more")
        ((key_bits, value_bits),) = self.format.bits
        key_code = self.code(key_bits, key_states.shape[-1], unbiased=key_bits <= MOST_UNBIASED_BITS)
        value_code = self.code(value_bits, value_states.shape[-1], unbiased=False)
        kept = (self.format.sink_tok, self.format.tail_tok)
        self.packed_keys = PackedHeads(key_code, batch * self.n_kv_heads, self.format.centred, *kept)
        self.packed_values = PackedHeads(value_code, batch * self.n_kv_heads, False, *kept)
        self.is_initialized = True

    def code(self, bits: int, head_size: int, unbiased: bool) -> Code:
        return Code(bits, head_size, self.format.trellis and bits <= MAX_TRELLIS_BITS, unbiased, settled=not unbiased)

    @property
    def batch_size(self) -> int:
        """−1 before the first tensors."""
        if self.native:
            return len(self.native.rows)
        return self.packed_keys.n_heads // self.n_kv_heads if self.packed_keys else -1

    @property
    def n_bytes(self) -> int:
        """Bytes of the tokens held: codes, scales, exponents, centres."""
        return self.native.n_bytes if self.native else sum(packed.n_bytes for packed in self.sides())

    def sides(self) -> list[PackedHeads]:
        return [packed for packed in (self.packed_keys, self.packed_values) if packed]

    def append(self, key_states: Any, value_states: Any) -> None:
        """Packs new tokens. (B, H, T, D) tensors of any floating type."""
        if self.native:
            raise EngineError(
                WHERE, "another attention than the cache was filled by", ATTENTION, "set attn_implementation back"
            )
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        for packed, states in zip(self.sides(), (key_states, value_states), strict=True):
            if states.shape[0] * states.shape[1] != packed.n_heads or states.shape[-1] != packed.code.head_size:
                raise EngineError(
                    WHERE,
                    f"tensors of shape {tuple(states.shape)}",
                    f"a batch of {self.batch_size} with {self.n_kv_heads} heads of {packed.code.head_size}",
                )
            packed.append(as_vectors(states))

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Packs new tokens and gives all that is held, decoded. (B, H, T, D) → (B, H, T held, D) twice"""
        self.append(key_states, value_states)
        keys, values = self.decoded()
        return without_gradient(keys, key_states), without_gradient(values, value_states)

    def attends_natively(self, key_states: Any, value_states: Any) -> bool:
        """Whether native kernels are to keep these tensors: those before them are, or none came yet and they can."""
        if self.is_initialized:
            return self.native is not None
        on_cpu = key_states.device.type == "cpu"
        return on_cpu and runs_natively({key_states.shape[-1], value_states.shape[-1]})

    def attend(self, pending: PackedStates, query: Any, mask: Any, scaling: float) -> Any:
        """Packs what is pending and attends, by native kernels. query: (B, Hq, T, D) → (B, T, Hq, D)"""
        keys, values = pending.pending
        if self.native is None:
            batch, self.n_kv_heads, _, head_size = keys.shape
            self.dtype, self.device = keys.dtype, keys.device
            self.native = NativeRows(self.format, batch, self.n_kv_heads, head_size)
            self.is_initialized = True
        if (len(self.native.rows), self.n_kv_heads) != tuple(keys.shape[:2]):
            raise EngineError(
                WHERE, f"tensors of shape {tuple(keys.shape)}", f"a batch of {self.batch_size}, {self.n_kv_heads} heads"
            )
        by_token = [x.detach().to(torch.float32).transpose(1, 2).numpy() for x in (keys, values, query)]
        out = self.native.step(by_token[0], by_token[1], by_token[2] * np.float32(scaling), seen_by(mask, len(keys)))
        return without_gradient(torch.from_numpy(out).to(query.dtype), query)

    def decoded(self) -> tuple[Any, Any]:
        """What the codes of all tokens held stand for, in the type and on the device of the model. (B, H, T, D)"""
        keys, values = (
            torch.from_numpy(packed.vectors())
            .reshape(-1, self.n_kv_heads, packed.n_tok, packed.code.head_size)
            .to(self.device, self.dtype)
            for packed in self.sides()
        )
        return keys, values

    def get_seq_length(self) -> int:
        if self.native:
            return self.native.n_tok
        return self.packed_keys.n_tok if self.packed_keys else 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """−1: as long as memory lasts."""
        return -1

    def reset(self) -> None:
        self.packed_keys = self.packed_values = self.native = None
        self.is_initialized = False

    def crop(self, tokens_to_remove: int) -> None:
        """Forgets the last −tokens_to_remove tokens. Raises: EngineError (a positive number, more than are held)."""
        if tokens_to_remove > 0:
            raise EngineError(WHERE, f"crop({tokens_to_remove})", "a negative number: of tokens to forget")
        for packed in [self.native] if self.native else self.sides():
            packed.crop(packed.n_tok + tokens_to_remove)

    def reorder_cache(self, beam_idx: Any) -> None:
        self.batch_select_indices(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self.is_initialized:
            self.select(np.repeat(np.arange(self.batch_size), repeats))

    def batch_select_indices(self, indices: Any) -> None:
        if self.is_initialized:
            self.select(np.arange(self.batch_size)[indices.cpu().numpy()])

    def select(self, rows: NDArray[np.intp]) -> None:
        """Keeps these sequences of the batch, in this order."""
        if self.native:
            return self.native.select(rows)
        heads = (rows[:, None] * self.n_kv_heads + np.arange(self.n_kv_heads)).ravel()
        for packed in self.sides():
            packed.select(heads)

    def offload(self) -> None:
        """Codes always lie in main memory."""

    def prefetch(self) -> None:
        """Codes always lie in main memory."""


class PackedStates:
    """Stands for a layer's keys and values until the registered attention has the queries and the mask.

    pending: the new tokens' keys and values, (B, H, T, D), which nothing keeps beyond that call."""

    def __init__(self, layer: TurboQuantLayer, key_states: Any, value_states: Any) -> None:
        self.layer, self.pending = layer, (key_states, value_states)
        self.dtype, self.device = key_states.dtype, key_states.device
        batch, n_heads, count, head_size = key_states.shape
        self.shape = (batch, n_heads, layer.get_seq_length() + count, head_size)


class TurboQuantCache(Cache):  # type: ignore[misc]
    """A cache of codes for a transformers model whose layers are all full attention.

    config: the model's; the cache looks at its attention implementation at every step.   key_bits, value_bits: 1–6
    or 8 per element.   trellis: codes of up to 5 bits are paths of a trellis, a quarter better and slower to make.
    centred: keys are coded less the mean of the tile of tokens before.   sinks_and_tail_tok: how many of the first
    and of the newest tokens stay in half precision, 0 or multiples of 256, padding counted but on native kernels.
    Raises: EngineError (layers that aren't full attention, head sizes and bits that no codebook exists for; a key or
    value that isn't finite, when it comes; other numbers of tokens)."""

    def __init__(
        self,
        config: Any,
        key_bits: int = 4,
        value_bits: int = 4,
        *,
        trellis: bool = True,
        centred: bool = True,
        sinks_and_tail_tok: tuple[int, int] = (0, 0),
    ) -> None:
        self.config = config.get_text_config(decoder=True)
        check_layers(self.config)
        for name, bits in (("key_bits", key_bits), ("value_bits", value_bits)):
            if bits not in (*range(1, MAX_TABLE_BITS + 1), UNIFORM_BITS):
                raise EngineError(WHERE, f"{name}={bits!r}", f"1 to {MAX_TABLE_BITS}, or {UNIFORM_BITS}")
        if not isinstance(sinks_and_tail_tok, tuple | list) or len(sinks_and_tail_tok) != 2:
            raise EngineError(
                WHERE, f"sinks_and_tail_tok={sinks_and_tail_tok!r:.40}", "two numbers", "write (256, 256)"
            )
        sink_tok, tail_tok = sinks_and_tail_tok
        format = CacheFormat(((key_bits, value_bits),), trellis, centred, sink_tok=sink_tok, tail_tok=tail_tok)
        layers = [TurboQuantLayer(format) for _ in range(self.config.num_hidden_layers)]
        super().__init__(layers=layers)

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Packs new tokens of a layer and gives what the model's attention takes: tensors, or what stands for them."""
        layer = self.layers[layer_idx]
        n_tok = layer.get_seq_length() + key_states.shape[-2]
        if layer_idx and n_tok != self.layers[0].get_seq_length():
            raise EngineError(
                WHERE,
                f"{n_tok} tokens in layer {layer_idx} and {self.layers[0].get_seq_length()} in layer 0",
                "as many in all",
                "a step was cut short: reset the cache and fill it again",
            )
        if self.config._attn_implementation == ATTENTION and layer.attends_natively(key_states, value_states):
            states = PackedStates(layer, key_states, value_states)
            return states, states
        decoded: tuple[Any, Any] = layer.update(key_states, value_states, *args, **kwargs)
        return decoded

    @property
    def n_bytes(self) -> int:
        """Bytes of all tokens of all layers and sequences: codes, scales, exponents, centres."""
        return sum(layer.n_bytes for layer in self.layers)


def check_layers(config: Any) -> None:
    """Raises: EngineError (a layer that isn't full attention: its keys would be kept or forgotten wrongly)."""
    kinds, _ = get_layer_types_and_kwargs(config)
    other = sorted({kind for kind in kinds if kind != FULL})
    if other:
        first = next(index for index, kind in enumerate(kinds) if kind != FULL)
        raise EngineError(
            WHERE, f"{', '.join(other)} (layer {first} first)", f"{FULL} in every layer", "use transformers' own cache"
        )


class WithoutGradient(torch.autograd.Function):  # type: ignore[misc]
    """Passes a result on that was made from `given` outside torch; whoever asks for its gradient is told."""

    @staticmethod
    def forward(ctx: Any, found: Any, given: Any) -> Any:
        return found.view_as(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise EngineError(
            WHERE, "a gradient asked for", "inference: codes have none", "train with transformers' own cache"
        )


def without_gradient(found: Any, given: Any) -> Any:
    """Only where a gradient may be asked for: models are often run without torch.no_grad()."""
    return WithoutGradient.apply(found, given) if given.requires_grad and torch.is_grad_enabled() else found


def seen_by(mask: Any, batch: int) -> NDArray[np.bool_] | None:
    """Which tokens each query sees. mask: (B or 1, 1, T, tokens), of truth values or added to scores. → (B, T, tokens)

    Raises: EngineError (a mask for each head; scores that are changed, not switched on or off)"""
    if mask is None:
        return None
    if mask.shape[1] != 1:
        raise EngineError(WHERE, f"masks for {mask.shape[1]} heads", "one for all", "use attn_implementation 'sdpa'")
    mask = mask[:, 0].expand(batch, -1, -1)
    if mask.dtype == torch.bool:
        return np.asarray(mask.numpy())
    off = mask <= torch.finfo(mask.dtype).min
    if not bool((off | (mask == 0)).all()):
        raise EngineError(
            WHERE, "a mask that changes scores", "0 or its type's least number", "use attn_implementation 'sdpa'"
        )
    return np.asarray((~off).numpy())


def as_vectors(states: Any) -> NDArray[np.float32]:
    """(B, H, T, D) of any floating type and device → (B·H, T, D) f32"""
    floats = states.detach().to("cpu", torch.float32)
    return np.asarray(floats.reshape(-1, *floats.shape[2:]).numpy())

"""The shapes of models and accelerators, and what follows from them: parameters, bytes, operations.

Read from choose/data/models.toml and gpus.toml, or stated by the caller for a model or a GPU that isn't there.
What it doesn't do: times (`roofline`) and whether it fits (`fits`). Sources stand in the data files.
Enter at `model_shape` and `accelerator`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from solvent.errors import ChoiceError

# Bytes of one weight, with its scales: fp8 in blocks of 128 × 128 adds nothing that counts; nvfp4 has an fp8 scale
# for each 16 values (4.5 bits), int4 an fp16 scale and zero point for each 32 (5 bits).
WEIGHT_BYTES: dict[str, float] = {"bf16": 2.0, "fp8": 1.0, "fp4": 4.5 / 8, "int4": 5.0 / 8}


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder as its config states it; widths in values. Unset counts mean that the part isn't there."""

    name: str
    family: str
    layers: int
    hidden: int
    vocab: int
    attention: Literal["gqa", "mla"]
    heads: int
    head_dim: int
    kv_heads: int = 0
    latent: int = 0
    query_latent: int = 0
    rope_dim: int = 0
    value_dim: int = 0
    gated_attention: bool = False
    full_layers: int | None = None
    window: int = 0
    sparse_tok: int = 0
    linear_key_values: int = 0
    linear_values: int = 0
    linear_state_values: int = 0
    dense_layers: int = 0
    dense_width: int = 0
    experts: int = 0
    experts_per_token: int = 0
    expert_width: int = 0
    shared_width: int = 0
    tied: bool = False

    @property
    def cached_layers(self) -> int:
        """Layers whose cache grows with the context."""
        return self.layers if self.full_layers is None else self.full_layers

    @property
    def expert_layers(self) -> int:
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def attention_parameters(self) -> float:
        """Of all layers: projections of query, key, value and output; linear layers by their own widths."""
        full = self.layers if not self.linear_values else self.cached_layers
        if self.attention == "mla":
            query_in, query_out = self.query_latent or self.hidden, self.heads * (self.head_dim + self.rope_dim)
            each = (
                (self.hidden * self.query_latent if self.query_latent else 0)
                + query_in * query_out
                + self.hidden * (self.latent + self.rope_dim)
                + self.latent * self.heads * (self.head_dim + self.value_dim)
                + self.heads * self.value_dim * self.hidden
            )
        else:
            query = self.heads * self.head_dim
            each = self.hidden * ((3 if self.gated_attention else 2) * query + 2 * self.kv_heads * self.head_dim)
        linear = self.hidden * (2 * self.linear_key_values + 3 * self.linear_values)
        return float(full * each + (self.layers - full) * linear)

    @property
    def one_expert_parameters(self) -> float:
        return 3.0 * self.hidden * self.expert_width

    @property
    def routed_parameters(self) -> float:
        return self.expert_layers * self.experts * self.one_expert_parameters

    @property
    def dense_parameters(self) -> float:
        """What every token passes through beside attention: dense and shared MLPs, routers, and the output head."""
        dense = (self.layers - self.expert_layers) * 3 * self.hidden * self.dense_width
        shared = self.expert_layers * (3 * self.hidden * self.shared_width + self.hidden * self.experts)
        return float(dense + shared + self.hidden * self.vocab)

    @property
    def parameters(self) -> float:
        embedding = 0 if self.tied else self.hidden * self.vocab
        return self.attention_parameters + self.dense_parameters + self.routed_parameters + embedding

    @property
    def active_parameters(self) -> float:
        """Weights that one token is multiplied by (the input embedding is looked up, not multiplied)."""
        routed = self.expert_layers * self.experts_per_token * self.one_expert_parameters
        return float(self.attention_parameters + self.dense_parameters + routed)

    def routed_read(self, batch: float) -> float:
        """Routed weights that a step over `batch` tokens reads: experts hit at least once, if hits were uniform.

        layers · E · (1 − (1 − k/E)^batch) · expert, the expectation over independent uniform choices."""
        if not self.experts:
            return 0.0
        hit = 1.0 - (1.0 - self.experts_per_token / self.experts) ** batch
        return float(self.routed_parameters * hit)

    def cache_values(self, context_tok: float) -> float:
        """Values that the cache of one sequence holds at this context; sliding layers keep `window` tokens."""
        each = self.latent + self.rope_dim if self.attention == "mla" else 2 * self.kv_heads * self.head_dim
        other = self.layers - self.cached_layers
        held = self.cached_layers * context_tok + (other * min(context_tok, self.window) if self.window else 0)
        state = other * self.linear_state_values if self.linear_values else 0
        return float(each * held + state)

    def cache_read_values(self, context_tok: float) -> float:
        """Values of the cache that one token of one sequence reads; sparse attention reads `sparse_tok` tokens."""
        if self.sparse_tok:
            return self.cache_values(min(context_tok, self.sparse_tok))
        return self.cache_values(context_tok)

    def attention_flop(self, context_tok: float) -> float:
        """Operations of attention for one new token over this context: a product with keys and one with values."""
        reach = min(context_tok, self.sparse_tok) if self.sparse_tok else context_tok
        width = (self.head_dim + self.rope_dim + self.value_dim) if self.attention == "mla" else 2 * self.head_dim
        full = 2.0 * self.heads * width * reach * self.cached_layers
        windowed = self.layers - self.cached_layers if self.window else 0
        return full + 2.0 * self.heads * width * min(context_tok, self.window) * windowed


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One GPU: what its memory holds and moves, what it computes, and its link to the others."""

    name: str
    label: str
    memory_bytes: int
    memory_bytes_per_s: float
    bf16_flop_per_s: float
    link_bytes_per_s: float
    domain: int
    watts: float
    generation: float
    fp8_flop_per_s: float | None = None
    fp4_flop_per_s: float | None = None

    def flop_per_s(self, weight_format: str) -> float:
        """The dense rate at which this format multiplies; a format the GPU lacks runs at the next wider one's."""
        if weight_format == "fp4" and self.fp4_flop_per_s:
            return self.fp4_flop_per_s
        # int4 is widened to bf16 in registers, and so is fp4 on GPUs without it.
        if weight_format == "fp8" and self.fp8_flop_per_s:
            return self.fp8_flop_per_s
        return self.bf16_flop_per_s


@cache
def _table(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads(files("solvent.choose").joinpath("data", name).read_text("utf-8"))


@cache
def models() -> dict[str, ModelShape]:
    """Every known model, by its own name and by each path that the measured points use."""
    known = {f.name for f in fields(ModelShape)}
    shapes = {}
    for name, entry in _table("models.toml").items():
        shape = ModelShape(name=name, **{k: v for k, v in entry.items() if k in known})
        shapes.update({key: shape for key in (name, *entry["paths"])})
    return shapes


@cache
def accelerators() -> dict[str, Accelerator]:
    return {name: Accelerator(name=name, **entry) for name, entry in _table("gpus.toml").items()}


def model_shape(model: str | ModelShape) -> ModelShape:
    """A shape by name, case aside. Raises: ChoiceError (no such model in the table, a stated shape that can't be)"""
    if isinstance(model, ModelShape):
        _check(model.name, model, ("layers", "hidden", "vocab", "heads", "head_dim"))
        if (model.attention == "gqa" and model.kv_heads < 1) or (model.attention == "mla" and model.latent < 1):
            raise ChoiceError(model.name, "no cache", "kv_heads of gqa, latent of mla")
        if model.experts and not 1 <= model.experts_per_token <= model.experts:
            raise ChoiceError(model.name, f"experts_per_token {model.experts_per_token}", f"1 to {model.experts}")
        return model
    found: ModelShape = _lookup(model, models(), "model", "state its shape (ModelShape)")
    return found


def accelerator(system: str | Accelerator) -> Accelerator:
    """An accelerator by name, case aside. Raises: ChoiceError (no such GPU in the table, stated rates that can't be)"""
    if isinstance(system, Accelerator):
        rates = ("memory_bytes", "memory_bytes_per_s", "bf16_flop_per_s", "link_bytes_per_s", "generation")
        _check(system.name, system, rates)
        return system
    found: Accelerator = _lookup(system, accelerators(), "system", "state its rates (Accelerator)")
    return found


def _check(where: str, stated: ModelShape | Accelerator, names: tuple[str, ...]) -> None:
    """Everything is counted from these: one that is 0 or NaN would come out as no time at all."""
    for name in names:
        value = getattr(stated, name)
        if not 0 < value < float("inf"):
            raise ChoiceError(where, f"{name} {value}", "a positive, finite number")


def _lookup(name: str, table: dict[str, Any], what: str, fix: str) -> Any:
    by_lower = {key.lower(): value for key, value in table.items()}
    if name.lower() not in by_lower:
        raise ChoiceError(what, f"{name!r} is not in the table", f"one of {', '.join(sorted(table))}", fix)
    return by_lower[name.lower()]

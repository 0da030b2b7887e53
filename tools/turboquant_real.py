"""Prints what each code does to a real model's keys and values: the second table of docs/explanation/turboquant.md.

Queries, keys and values of every layer come from the NumPy reference, on the first tokens of a text. Columns: bits per
element, all counted; for keys Σ‖k − k̂‖² / Σ‖k − mean‖² (what is constant over tokens doesn't move a softmax) and the
mean divergence KL(p‖p̂) of attention weights over the second half of the tokens, all layers and heads; for values
Σ‖v − v̂‖² / Σ‖v‖².

    python tools/turboquant_real.py model.gguf wiki.test.raw --tokens 512
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvent.machine.engine import models, reference
from solvent.machine.engine.model_file import open_model
from solvent.machine.engine.quants import dequantise
from solvent.machine.engine.tokeniser import Tokeniser
from solvent.machine.turboquant.block_rounding import bits_per_element, block_rounded
from solvent.machine.turboquant.centring import PackedHeads
from solvent.machine.turboquant.paper_modes import PaperMse, PaperProduct
from solvent.machine.turboquant.polar import Polar
from solvent.machine.turboquant.reference import Code

F32 = NDArray[np.float32]
Layer = tuple[F32, F32, F32]
Method = tuple[str, Callable[[F32], tuple[F32, float]]]
CHARACTERS_PER_TOKEN = 12


def layers_of(model: Path, text: Path, n_tok: int) -> list[Layer]:
    """(q, k, v) of each layer, (H, T, D) and (KV, T, D), as attention takes them."""
    file = open_model(model)
    words = text.read_text("utf-8")[: n_tok * CHARACTERS_PER_TOKEN]
    tokens = Tokeniser.from_metadata(file.metadata).encode(words, bos=False, special=False)[:n_tok]
    seen: list[Layer] = []
    own = reference.attention

    def watched(q: Any, k: Any, v: Any) -> Any:
        seen.append((q.transpose(1, 0, 2), k.transpose(1, 0, 2), v.transpose(1, 0, 2)))
        return own(q, k, v)

    reference.attention = watched
    try:
        reference.forward(models.config(file), {n: dequantise(t) for n, t in file.tensors.items()}, tokens)
    finally:
        reference.attention = own
    return seen


def packed(code: Code, centred: bool, x: F32) -> tuple[F32, float]:
    heads = PackedHeads(code, len(x), centred)
    heads.append(x)
    return heads.vectors(), 8 * heads.n_bytes / x.size


def flat(decoded: Callable[[F32], Any], bits: float, x: F32) -> tuple[F32, float]:
    return np.asarray(decoded(x.reshape(-1, x.shape[-1])), np.float32).reshape(x.shape), bits


def paper_mse(mode: PaperMse, x: F32) -> Any:
    return mode.decode(*mode.encode(x.astype(np.float64)))


def paper_product(mode: PaperProduct, x: F32) -> Any:
    return mode.decoded(x.astype(np.float64))


def methods(head_size: int) -> Iterator[Method]:
    random, norm = np.random.default_rng(5), 16 / head_size
    for bits in (3, 4):
        yield f"paper, MSE, {bits}", partial(flat, partial(paper_mse, PaperMse(bits, head_size, random)), bits + norm)
        product = PaperProduct(bits, head_size, random)
        yield f"paper, product, {bits}", partial(flat, partial(paper_product, product), bits + 2 * norm)
    polar = Polar((4, 2, 2, 2), head_size)
    yield "PolarQuant 4·2·2·2", partial(flat, polar.decoded, polar.bits_per_element)
    for kind in ("q4_0", "q8_0"):
        for rotated in (False, True):
            name = f"{kind}, rotated" if rotated else kind
            block = partial(block_rounded, kind=kind, rotated=rotated)
            yield name, partial(flat, block, bits_per_element(kind))
    for bits in (2, 3, 4, 5, 6):
        for trellis in (False, True) if bits < 6 else (False,):
            for scale, unbiased, settled in (("unbiased", True, False), ("least squares, settled", False, True)):
                for centred in (False, True):
                    code = Code(bits, head_size, trellis, unbiased, settled)
                    name = f"{'trellis' if trellis else 'scalar'} {bits}, {scale}{', centred' if centred else ''}"
                    yield name, partial(packed, code, centred)


def attention_weights(q: F32, k: F32) -> NDArray[np.float64]:
    """log softmax of the second half of the queries. (T/2, T)"""
    n = len(k)
    rows = np.arange(n // 2, n)
    scores = (q[rows] @ k.T / np.sqrt(q.shape[1])).astype(np.float64)
    scores[np.arange(n) > rows[:, None]] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))


def divergence(layer: Layer, coded: F32) -> float:
    """Mean over heads and queries of Σ p (log p − log p̂)."""
    q, k, _ = layer
    group, found = len(q) // len(k), []
    for head in range(len(q)):
        exact, other = attention_weights(q[head], k[head // group]), attention_weights(q[head], coded[head // group])
        with np.errstate(invalid="ignore"):
            found.append(np.where(np.isfinite(exact), np.exp(exact) * (exact - other), 0).sum(axis=1).mean())
    return float(np.mean(found))


def row(method: Method, layers: list[Layer]) -> str:
    name, run = method
    lost, spread, divergences, value_lost, value_size, bits = 0.0, 0.0, [], 0.0, 0.0, 0.0
    for layer in layers:
        _, keys, values = layer
        coded, bits = run(keys)
        lost += float(((coded - keys) ** 2).sum())
        spread += float(((keys - keys.mean(axis=1, keepdims=True)) ** 2).sum())
        divergences.append(divergence(layer, coded))
        coded, _ = run(values)
        value_lost += float(((coded - values) ** 2).sum())
        value_size += float((values**2).sum())
    return f"| {name} | {bits:.3f} | {lost / spread:.5f} | {np.mean(divergences):.5f} | {value_lost / value_size:.5f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--tokens", type=int, default=512)
    options = parser.parse_args()
    layers = layers_of(options.model, options.text, options.tokens)
    print("| method | bits | keys' error | attention KL | values' error |\n|---|---|---|---|---|")
    for method in methods(layers[0][1].shape[-1]):
        print(row(method, layers), flush=True)


if __name__ == "__main__":
    main()

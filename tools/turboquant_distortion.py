"""Prints the distortion of each way to code a vector, at equal bits: the table of docs/explanation/turboquant.md.

Vectors are random, uniform in direction, and for `products` as many random queries. Columns: bits per element, all
counted; mean of ‖x − x̂‖²/‖x‖²; root mean square of ⟨q, x − x̂⟩ · √D / (‖q‖‖x‖); mean of ⟨x, x̂⟩/‖x‖² − 1, which is what
a method takes from every score.

    python tools/turboquant_distortion.py --head-size 64
    python tools/turboquant_distortion.py --vectors keys.npy      # (N, D) of one's own, not centred
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solvent.machine.turboquant.block_rounding import bits_per_element, block_rounded
from solvent.machine.turboquant.centring import PackedHeads
from solvent.machine.turboquant.paper_modes import PaperMse, PaperProduct
from solvent.machine.turboquant.polar import Polar
from solvent.machine.turboquant.reference import Code

F32 = NDArray[np.float32]
Method = tuple[str, float, Callable[[F32], F32]]
SCALES = [("unbiased", True, False), ("least squares", False, False), ("least squares, settled", False, True)]
POLAR_LEVELS = [(3, 1, 1, 1), (3, 2, 2, 2), (4, 2, 2, 2), (4, 3, 3, 3), (5, 3, 3, 3)]


def packed(code: Code) -> Callable[[F32], F32]:
    def run(x: F32) -> F32:
        heads = PackedHeads(code, 1, centred=False)
        heads.append(x[None])
        back: F32 = heads.vectors()[0]
        return back

    return run


def paper_mse(mode: PaperMse) -> Callable[[F32], F32]:
    return lambda x: mode.decode(*mode.encode(x.astype(np.float64))).astype(np.float32)


def paper_product(mode: PaperProduct) -> Callable[[F32], F32]:
    return lambda x: mode.decoded(x.astype(np.float64)).astype(np.float32)


def methods(head_size: int) -> Iterator[Method]:
    norm = 16 / head_size
    random = np.random.default_rng(5)
    for bits in (1, 2, 3, 4):
        yield "paper, MSE (Alg. 1)", bits + norm, paper_mse(PaperMse(bits, head_size, random))
        yield "paper, product (Alg. 2)", bits + 2 * norm, paper_product(PaperProduct(bits, head_size, random))
    for levels in POLAR_LEVELS:
        polar = Polar(levels, head_size)
        yield f"PolarQuant {'·'.join(map(str, levels))}", polar.bits_per_element, polar.decoded
    for kind in ("q4_0", "q8_0"):
        for rotated in (False, True):
            name = f"{kind}, rotated" if rotated else kind
            yield name, bits_per_element(kind), partial(block_rounded, kind=kind, rotated=rotated)
    for trellis in (False, True):
        for bits in (1, 2, 3, 4, 5) if trellis else (1, 2, 3, 4, 5, 6, 8):
            for scale, unbiased, settled in SCALES:
                name = f"{'trellis' if trellis else 'scalar'}, {scale}"
                code = Code(bits, head_size, trellis, unbiased, settled)
                yield name, bits + (8 + 8 / 128) / head_size, packed(code)


def row(method: Method, x: F32, q: F32) -> str:
    name, bits, run = method
    back = run(x).astype(np.float64)
    length = (x.astype(np.float64) ** 2).sum(axis=1)
    error = ((back - x) ** 2).sum(axis=1) / length
    product = ((back - x) * q).sum(axis=1) / np.sqrt(length * (q * q).sum(axis=1)) * np.sqrt(x.shape[1])
    kept = (back * x).sum(axis=1) / length
    return f"| {name} | {bits:.3f} | {error.mean():.5f} | {np.sqrt((product**2).mean()):.4f} | {kept.mean() - 1:+.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--head-size", type=int, default=64)
    parser.add_argument("--n", type=int, default=8192)
    parser.add_argument("--vectors", type=Path)
    options = parser.parse_args()
    random = np.random.default_rng(11)
    x = random.standard_normal((options.n, options.head_size)).astype(np.float32)
    if options.vectors:
        x = np.load(options.vectors).astype(np.float32)
    q = random.standard_normal(x.shape).astype(np.float32)
    print("| method | bits | ‖x − x̂‖²/‖x‖² | product, rms·√D | ⟨x, x̂⟩/‖x‖² − 1 |\n|---|---|---|---|---|")
    for method in sorted(methods(x.shape[1]), key=lambda method: method[1]):
        print(row(method, x, q), flush=True)


if __name__ == "__main__":
    main()

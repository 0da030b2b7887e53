"""Writes a model whose keys lose less as codes: the same model, balanced for a cache of few bits.

Queries and keys of a text's first tokens come from the NumPy reference, which holds all weights as floats: a matter of
seconds for a small model, of much memory for a large one. Take a text that isn't the one that quality is judged on.

    python tools/balance_keys.py model.gguf balanced.gguf --text some.txt --tokens 512 --steps 4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from turboquant_real import layers_of

from solvent.machine.engine import models
from solvent.machine.engine.balance_keys import balanced, exponents_of
from solvent.machine.engine.gguf_write import write_gguf
from solvent.machine.engine.model_file import open_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--steps", type=int, default=1, help="factors to an octave; 1: powers of two, exact")
    options = parser.parse_args()
    file = open_model(options.model)
    config = models.config(file)
    seen = layers_of(options.model, options.text, options.tokens)
    layers = [exponents_of(q, k, config.rope_pairs, options.steps) for q, k, _ in seen]
    write_gguf(options.out, file.metadata, balanced(file, config, layers).tensors.values())
    counts = np.unique_counts(np.concatenate([one.ravel() for one in layers]))
    print("pairs of channels by power of two:", dict(zip(counts.values.tolist(), counts.counts.tolist(), strict=True)))


if __name__ == "__main__":
    main()

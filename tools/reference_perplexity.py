"""The perplexity of a model file's dequantised weights, through the NumPy reference: the figure the engine must meet.

Convention: the text is encoded as one string without a start token; its first WINDOWS × WINDOW tokens are cut into
windows that don't overlap; each window is read on its own, its first token predicts the second and so on, so that
WINDOW − 1 predictions count in each; perplexity = exp(mean of −ln p) over all of them, in float64 from float32 logits.
The text doesn't ship with the repository: WikiText-2 raw, test split (wiki.test.raw), CC BY-SA.
Run: python tools/reference_perplexity.py model.gguf wiki.test.raw
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from solvent.machine.engine import models, reference
from solvent.machine.engine.model_file import open_model
from solvent.machine.engine.quants import dequantise
from solvent.machine.engine.tokeniser import Tokeniser

# Far more than any tokeniser needs for one token, so that the text's end can't matter.
CHARACTERS_PER_TOKEN = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--window", type=int, default=1024, metavar="TOKENS")
    parser.add_argument("--windows", type=int, default=4)
    options = parser.parse_args()
    n_tokens = options.window * options.windows
    file = open_model(options.model)
    text = options.text.read_text("utf-8")[: n_tokens * CHARACTERS_PER_TOKEN]
    tokens = Tokeniser.from_metadata(file.metadata).encode(text, bos=False, special=False)[:n_tokens]
    if len(tokens) < n_tokens:
        raise SystemExit(f"{options.text}: {len(tokens)} tokens; expected at least {n_tokens}")
    weights = {name: dequantise(tensor) for name, tensor in file.tensors.items()}
    config = models.config(file)
    losses: list[float] = []
    for start in range(0, n_tokens, options.window):
        window = tokens[start : start + options.window]
        losses.extend(next_token_losses(reference.forward(config, weights, window), window))
        print(f"after {start + options.window} tokens: {np.exp(np.mean(losses)):.4f}", flush=True)
    print(f"perplexity {np.exp(np.mean(losses)):.4f} over {len(losses)} predictions")


def next_token_losses(logits: np.ndarray, tokens: list[int]) -> Iterator[float]:
    """−ln p(tokens[t + 1] | tokens[0 … t]) for each t but the last.   logits: (T, n_vocab)"""
    for row, following in zip(logits[:-1], tokens[1:], strict=True):
        exact = row.astype(np.float64)
        largest = exact.max()
        yield float(np.log(np.exp(exact - largest).sum()) + largest - exact[following])


if __name__ == "__main__":
    main()

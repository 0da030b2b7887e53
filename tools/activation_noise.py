"""What rounded activations do to a model's perplexity: the engine with int8 and int16, and each place of rounding to
int8 alone, against the dequantised model in float32, on the same windows of a text.

    python tools/activation_noise.py smollm2 --text wiki.test.raw --windows 24 --site-windows 8

Per line: perplexity; how far it is from float32's, with the standard error that windows give; the root mean square
change of one token's loss. Takes ten seconds a window and line on one core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src")]

import solvent  # noqa: E402
from solvent.machine.engine.find import find  # noqa: E402
from solvent.machine.engine.model_file import open_model  # noqa: E402
from solvent.machine.engine.precision import ACTIVATIONS  # noqa: E402
from solvent.machine.engine.quants import dequantise  # noqa: E402
from solvent.machine.engine.reference import EXACT, Rounding, forward  # noqa: E402

WINDOW_TOK = 1024
N_OUTLIERS = 8  # as native/kernels/contract.hpp
Losses = NDArray[np.float64]
SITES = {
    "queries, keys, values": Rounding(
        int8_linears=True, int8_only=("attn_q", "attn_k", "attn_v"), n_outliers=N_OUTLIERS
    ),
    "attention's output": Rounding(int8_linears=True, int8_only=("attn_output",), n_outliers=N_OUTLIERS),
    "gate and up": Rounding(int8_linears=True, int8_only=("ffn_gate", "ffn_up"), n_outliers=N_OUTLIERS),
    "down": Rounding(int8_linears=True, int8_only=("ffn_down",), n_outliers=N_OUTLIERS),
    "head": Rounding(int8_head=True, n_outliers=N_OUTLIERS),
    "f16 cache": Rounding(cache_type=np.float16),
}


def losses(logits: Callable[[list[int]], Any], windows: list[list[int]]) -> Losses:
    """−log p of each token but a window's first.   → (windows, WINDOW_TOK − 1)"""
    found = []
    for window in windows:
        scores = np.asarray(logits(window), np.float64)[:-1]
        scores -= scores.max(axis=1, keepdims=True)
        total = np.log(np.exp(scores).sum(axis=1))
        found.append(total - scores[np.arange(len(window) - 1), window[1:]])
    return np.array(found)


def line(name: str, found: Losses, exact: Losses) -> str:
    change = found - exact[: len(found)]
    error = change.mean(axis=1).std(ddof=1) / len(change) ** 0.5 if len(change) > 1 else np.nan
    return (
        f"{name:22} {len(found):3} windows  {np.exp(found.mean()):8.4f}  {100 * np.expm1(change.mean()):+.3f}%"
        f" ± {100 * error:.3f}%  token rms {np.sqrt((change**2).mean()):.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--site-windows", type=int, default=8)
    options = parser.parse_args()
    model = solvent.load(options.model)
    file = open_model(find(options.model))
    weights = {name: dequantise(tensor).astype(np.float32) for name, tensor in file.tensors.items()}
    ids = model.tokeniser.encode(options.text.read_text("utf-8")[: 8 * WINDOW_TOK * options.windows])
    windows = [ids[i * WINDOW_TOK : (i + 1) * WINDOW_TOK] for i in range(options.windows)]

    def rounded(how: Rounding) -> Callable[[list[int]], Any]:
        return lambda tokens: forward(model.config, weights, tokens, how)

    exact = losses(rounded(EXACT), windows)
    print(line("float32", exact, exact))
    for activations in ACTIVATIONS:
        engine = losses(solvent.load(options.model, activations=activations).logits, windows)
        for part in (engine, engine[:4]):
            print(line(f"engine, {activations}", part, exact), flush=True)
    for name, how in SITES.items():
        print(line(name, losses(rounded(how), windows[: options.site_windows]), exact), flush=True)


if __name__ == "__main__":
    main()

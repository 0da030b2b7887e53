"""Qwen2 (biases on queries, keys and values) and Qwen3 (each query and key head normalised instead).

Ternary-Bonsai is a Qwen3 whose weights are ternary in groups (Q2_0); its activations stay as they are.
Source: arXiv:2407.10671; arXiv:2505.09388 §2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvent.machine.engine.models.decoder import Switches, decoder_config

if TYPE_CHECKING:
    from solvent.machine.engine.config import Config
    from solvent.machine.engine.model_file import ModelFile

GRAPHS = {
    "qwen2": Switches(family="qwen2", rope_pairs="halves", qkv_bias=True),
    "qwen3": Switches(family="qwen3", rope_pairs="halves", qk_norm=True),
}


def config(file: ModelFile) -> Config:
    """The configuration of a Qwen2 or Qwen3. Raises: ModelFileError, naming the key or the tensor."""
    return decoder_config(file, GRAPHS)

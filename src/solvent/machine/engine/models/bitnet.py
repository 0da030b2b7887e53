"""BitNet b1.58: ternary linear layers, int8 activations per token, a norm before each block's two outputs.

Two graphs under three names: files of architecture `bitnet` (the research models of 1bitLLM) have SiLU;
`bitnet-b1.58`, once called `bitnet-25` (microsoft/bitnet-b1.58-2B-4T), has squared ReLU. The head is not ternary.
Weights must already be ternary in the file, whatever its number format: a master copy in bfloat16 has to be
converted first, for rounding it is part of the model.
Source: arXiv:2402.17764 §2; arXiv:2504.12285 §2; transformers integrations/bitnet.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvent.machine.engine.models.decoder import Switches, decoder_config

if TYPE_CHECKING:
    from solvent.machine.engine.config import Config
    from solvent.machine.engine.model_file import ModelFile

SILU = Switches(family="bitnet-silu", rope_pairs="halves", sub_norms=True, int8_per_token=True)
RELU2 = Switches(family="bitnet", rope_pairs="halves", activation="relu2", sub_norms=True, int8_per_token=True)
GRAPHS = {"bitnet": SILU, "bitnet-b1.58": RELU2, "bitnet-25": RELU2}


def config(file: ModelFile) -> Config:
    """The configuration of a BitNet. Raises: ModelFileError, naming the key or the tensor."""
    return decoder_config(file, GRAPHS)

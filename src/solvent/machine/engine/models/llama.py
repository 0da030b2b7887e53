"""Llama and its like (SmolLM2, Llama 2 and 3, TinyStories): the plain graph.

GGUF stores queries and keys of this family permuted, so that adjacent elements turn together; Hugging Face's files
keep the halves, and their reader says so in solvent.rope_pairs. Llama 3's stretched rotation comes as the tensor
rope_freqs.weight.
Source: arXiv:2302.13971; llama.cpp src/models/llama.cpp (what GGUF files of it mean).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvent.machine.engine.models.decoder import Switches, decoder_config

if TYPE_CHECKING:
    from solvent.machine.engine.config import Config
    from solvent.machine.engine.model_file import ModelFile

GRAPHS = {"llama": Switches(family="llama", rope_pairs="adjacent")}


def config(file: ModelFile) -> Config:
    """The configuration of a Llama. Raises: ModelFileError, naming the key or the tensor."""
    return decoder_config(file, GRAPHS)

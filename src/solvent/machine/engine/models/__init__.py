"""Configurations of the families, from what a model file says: `config(file)` picks by general.architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvent.machine.engine.models import bitnet, llama, qwen
from solvent.machine.engine.models.metadata import architecture

if TYPE_CHECKING:
    from solvent.machine.engine.config import Config
    from solvent.machine.engine.model_file import ModelFile

FAMILIES = {name: family.config for family in (llama, qwen, bitnet) for name in family.GRAPHS}


def config(file: ModelFile) -> Config:
    """The configuration of a file, its metadata and its tensors validated.

    Raises: ModelFileError (an architecture that the engine doesn't run; a key or a tensor that is missing or wrong)."""
    family: Config = FAMILIES[architecture(file, tuple(FAMILIES))](file)
    return family

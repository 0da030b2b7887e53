"""How a model's products round on top of its file: the head's form, and what vectors are before weights in blocks.

Vectors are int8, or int16: two int8 with a scale each for every 32 columns, the second of which holds what the first
leaves. Weights are still read from memory once; products take twice the operations. It tells what a model's weights
are worth apart from how the engine rounds.
What it doesn't do: round (native/step.cpp, native/rounding.cpp). Enter at `Precision`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from solvent.errors import EngineError
from solvent.machine.engine.config import Config
from solvent.machine.engine.head import Head

# Of weights in blocks. Float weights take floats, and BitNet's layers int8 per token, whatever is asked for.
Activations = Literal["int8", "int16"]
ACTIVATIONS: tuple[Activations, ...] = get_args(Activations)


class PrecisionOptions(TypedDict, total=False):
    """Precision's fields as keywords, each optional."""

    head: Head
    activations: Activations


@dataclass(frozen=True, slots=True)
class Precision:
    """head: the language-model head's form, see head.py.   activations: what vectors are rounded to before weights in
    blocks."""

    head: Head = "screened"
    activations: Activations = "int8"

    def check(self, config: Config, name: str) -> None:
        """name: the model's, for errors.

        Raises: EngineError (no such activations; int16 for a model that int8 is part of). The head: head_used."""
        if self.activations not in ACTIVATIONS:
            raise EngineError("activations", repr(self.activations), f"one of {', '.join(ACTIVATIONS)}")
        if self.activations == "int16" and config.int8_per_token:
            raise EngineError(f"{name}: activations", "int16", "int8, which its layers are trained with")

"""Which form of the language-model head a model runs with, and how large it is.

The head is the last matrix, one row a token of the vocabulary: a third of SmolLM2's bytes, over half of BitNet-2B's
in half precision. What each form changes in a model's output: docs/reference/model-card.md.
What it doesn't do: pack or round it (native/rounding.cpp, native/screen.cpp). Enter at `head_used`.
"""

from __future__ import annotations

from typing import Literal, get_args

from solvent.errors import EngineError
from solvent.machine.engine.config import Config

# screened: greedy tokens by 3-bit codes and exact rescoring; all logits by the file's own head, when first asked for.
# whole: the file's own.   8-bit, 6-bit: the file's, rounded when the model is loaded.
Head = Literal["screened", "whole", "8-bit", "6-bit"]
HEADS: tuple[Head, ...] = get_args(Head)
FLOATS = ("f16", "bf16", "f32")
# Types whose rows can be computed one at a time; others are small already.
SCREENED_TYPES = ("q8_0", "q6_k", *FLOATS)
# Types with more bits than the rounded head has; others stay as they are.
ROUNDED_TYPES = {"8-bit": FLOATS, "6-bit": ("q8_0", *FLOATS)}
BITS = {"8-bit": 8, "6-bit": 6}
# Below this many rows a second pass costs more than it saves.
MIN_SCREENED_ROWS = 4096
BLOCK = 32


def head_tensor(config: Config) -> str:
    """The name of the tensor that the head is."""
    return "token_embd.weight" if config.tied else "output.weight"


def head_used(asked: Head, kind: str, config: Config) -> Head:
    """What a head of type `kind` runs as, where `asked` was asked for.

    "screened" is "whole" where screening doesn't pay: a small vocabulary, or codes of few bits already. "8-bit" and
    "6-bit" are "whole" where the file's head has no more bits than that.
    Raises: EngineError (no such form; rows that aren't whole blocks of 32)."""
    if asked not in HEADS:
        raise EngineError("head", repr(asked), f"one of {', '.join(HEADS)}")
    if asked == "screened":
        pays = kind in SCREENED_TYPES and config.n_vocab >= MIN_SCREENED_ROWS and config.width % BLOCK == 0
        return "screened" if pays else "whole"
    if kind not in ROUNDED_TYPES.get(asked, ()):
        return "whole"
    if config.width % BLOCK:
        raise EngineError("head", f"{asked} for rows of {config.width}", f"rows of whole blocks of {BLOCK}", "whole")
    return asked

"""What a conversion did to a model: perplexity before and after, and how far the new predictions stray from the old.

Rounding to few bits always answers something; whether it is still the model's answer has to be measured. A short text
is enough to tell a model from a ruin (not to rank two good formats: `LanguageModel.divergence` on a long text does).
Enter at `measure_damage`. Source: docs/explanation/ternary-weights.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.engine import models, quality
from solvent.machine.engine.memory import available_bytes, held
from solvent.machine.engine.model_file import ModelFile
from solvent.machine.engine.quants import dequantise
from solvent.machine.engine.tokeniser import Tokeniser

if TYPE_CHECKING:
    from solvent.machine.engine.config import Config
    from solvent.machine.engine.model import Model

# Read of the text, at most. A ruin shows within a few dozen.
MOST_TOKENS = 512
# No token in use is longer than 32 characters on average text; typical ones have 4.
MOST_CHARACTERS = 32 * MOST_TOKENS
# From here on it is another model: at ln 2 it gives half the probability (as a geometric mean) to what the original
# expects. Four-bit formats of small models measure 0.005 to 0.3, ternary rounding without training 1.7 and up.
RUIN_NATS_PER_TOK = math.log(2)


@dataclass(frozen=True, slots=True)
class Damage:
    """perplexity: of the original and of the result.   mean_kl_nats: KL(original ‖ result) per predicted token.
    same_top_share: of predictions where both find the same token most probable."""

    perplexity_before: float
    perplexity_after: float
    mean_kl_nats: float
    same_top_share: float
    n_predicted_tok: int

    @property
    def is_ruin(self) -> bool:
        """Whether the result is no longer the model; what isn't a number counts as ruin."""
        return not self.mean_kl_nats < RUIN_NATS_PER_TOK

    def sentence(self) -> str:
        return (
            f"perplexity {self.perplexity_before:.3g} before, {self.perplexity_after:.3g} after, on "
            f"{self.n_predicted_tok} tokens; divergence {self.mean_kl_nats:.2g} nats a token; the same best token in "
            f"{self.same_top_share:.0%}"
        )

    def document(self) -> dict[str, Any]:
        """As JSON, which has no infinity: None where a perplexity is larger than any float."""
        before, after = self.perplexity_before, self.perplexity_after
        return {
            "perplexity_before": before if math.isfinite(before) else None,
            "perplexity_after": after if math.isfinite(after) else None,
            "mean_kl_nats_per_tok": self.mean_kl_nats,
            "same_top_share": self.same_top_share,
            "n_predicted_tok": self.n_predicted_tok,
            "is_ruin": self.is_ruin,
        }


def usual_text() -> str:
    """A page of a play, in the public domain."""
    return resources.files(__package__).joinpath("damage.txt").read_text("utf-8")


def text_of(path: Path) -> str:
    """The text of a file, up to what is read of it.

    Raises: EngineError (it can't be read, is empty, or isn't UTF-8)."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS)
    except OSError as error:
        raise EngineError(str(path), error.strerror or str(error), "a text to measure the damage on") from None
    except UnicodeDecodeError as error:
        raise EngineError(str(path), f"no UTF-8 at byte {error.start}", "a text in UTF-8") from None
    if not text:
        raise EngineError(str(path), "an empty file", "a text to measure the damage on", "or --no-measure")
    return text


def measure_damage(before: ModelFile, after: ModelFile, text: str) -> Damage:
    """Perplexity of both models and the divergence between them, on the first tokens of a text.

    Exactness: that of quality.perplexity and quality.divergence; with the NumPy reference where the native engine
    isn't built.
    Raises: EngineError, ModelFileError (as tokens_to_measure; too large for memory)."""
    tokens = tokens_to_measure(before, text)
    check_room_to_measure(before, after)
    old, new = (_model(file) for file in (before, after))
    first, second = (quality.perplexity(model, tokens) for model in (old, new))
    divergence = quality.divergence(new, old, tokens)
    return Damage(first.perplexity, second.perplexity, divergence.mean_kl, divergence.same_top, divergence.n_predicted)


def tokens_to_measure(file: ModelFile, text: str) -> list[int]:
    """The first tokens of a text.

    Raises: EngineError (fewer than two; a byte or character that the vocabulary lacks), ModelFileError (as
    Tokeniser.of_file)."""
    tokeniser = Tokeniser.of_file(file)
    fix = "give another text with --text, or --no-measure"
    try:
        tokens = tokeniser.encode(text, bos=False)[:MOST_TOKENS]
    except EngineError as error:
        raise EngineError(f"{file.path}: {error.where}", error.found, error.expected, fix) from None
    if len(tokens) < 2:
        found = "one token" if tokens else "no token"
        raise EngineError(f"{file.path}: text", found, "at least two, to measure the damage on", fix)
    return tokens


def check_room_to_measure(*files: ModelFile) -> None:
    """Raises: EngineError where models can't be in memory together."""
    needed = sum(held(models.config(file), file.tensors, context=MOST_TOKENS).total_bytes for file in files)
    available = available_bytes()
    if available is not None and needed > available:
        raise EngineError(
            str(files[0].path), f"{needed / 2**30:.2f} GiB to measure the damage",
            f"at most {available / 2**30:.2f} GiB, the memory available here", "--no-measure",
        )  # fmt: skip


def _model(file: ModelFile) -> Model:
    config = models.config(file)
    if not native.available():
        return cast("Model", _InNumPy(file, config))
    from solvent.machine.engine.model import Model

    return Model(file, config)


class _InNumPy:
    """The reference behind the part of Model's interface that quality.py uses. Reads a window anew at each piece."""

    def __init__(self, file: ModelFile, config: Config) -> None:
        n_weights = sum(math.prod(tensor.shape) for tensor in file.tensors.values())
        available = available_bytes()
        if available is not None and 2 * 4 * n_weights > available:
            raise EngineError(
                str(file.path), f"{4 * n_weights} bytes in float32 without the native engine",
                f"half of {available}, the memory available", "build the native engine, or --no-measure",
            )  # fmt: skip
        self.config = config
        self._weights = {name: dequantise(tensor) for name, tensor in file.tensors.items()}

    def new_sequence(self, context: int | None = None) -> list[int]:
        return []

    def extend(self, sequence: list[int], tokens: Sequence[int], logits: str = "last") -> Any:
        from solvent.machine.engine.reference import forward

        sequence += tokens
        return forward(self.config, self._weights, sequence)[-len(tokens) :]

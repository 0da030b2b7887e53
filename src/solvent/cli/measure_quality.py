"""The quality part of a measurement from the command line's words: sets, needles, texts, and a user's own scores.

Everything is read here before anything is measured, so that a slip costs nobody a measurement.
What it doesn't do: score (measure_score.py).
Enter at `plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from solvent.errors import MeasureError

if TYPE_CHECKING:
    from solvent.machine.engine.load import LanguageModel
    from solvent.measure.quality.divergence import Reader
    from solvent.measure.quality.tasks import Task

MIN_TEXT_TOK = 4


@dataclass(frozen=True, slots=True)
class Quality:
    """What to score.   against: MODEL, MODEL@CACHE or @CACHE; None takes the same model with an f16 cache where
    another is measured.   items: of each set; predictions of each text are 16 times as many.   few_shot, needle:
    tokens of examples before each question, and of haystacks cut from each text."""

    files: list[Path]
    against: str | None
    items: int
    few_shot: list[int]
    needle: list[int]


@dataclass(frozen=True, slots=True)
class Variant:
    """A model with a cache format."""

    name: str
    loaded: LanguageModel
    cache: str

    def encode(self, text: str) -> list[int]:
        return self.loaded.tokeniser.encode(text, bos=False)

    def reader(self) -> Reader:
        from solvent.measure.quality.divergence import Reader

        return Reader(self.loaded.model, lambda context: self.loaded.model.new_sequence(context, self.cache))


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is read before the measurement. texts: in tokens.   variants: this one, and the other or None; none
    without a model."""

    own: list[Path]
    texts: dict[Path, list[int]]
    tasks: list[Task]
    variants: tuple[Variant, Variant | None] | None
    items: int


def plan(wanted: Quality, loaded: LanguageModel | None, kv: str | None) -> Plan:
    """Reads every file and loads the other model.

    loaded: the model of this process, None where the target is none; then only scores of the user's are taken.
    Raises: MeasureError, EngineError, ModelFileError"""
    from solvent.measure.quality.figures import own_file_figures
    from solvent.measure.quality.tasks import needle_tasks, set_tasks

    if not 0 < wanted.items <= 1_000_000:
        raise MeasureError("--items", str(wanted.items), "1 to 1,000,000")
    own = [path for path in wanted.files if path.suffix.lower() == ".csv"]
    sets = [path for path in wanted.files if path.suffix.lower() == ".jsonl"]
    texts = [path for path in wanted.files if path not in own + sets]
    for path in own:
        own_file_figures(path)
    for name, asked, files, kind in (
        ("--few-shot", wanted.few_shot, sets, "a set in .jsonl"),
        ("--needle", wanted.needle, texts, "a text to hide them in"),
    ):
        if asked and not files:
            raise MeasureError(name, "no --quality file for it", kind)
    stems = [path.stem for path in wanted.files]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise MeasureError("--quality", f"two files named {twice[0]}", "names that tell their figures apart")
    if not sets + texts:
        if wanted.against is not None:
            raise MeasureError("--against", "no --quality file to compare on", "a set in .jsonl, or a text")
        return Plan(own, {}, [], None, wanted.items)
    if loaded is None:
        found = str((sets + texts)[0])
        raise MeasureError("--quality", found, "a .csv of your own scores, for what isn't a model of this process")
    kv = "f16" if kv is None else kv
    this = Variant(f"{loaded.name}, {kv} cache", loaded, kv)
    room = (wanted.items, loaded.model.config.context)
    tasks = [task for path in sets for task in set_tasks(path, this.encode, room[0], wanted.few_shot, room[1])]
    tasks += [task for path in texts for task in needle_tasks(path, this.encode, room[0], wanted.needle, room[1])]
    other = _against(wanted.against, this)
    return Plan(own, {path: _tokens(path, this, other) for path in texts}, tasks, (this, other), wanted.items)


def _tokens(path: Path, this: Variant, other: Variant | None) -> list[int]:
    from solvent.measure.quality.tasks import read_text

    text = read_text(path)
    tokens = this.encode(text)
    if other and other.encode(text) != tokens:
        raise MeasureError("--against", f"{other.name} cuts {path.name} into other tokens", "the same tokeniser")
    if len(tokens) < MIN_TEXT_TOK:
        raise MeasureError(str(path), f"{len(tokens)} tokens", f"{MIN_TEXT_TOK} or more to predict")
    return tokens


def _against(text: str | None, this: Variant) -> Variant | None:
    """MODEL, MODEL@CACHE, @CACHE; by default the model itself with an f16 cache."""
    from solvent.machine.turboquant.cache_format import parse

    if text is None:
        return Variant(f"{this.loaded.name}, f16 cache", this.loaded, "f16") if this.cache != "f16" else None
    name, _, cache = text.partition("@")
    parse(cache or "f16")
    if not name:
        return Variant(f"{this.loaded.name}, {cache} cache", this.loaded, cache)
    from solvent.machine.engine.load import load

    model = this.loaded.model
    loaded = load(name, threads=model.threads, activations=model.activations)
    return Variant(f"{name}, {cache or 'f16'} cache", loaded, cache or "f16")

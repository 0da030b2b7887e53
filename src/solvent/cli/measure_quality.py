"""The quality part of a measurement from the command line's words: sets, texts, and a user's own scores.

Enter at `add_quality`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solvent.errors import MeasureError

if TYPE_CHECKING:
    from solvent.machine.engine.load import LanguageModel
    from solvent.measure.quality.divergence import Reader

WINDOW_TOK = 2048
# A question of a set is short; a longer one is refused with its length.
SET_TOK = 4096


@dataclass(frozen=True, slots=True)
class Quality:
    """What to score.   against: MODEL, MODEL@CACHE or @CACHE; None takes the same model with an f16 cache where
    another is measured.   items: of each set; predictions of each text are 16 times as many."""

    files: list[Path]
    against: str | None
    items: int


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


def add_quality(document: dict[str, Any], wanted: Quality, loaded: LanguageModel | None, kv: str | None) -> None:
    """Adds the figures of every file to a result's document, and their raw scores under `quality`.

    loaded: the model of this process, None where the target is none; then only scores of the user's are taken.
    Raises: MeasureError, EngineError, ModelFileError"""
    from solvent.cli.progress import progress
    from solvent.measure.quality.figures import own_file_figures

    if not 0 < wanted.items <= 1_000_000:
        raise MeasureError("--items", str(wanted.items), "1 to 1,000,000")
    date = document["started_at"][:10]
    own = [path for path in wanted.files if path.suffix.lower() == ".csv"]
    others = [path for path in wanted.files if path not in own]
    figures: dict[str, Any] = {}
    raw: dict[str, Any] = {}
    for path in own:
        figures |= own_file_figures(path, date)
    if others:
        if loaded is None:
            raise MeasureError(
                "--quality", str(others[0]), "a .csv of your own scores, for what isn't a model of this process"
            )
        this = Variant(f"{loaded.name}, {kv or 'f16'} cache", loaded, kv or "f16")
        other = _against(wanted.against, this)
        with progress() as tell:
            for path in others:
                score = _set if path.suffix.lower() == ".jsonl" else _text
                found, scores = score(path, (this, other), wanted.items, tell)
                figures |= found(date)
                raw[path.stem] = scores
    document["figures"] |= {name: figure.document() for name, figure in figures.items()}
    if raw:
        document["quality"] = raw


Scored = tuple[Callable[[str], dict[str, Any]], Any]


def _set(path: Path, variants: tuple[Variant, Variant | None], n_items: int, tell: Any) -> Scored:
    """A choice or continuation set."""
    from solvent.measure.quality.figures import quality_figures
    from solvent.measure.quality.items import read_items
    from solvent.measure.quality.score_set import score_set
    from solvent.measure.quality.scorer import Scorer

    items = read_items(path, n_items)
    scores = []
    for one in filter(None, variants):
        model = one.loaded.model
        context = min(SET_TOK, model.config.context)
        scorer = Scorer(model, model.new_sequence(context, one.cache), one.encode)
        scores.append(
            score_set(scorer, items, one.name, "", lambda done, all_: tell(f"{path.stem} {done}/{all_}", done / all_))
        )
    return lambda date: quality_figures(scores[:1], scores[1:], date), [score.document() for score in scores]


def _text(path: Path, variants: tuple[Variant, Variant | None], n_items: int, tell: Any) -> Scored:
    """Perplexity on a text, and divergence from the other variant where there is one."""
    from solvent.measure.quality.divergence import Windows, text_divergence
    from solvent.measure.quality.figures import text_figures

    this, other = variants
    try:
        tokens = this.encode(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MeasureError(str(path), f"can't be read ({error})", "a text in UTF-8, or a set in .jsonl") from None
    if other and other.encode(path.read_text("utf-8")) != tokens:
        raise MeasureError("--against", f"{other.name} cuts this text into other tokens", "the same tokeniser")
    size = min(WINDOW_TOK, this.loaded.config.context, len(tokens) // 2 * 2)
    n_scored = min(16 * n_items, len(tokens) // max(size, 1) * (size // 2))
    readers = {"this": this.reader()} if other else {}
    found = text_divergence(
        (other or this).reader(), readers, tokens, Windows(size, n_scored),
        lambda done, all_: tell(f"{path.stem} {done}/{all_} windows", done / all_),
    )  # fmt: skip
    document = found["this" if other else "reference"].document()
    strayed = ("mean_kl", "p999_kl", "same_top")
    kept = {key: value for key, value in document.items() if other or not key.startswith(strayed)}
    kept["window"] = size
    name = this.name if other is None else f"{this.name} against {other.name}"
    return lambda date: text_figures(path.stem, name, [kept], date), {**document, "window": size}


def _against(text: str | None, this: Variant) -> Variant | None:
    """MODEL, MODEL@CACHE, @CACHE; by default the model itself with an f16 cache."""
    if text is None:
        return Variant(f"{this.loaded.name}, f16 cache", this.loaded, "f16") if this.cache != "f16" else None
    name, _, cache = text.partition("@")
    if not name:
        return Variant(f"{this.loaded.name}, {cache} cache", this.loaded, cache)
    from solvent.machine.engine.load import load

    loaded = load(name, threads=this.loaded.model.threads)
    return Variant(f"{name}, {cache or 'f16'} cache", loaded, cache or "f16")

"""Scores what a measurement's quality part planned. Enter at `add_quality`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from solvent.cli.measure_quality import Plan, Variant
    from solvent.measure.quality.tasks import Task

WINDOW_TOK = 2048
Scored = tuple[Callable[[str], dict[str, Any]], Any]


def add_quality(document: dict[str, Any], planned: Plan) -> None:
    """Adds the figures of all that was planned to a result's document, and the raw scores under `quality`."""
    from solvent.cli.progress import progress
    from solvent.measure.quality.figures import own_file_figures

    date = document["started_at"][:10]
    figures: dict[str, Any] = {}
    raw: dict[str, Any] = {}
    for path in planned.own:
        figures |= own_file_figures(path, date)
    if planned.variants:
        with progress() as tell:
            for task in planned.tasks:
                found, raw[task.items.name] = _task(task, planned.variants, tell)
                figures |= found(date)
            for path, tokens in planned.texts.items():
                found, raw[path.stem] = _text(path, tokens, planned, tell)
                figures |= found(date)
    document["figures"] |= {name: figure.document() for name, figure in figures.items()}
    if raw:
        document["quality"] = raw


def _task(task: Task, variants: tuple[Variant, Variant | None], tell: Any) -> Scored:
    """The same items by each variant."""
    from solvent.measure.quality.figures import quality_figures
    from solvent.measure.quality.score_set import score_set
    from solvent.measure.quality.scorer import Scorer

    scores = []
    for one in filter(None, variants):
        scorer = Scorer(one.loaded.model, one.loaded.model.new_sequence(task.context_tok, one.cache), one.encode)
        name = f"{task.items.name}, {one.cache} cache"
        scores.append(score_set(scorer, task.items, one.name, task.shots, _teller(tell, name)))
    return lambda date: quality_figures(scores[:1], scores[1:], date), [score.document() for score in scores]


def _teller(tell: Any, name: str) -> Callable[[int, int], None]:
    return lambda done, all_: tell(f"{name} {done}/{all_}", done / all_)


def _text(path: Path, tokens: list[int], planned: Plan, tell: Any) -> Scored:
    """Perplexity on a text, and divergence from the other variant where there is one."""
    from solvent.measure.quality.divergence import Windows, text_divergence
    from solvent.measure.quality.figures import text_figures

    assert planned.variants
    this, other = planned.variants
    size = min(WINDOW_TOK, this.loaded.config.context, len(tokens) // 2 * 2)
    n_scored = min(16 * planned.items, len(tokens) // max(size, 1) * (size // 2))
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

"""A quality set scored item by item: which ending a model prefers, and how likely it finds the right one.

What it doesn't do: compare two variants (paired.py), make figures (figures.py).
Enter at `score_set`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from solvent.measure.quality.items import Item, ItemSet, Kind
from solvent.measure.quality.scorer import Ending


class EndingScorer(Protocol):
    """What scores endings: `scorer.Scorer`, or whatever gives log-probabilities."""

    def score(self, context: str, endings: Sequence[str]) -> list[Ending]: ...


@dataclass(frozen=True, slots=True)
class ItemScore:
    """One item's outcome.

    right: choice – the gold ending has the highest Σ ln p; continuation – every token of it is the model's first
    choice.   right_per_byte: the same by Σ ln p a byte (None for a continuation).   gold_logprob: Σ ln p of the gold
    ending.   margin: choice – gold_logprob less that of the likeliest other, else None."""

    item: str
    right: bool
    right_per_byte: bool | None
    gold_logprob: float
    gold_bytes: int
    margin: float | None


@dataclass(frozen=True, slots=True)
class SetScore:
    """All outcomes of one set by one variant."""

    name: str
    kind: Kind
    variant: str
    scores: tuple[ItemScore, ...]
    n_shots: int = 0

    def document(self) -> dict[str, Any]:
        return asdict(self)


def score_set(
    scorer: EndingScorer,
    items: ItemSet,
    variant: str,
    shots: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> SetScore:
    """Scores every item after the same examples.   shots: few_shot.pack's text.   progress: called with done, all."""
    scores = []
    for n_done, score in enumerate(_scores(scorer, items, shots), 1):
        scores.append(score)
        if progress is not None:
            progress(n_done, len(items.items))
    return SetScore(items.name, items.kind, variant, tuple(scores), shots.count("\n\n"))


def _scores(scorer: EndingScorer, items: ItemSet, shots: str) -> Iterator[ItemScore]:
    for item in items.items:
        yield outcome(item, items.kind, scorer.score(shots + item.context, item.endings))


def outcome(item: Item, kind: Kind, endings: Sequence[Ending]) -> ItemScore:
    """What the endings' log-probabilities say of one item. Of equals the first is preferred."""
    gold = endings[item.gold]
    if kind == "continuation":
        return ItemScore(item.id, gold.greedy, None, gold.logprob, gold.n_bytes, None)
    sums = [ending.logprob for ending in endings]
    per_byte = [ending.logprob / ending.n_bytes for ending in endings]
    others = [value for place, value in enumerate(sums) if place != item.gold]
    return ItemScore(
        item.id,
        sums.index(max(sums)) == item.gold,
        per_byte.index(max(per_byte)) == item.gold,
        gold.logprob,
        gold.n_bytes,
        gold.logprob - max(others),
    )

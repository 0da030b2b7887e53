"""Quality as figures: accuracy and log-probability of each set, differences from another variant, perplexity, KL.

What it doesn't do: score or compare (score_set.py, paired.py).
Enter at `quality_figures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

from solvent.errors import MeasureError
from solvent.figure import Figure
from solvent.measure.quality.own_scores import OwnComparison, compare_scores, read_scores
from solvent.measure.quality.paired import Difference, Paired, compare, mean, share
from solvent.measure.quality.score_set import SetScore

# Of a Perplexity's and a Divergence's document (docs/reference/metrics-of-quality.md): key → label, unit.
TEXT_METRICS = {
    "perplexity": ("perplexity", "choices"),
    "mean_kl": ("mean divergence from the reference", "nats"),
    "p999_kl": ("99.9% quantile of the divergence", "nats"),
    "same_top": ("share of predictions with the reference's first choice", "share"),
}


def quality_figures(
    scores: Sequence[SetScore], against: Sequence[SetScore] = (), date: str | None = None
) -> dict[str, Figure]:
    """The figures of a variant's sets by id, and beside each the difference from the same set of another variant.

    Raises: MeasureError (a set of the other variant with other items or examples)"""
    others = {one.name: one for one in against}
    found: dict[str, Figure] = {}
    for one in scores:
        for figure in set_figures(one, date):
            found[figure.id] = figure
        if one.name in others:
            for figure in paired_figures(compare(one, others[one.name]), date):
                found[figure.id] = figure
    return found


def set_figures(score: SetScore, date: str | None = None) -> list[Figure]:
    """Accuracy (and per byte where there are choices) and nats a byte of the right endings, with 95% intervals."""
    source = f"{score.variant} on {score.name}, {len(score.scores)} items, {score.n_shots} examples"
    scores = score.scores
    rows = [("accuracy", "accuracy", "share", share(sum(one.right for one in scores), len(scores)))]
    per_byte = [one.right_per_byte for one in scores if one.right_per_byte is not None]
    if per_byte:
        label = "accuracy by log-probability a byte"
        rows.append(("accuracy_per_byte", label, "share", share(sum(per_byte), len(per_byte))))
    nats = mean([-one.gold_logprob / one.gold_bytes for one in scores])
    rows.append(("gold_nats_per_byte", "surprise at the right ending", "nats/byte", nats))
    return [
        _figure(f"quality.{score.name}.{key}", (f"{label}, {score.name}", unit), value, source, date, None)
        for key, label, unit, value in rows
    ]


def paired_figures(paired: Paired, date: str | None = None) -> list[Figure]:
    """Differences from the other variant, with their intervals."""
    source = f"{paired.variant} against {paired.other} on {paired.name}, {paired.n} pairs"
    note = f"only one right: {paired.only_this} / {paired.only_other}; McNemar's exact p {paired.mcnemar_p:.3g}"
    start, name = f"quality.{paired.name}", paired.name
    found = [
        _figure(
            f"{start}.accuracy_difference", (f"accuracy lost or won, {name}", "share"), paired.accuracy_difference,
            source, date, note,
        ),
        _figure(
            f"{start}.logprob_difference", (f"log-probability of the right ending, {name}", "nats"),
            paired.logprob_difference, source, date,
        ),
    ]  # fmt: skip
    if paired.margin_difference is not None:
        words = (f"margin to the likeliest wrong ending, {name}", "nats")
        found.append(_figure(f"{start}.margin_difference", words, paired.margin_difference, source, date))
    return found


def text_figures(
    name: str, variant: str, documents: Sequence[Mapping[str, Any]], date: str | None = None
) -> dict[str, Figure]:
    """Figures from the documents of a perplexity and a divergence over one text.

    An interval is `KEY_low` to `KEY_high` of the document; without one perplexity takes the standard error of mean_nll,
    which holds predictions for independent."""
    found: dict[str, Figure] = {}
    for document in documents:
        source = f"{variant} on {name}, {document['n_predicted']} predictions in windows of {document['window']}"
        for key, (label, unit) in TEXT_METRICS.items():
            if key not in document:
                continue
            value = float(document[key])
            low, high = document.get(f"{key}_low"), document.get(f"{key}_high")
            error = document.get("standard_error")
            if low is None and key == "perplexity" and error is not None and error == error:
                low, high = value * exp(-1.96 * error), value * exp(1.96 * error)
            figure_id = f"quality.{name}.{key}"
            found[figure_id] = Figure(
                figure_id, f"{label}, {name}", value, unit, "measured", source,
                low=low, high=high, level=None if low is None else 0.95, date=date,
            )  # fmt: skip
    return found


def own_file_figures(path: Path, date: str | None = None) -> dict[str, Figure]:
    """Figures of a file of own scores: its first variant is what the others are compared with.

    Raises: MeasureError (as read_scores; a file of one variant)"""
    scores = read_scores(path)
    first, *others = scores.variants
    if not others:
        raise MeasureError(str(path), f"the one variant {first!r}", "two or more, the first to compare with")
    found: dict[str, Figure] = {}
    for name in others:
        found |= own_figures(f"{scores.name}.{name}", compare_scores(scores, name, first), date)
    return found


def own_figures(name: str, comparison: OwnComparison, date: str | None = None) -> dict[str, Figure]:
    """Figures of a user's own scores. They are the user's claim: nothing here saw how they were made."""
    source = f"{name}: {comparison.variant} against {comparison.other}"
    note = f"{comparison.only_one} scores without a partner left out" if comparison.only_one else ""
    rows = (("score", comparison.mean), ("score_difference", comparison.difference))
    found = {}
    for key, value in rows:
        figure_id = f"quality.{name}.{key}"
        found[figure_id] = Figure(
            figure_id, f"{key.replace('_', ' ')}, {name}", value.value, "points", "claimed", source,
            low=value.low, high=value.high, level=value.level, date=date, note=note,
        )  # fmt: skip
    return found


def _figure(figure_id: str, words: tuple[str, str], value: Difference, *lineage: str | None) -> Figure:
    """words: label and unit.   lineage: source, date, note."""
    (label, unit), (source, date, note) = words, (*lineage, None, None)[:3]
    return Figure(
        figure_id, label, value.value, unit, "measured", source or "",
        low=value.low, high=value.high, level=value.level, date=date, note=note or "",
    )  # fmt: skip

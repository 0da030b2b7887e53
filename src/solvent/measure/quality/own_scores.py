"""A user's own scores of items, from a file: CSV with a header or JSON lines, `item, score, variant`.

What it doesn't do: say how a score came about; that is the user's.
Enter at `read_scores` and `compare_scores`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from solvent.errors import MeasureError
from solvent.measure.quality.paired import Difference, difference, mean

MAX_BYTES = 256 << 20
MAX_NAME = 1000
KEYS = ("item", "score", "variant")


@dataclass(frozen=True, slots=True)
class OwnScores:
    """Scores by variant, then by item."""

    name: str
    variants: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class OwnComparison:
    """One variant beside another on the items that both have.   only_one: items that one of them lacks, left out."""

    variant: str
    other: str
    mean: Difference
    difference: Difference
    only_one: int


def read_scores(path: Path) -> OwnScores:
    """The scores of a .csv or .jsonl file.

    Raises: MeasureError naming the line: a missing or unknown column, a score that is no finite number, a second score
    of one item."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise MeasureError(str(path), f"can't be read ({error.strerror})", fix="name an existing file") from None
    except UnicodeDecodeError:
        raise MeasureError(str(path), "not UTF-8", "text") from None
    if len(content) > MAX_BYTES:
        raise MeasureError(str(path), f"more than {MAX_BYTES} bytes", "a file of scores of at most that size")
    found: dict[str, dict[str, float]] = {}
    for number, row in _csv_rows(text, path) if path.suffix.lower() == ".csv" else _json_rows(text, path):
        where = f"{path.name}:{number}"
        item, variant = _name(row, "item", where), _name(row, "variant", where)
        scores = found.setdefault(variant, {})
        if item in scores:
            raise MeasureError(where, f"item {item!r} of {variant!r} a second time", "one score for each")
        scores[item] = _score(row.get("score"), where)
    if not found:
        raise MeasureError(str(path), "no score", "at least one row")
    return OwnScores(path.stem, found)


def compare_scores(scores: OwnScores, variant: str, other: str, seed: int = 0) -> OwnComparison:
    """Pairs two variants by item.   Raises: MeasureError (a variant that isn't there, no item in common)"""
    for name in (variant, other):
        if name not in scores.variants:
            known = ", ".join(sorted(scores.variants)[:10])
            raise MeasureError(scores.name, f"no variant {name!r}", f"one of {known}")
    ours, theirs = scores.variants[variant], scores.variants[other]
    items = [item for item in ours if item in theirs]
    if not items:
        raise MeasureError(scores.name, f"{variant!r} and {other!r} share no item", "the same items for both")
    values = [ours[item] for item in items]
    return OwnComparison(
        variant,
        other,
        mean(values, seed),
        difference(values, [theirs[item] for item in items], seed),
        len(ours) + len(theirs) - 2 * len(items),
    )


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if tuple(sorted(reader.fieldnames or ())) != tuple(sorted(KEYS)):
            raise MeasureError(f"{path.name}:1", f"columns {', '.join(reader.fieldnames or ())}"[:200], ", ".join(KEYS))
        for row in reader:
            if None in row or None in row.values():
                raise MeasureError(f"{path.name}:{reader.line_num}", "a row of other length", f"{len(KEYS)} columns")
            yield reader.line_num, row
    except csv.Error as error:
        raise MeasureError(f"{path.name}:{reader.line_num}", f"not CSV ({error})", "CSV") from None


def _json_rows(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise MeasureError(f"{path.name}:{number}", "not JSON", "an object a line") from None
        if not isinstance(row, dict) or set(row) != set(KEYS):
            keys = ", ".join(map(str, row))[:100] if isinstance(row, dict) else type(row).__name__
            raise MeasureError(f"{path.name}:{number}", keys or "{}", f"an object of {', '.join(KEYS)}")
        yield number, row


def _name(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME:
        raise MeasureError(f"{where} `{key}`", repr(value)[:40], "a name")
    return value


def _score(value: Any, where: str) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        number = float("nan")
    if not isfinite(number):
        raise MeasureError(
            f"{where} `score`", repr(value)[:40], "a finite number; leave the row out where none is known"
        )
    return number

"""Items of a quality set: a context and the endings to choose from, read from JSON lines.

Two layouts: `query, choices, gold` (multiple choice) and `context, continuation` (the ending must be what the model
would write). A file of the user's; solvent ships none.
What it doesn't do: score (scorer.py), add examples (few_shot.py).
Enter at `read_items`. Source of the layouts: mosaicml/llm-foundry `scripts/eval/local_data`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from solvent.errors import MeasureError

MAX_BYTES = 256 << 20
MAX_ITEMS = 1_000_000
MAX_CHOICES = 64
MAX_TEXT = 1 << 20
# A question's choices are answers to it; a sentence's are its ends.
QUESTION, ANSWER = "Question:", "\nAnswer:"

Kind = Literal["choice", "continuation"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to get right.

    context: what the model reads.   endings: what may follow, each with its leading space.   gold: the right one's
    place.   id: `file stem:line`."""

    id: str
    context: str
    endings: tuple[str, ...]
    gold: int

    @property
    def text(self) -> str:
        """The item solved, as an example shows it."""
        return self.context + self.endings[self.gold]


@dataclass(frozen=True, slots=True)
class ItemSet:
    """The items of one file, all of one kind."""

    name: str
    kind: Kind
    items: tuple[Item, ...]


def read_items(path: Path, n_items: int | None = None) -> ItemSet:
    """The items of a .jsonl file; n_items: only so many, from the start.

    Raises: MeasureError naming the line and what is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MeasureError(str(path), f"can't be read ({error.strerror})", fix="name an existing file") from None
    if len(content) > MAX_BYTES:
        raise MeasureError(str(path), f"more than {MAX_BYTES} bytes", "a quality set of at most that size")
    items: list[Item] = []
    kinds: set[Kind] = set()
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        if len(items) == (MAX_ITEMS if n_items is None else n_items):
            break
        where = f"{path.name}:{number}"
        kind, item = _item(_row(line, where), where, f"{path.stem}:{number}")
        items.append(item)
        kinds.add(kind)
        if len(kinds) > 1:
            raise MeasureError(where, f"a {kind} among others", "one kind of item in a file")
    if not items:
        raise MeasureError(str(path), "no item", "at least one JSON object a line")
    return ItemSet(path.stem, kinds.pop(), tuple(items))


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise MeasureError(where, "not JSON", "an object a line") from None
    if not isinstance(row, dict):
        raise MeasureError(where, f"a {type(row).__name__}", "an object a line")
    return row


def _item(row: dict[str, Any], where: str, item_id: str) -> tuple[Kind, Item]:
    if "choices" in row:
        query, choices, gold = _text(row, "query", where), row["choices"], row.get("gold")
        if not isinstance(choices, list) or not 2 <= len(choices) <= MAX_CHOICES:
            raise MeasureError(f"{where} `choices`", "not a list of choices", f"2 to {MAX_CHOICES} texts")
        texts = [_text({"choices": one}, "choices", where) for one in choices]
        if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < len(texts):
            raise MeasureError(f"{where} `gold`", repr(gold)[:40], f"a whole number, 0 to {len(texts) - 1}")
        context = query.rstrip() + (ANSWER if query.startswith(QUESTION) else "")
        return "choice", Item(item_id, context, tuple(f" {text.strip()}" for text in texts), gold)
    if "continuation" in row:
        context = _text(row, "context", where).rstrip()
        return "continuation", Item(item_id, context, (f" {_text(row, 'continuation', where).strip()}",), 0)
    keys = ", ".join(sorted(map(str, row))[:10])
    raise MeasureError(where, f"keys {keys}"[:200], "`query`, `choices`, `gold` or `context`, `continuation`")


def _text(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise MeasureError(f"{where} `{key}`", "no text" if key in row else "missing", "a text that isn't empty")
    if len(value) > MAX_TEXT:
        raise MeasureError(f"{where} `{key}`", f"{len(value)} characters", f"at most {MAX_TEXT}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise MeasureError(f"{where} `{key}`", "half a surrogate pair", "text that UTF-8 can hold") from None
    return value


def shots(items: Sequence[Item]) -> str:
    """Solved items as the text that stands before a question: each, and an empty line after it."""
    return "".join(f"{item.text}\n\n" for item in items)

"""What is asked of a model's quality: a set as it is, the same after packed examples, needles in a text.

Everything is read and cut before anything is measured, so that a slip in a file costs nobody a measurement.
What it doesn't do: score (score_set.py).
Enter at `set_tasks` and `needle_tasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from solvent.errors import MeasureError
from solvent.measure.quality.few_shot import pack
from solvent.measure.quality.items import ItemSet, read_items
from solvent.measure.quality.needle import DEPTHS, needle_items

# A question of a set is short; a longer one is refused with its length.
SET_TOK = 4096
# What a question after packed examples may take; of a short context a quarter.
QUESTION_TOK = 512
# Reading 8,192 tokens four times over is minutes on a CPU; more haystacks need a number of items asked for.
MAX_HAYSTACKS = 4

Encode = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class Task:
    """Items to score. shots: what stands before each.   context_tok: room that they need."""

    items: ItemSet
    shots: str
    context_tok: int


def set_tasks(path: Path, encode: Encode, n_items: int, few_shot: Sequence[int], model_context: int) -> list[Task]:
    """The set without examples, or one task for each number of tokens that its examples are to fill, NAME-TOKENS.

    After examples a question has 512 tokens of room, or a quarter of a short context; longer ones are left out.
    Raises: MeasureError (as read_items and pack; examples and a question don't fit the model)"""
    if not few_shot:
        return [Task(read_items(path, n_items), "", min(SET_TOK, model_context))]
    items = read_items(path)
    room_tok = min(QUESTION_TOK, model_context // 4)
    tasks = []
    for n_tok in few_shot:
        if not 0 < n_tok <= model_context - room_tok:
            fits = f"1 to {model_context - room_tok}: the model's context less {room_tok} for the question"
            raise MeasureError("--few-shot", f"{n_tok} tokens", fits)
        shots, left = pack(items, encode, n_tok)
        short = (one for one in left.items if max(len(encode(one.context + end)) for end in one.endings) < room_tok)
        kept = tuple(one for one, _ in zip(short, range(n_items), strict=False))
        if not kept:
            raise MeasureError(str(path), f"no question under {room_tok} tokens", "shorter ones")
        asked = replace(left, name=f"{items.name}-{n_tok}", items=kept)
        tasks.append(Task(asked, shots, n_tok + room_tok))
    return tasks


def needle_tasks(path: Path, encode: Encode, n_items: int, needles: Sequence[int], model_context: int) -> list[Task]:
    """One task for each number of tokens: haystacks cut from the text, with five needles each, four haystacks at most.

    Raises: MeasureError (as needle_items; no text; longer than the model reads)"""
    text = read_text(path)
    n_haystacks = max(1, min(MAX_HAYSTACKS, n_items // len(DEPTHS)))
    tasks = []
    for n_tok in needles:
        if not 0 < n_tok <= model_context:
            raise MeasureError("--needle", f"{n_tok} tokens", f"1 to {model_context}, the model's context")
        found = needle_items(text, encode, n_tok, n_haystacks)
        tasks.append(Task(replace(found, name=f"{path.stem}-{found.name}"), "", n_tok))
    return tasks


def read_text(path: Path) -> str:
    """A text in UTF-8.   Raises: MeasureError"""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MeasureError(str(path), f"can't be read ({error})", "a text in UTF-8, or a set in .jsonl") from None

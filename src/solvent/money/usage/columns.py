"""Column maps: which column of a flat log fills which part of a canonical request.

A target is a column of a request, a bucket, or one of the inclusive counts that logs hold:
`prompt_tok` (holds its cached part), `completion_tok` (holds its reasoning part), `…_s` (seconds).
What it doesn't do: read rows (`tabular`). Enter at `column_map`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from solvent.errors import LogError
from solvent.records import BUCKET_NAMES, REQUEST_COLUMNS

SECONDS = {"input_audio_s": "input_audio_us", "output_audio_s": "output_audio_us", "output_video_s": "output_video_us"}
INCLUSIVE = ("prompt_tok", "completion_tok")
CACHED = ("cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok")
TEXTS = ("request_id", "output_id", "customer", "feature", "provider", "model", "service")
TARGETS: tuple[str, ...] = (*REQUEST_COLUMNS, "at_offset_ms", *INCLUSIVE, *SECONDS, "prefix_blocks")


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """columns: target → source column (dots descend into objects).   constants: target → fixed value.

    unclear_input: the column whose name doesn't say whether cached tokens are inside; guessed as `prompt_tok`.
    """

    columns: Mapping[str, str]
    constants: Mapping[str, str | int]
    notes: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    unclear_input: str | None = None

    def buckets(self) -> tuple[str, ...]:
        """The buckets that this map can fill, in the order of the records."""
        filled = set(self.columns) | set(self.constants)
        filled |= {SECONDS[name] for name in SECONDS if name in filled}
        if "prompt_tok" in filled:
            filled.add("input_tok")
        if "completion_tok" in filled:
            filled.add("output_tok")
        return tuple(name for name in BUCKET_NAMES if name in filled)


@cache
def _vocabulary() -> dict[str, Any]:
    text = resources.files("solvent.money.usage").joinpath("data/columns.json").read_text("utf-8")
    vocabulary: dict[str, Any] = json.loads(text)
    return vocabulary


def column_map(
    found: Sequence[str],
    columns: Mapping[str, str],
    constants: Mapping[str, str | int],
    ignore_keys: Sequence[str] = (),
    where: str = "log",
) -> ColumnMap:
    """The map for a log with these columns: the user's own entries first, then the names that are known.

    found: the log's top-level columns.   columns, constants: [log.columns] and [log.constants]; a target that is
    mapped to an empty text isn't guessed: the log doesn't have it.
    Raises: LogError when an entry names a target or column that isn't there, or nothing can be counted.
    """
    for name in (*columns, *constants):
        if name not in TARGETS:
            raise LogError(where, f"[log.columns] has {name!r}", "one of " + ", ".join(TARGETS))
    nowhere = {target for target, source in columns.items() if not source}
    columns = {target: source for target, source in columns.items() if source}
    missing = [source for source in columns.values() if source.split(".", 1)[0] not in found and source not in found]
    if missing:
        raise LogError(
            where,
            f"[log.columns] names {', '.join(map(repr, missing))}",
            "columns of the log: " + ", ".join(map(repr, list(found)[:40])),
        )
    guess, notes = _guess(found, nowhere | set(columns) | set(constants), set(columns.values()))
    chosen = {**guess, **columns}
    _check(chosen, constants, found, where)
    used = {source.split(".", 1)[0] for source in chosen.values()} | set(chosen.values())
    rest = [name for name in found if name not in used]
    words = _vocabulary()["usage_words"]
    unclear = tuple(n for n in rest if n not in ignore_keys and _unclear(n, words))
    ignored = tuple(n for n in rest if n not in unclear)
    unclear_input = guess.get("prompt_tok") if set(CACHED) & {*chosen, *constants} else None
    if unclear_input is not None and unclear_input.lower() not in _vocabulary()["inside"]["names"]["prompt_tok"]:
        unclear_input = None
    return ColumnMap(chosen, dict(constants), tuple(notes), unclear, ignored, unclear_input)


def _unclear(name: str, words: Sequence[str]) -> bool:
    """Whether an unmapped column looks like usage; a total of other columns doesn't add anything."""
    low = name.lower()
    return any(word in low for word in words) and not low.startswith("total") and not low.endswith("_text")


def _guess(found: Sequence[str], taken: set[str], sources: set[str]) -> tuple[dict[str, str], list[str]]:
    vocabulary = _vocabulary()
    by_low = {name.lower(): name for name in reversed(found) if name not in sources}
    beside = any(name in by_low for name in vocabulary["beside"]["when"])
    extra = vocabulary["beside" if beside else "inside"]
    guess: dict[str, str] = {}
    notes: list[str] = []
    for names in (vocabulary["names"], extra["names"]):
        for target, options in names.items():
            source = next((by_low[o] for o in options if o in by_low), None)
            if source is None or target in taken or target in guess or source in guess.values():
                continue
            if _clashes(target, taken | set(guess)):
                continue
            guess[target] = source
            if names is extra["names"] and extra["why"] not in notes:
                notes.append(extra["why"])
    if not beside and not ({"cache_read_tok", "reasoning_tok"} & set(guess)):
        notes = []
    return guess, notes


def _clashes(target: str, present: set[str]) -> bool:
    """Whether a guess would count something twice, such as a prompt beside its uncached part."""
    rivals = {
        "prompt_tok": "input_tok",
        "input_tok": "prompt_tok",
        "completion_tok": "output_tok",
        "output_tok": "completion_tok",
    }
    return rivals.get(target) in present


def _check(chosen: Mapping[str, str], constants: Mapping[str, str | int], found: Sequence[str], where: str) -> None:
    present = set(chosen) | set(constants)
    for inclusive, part in (("prompt_tok", "input_tok"), ("completion_tok", "output_tok")):
        if inclusive in present and part in present:
            raise LogError(
                where, f"[log.columns] maps both {inclusive} and {part}", "one of them: the first holds the second"
            )
    counted = present & {*BUCKET_NAMES, *INCLUSIVE, *SECONDS}
    if not counted:
        raise LogError(
            where,
            "no column holds a usage: " + ", ".join(map(repr, list(found)[:40])),
            fix='map them in solvent.toml, for example [log.columns] prompt_tok = "…" and completion_tok = "…"',
        )

"""Which format a log has, told from its first records and never from its name.

Nested formats (vendors' responses, spans, session logs) go through a reader; flat ones (CSV, Parquet, JSONL of plain
columns, the public traces) are read in SQL. A format is recognised when most of the records that any format knows
are its own. Enter at `recognise`; `FORMATS` holds the readers by name.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from solvent.errors import LogError, printable
from solvent.money.usage.readers import anthropic, claude_code, codex, gemini, langfuse, litellm, openai, otel
from solvent.money.usage.readers.outcome import Reading, RecordReader
from solvent.money.usage.sources import Malformed, SourceFile, lines, open_bytes, records

SAMPLE_RECORDS = 200
MANY_FILES, SAMPLE_RECORDS_OF_MANY = 20, 10
SAMPLE_BYTES = 1 << 20
FLAT = ("azure", "mooncake", "clients", "csv", "jsonl", "parquet")

# In this order a tie is decided: the narrower mark first.
_MODULES = (claude_code, codex, litellm, langfuse, otel, gemini, anthropic, openai)
_RECOGNISES: dict[str, Callable[[dict[str, Any]], bool]] = {m.NAME: m.recognises for m in _MODULES}
SPENDLOGS_TABLE = "litellm-csv"
FORMATS: dict[str, Callable[[str, Reading], RecordReader]] = {
    **{m.NAME: m.Reader for m in _MODULES},
    SPENDLOGS_TABLE: litellm.TableReader,
}

_HEADERS: tuple[tuple[str, frozenset[str]], ...] = (
    ("azure", frozenset({"timestamp", "contexttokens", "generatedtokens"})),
    (SPENDLOGS_TABLE, frozenset({"request_id", "call_type", "prompt_tokens", "completion_tokens"})),
    ("clients", frozenset({"timestamp", "client", "model", "input_tokens", "output_tokens"})),
)
_MOONCAKE = frozenset({"timestamp", "input_length", "output_length"})
_USAGE_WORDS = ("token", "length", "input", "output", "prompt", "completion", "second", "image", "char")
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Recognised:
    """format_name: a key of FORMATS (nested) or one of FLAT.   why: what was seen, in words."""

    format_name: str
    kind: Literal["nested", "flat"]
    why: str


class UnknownFormat(LogError):
    """A file that can be read, of no format that is known: its columns would have to be mapped."""


def recognise(file: SourceFile, n_records: int = SAMPLE_RECORDS) -> Recognised:
    """The format of a file, from at most n_records records (and, past the first, SAMPLE_BYTES).

    Raises: LogError (no known format: names the formats and the keys that were seen, never a value).
    """
    start = _start(file)
    if start.startswith(b"PAR1"):
        return Recognised("parquet", "flat", "a Parquet file")
    first = start.removeprefix(_BOM).lstrip()[:1]
    if first not in (b"{", b"["):
        return _table(file)
    sample, n_malformed = _sample(file, n_records)
    votes = Counter(_format_of(record) for record in sample)
    unknown = votes.pop(None, 0)
    if votes:
        name, n = min(votes.items(), key=lambda vote: (-vote[1], _rank(vote[0])))
        kind: Literal["nested", "flat"] = "nested" if name in FORMATS else "flat"
        # A line of plain columns is no sign against a nested format that has such lines too, but outvotes nothing.
        return Recognised(str(name), kind, f"{n} of {len(sample)} records look like {name}")
    kind_of_error = UnknownFormat if sample else LogError
    raise kind_of_error(str(file.path), _seen(sample, n_malformed, unknown), _known(), "name it with --format")


def recognise_all(files: Sequence[SourceFile], *, mapped: bool = False) -> str:
    """The one format of all files; flat files may differ among each other, and each is read by its own columns.

    A file that no format knows goes along with a nested one: its reader says of every record why it is none.
    mapped: the project names the columns of the counts, so that a file of no known format is a flat one.
    Raises: LogError naming the first file of another format, or one that isn't recognised among flat ones.
    """
    first: tuple[SourceFile, Recognised] | None = None
    unknown: tuple[SourceFile, LogError] | None = None
    flat: str | None = None
    n_records = SAMPLE_RECORDS if len(files) <= MANY_FILES else SAMPLE_RECORDS_OF_MANY
    for file in files:
        try:
            found = recognise(file, n_records)
        except LogError as error:
            if not (mapped and isinstance(error, UnknownFormat)):
                unknown = unknown or (file, error)
            elif flat is None:
                flat = "jsonl" if _start(file).removeprefix(_BOM).lstrip()[:1] in (b"{", b"[") else "csv"
            continue
        if first is None:
            first = file, found
        elif found.format_name != first[1].format_name and "nested" in (found.kind, first[1].kind):
            raise LogError(
                str(file.path),
                f"a log of the format {found.format_name}, while {first[0].path} is {first[1].format_name}",
                "one format",
                "audit them apart, leave the odd file out, or force one with --format",
            )
    if unknown is not None and (first is None or first[1].kind == "flat"):
        raise unknown[1]
    if first is not None:
        return first[1].format_name
    assert flat is not None
    return flat


def _rank(name: str | None) -> int:
    order = (*FORMATS, *FLAT)
    return order.index(str(name))


def _start(file: SourceFile) -> bytes:
    try:
        with open_bytes(file) as stream:
            return stream.read(64)
    except Exception as error:
        raise LogError(str(file.path), f"can't be read ({type(error).__name__})") from None


def _sample(file: SourceFile, n_records: int) -> tuple[list[dict[str, Any]], int]:
    """The first records: a document longer than the sample is read whole, since its keys lie anywhere in it."""
    for limit in (SAMPLE_BYTES, None):
        sample: list[dict[str, Any]] = []
        n_malformed = 0
        for _, record in records(file, limit):
            if isinstance(record, Malformed):
                n_malformed += 1
            else:
                sample.append(record)
            if len(sample) >= n_records or (limit is None and (sample or n_malformed >= n_records)):
                break
        if sample:
            break
    return sample, n_malformed


def _format_of(record: dict[str, Any]) -> str | None:
    for name, recognises in _RECOGNISES.items():
        if recognises(record):
            return name
    if record.keys() >= _MOONCAKE:
        return "mooncake"
    return "jsonl" if _is_flat(record) else None


def _is_flat(record: dict[str, Any]) -> bool:
    """Whether a record has a number, or text that is one, in a column that sounds like usage."""
    for key, value in record.items():
        low = key.lower()
        if any(word in low for word in _USAGE_WORDS) and _is_count(value):
            return True
    return False


def _is_count(value: Any) -> bool:
    return type(value) in (int, float) or (type(value) is str and len(value) < 20 and value.isdigit())


def _table(file: SourceFile) -> Recognised:
    """A text file by its header: columns of a known log, else any table with more than one column."""
    header = next((line for _, line in lines(file, SAMPLE_BYTES)), b"")
    if isinstance(header, Malformed) or b"\x00" in header:
        raise LogError(str(file.path), "neither JSON nor a table of text", _known())
    try:
        text = header.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise LogError(str(file.path), "not UTF-8 text", _known()) from None
    delimiter = max(_DELIMITERS, key=text.count)
    try:
        names = next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:
        names = []
    low = {name.strip().lower() for name in names}
    for name, columns in _HEADERS:
        if low >= columns:
            return Recognised(name, "nested" if name in FORMATS else "flat", f"its columns are those of {name}")
    if len(names) > 1:
        return Recognised("csv", "flat", f"a table of {len(names)} columns")
    raise UnknownFormat(str(file.path), "neither JSON nor a table with a header", _known(), "name it with --format")


def _known() -> str:
    return "one of " + ", ".join((*FORMATS, *FLAT))


def _seen(sample: Iterable[dict[str, Any]], n_malformed: int, unknown: int) -> str:
    keys = Counter(key for record in sample for key in list(record)[:50])
    if not keys:
        return f"no JSON object that can be read ({n_malformed} can't)"
    shown = ", ".join(printable(key[:40]) for key, _ in keys.most_common(12))
    return f"{unknown} records of an unknown format with the keys {shown}"

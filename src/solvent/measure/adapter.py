"""The adapter file of a command: how a request is passed to it, what it makes, how that is counted.

What it doesn't do: run the command (command_target.py).
Enter at `read_adapter`. The page: docs/reference/adapters.md.
"""

from __future__ import annotations

import json
import string
import wave
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from solvent.errors import MeasureError
from solvent.money.toml_file import endless_numbers, read_toml

Count = Literal["one", "characters", "words", "lines", "wav_seconds", "images", "vectors", "number"]
MAX_BYTES = 1 << 20
# What may stand in braces in `command` and `stdin`.
PLACES = ("prompt", "prompt_json", "output", "output_json", "folder")
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")


class OutputTable(BaseModel):
    """[output]: what comes back and how much of it is counted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    count: Count
    unit: str = Field(default="output", min_length=1, max_length=60)
    from_: Literal["stdout", "file"] = Field(default="stdout", alias="from")
    suffix: str = Field(default="", max_length=20, pattern=r"^[A-Za-z0-9.]*$")
    max_bytes: int = Field(default=64 << 20, gt=0, le=1 << 30)
    # A count in other units than the output: 60 counts minutes of seconds.
    per_output: float = Field(default=1.0, gt=0, le=1e9)

    @field_validator("per_output", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return value if isinstance(value, bool) else float(value) if not isinstance(value, str) else value


class Adapter(BaseModel):
    """One command as a target.

    command: the program and its arguments, no shell.   stdin: text for it, or none.   stays: it is started once and
    answers one line for each line of stdin; else it is started for every request."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    name: str = Field(min_length=1, max_length=200)
    command: list[str] = Field(min_length=1, max_length=200)
    stdin: str | None = Field(default=None, max_length=1 << 16)
    stays: bool = False
    timeout_s: float = Field(default=120.0, gt=0, le=86_400)
    prompt: str | None = Field(default=None, max_length=1 << 20)
    model: str | None = Field(default=None, max_length=200)
    output: OutputTable

    @field_validator("timeout_s", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return value if isinstance(value, bool | str) else float(value)

    @field_validator("command")
    @classmethod
    def _no_zero_byte(cls, value: list[str]) -> list[str]:
        if any("\0" in part for part in value) or not value[0].strip():
            raise ValueError("a program's name and its arguments, without zero bytes")
        return value

    def filled(self, text: str, places: dict[str, str]) -> str:
        """The text with its braces filled in; doubled braces stand for themselves."""
        return string.Formatter().vformat(text, (), places)


def read_adapter(path: Path) -> Adapter:
    """An adapter file.   Raises: MeasureError naming the key: unknown (with the nearest), missing, of another kind"""
    raw = read_toml(path, MeasureError, MAX_BYTES)
    endless = endless_numbers(raw)
    if endless:
        raise MeasureError(str(path), endless[0], "a number that can be")
    try:
        adapter = Adapter.model_validate(raw)
    except ValidationError as error:
        raise MeasureError(
            str(path), _faults(error), "an adapter file as docs/reference/adapters.md describes"
        ) from None
    for where, text in [("command", part) for part in adapter.command] + [("stdin", adapter.stdin or "")]:
        _check_places(path, where, text)
    texts = [*adapter.command, adapter.stdin or ""]
    if adapter.output.from_ == "file" and not any("{output" in text for text in texts):
        raise MeasureError(str(path), "no {output} in `command` or `stdin`", "where to write the file")
    if adapter.stays and adapter.stdin is None:
        raise MeasureError(str(path), "`stays` without `stdin`", "the line that asks")
    if adapter.output.count in ("wav_seconds", "images") and adapter.output.from_ == "stdout" and adapter.stays:
        raise MeasureError(str(path), f"{adapter.output.count} from the lines of a program that stays", 'from = "file"')
    return adapter


def count(output: OutputTable, content: bytes) -> float:
    """How much was made, in outputs.   Raises: ValueError (the content isn't what it should be; it says why)"""
    if output.count == "one":
        if not content:
            raise ValueError("nothing was written")
        amount = 1.0
    elif output.count in ("characters", "words", "lines"):
        amount = _count_text(output.count, content)
    elif output.count == "wav_seconds":
        amount = wav_seconds(content)
    elif output.count == "images":
        if not content.startswith(SIGNATURES):
            raise ValueError("no PNG, JPEG, GIF, WebP or BMP")
        amount = 1.0
    elif output.count == "number":
        amount = _number_of(content)
    else:
        amount = _count_vectors(content)
    return amount / output.per_output


def _count_text(what: str, content: bytes) -> float:
    text = content.decode("utf-8").strip()
    if not text:
        raise ValueError("no text")
    return float(len(text) if what == "characters" else len(text.split()) if what == "words" else text.count("\n") + 1)


def wav_seconds(content: bytes) -> float:
    """Seconds of sound that a WAV's data hold, whatever its header claims.   Raises: ValueError"""
    from io import BytesIO

    try:
        with wave.open(BytesIO(content)) as sound:
            rate, width = sound.getframerate(), sound.getsampwidth() * sound.getnchannels()
            n_bytes = len(sound.readframes(len(content)))
    except (wave.Error, EOFError, RuntimeError) as error:
        raise ValueError(f"no WAV ({error or 'it ends early'})") from None
    if rate <= 0 or width <= 0 or n_bytes < width:
        raise ValueError("a WAV without sound")
    return float(n_bytes / width / rate)


def _number_of(content: bytes) -> float:
    """What the program itself says that it made."""
    try:
        amount = float(content[:100].decode("ascii").strip())
    except ValueError:
        raise ValueError("no number") from None
    if not 0 < amount < float("inf"):
        raise ValueError(f"{amount} made")
    return amount


def _count_vectors(content: bytes) -> float:
    """A list of lists of numbers, one such list, or one a line."""
    n = 0
    for line in content.splitlines():
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError("not JSON") from None
        rows = found if isinstance(found, list) and found and isinstance(found[0], list) else [found]
        for row in rows:
            if not isinstance(row, list) or not row or not all(_is_number(value) for value in row):
                raise ValueError("no vector of finite numbers")
        n += len(rows)
    if not n:
        raise ValueError("no vector")
    return float(n)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _check_places(path: Path, where: str, text: str) -> None:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise MeasureError(f"{path} `{where}`", f"{error} in {text[:60]!r}", "{{ and }} for braces") from None
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if spec or conversion:
            raise MeasureError(f"{path} `{where}`", f"{{{name[:40]}}} with a format", f"{{{name[:40]}}} alone")
        if name not in PLACES:
            near = get_close_matches(name, PLACES, n=1)
            fix = f"is {{{near[0]}}} meant?" if near else ""
            raise MeasureError(f"{path} `{where}`", f"{{{name[:40]}}}", ", ".join(f"{{{one}}}" for one in PLACES), fix)


def _faults(error: ValidationError) -> str:
    keys = [field.alias or name for model in (Adapter, OutputTable) for name, field in model.model_fields.items()]
    faults = []
    for fault in error.errors(include_url=False)[:20]:
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            near = get_close_matches(str(fault["loc"][-1]), keys, n=1)
            faults.append(f"`{key}` is no key of this file" + (f"; is `{near[0]}` meant?" if near else ""))
        elif fault["type"] == "missing":
            faults.append(f"`{key}` is missing")
        else:
            faults.append(f"`{key}` is {repr(fault['input'])[:60]}: {fault['msg'].removeprefix('Value error, ')}")
    return " | ".join(faults)

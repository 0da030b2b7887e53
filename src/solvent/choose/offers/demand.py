"""Demand: what a day asks for, hour by hour: outputs and the tokens they take.

From an audit statement (`from_statement`), or stated in a file (`read`). The hours of a statement over several
days are averaged by hour of the day; where it has no hours, the day is flat and the demand says so.
What it doesn't do: predict growth (`path`, `stress` scale it with `scaled`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from solvent.choose.offers.record import HOURS_PER_DAY
from solvent.errors import ChoiceError
from solvent.figure import Method

# The buckets of a statement's table of models that are read before the answer, and those that are written.
_INPUT = ("input_tok", "cache_write_5m_tok", "cache_write_1h_tok")
_OUTPUT = ("output_tok", "reasoning_tok")


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour's demand. input_tok: uncached; cache_read_tok: the part of the prompts that a cache holds;
    output_tok: with reasoning."""

    outputs: float
    input_tok: float
    cache_read_tok: float
    output_tok: float

    def scaled(self, factor: float) -> Hour:
        return Hour(*(factor * part for part in (self.outputs, self.input_tok, self.cache_read_tok, self.output_tok)))


@dataclass(frozen=True, slots=True)
class Demand:
    """24 hours (UTC) of demand with its lineage. note: what was assumed to get them."""

    hours: tuple[Hour, ...]
    method: Method
    source: str
    date: str | None = None
    note: str = ""
    output: str = "output"

    def __post_init__(self) -> None:
        assert len(self.hours) == HOURS_PER_DAY, f"{len(self.hours)} hours"

    def total(self) -> Hour:
        """The day as one sum."""
        keys = ("outputs", "input_tok", "cache_read_tok", "output_tok")
        return Hour(*(math.fsum(getattr(hour, key) for hour in self.hours) for key in keys))

    def scaled(self, factor: float) -> Demand:
        """The same day with `factor` times the traffic."""
        return replace(self, hours=tuple(hour.scaled(factor) for hour in self.hours))


def shaped(per_day: Hour, shares: Sequence[float]) -> tuple[Hour, ...]:
    """The day's totals dealt out to 24 hours by weights that need not sum to 1."""
    total = math.fsum(shares)
    return tuple(per_day.scaled(share / total) for share in shares)


def from_statement(document: Mapping[str, Any], where: str = "statement") -> Demand:
    """A mean day of an audit statement (schema solvent.statement/1).

    Outputs by hour are the statement's; the tokens of an hour are outputs × the span's mean tokens per output.
    Raises: ChoiceError where the statement holds no outputs, no token counts or no span.
    """
    tables = document.get("tables", {})
    days = _number(document.get("span", {}).get("days"), where, "span.days")
    models = tables.get("models", {}).get("rows", [])
    tokens = {key: _column(models, key, where) for key in (*_INPUT, "cache_read_tok", *_OUTPUT)}
    rows = tables.get("hours", {}).get("rows", [])
    outputs = _column(models, "n_outputs", where)
    if not outputs or not sum(tokens.values()) or not days:
        raise ChoiceError(where, "no demand: no outputs or no tokens", "a statement of at least one priced request")
    day = Hour(
        outputs / days,
        sum(tokens[key] for key in _INPUT) / days,
        tokens["cache_read_tok"] / days,
        sum(tokens[key] for key in _OUTPUT) / days,
    )
    counted = [0.0] * HOURS_PER_DAY
    for row in rows:
        counted[_hour_of(row, where)] += _number(row.get("n_outputs"), where, "hours.n_outputs")
    note = "tokens of an hour are its outputs × the span's mean tokens per output"
    method: Method = "measured"
    if not sum(counted):
        counted = [1.0] * HOURS_PER_DAY
        method = "assumed"
        note = "the statement has no table of hours (logs of up to 3 days have one): a flat day is assumed"
    output = str(document.get("product", {}).get("output", "output"))
    date = str(document.get("span", {}).get("start", ""))[:10] or None
    return Demand(shaped(day, counted), method, f"statement {where}", date, note, output)


def _column(rows: Sequence[Mapping[str, Any]], key: str, where: str) -> float:
    return math.fsum(_number(row.get(key, 0), where, f"models.{key}") for row in rows)


def _number(value: Any, where: str, key: str) -> float:
    """A cell of a statement: decimal text, finite, not negative."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise ChoiceError(where, f"`{key}` is {str(value)[:40]!r}", "a number of at least 0")
    return number


def _hour_of(row: Mapping[str, Any], where: str) -> int:
    text = str(row.get("hour", ""))
    digits = text[-5:-3]
    if not (text[-3:-2] == ":" and digits.isdigit() and int(digits) < HOURS_PER_DAY):
        raise ChoiceError(where, f"`hours.hour` is {text[:40]!r}", "an hour such as 2026-11-01 14:00")
    return int(digits)

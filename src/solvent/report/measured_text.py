"""Measurements beside each other for a terminal: a line for each. It formats "solvent.measured/1" and computes nothing.

Enter at `measured_lines`; the columns are `COLUMNS`, which the HTML section shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from solvent.report.hostile import visible
from solvent.report.numerals import human

# Key of a row's figure → its heading.
COLUMNS = {
    "decode_tok_per_s": "Tok/s",
    "usd_per_thousand": "1,000 outputs",
    "cache_mb": "Cache, MB",
    "mean_kl": "Divergence",
    "memory_mb": "Memory, MB",
    "first_token_s": "First token, s",
}


def measured_lines(document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] | None = None) -> Iterator[str]:
    """A heading and a line for each row; all rows unless some are given."""
    rows = document["rows"] if rows is None else rows
    names = [visible(row_name(row) + _read(row)) for row in rows]
    width = max(map(len, names), default=0)
    yield " " * width + "".join(f"  {title:>{max(len(title), 9)}}" for title in COLUMNS.values())
    for row, name in zip(rows, names, strict=True):
        cells = (f"  {cell(document, row, key):>{max(len(title), 9)}}" for key, title in COLUMNS.items())
        yield f"{name:<{width}}" + "".join(cells)


def row_name(row: Mapping[str, Any]) -> str:
    """The model's name without folder and ending, and the formats it ran in."""
    name = str(row["name"]).replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".gguf")
    formats = (f"{row['weight_format']} weights" if row["weight_format"] else "",
               f"{row['cache_format']} cache" if row["cache_format"] else "")  # fmt: skip
    return ", ".join(part for part in (name, *formats) if part)


def _read(row: Mapping[str, Any]) -> str:
    return f", {row['input_tok']:,} tokens read" if row["input_tok"] else ""


def cell(document: Mapping[str, Any], row: Mapping[str, Any], key: str) -> str:
    """A row's number; an en dash where nobody measured it."""
    figure = document["figures"].get(row["figures"].get(key))
    return human(figure["value"], figure["unit"]) if figure else "–"

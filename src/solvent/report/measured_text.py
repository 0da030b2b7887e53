"""Measurements beside each other for a terminal: a line for each. It formats "solvent.measured/1" and computes nothing.

Enter at `measured_lines`; the columns are the first of `COLUMNS`, which the HTML section shows all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from solvent.report.hostile import visible
from solvent.report.numerals import human

# Key of a row's figure → its heading.
COLUMNS = {
    "decode_tok_per_s": "Tok/s",
    "usd_per_thousand": "1,000 outputs",
    "cache_mb": "Cache, MB",
    "mean_kl": "Divergence",
    "perplexity": "Perplexity",
    "memory_mb": "Memory, MB",
    "first_token_s": "First token, s",
}
# A terminal has room for these many.
N_NARROW = 5
MIN_WIDTH = 9


def measured_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """A heading and a line for each row."""
    columns = list(COLUMNS.items())[:N_NARROW]
    names = [visible(row_name(row) + _read(row)) for row in document["rows"]]
    width = max(map(len, names), default=0)
    yield " " * width + "".join(f"  {title:>{MIN_WIDTH}}" for _, title in columns)
    for row, name in zip(document["rows"], names, strict=True):
        cells = (f"  {cell(document, row, key):>{max(len(title), MIN_WIDTH)}}" for key, title in columns)
        yield f"{name:<{width}}" + "".join(cells)


def row_name(row: Mapping[str, Any]) -> str:
    """The model's name without folder and ending, and the formats that the name doesn't say."""
    name = str(row["name"]).replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".gguf")
    weights, cache = row["weight_format"], row["cache_format"]
    if weights and str(weights) not in name:
        name += f" {weights}"
    if row.get("activations", "int8") not in (None, "int8"):
        name += f", {row['activations']} activations"
    return f"{name}, {cache} cache" if cache else name


def _read(row: Mapping[str, Any]) -> str:
    return f", {row['input_tok']:,} in" if row["input_tok"] else ""


def cell(document: Mapping[str, Any], row: Mapping[str, Any], key: str) -> str:
    """A row's number; an en dash where nobody measured it."""
    figure = document["figures"].get(row["figures"].get(key))
    return human(figure["value"], figure["unit"]) if figure else "–"

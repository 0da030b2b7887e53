"""Reads a TOML file of ours, bounded and decimal, and refuses numbers that would take forever to compute with.

What it doesn't do: check the tables (`project`, `prices.own`, `claims.file`). Enter at `read_toml`, `refuse_endless`.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

from solvent.errors import SolventError

MAX_BYTES = 16 << 20
MAX_EXPONENT = 18
MAX_PLACES = 60


def read_toml(path: Path, error: type[SolventError], max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The tables of a TOML file, floats as Decimal.

    Raises: `error` naming the file and what is wrong: unreadable, too large, not TOML.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as fault:
        raise error(str(path), f"can't be read ({fault.strerror})", fix="name an existing file") from None
    if len(content) > max_bytes:
        raise error(str(path), f"more than {max_bytes} bytes", "a file of at most that size")
    try:
        return tomllib.loads(content.decode("utf-8-sig"), parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError) as fault:
        # Besides bad syntax: not UTF-8, nested too deep, an integer or exponent too long to read.
        raise error(str(path), f"not TOML: {str(fault)[:200] or type(fault).__name__}") from None


def refuse_endless(raw: dict[str, Any], path: Path, error: type[SolventError]) -> None:
    """Raises where a number is one that nothing here can be: 1e999999999, 1e-999999999, nan, inf."""
    endless = endless_numbers(raw)
    if endless:
        expected = f"numbers below 1e{MAX_EXPONENT} with up to {MAX_PLACES} places"
        raise error(str(path), " | ".join(endless[:20]), expected)


def endless_numbers(node: Any, key: str = "") -> list[str]:
    """The keys of such numbers.

    To be asked before any of them becomes an integer or a Fraction, which would take forever and fill the memory.
    """
    if isinstance(node, dict):
        return [fault for k, v in node.items() for fault in endless_numbers(v, f"{key}.{k}" if key else str(k))]
    if isinstance(node, list):
        return [fault for i, v in enumerate(node) for fault in endless_numbers(v, f"{key}[{i}]")]
    if isinstance(node, Decimal) and not (node.is_finite() and _plain(node)):
        return [f"`{key}` is {str(node)[:40]}"]
    return []


def _plain(number: Decimal) -> bool:
    exponent = number.as_tuple().exponent
    return number.adjusted() < MAX_EXPONENT and isinstance(exponent, int) and exponent >= -MAX_PLACES

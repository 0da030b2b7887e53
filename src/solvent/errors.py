"""Exceptions of solvent: a user's fault says where, what was found, what was expected, what to do.

`assert` is for our own bugs; everything a user can cause raises a `SolventError`.
The command line prints `str(error)` on one line and exits 2.
"""

from __future__ import annotations


class SolventError(Exception):
    """A fault in the input, told in one line: `where: found …; expected …; do`."""

    def __init__(self, where: str, found: str, expected: str = "", fix: str = "") -> None:
        self.where = where
        self.found = found
        self.expected = expected
        self.fix = fix
        super().__init__(where, found, expected, fix)

    def __str__(self) -> str:
        parts = [self.found]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.fix:
            parts.append(self.fix)
        line = f"{self.where}: " + "; ".join(parts)
        return printable(line)


class LogError(SolventError):
    """The request log can't be read as it stands."""


class PriceError(SolventError):
    """A price is missing, malformed or contradictory."""


class ProjectError(SolventError):
    """`solvent.toml` (or a file that it names) is malformed."""


class RevenueError(SolventError):
    """Revenue can't be attributed as the project describes it."""


class ClaimsError(SolventError):
    """A claims file is malformed."""


class ReportError(SolventError):
    """A report can't be read or written."""


class ModelFileError(SolventError):
    """A model file is truncated, contradicts itself, or holds what this engine can't run."""


class KernelError(SolventError):
    """A kernel was asked for that this build or this CPU doesn't have."""


class EngineError(SolventError):
    """The engine was asked for what this model, or this state of it, can't do."""


class MeasureError(SolventError):
    """A measurement, or what it is to be compared with, can't be made or read as it stands."""


class ChoiceError(SolventError):
    """Offers, needs or demand are malformed, or nothing can be chosen from them."""


def printable(text: str) -> str:
    """The text on one line, without control characters that a terminal would obey; bytes that aren't UTF-8, of which
    Python makes surrogates in file names, as bytes."""
    return "".join(c if c.isprintable() else _escape(ord(c)) for c in text)


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

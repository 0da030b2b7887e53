"""Problems of a log, collected while it is read: grouped, counted exactly, shown with their first examples.

A detail is a template without values of the log, so that groups stay few and no prompt or answer gets out.
What it doesn't do: decide whether a problem stops the audit.
Enter at `Problems`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from solvent.errors import printable

Kind = Literal[
    "malformed", "negative", "absurd", "no_usage", "missing_zone", "unknown_key",
    "truncated", "no_model", "bad_time", "contradiction", "ambiguous", "empty",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)

MAX_EXAMPLES = 5
# A hostile log can invent a new unknown key on every line: past this many groups of a kind the rest share one.
MAX_GROUPS_PER_KIND = 200
MAX_DETAIL_CHARS = 240
REST = "further kinds of this problem"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of the log at one place.   line: 0 where the whole file is meant."""

    kind: Kind
    file: str
    line: int
    detail: str
    fix: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        fix = f"; {self.fix}" if self.fix else ""
        return printable(f"{where}: {self.kind.replace('_', ' ')}: {self.detail}{fix}")


@dataclass(slots=True)
class Group:
    """The problems that share kind and detail: how many, and the first places."""

    kind: Kind
    detail: str
    fix: str
    n: int = 0
    examples: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One line for a terminal: count, what, where, what to do."""
        places = ", ".join(self.examples) + (", …" if self.n > len(self.examples) else "")
        fix = f"; {self.fix}" if self.fix else ""
        where = f" ({places})" if places else ""
        return printable(f"{self.n:,} × {self.kind.replace('_', ' ')}: {self.detail}{where}{fix}")

    def document(self) -> dict[str, Any]:
        return {"kind": self.kind, "detail": self.detail, "n": self.n, "fix": self.fix, "examples": list(self.examples)}


@dataclass(slots=True)
class Problems:
    """All problems of a log in bounded memory.

    Exactness: `n` of a group and of a kind are exact; past MAX_GROUPS_PER_KIND the groups of a kind are merged.
    """

    groups: dict[tuple[Kind, str], Group] = field(default_factory=dict)
    _per_kind: dict[Kind, int] = field(default_factory=dict)

    def add(self, kind: Kind, detail: str, file: str, line: int = 0, fix: str = "", n: int = 1) -> None:
        """Counts `n` problems of one kind at one place; file: empty where the place isn't known."""
        assert kind in KINDS, kind
        detail = detail[:MAX_DETAIL_CHARS]
        group = self.groups.get((kind, detail))
        if group is None:
            if self._per_kind.get(kind, 0) >= MAX_GROUPS_PER_KIND:
                detail, fix = REST, ""
            group = self.groups.get((kind, detail)) or self._new(kind, detail, fix)
        group.n += n
        if file and len(group.examples) < MAX_EXAMPLES:
            group.examples.append(f"{file}:{line}" if line else file)

    def _new(self, kind: Kind, detail: str, fix: str) -> Group:
        self._per_kind[kind] = self._per_kind.get(kind, 0) + 1
        group = self.groups[kind, detail] = Group(kind, detail, fix)
        return group

    def note(self, problem: Problem) -> None:
        self.add(problem.kind, problem.detail, problem.file, problem.line, problem.fix)

    def merge(self, other: Problems) -> None:
        """Takes over the problems of another part of the log; counts add."""
        for theirs in other.groups.values():
            places = list(theirs.examples)
            self.add(theirs.kind, theirs.detail, places[0] if places else "", 0, theirs.fix, theirs.n)
            mine = self.groups.get((theirs.kind, theirs.detail)) or self.groups[theirs.kind, REST]
            mine.examples.extend(places[1 : 1 + MAX_EXAMPLES - len(mine.examples)])

    def n(self, *kinds: Kind) -> int:
        """How many problems there are, of these kinds or of all."""
        return sum(g.n for g in self.groups.values() if not kinds or g.kind in kinds)

    def __bool__(self) -> bool:
        return bool(self.groups)

    def __iter__(self) -> Iterator[Group]:
        """The groups, biggest first, ties by kind and detail."""
        return iter(sorted(self.groups.values(), key=lambda g: (-g.n, g.kind, g.detail)))

    def lines(self) -> list[str]:
        return [group.line() for group in self]

    def document(self) -> list[dict[str, Any]]:
        return [group.document() for group in self]

"""A tiny log and a project, audited: `audit(rows, project, …)` returns the statement."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from solvent.money.audit.run import AuditOptions, run_audit
from solvent.money.project import parse

# One mean month: plan prices count once.
MONTH = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-31T10:30:00Z"}
RATES = [{"model": "m", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}]
COLUMNS = ("at", "request_id", "customer", "feature", "model", "service_tier", "prompt_tok", "completion_tok")


class Statement(dict[str, Any]):
    """A statement whose figures and cells come as exact numbers."""

    def value(self, figure: str) -> Fraction | None:
        text = self["figures"][figure]["value"]
        return None if text is None else Fraction(text)

    def cell(self, table: str, row: str, column: str) -> Fraction | None:
        rows = self["tables"][table]["rows"]
        name = self["tables"][table]["columns"][0]["key"]
        (found,) = [r for r in rows if r[name] == row]
        return None if found[column] is None else Fraction(found[column])


def _moments(project: dict[str, Any]) -> dict[str, Any]:
    from datetime import datetime

    log = dict(project.get("log", {}))
    for key in ("start", "end"):
        if isinstance(log.get(key), str):
            log[key] = datetime.fromisoformat(log[key])
    return {**project, "log": log}


@pytest.fixture
def audit(tmp_path: Path) -> Callable[..., Statement]:
    def run(
        rows: Iterable[dict[str, Any]] | str,
        project: dict[str, Any] | None = None,
        files: dict[str, str] | None = None,
        **options: Any,
    ) -> Statement:
        raw = {"prices": {"prefer": ["own"]}, "rates": RATES, **(project or {})}
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(text)
        path = tmp_path / "log.csv"
        if isinstance(rows, str):
            path.write_text(rows)
        else:
            rows = [
                {"at": "2026-01-02T10:00:00Z", "customer": "a", "model": "m", "completion_tok": 0, **row}
                for row in rows
            ]
            names = list(
                dict.fromkeys([c for c in COLUMNS if any(c in r for r in rows)] + [c for r in rows for c in r])
            )
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, names)
                writer.writeheader()
                writer.writerows(rows)
        loaded = parse(_moments(raw), tmp_path / "solvent.toml")
        return Statement(run_audit([path], loaded, AuditOptions(threads=1, **options)))

    return run


@pytest.fixture
def month() -> dict[str, str]:
    return dict(MONTH)

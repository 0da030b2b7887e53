"""Statements for the tests of the reports: the golden one, a large one, and one that holds an attack in every text."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Statement = dict[str, Any]


def _tool(repo: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, repo / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up while it is made.
    import sys

    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def _golden(repo: Path) -> Statement:
    read: Statement = json.loads((repo / "tests" / "golden" / "report" / "statement.json").read_text("utf-8"))
    return read


@pytest.fixture
def statement(_golden: Statement) -> Statement:
    """The golden statement, free to be changed."""
    return copy.deepcopy(_golden)


@pytest.fixture(scope="session")
def make_statement(repo: Path) -> Callable[..., Statement]:
    """Makes a statement of any number of customers."""
    make: Callable[..., Statement] = _tool(repo, "report_fixture").statement
    return make


@pytest.fixture(scope="session")
def payloads(repo: Path) -> list[str]:
    texts: list[str] = json.loads((repo / "tests" / "golden" / "report" / "payloads.json").read_text("utf-8"))
    assert len(texts) >= 200
    return texts


@pytest.fixture(scope="session")
def fill(repo: Path, _golden: Statement) -> Callable[[list[str]], Statement]:
    """Makes a statement that holds one of the texts, in turn, in every place, and each as a customer."""
    hostile_of = _tool(repo, "report_payloads").hostile
    return lambda texts: hostile_of(_golden, texts)


@pytest.fixture(scope="session")
def hostile(fill: Callable[[list[str]], Statement], payloads: list[str]) -> Statement:
    """One of the payloads in every text, and every payload as a customer."""
    return fill(payloads)


@pytest.fixture(scope="session")
def harmless(fill: Callable[[list[str]], Statement], payloads: list[str]) -> Statement:
    """The same statement with a harmless word in every place."""
    return fill([f"word{i}" for i in range(len(payloads))])

"""The docs as a reader uses them: every block runs, every output is what is printed, nothing points nowhere.

The blocks are run by tools/docs_output.py, which also brings outputs up to date (`make docs`).
"""

from __future__ import annotations

import importlib.util
import re
import sys
import types
import typing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from solvent.money.prices.offer import Offer
from solvent.money.prices.own import OwnRate
from solvent.money.project import Costs, Currency, Log, Output, Policy, Prices, Product, Project, Value
from solvent.money.revenue.model import (
    Ads,
    Allowance,
    Conversion,
    Credits,
    FreeTier,
    Outcome,
    Plan,
    RevenueModel,
    Segment,
    Tokens,
)
from solvent.money.usage.columns import TARGETS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MODELS: dict[str, type[BaseModel]] = {
    "Top level": Project,
    "[product]": Product,
    "[log]": Log,
    "[output]": Output,
    "[prices]": Prices,
    "[[rates]]": OwnRate,
    "[[offers]]": Offer,
    "[[currency]]": Currency,
    "[revenue]": RevenueModel,
    "[revenue.plans.NAME]": Plan,
    "[[revenue.plans.NAME.allowances]]": Allowance,
    "[revenue.plans.NAME.tokens]": Tokens,
    "[revenue.plans.NAME.credits]": Credits,
    "[revenue.plans.NAME.outcome]": Outcome,
    "[revenue.plans.NAME.ads]": Ads,
    "[revenue.plans.NAME.conversion]": Conversion,
    "[revenue.plans.NAME.free_tier]": FreeTier,
    "[[revenue.segments]]": Segment,
    "[costs]": Costs,
    "[policy]": Policy,
    "[value]": Value,
}
WORDS = {
    str: "text", int: "whole number", Decimal: "number", bool: "true or false", date: "date", datetime: "date or time",
}  # fmt: skip
PAGES = [ROOT / "README.md", ROOT / "DEVELOPERS.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s#]+)(#[^)\s]*)?\)")
# Where work was tracked is no part of the product; test_house has the machines and hosts.
TRACKED = re.compile(r"\bissue #?\d|(?<![\w/])#\d{1,4}\b", re.IGNORECASE)


def tool(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up while they are made.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


docs_output = tool("docs_output")


@pytest.mark.parametrize("page", docs_output.pages(), ids=lambda p: p.name)
def test_every_block_runs_and_prints_what_is_shown(page: Path, tmp_path: Path) -> None:
    new = docs_output.run_page(page, tmp_path)
    assert words(new) == words(page.read_text("utf-8")), "`make docs` brings the outputs up to date"


def words(text: str) -> list[str]:
    """The lines without what only aligns columns: a wider column elsewhere is no other output."""
    return [re.sub(r"[ ─]+", " ", line).strip() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("```sh\nsolvent audit nothing.csv\n```\n", "exits 2"),
        ("```sh\nfalse\ntrue\n```\n", "exits 1"),
        ("```toml\n[revenu]\ndefault_plan = 'x'\n```\n", "revenu"),
        ("<!-- prices -->\n```toml\n[[rates]]\nmodel = 'x'\n```\n", "has no price"),
        ("```console\nno command here\n```\n", "without a line that starts"),
        ("```python\nprint(1)\n```\n", "kind 'python'"),
        ("<!-- not run -->\n```sh\nmake demo\n```\n", "without a reason"),
    ],
)
def test_a_block_that_is_wrong_is_seen(block: str, said: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{block}", "utf-8")
    (tmp_path / "there").mkdir()
    with pytest.raises(docs_output.BlockFault, match=re.escape(said)):
        docs_output.run_page(page, tmp_path / "there")


def test_an_output_that_has_changed_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- file: a.txt -->\n```text\n42\n```\n\n```console\n$ cat a.txt\n41\n```\n", "utf-8")
    (tmp_path / "there").mkdir()
    new = docs_output.run_page(page, tmp_path / "there")
    assert new == page.read_text("utf-8").replace("41", "42")


def test_no_page_hides_a_block_from_the_tests_but_those_that_install() -> None:
    hidden = [
        (page.name, block.text)
        for page in docs_output.pages()
        for block in docs_output.blocks(page.read_text("utf-8"))
        if block.mark == "not run"
    ]
    for name, text in hidden:
        for line in text.strip().splitlines():
            assert re.match(r"(make (demo|test)|pip install|git clone|cd )", line), f"{name}: {line!r} doesn't run"


def test_links_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target, _ in LINK.findall(page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text("utf-8")
    pages = {p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


def test_docs_name_no_tracker() -> None:
    found = [f"{p.name}: {m[0]}" for p in PAGES for m in TRACKED.finditer(p.read_text("utf-8"))]
    assert found == []
    assert TRACKED.search("see issue 12") and TRACKED.search("fixed in #7.")


def test_pictures_are_small() -> None:
    pictures = sorted((DOCS / "assets").glob("*.png"))
    assert pictures
    assert {p.name: p.stat().st_size for p in pictures if p.stat().st_size >= 300_000} == {}


def test_files_named_in_the_tree_exist() -> None:
    """The annotated tree of the README and the path of `how an audit works` name files that are there."""
    path = (DOCS / "explanation" / "how-an-audit-works.md").read_text("utf-8")
    files = re.findall(r"^\| \d \| `([^`]+)`", path, re.MULTILINE)
    assert len(files) == 8 and all((ROOT / "src" / "solvent" / name).is_file() for name in files)
    (tree,) = re.findall(r"```text\n(src/solvent/\n.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    missing, folders = [], [Path()]
    for line in tree.splitlines():
        name = line.strip().split("  ")[0]
        depth = (len(line) - len(line.lstrip())) // 2
        for part in name.split():
            place = folders[depth] / part
            if not (ROOT / place).exists():
                missing.append(str(place))
            if part.endswith("/"):
                folders[depth + 1 :] = [place]
    assert missing == []


def test_command_reference_is_what_help_prints() -> None:
    page = (DOCS / "reference" / "cli.md").read_text("utf-8")
    assert tool("docs_cli").page() == page, "`make docs` writes it again"


def documented() -> dict[str, list[tuple[str, str, str]]]:
    """Section → (key, type, default) of each row of the project file's page."""
    page = (DOCS / "reference" / "project-file.md").read_text("utf-8")
    sections: dict[str, list[tuple[str, str, str]]] = {}
    for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| `([^`]+)` \| (.*?) \| .*? \| (.*?) \| .*\|$", part, re.MULTILINE)
        sections[part.split("\n", 1)[0].strip("`")] = [(key, kind, default) for key, kind, default in rows]
    return sections


def test_project_file_reference_is_what_the_program_reads() -> None:
    assert documented() == {head: key_facts(model) for head, model in MODELS.items()}
    page = (DOCS / "reference" / "project-file.md").read_text("utf-8")
    assert [name for name in TARGETS if f"`{name}`" not in page] == []


def test_every_table_of_the_project_file_is_documented() -> None:
    """No model that a project can hold is missing from MODELS."""
    seen: set[type[BaseModel]] = set()
    todo: list[Any] = [Project]
    while todo:
        kind = todo.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind not in seen:
                seen.add(kind)
                todo += [field.annotation for field in kind.model_fields.values()]
        else:
            todo += get_args(kind)
    assert seen == set(MODELS.values())


def key_facts(model: type[BaseModel]) -> list[tuple[str, str, str]]:
    """(key, type, default) of every field, as the page writes them."""
    return [
        (field.alias or name, type_words(field.annotation, field.alias or name), default_words(field))
        for name, field in model.model_fields.items()
    ]


def type_words(kind: Any, key: str) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return type_words(inner[0], key)
    if origin in (Union, types.UnionType):
        return " or ".join(type_words(part, key) for part in inner if part is not type(None))
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin is tuple:
        return f"list of {type_words(inner[0], key)}s"
    if origin is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return "table"
    if kind is Decimal:
        return "money" if "usd" in key else "share" if key.endswith("share") else "number"
    return WORDS[typing.cast(type, kind)]


def default_words(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", (), {}) or isinstance(value, BaseModel):
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(f"`{part}`" for part in value)
    return f"`{value}`"

"""Hostile project files: whatever stands in solvent.toml, reading it gives a project or a ProjectError of one line."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from solvent.errors import ProjectError
from solvent.money.project import LoadedProject, Project, load, parse

PATH = Path("solvent.toml")
# Numbers that overflow, underflow or fill the memory where a program takes them at their word.
NUMBERS = [
    *map(Decimal, ("NaN", "-Infinity", "sNaN", "1e999999999", "1e-999999999", "-1", "0", "0.1", "1e30")),
    *(0, -1, 1, 2**63, 10**400, True),
]
TEXTS = [
    *(
        "",
        " ",
        "19.00 EUR",
        "-1 EUR",
        "1 GBP",
        "9" * 400 + " EUR",
        "1." + "1" * 400 + " USD",
        "UTC",
        "../../x",
        "/etc/passwd",
    ),
    *(
        "\x00",
        "\x1b[2J",
        "<script>",
        "=1+1",
        "*",
        "[",
        "**" * 40,
        "2026-13-45",
        "25:99-00:00",
        "a" * 5000,
        "\ud800",
        "漢",
    ),
]
DATES = [date(1, 1, 1), date(9999, 12, 31), datetime(1, 1, 1), datetime(9999, 12, 31, 23, tzinfo=UTC), time(1)]
leaves = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from(DATES),
    st.text(max_size=8),
    st.decimals(),
    st.integers(),
)


def keys_of(table: type[BaseModel], seen: set[str]) -> set[str]:
    """Every key that a table, or a table within it, knows."""
    for name, field in table.model_fields.items():
        seen.add(field.alias or name)
        for inner in _tables(field.annotation):
            if not set(inner.model_fields) <= seen:
                keys_of(inner, seen)
    return seen


def _tables(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [table for part in getattr(annotation, "__args__", ()) for table in _tables(part)]


KEYS = sorted(keys_of(Project, set()))
names = st.one_of(st.sampled_from(KEYS), st.sampled_from(["p", "EUR", "x"]), st.text(max_size=3))
trees = st.dictionaries(
    names,
    st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=12
    ),
    max_size=5,
)

WHOLE = """
schema = "solvent.project/1"
[product]
name = "Reviews"
[log]
zone = "Europe/Berlin"
columns = { customer = "team" }
constants = { model = "m", provider = "p" }
[output]
by = "review"
[prices]
prefer = ["own"]
aliases = { m = "n" }
[[rates]]
model = "m"
input_usd_per_mtok = "1.10 EUR"
output_usd_per_mtok = 2
hours_utc = "16:30-00:30"
[[currency]]
code = "EUR"
usd = 1.1
date = 2026-11-01
source = "bank"
[revenue]
default_plan = "pro"
unnamed_customer = "us"
[revenue.plans.pro]
usd_per_month = "19.00 EUR"
seats = 2
allowances = [{ of = "outputs", per_month = 5, beyond = "charge", overage_usd_per_unit = 0.1 }]
[revenue.plans.pro.tokens]
usd_per_mtok_input = 1
usd_per_mtok_output = 2
[revenue.plans.pro.conversion]
usd_per_conversion = 1
successes = 1
trials = 3
[[revenue.segments]]
customers = ["a*"]
mix = { pro = 1 }
started = 2026-01-01
[costs]
payment_fee_share = 0.03
[policy]
max_compute_per_value = 0.2
[value]
usd_per_output = 0.5
source = "survey"
"""


def whole() -> dict[str, Any]:
    return tomllib.loads(WHOLE, parse_float=Decimal)


def places(node: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value within a tree."""
    items = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    return [(node, key) for key, _ in items] + [place for _, inner in items for place in places(inner)]


def check(raw: dict[str, Any]) -> LoadedProject | None:
    try:
        loaded = parse(raw, PATH)
    except ProjectError as error:
        text = str(error)
        assert text.startswith("solvent.toml") and text.isprintable()
        return None
    assert loaded.project.policy.wording()
    assert loaded.project.product.plural()
    return loaded


def test_the_whole_file_is_a_project() -> None:
    loaded = check(whole())
    assert loaded is not None
    assert loaded.project.revenue.plans["pro"].usd_per_month == Decimal("20.9")
    assert len(loaded.conversions) == 2


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999", "1e-999999999", "1e18", "nan", "inf"])
@pytest.mark.parametrize(
    "text",
    [
        "[output]\ngap_minutes = {}",
        "[log]\nconstants = {{ cached = {} }}",
        '[[rates]]\nmodel = "m"\nabove_prompt_tok = {}',
        "[revenue.plans.p]\nusd_per_month = 1\nseats = {}",
        "[revenue.plans.p.outcome]\nusd_per_outcome = 1\nsuccesses = {}\ntrials = 3",
        "[policy]\nmax_compute_per_value = {}",
        "[value]\nusd_per_output = {}",
    ],
)
def test_a_number_without_end_is_refused_before_it_is_computed_with(text: str, number: str) -> None:
    with pytest.raises(ProjectError, match="numbers below"):
        parse(tomllib.loads(text.format(number), parse_float=Decimal), PATH)


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "-1", "9" * 30, "9" * 30 + " EUR", "nan"])
def test_a_text_that_is_such_a_number_is_refused_too(text: str) -> None:
    tree = whole()
    tree["value"] = {"usd_per_output": text}
    with pytest.raises(ProjectError, match="usd_per_output"):
        parse(tree, PATH)


@given(trees)
def test_any_tree_is_a_project_or_a_project_error(tree: dict[str, Any]) -> None:
    check(tree)


@given(st.data(), leaves)
def test_one_hostile_value_anywhere_in_a_good_file(data: st.DataObject, value: Any) -> None:
    tree = whole()
    container, key = data.draw(st.sampled_from(places(tree)))
    container[key] = value
    check(tree)


@given(st.data(), trees)
def test_one_hostile_table_anywhere_in_a_good_file(data: st.DataObject, value: dict[str, Any]) -> None:
    tree = whole()
    container, key = data.draw(st.sampled_from(places(tree)))
    container[key] = value
    check(tree)


@given(st.data())
def test_one_key_gone_or_misspelt(data: st.DataObject) -> None:
    tree = whole()
    container, key = data.draw(st.sampled_from([place for place in places(tree) if isinstance(place[0], dict)]))
    value = container.pop(key)
    check(tree)
    container[f"{key}x"] = value
    check(tree)


@pytest.mark.slow
def test_every_hostile_value_at_every_place_of_a_good_file() -> None:
    for i in range(len(places(whole()))):
        for value in (*NUMBERS, *TEXTS, *DATES, [], {}, [[]], [{}]):
            tree = whole()
            container, key = places(tree)[i]
            container[key] = value
            check(tree)


def test_a_text_that_is_no_toml_or_too_deep_or_holds_endless_numbers(tmp_path: Path) -> None:
    path = tmp_path / "solvent.toml"
    for text in (
        b"a = [" * 3_000,
        b"\xff",
        b"a = ",
        b"a = " + b"9" * 5_000,
        b"a = 1e" + b"9" * 30,
        b"a = " + b"[" * 90 + b"]" * 90,
        b"\x00",
    ):
        path.write_bytes(text)
        with pytest.raises(ProjectError):
            load(path)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_project_or_a_project_error(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.mktemp("project") / "solvent.toml"
    path.write_bytes(content)
    try:
        load(path)
    except ProjectError as error:
        assert str(error).isprintable()

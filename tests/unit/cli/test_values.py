"""Words of a command line as values: every kind, lists, limits, what is missing, and that no command asks for more."""

from __future__ import annotations

import math
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
import typer

from solvent.cli.main import COMMANDS, SETTINGS, app
from solvent.cli.values import KINDS, PlainCommand


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


def command(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    files: Annotated[list[Path] | None, typer.Argument()] = None,
    count: Annotated[int, typer.Option(min=1, max=9)] = 3,
    share: Annotated[float | None, typer.Option(max=0.5)] = None,
    most: Annotated[int | None, typer.Option()] = None,
    colour: Annotated[Colour, typer.Option()] = Colour.RED,
    lengths: Annotated[list[int] | None, typer.Option("--length")] = None,
    chat: Annotated[bool | None, typer.Option("--chat/--no-chat")] = None,
) -> dict[str, Any]:
    return dict(locals())


def parse(*words: str) -> dict[str, Any]:
    one = typer.Typer(add_completion=False)
    one.command("x", cls=PlainCommand, context_settings=SETTINGS)(command)
    made = typer.main.get_command(one)
    with made.make_context("x", list(words)) as ctx:
        return dict(made.invoke(ctx))


def test_defaults_stay_as_they_are() -> None:
    assert parse("a") == {
        "name": "a", "files": None, "count": 3, "share": None, "most": None, "colour": Colour.RED, "lengths": None,
        "chat": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--count", "9"], "count", 9),
        (["--most", "-12"], "most", -12),
        (["--share", "0.5"], "share", 0.5),
        (["--share=-1e3"], "share", -1000.0),
        (["--colour", "green"], "colour", Colour.GREEN),
        (["--length", "1", "--length", "2"], "lengths", [1, 2]),
        (["b.txt", "c"], "files", [Path("b.txt"), Path("c")]),
        (["--no-chat"], "chat", False),
        (["--chat"], "chat", True),
    ],
)
def test_a_word_becomes_what_the_annotation_says(words: list[str], name: str, value: object) -> None:
    found = parse("a", *words)[name]
    assert found == value and type(found) is type(value)


def test_a_text_stays_what_it_was() -> None:
    assert parse("--", " -ü\udc80 7")["name"] == " -ü\udc80 7"
    assert parse("")["name"] == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a", "--count", "abc"], "Invalid value for '--count': 'abc' isn't a whole number"),
        (["a", "--count", "2.0"], "'2.0' isn't a whole number"),
        (["a", "--count", "0"], "0 isn't 1 or more"),
        (["a", "--count", "10"], "10 isn't 9 or less"),
        (["a", "--most", "9" * 5000], "isn't a whole number"),
        (["a", "--share", "x"], "'x' isn't a number"),
        (["a", "--share", "0.51"], "0.51 isn't 0.5 or less"),
        (["a", "--share", "nan"], "nan isn't 0.5 or less"),
        (["a", "--colour", "RED"], "'RED' isn't one of red, green"),
        (["a", "--length", "1", "--length", ""], "'' isn't a whole number"),
        ([], "Missing argument 'NAME'"),
        (["a", "--nope"], "No such option: --nope"),
        (["a", "--count"], "requires an argument"),
    ],
)
def test_a_word_that_is_no_such_value_is_named(words: list[str], told: str) -> None:
    with pytest.raises(typer.TyperException) as fault:
        parse(*words)
    message = fault.value.format_message()
    assert told in message and len(message) < 200


def test_a_word_too_many_is_named() -> None:
    one = typer.Typer(add_completion=False)
    one.command("x", cls=PlainCommand)(lambda: None)
    with pytest.raises(typer.TyperException, match="b c"):
        typer.main.get_command(one).make_context("x", ["b", "c"])


def test_help_comes_before_faults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        parse("--count", "abc", "--help")
    assert "--count" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_asks_for_a_kind_that_is_not_known_here(name: str) -> None:
    group: Any = typer.main.get_command(app)
    for param in group.get_command(group.make_context("solvent", ["x"]), name).params:
        kind = param.type_descriptor.annotation
        if get_origin(kind) is list:
            (kind,) = get_args(kind)
        assert kind in KINDS or issubclass(kind, Enum) or (kind is bool and param.is_flag), param.name


def test_limits_hold_for_infinities() -> None:
    assert parse("a", "--share=-inf")["share"] == -math.inf

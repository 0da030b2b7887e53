"""Words of a command line become values by the annotations of a command's function: text, numbers, paths, choices.

Typer has pydantic do this, which costs every command 12 MiB and 80 ms of a processor before it begins; the kinds that
are used here need none of it.
What it doesn't do: cut the line into options and arguments, write help; that is Typer's.
Enter at `PlainCommand`.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from typer.core import TyperCommand

# How a value of each kind is called where a word isn't one.
KINDS: dict[type, str] = {str: "a text", int: "a whole number", float: "a number", Path: "a path"}


class PlainCommand(TyperCommand):
    """A command whose options and arguments are text, numbers, paths, choices of an enum, lists of these, or switches.

    Raises: TyperException (a word that isn't what its place asks for; one that is missing or too many)"""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Fills ctx.params.   → the words that are left, none"""
        words, left, _ = self.make_parser(ctx).parse_args(args=args)
        help_option = self.get_help_option(ctx)
        if help_option is not None and words.get(help_option.name):
            help_option.handle_parse_result(ctx, words, left)
        params: Any = self.params
        for param in params:
            found, _ = param.consume_value(ctx, words)
            if param.required and param.value_is_missing(found):
                ctx.fail(f"Missing {param.param_type_name} {param.get_error_hint()}")
            ctx.params[param.name] = _value(found, param, ctx)
        if left:
            ctx.fail(f"Got unexpected extra argument(s) ({' '.join(left)})")
        ctx.args = left
        return left


def _value(found: Any, param: Any, ctx: Any) -> Any:
    """What was typed, as its annotation says; a default, which has its type already, as it is."""
    about = param.type_descriptor
    try:
        if get_origin(about.annotation) is list:
            (kind,) = get_args(about.annotation)
            return None if found is None else [_one(word, kind, about.parameter_info) for word in found]
        return _one(found, about.annotation, about.parameter_info)
    except ValueError as fault:
        raise typer.BadParameter(str(fault), ctx=ctx, param=param) from None


def _one(word: Any, kind: type, limits: Any) -> Any:
    """Raises: ValueError (not of its kind, or outside its limits)"""
    if not isinstance(word, str):
        return word
    try:
        value = kind(word)
    except ValueError:
        expected = f"one of {', '.join(kind)}" if issubclass(kind, Enum) else KINDS[kind]
        raise ValueError(f"{word[:60]!r} isn't {expected}") from None
    # NaN is within no limits.
    if limits.min is not None and not value >= limits.min:
        raise ValueError(f"{word[:60]} isn't {limits.min} or more")
    if limits.max is not None and not value <= limits.max:
        raise ValueError(f"{word[:60]} isn't {limits.max} or less")
    return value

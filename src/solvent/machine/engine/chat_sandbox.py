"""The sandbox that chat templates run in: Jinja's immutable one, with few names and a bound on everything.

Three guards together: values are counted before or right after they are made, so that none passes MAX_CHARS or
MAX_ITEMS, counted as often as a part occurs; every line and call is counted (`Budget`), and between two of them only
operations on such values run; nothing of Python but listed methods can be reached.
Enter at `environment` and `Budget`. Source: Jinja's sandbox documentation; transformers' chat templating.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache, wraps
from types import FrameType
from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_CHARS = 1 << 24
MAX_ITEMS = 100_000
MAX_EVENTS = 5_000_000
MAX_SECONDS = 5.0
_FILTERS = (
    "abs capitalize count d default dictsort e escape first float int items join last length list lower map max min "
    "reject rejectattr replace reverse safe select selectattr sort string title trim unique upper"
)
_TEXT_METHODS = (
    "capitalize count endswith find index isalnum isalpha isdigit islower isspace istitle isupper join lower lstrip "
    "partition removeprefix removesuffix replace rfind rindex rpartition rsplit rstrip split splitlines startswith "
    "strip swapcase title upper"
)


class Refusal(Exception):
    """The template did what it may not; told as an EngineError."""


class Budget:
    """Counts the lines and calls that run in this thread, and raises Refusal past MAX_EVENTS or MAX_SECONDS.

    Between two lines only operations of bounded size run (see `_bounded`), so the bound on time holds closely."""

    def __enter__(self) -> None:
        self._left, self._end_s = MAX_EVENTS, time.monotonic() + MAX_SECONDS
        self._before = sys.gettrace()
        sys.settrace(self._count)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _count(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        self._left -= 1
        if self._left < 0:
            raise Refusal(f"it runs for more than {MAX_EVENTS} steps")
        if self._left % 256 == 0 and time.monotonic() > self._end_s:
            raise Refusal(f"it runs for more than {MAX_SECONDS:g} s")
        return self._count


def _bounded(value: Any) -> Any:
    """The value, if its text, and the texts and items in it, counted as often as they occur, stay within bounds."""
    _left(value, MAX_CHARS, MAX_ITEMS)
    return value


def _left(value: Any, left_chars: int, left_items: int) -> tuple[int, int]:
    """How many characters and items may still come after a value.   Raises: Refusal (it has more)"""
    todo = [value]
    while todo:
        one = todo.pop()
        left_items -= 1
        if isinstance(one, str):
            left_chars -= len(one)
        elif isinstance(one, int) and one.bit_length() > 4096:
            raise Refusal("it makes a number of more than 4096 bits")
        elif isinstance(one, Mapping):
            left_items -= len(one)
            todo += [*one.keys(), *one.values()] if left_items >= 0 else []
        elif isinstance(one, list | tuple | set | frozenset):
            left_items -= len(one)
            todo += one if left_items >= 0 else []
        if left_chars < 0 or left_items < 0:
            raise Refusal(f"it makes a value of more than {MAX_CHARS} characters or {MAX_ITEMS} items")
    return left_chars, left_items


def _join(parts: Any) -> str:
    """Jinja's concatenation of what a template or a block puts out, bounded."""
    kept, left = [], MAX_CHARS
    for part in parts:
        left -= len(part)
        if left < 0:
            raise Refusal(f"it puts out more than {MAX_CHARS} characters")
        kept.append(part)
    return "".join(kept)


def _operate(environment: Any, operator: str, left: Any, right: Any) -> Any:
    """A binary operator, with the size of its result known before it is made."""
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if operator == "**" and (not numbers or abs(right) > 64 or abs(left) > 1 << 32):
        raise Refusal("it raises to a large power")
    if operator == "*" and not numbers:
        size, times = (left, right) if hasattr(left, "__len__") else (right, left)
        if not isinstance(times, int) or len(size) * max(times, 0) > MAX_ITEMS:
            raise Refusal(f"it repeats a value to more than {MAX_ITEMS} items")
    if operator == "%" and isinstance(left, str) and re.search(r"\d{4}|\*", left):
        raise Refusal("it formats with a width of four digits or a star")
    return _bounded(environment.binop_table[operator](left, right))


def _replace(text: str, old: str, new: str, count: Any = None) -> str:
    text, old, new = str(text), str(old), str(new)
    n = text.count(old) if count is None or count < 0 else min(count, text.count(old))
    if len(text) + n * len(new) > MAX_CHARS:
        raise Refusal(f"it makes a text of more than {MAX_CHARS} characters")
    return text.replace(old, new, -1 if count is None else count)


def _joined(values: Any, between: str = "", attribute: Any = None) -> str:
    values = [value if attribute is None else value[attribute] for value in _listed(values)]
    return _join(part for value in values for part in (str(between), str(_bounded(value))))[len(str(between)) :]


def _listed(values: Any) -> list[Any]:
    """A list of what may be made one by one, each as large as a value can be: counted while it is made."""
    kept, left_chars, left_items = [], MAX_CHARS, MAX_ITEMS
    for value in values:
        left_chars, left_items = _left(value, left_chars, left_items)
        kept.append(value)
    return kept


def _round(value: Any, precision: int = 0, method: str = "common") -> Any:
    if not isinstance(precision, int) or abs(precision) > 64 or method not in ("common", "ceil", "floor"):
        raise Refusal("it rounds to more than 64 digits, or in no known way")
    if method == "common":
        return round(value, precision)
    return (math.ceil if method == "ceil" else math.floor)(value * 10**precision) / 10**precision


def _json(value: Any, indent: int | None = None, **options: Any) -> str:
    """`tojson` as chat templates mean it: readable characters, nothing escaped for HTML."""
    known = {k: v for k, v in options.items() if k in ("ensure_ascii", "separators", "sort_keys")}
    width = None if indent is None else min(int(indent), 16)
    return json.dumps(_bounded(value), indent=width, **{"ensure_ascii": False, **known})


def _indent(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    pad = width if isinstance(width, str) else " " * min(int(width), 64)
    lines = str(text).split("\n")
    if len(lines) * len(pad) > MAX_CHARS:
        raise Refusal(f"it makes a text of more than {MAX_CHARS} characters")
    kept = [pad + line if (line or blank) and (i or first) else line for i, line in enumerate(lines)]
    return "\n".join(kept)


def _raise(message: Any) -> Any:
    raise Refusal(f"it says {str(message)[:160]!r}")


def _now(format_: str) -> str:
    if len(format_) > 64 or re.search(r"%[^a-zA-Z%]*\d", format_):
        raise Refusal(f"it asks for the date as {format_[:40]!r}")
    return datetime.now().strftime(format_)


class Bounds(NodeTransformer):
    """Routes through `_bounded` and `_join` what would otherwise grow in compiled code."""

    def visit_Concat(self, node: Any) -> Any:
        return nodes.Filter(nodes.List(self._children(node)), "join", [], [], None, None, lineno=node.lineno)

    def _children(self, node: Any) -> list[Any]:
        return [self.visit(child) for child in node.nodes]

    def visit_List(self, node: Any) -> Any:
        node = self.generic_visit(node)
        return nodes.Filter(node, "_bounded", [], [], None, None, lineno=node.lineno)

    visit_Dict = visit_List

    def visit_Tuple(self, node: Any) -> Any:
        # The names that a loop or an assignment fills aren't values.
        return self.visit_List(node) if node.ctx == "load" else node


class Generation(Extension):
    """`{% generation %}…{% endgeneration %}`, which marks what the assistant said for training: its body."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["+", "*", "**", "%"])
    concat = staticmethod(_join)

    def _parse(self, source: str, name: str | None, filename: str | None) -> Any:
        return Bounds().visit(super()._parse(source, name, filename))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        return _operate(self, operator, left, right)

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` takes widths of any size; without the wrapper the attribute is refused below."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr not in _TEXT_METHODS.split():
            return False
        # `(1).to_bytes(10 ** 10)` and the bytes that it makes; no template needs methods of these.
        if isinstance(obj, int | float | complex | bytes | bytearray | range | type):
            return False
        return bool(super().is_safe_attribute(obj, attr, value))

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner, method = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str) and method in ("replace", "join"):
            return _replace(owner, *args) if method == "replace" else _joined(args[0], owner)
        return _bounded(SandboxedEnvironment.call(self, context, obj, *args, **kwargs))


@cache
def environment() -> Any:
    """The sandbox, with transformers' settings."""
    sandbox = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation], optimized=False, finalize=_bounded
    )
    own = {"tojson": _json, "indent": _indent, "replace": _replace, "join": _joined, "list": _listed, "round": _round}
    kept = {name: _bounding(sandbox.filters[name]) for name in _FILTERS.split()}
    sandbox.filters = {**kept, **own, "_bounded": _bounded}
    own_names = {"raise_exception": _raise, "strftime_now": _now}
    sandbox.globals = {name: sandbox.globals[name] for name in ("range", "namespace", "dict")} | own_names
    return sandbox


def _bounding(function: Any) -> Any:
    """A filter whose result is bounded, and what it takes that is made one by one, which `sort` would keep whole.

    It keeps the marks by which Jinja passes it a context."""

    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        args = tuple(_listed(value) if isinstance(value, Iterator) else value for value in args)
        return _bounded(function(*args, **kwargs))

    return filtered

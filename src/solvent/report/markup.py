"""HTML that escapes by construction: text is escaped unless it is `Markup`, and only this file makes that.

`h("a", {"href": "#x"}, name)` is an element; names of elements and attributes come from our own code.
It knows nothing of statements. Enter at `h` and `join`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from solvent.report.hostile import visible

_NAME = re.compile(r"[a-z][a-zA-Z0-9-]*")
_VOID = {"br", "hr", "input", "meta", "link", "col"}


class Markup(str):
    """HTML that is safe as it stands."""

    __slots__ = ()


Child: TypeAlias = "str | Markup | int | Iterable[Child] | None"
Attributes: TypeAlias = Mapping[str, "str | int | bool | None"]


def h(name: str, attributes: Attributes | None = None, *children: Child) -> Markup:
    """One element. An attribute that is None or False is left out, one that is True stands alone."""
    assert _NAME.fullmatch(name), name
    parts = [f"<{name}"]
    for key, value in (attributes or {}).items():
        assert _NAME.fullmatch(key) and not key.startswith("on") and key != "style", key
        if value is True:
            parts.append(f" {key}")
        elif value is not None and value is not False:
            parts.append(f' {key}="{html.escape(visible(value), quote=True)}"')
    parts.append(">")
    if name not in _VOID:
        parts.append(join(children))
        parts.append(f"</{name}>")
    return Markup("".join(parts))


def join(children: Iterable[Child]) -> Markup:
    """The children one after the other, text escaped."""
    return Markup("".join(_one(child) for child in children))


def _one(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str | int):
        return html.escape(visible(child), quote=True)
    return join(child)


def trusted(text: str) -> Markup:
    """Markup from one of our own asset files or from the SVG filter, never from a statement."""
    return Markup(text)

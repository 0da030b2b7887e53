"""Turns a drawn chart into SVG that may stand inside the page: known elements and attributes only, colours as classes.

The page's policy forbids style attributes, and a chart must follow the page's light and dark colours: so the
charts are drawn in stand-in colours, and each becomes a class (`f-loss`, `s-rule`) that the page's CSS fills.
Everything that isn't listed here is dropped. Enter at `inline_svg`.
"""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree

from solvent.report.hostile import visible
from solvent.report.markup import Markup, trusted

# Role → the stand-in colour that the charts are drawn in.
INKS = {"ink": "#010101", "soft": "#020202", "rule": "#030303", "loss": "#040404", "bar": "#050505", "pale": "#060606"}
_ROLE = {colour: role for role, colour in INKS.items()}
_ELEMENTS = {"g", "path", "line", "rect", "text", "tspan", "circle"}
_ATTRIBUTES = {
    "d", "x", "y", "x1", "x2", "y1", "y2", "dx", "dy", "cx", "cy", "r", "rx", "ry", "width", "height", "transform",
    "text-anchor", "font-size", "font-weight", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin",
    "stroke-miterlimit", "opacity", "fill-opacity", "stroke-opacity",
}  # fmt: skip
_VALUE = re.compile(r"[A-Za-z0-9 .,()+-]*")


def inline_svg(drawn: str, label: str, width_class: str) -> Markup:
    """The drawing as an image for the page. label: its text alternative.   width_class: wide or narrow."""
    assert "<!" not in drawn, "a drawing has no document type"
    root = ElementTree.fromstring(drawn)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    inner = "".join(_element(child) for child in root)
    alternative = html.escape(visible(label), quote=True)
    return trusted(f'<svg class="chart {width_class}" role="img" aria-label="{alternative}" {size}>{inner}</svg>')


def _element(node: ElementTree.Element) -> str:
    name = str(node.tag).rpartition("}")[2]
    if name not in _ELEMENTS or node.attrib.get("display") == "none":
        return ""
    if (name == "path" and not node.attrib.get("d")) or node.attrib.get("class") == "background":
        return ""
    inner = html.escape(visible(node.text or ""), quote=True) if name in ("text", "tspan") else ""
    inner += "".join(_element(child) for child in node)
    if name == "g" and not inner:
        return ""
    attributes = _attributes(node)
    if name == "g" and not attributes:
        return inner
    return f"<{name}{attributes}>{inner}</{name}>" if inner else f"<{name}{attributes}/>"


def _attributes(node: ElementTree.Element) -> str:
    parts, classes = [], []
    for key, value in node.attrib.items():
        if key in ("fill", "stroke"):
            role = _ROLE.get(value.lower())
            if role:
                classes.append(f"{key[0]}-{role}")
            elif value in ("none", "transparent"):
                parts.append(f' {key}="none"')
        elif key in _ATTRIBUTES and _VALUE.fullmatch(value) and "url" not in value.lower():
            parts.append(f' {key}="{value}"')
    return (f' class="{" ".join(classes)}"' if classes else "") + "".join(parts)

"""The path to viability in plain lines, for a terminal: its verdict, the waterfall, and what isn't on it and why.

It formats the document "solvent.path/1" and computes positions only. Texts of files are shown with controls escaped.
Enter at `path_lines`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from solvent.report.hostile import visible
from solvent.report.numerals import decimal, human, interval

PLAIN_WIDTH = 100
_NARROWEST, _AMOUNT, _BAR = 60, 14, 24


def path_lines(document: Mapping[str, Any], width: int = PLAIN_WIDTH) -> list[str]:
    """The lines of a path document, each at most `width` columns (at least 60) where its words allow it."""
    width = max(width, _NARROWEST)
    verdict = document["verdict"]
    lines = [f"Path to viability: {verdict['title'][:1].lower()}{visible(verdict['title'][1:])}"]
    lines += _wrapped(verdict["line"], width)
    if len(document["waterfall"]) > 1:
        lines += ["", *_waterfall(document, width), *_asked(document, width)]
    figures = document["figures"]
    shown = [name for name in document["headline"] if name not in ("path_margin_today_usd", "path_margin_usd")]
    if shown:
        lines.append("")
    for name in shown:
        figure = figures[name]
        line = f"  {visible(figure['label']):<{min(46, width - 15)}} {human(figure['value'], figure['unit']):>12}"
        spread = f"  {interval(figure)}" if interval(figure) else ""
        lines.append(line + spread if len(line + spread) <= width else line)
    lines += _turned_down(document, width)
    for note in document["notes"]:
        lines += ["", *_wrapped(note, width)]
    return lines


def _waterfall(document: Mapping[str, Any], width: int) -> list[str]:
    """A bar a line, between the lowest and the highest margin on the way; zero is marked."""
    bars, figures = document["waterfall"], document["figures"]
    ends = [decimal(bar[key]) or Decimal(0) for bar in bars for key in ("from", "to")]
    low, high = min([*ends, Decimal(0)]), max([*ends, Decimal(0)])
    room = width - _AMOUNT - _BAR - 8
    lines = []
    for place, bar in enumerate(bars):
        figure = figures[bar["figure"]]
        amount = decimal(figure["value"]) or Decimal(0)
        plus = "+" if amount > 0 and not bar["total"] else ""
        number = " " if bar["total"] else str(place)
        said = _wrapped(bar["label"], room)
        text = plus + human(figure["value"], figure["unit"])
        drawn = _bar(bar, (low, high))
        lines.append(f"{number:>2} {said[0]:<{room}} {text:>{_AMOUNT}}  {drawn}".rstrip())
        lines += [f"   {more}" for more in said[1:]]
    return lines


def _bar(bar: Mapping[str, Any], ends: tuple[Decimal, Decimal]) -> str:
    low, high = ends
    spread = high - low or Decimal(1)

    def at(text: str) -> int:
        return round(float(((decimal(text) or Decimal(0)) - low) / spread) * _BAR)

    left, right = sorted((at(bar["from"]), at(bar["to"])))
    cells = [" "] * (_BAR + 1)
    cells[at("0")] = "|"
    for i in range(left, max(right, left + 1)):
        cells[i] = "#" if bar["total"] else "="
    return "".join(cells)


def _turned_down(document: Mapping[str, Any], width: int) -> list[str]:
    """Steps that may not be taken, each with its reason; of the others only how many."""
    barred = [step for step in document["steps"] if step.get("barred")]
    others = [step for step in document["steps"] if not step["taken"] and not step.get("barred")]
    lines = ["", "Not on it:"] if barred or others else []
    for step in barred:
        effect = document["figures"].get(step["figures"].get("effect"))
        alone = f" (alone {_signed(effect, document)})" if effect else ""
        lines += _wrapped(f"{step['title']}{alone}: {step['why']}", width, "  ")
    if others:
        names = "; ".join(str(step["title"]) for step in others)
        lines += _wrapped(
            f"{len(others)} more that could be, and aren't needed or have a better one: {names}", width, "  "
        )
    return lines


def _asked(document: Mapping[str, Any], width: int) -> list[str]:
    """Of each step taken: its interval, what it keeps of quality, its price, how sure; and the method of all that."""
    figures, lines = document["figures"], []
    taken = sorted((step for step in document["steps"] if step["taken"]), key=lambda step: step["place"])
    for step in taken:
        ids = step["figures"]
        effect = figures[ids["effect"]]
        said = [f"90% interval {interval(effect)}" if interval(effect) else "no interval"]
        if "quality" in ids:
            kept = figures[ids["quality"]]
            spread = f" ({interval(kept)})" if interval(kept) else ""
            said.append(f"keeps {human(kept['value'], kept['unit'])} of today's quality{spread}")
        if "price" in ids:
            price = figures[ids["price"]]
            said.append(f"price {human(price['value'], price['unit'])}")
        lines += _wrapped(f"{step['place']} {'; '.join([*said, str(step['method'] or 'assumed')])}", width, " ")
    return ["", *lines] if lines else []


def _signed(effect: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """'+$4,083.87 a month'."""
    plus = "+" if (decimal(effect["value"]) or 0) > 0 else ""
    return f"{plus}{human(effect['value'], effect['unit'])} {'a month' if document['per'] == 'month' else 'in the log'}"


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    more = indent + "  " if indent else ""
    return textwrap.wrap(visible(text), width, initial_indent=indent, subsequent_indent=more) or [""]

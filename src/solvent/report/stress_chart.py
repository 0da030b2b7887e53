"""The tornado: margin over each assumption's interval, the widest first, drawn as the other charts are.

Bars below today's margin are losses, above it gains; the upright line is today's margin, the dashed one zero.
Values become floats here, for positions only. Enter at `tornado`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from solvent.report.charts import _LETTER, _ROW_HEIGHT, WIDE, Chart, _both, _data
from solvent.report.markup import Markup
from solvent.report.stress_text import times, usd
from solvent.report.svg import INKS

Row = Mapping[str, Any]
MAX_ROWS = 10
_STEP = 2.4 * _ROW_HEIGHT


def tornado(rows: Sequence[Row], base_usd: float | None, ways: Mapping[str, str], per: str) -> Markup | None:
    """rows: the document's `tornado`.   ways: how each assumption is moved, for its words.   per: "a month", or what
    else the amounts are of. None: nothing to draw."""
    shown = [row for row in rows if row["margin_at_low_usd"] != row["margin_at_high_usd"]][:MAX_ROWS]
    if base_usd is None or len(shown) < 2:
        return None
    bars = [_bar(row, base_usd, ways.get(row["key"], "times")) for row in shown]
    said = "; ".join(f"{bar['name']}: {bar['ends']}" for bar in bars)
    label = f"Margin {per} over the interval of each assumption, today {usd(base_usd)}. {said}"
    return _both(lambda width: _draw(bars, base_usd, width), label)


def _bar(row: Row, base_usd: float, way: str) -> dict[str, Any]:
    """One assumption: its lowest and highest margin, and what is said of each end."""
    ends = sorted(
        ((float(row[f"margin_at_{end}_usd"]), times(row[end], way)) for end in ("low", "high")), key=lambda end: end[0]
    )
    words = " to ".join(f"{usd(value)} at {at}" for value, at in ends)
    return {"name": row["label"], "low": ends[0][0], "high": ends[1][0], "ends": words, "base": base_usd}


def _draw(bars: Sequence[Row], base_usd: float, width: int) -> Chart:
    """Two lines of text over each bar, so that a phone has room for the names."""
    step, inner = _STEP, width - 8
    placed: list[dict[str, Any]] = []
    for i, bar in enumerate(bars):
        top = i * step
        for start, end, role in (
            (bar["low"], min(bar["high"], base_usd), "loss"),
            (max(bar["low"], base_usd), bar["high"], "bar"),
        ):
            if end > start:
                placed.append({"from": start, "to": end, "role": role, "top": top + 21, "bottom": top + 37})
    low = min([0.0, base_usd, *(bar["low"] for bar in bars)])
    high = max([0.0, base_usd, *(bar["high"] for bar in bars)])
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    down = alt.Scale(domain=[len(bars) * step, 0], nice=False)
    parts: list[Any] = [_uprights(0.0, len(bars), (scale, down), True)]
    for role in ("loss", "bar"):
        data = _data(values=[bar for bar in placed if bar["role"] == role])
        x = alt.X("from:Q", axis=None, scale=scale)
        y = alt.Y("top:Q", axis=None, scale=down)
        parts.append(alt.Chart(data).mark_rect(color=INKS[role]).encode(x=x, x2="to:Q", y=y, y2="bottom:Q"))
    parts.append(_uprights(base_usd, len(bars), (scale, down), False))
    names = [{"y": i * step + 11, "name": bar["name"], "ends": _short_ends(bar, width)} for i, bar in enumerate(bars)]
    text = alt.Chart(_data(values=names))
    y = alt.Y("y:Q", axis=None, scale=down)
    ink = text.mark_text(align="left", fontSize=12, color=INKS["ink"])
    soft = text.mark_text(align="right", fontSize=12, color=INKS["soft"])
    parts.append(ink.encode(x=alt.value(0), y=y, text="name:N"))
    parts.append(soft.encode(x=alt.value(inner), y=y, text="ends:N"))
    return alt.layer(*parts).properties(width=inner, height=len(bars) * step)


def _short_ends(bar: Row, width: int) -> str:
    """Both ends in words where they fit beside the name, else nothing: the table beside has them."""
    room = width - len(bar["name"]) * _LETTER - 16
    return str(bar["ends"]) if len(bar["ends"]) * _LETTER < room and width == WIDE else ""


def _uprights(at: float, n: int, scales: tuple[alt.Scale, alt.Scale], dashed: bool) -> Chart:
    """A mark beside every bar, not through the words between them."""
    x_scale, down = scales
    marks = [{"x": at, "top": i * _STEP + 18, "bottom": i * _STEP + 40} for i in range(n)]
    ink = INKS["soft"] if dashed else INKS["ink"]
    rule = alt.Chart(_data(values=marks))
    mark = rule.mark_rule(color=ink, strokeWidth=1 if dashed else 2, strokeDash=[3, 3] if dashed else [1, 0])
    x = alt.X("x:Q", axis=None, scale=x_scale)
    return mark.encode(x=x, y=alt.Y("top:Q", axis=None, scale=down), y2="bottom:Q")

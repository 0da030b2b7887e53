"""The charts of the HTML report: Vega-Lite through Altair, drawn to SVG by vl-convert when the report is written.

Each is drawn twice, for a desk and for a phone, and carries a text alternative; the table beside it has the numbers.
Values become floats here, for positions only. No network, no script in the page.
Enter at `waterfall`, `margins`, `lorenz`, `over_time`: each returns None where there is nothing to draw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import altair as alt
import vl_convert

from solvent.report.hostile import visible
from solvent.report.markup import Markup, join
from solvent.report.numerals import decimal, human, money
from solvent.report.svg import INKS, inline_svg

_STEPS = (
    ("revenue_usd", 1, "bar"),
    ("refunds_usd", -1, "pale"),
    ("fees_usd", -1, "pale"),
    ("cost_usd", -1, "loss"),
    ("other_cost_usd", -1, "pale"),
    ("margin_usd", 1, "ink"),
)
Row = Mapping[str, Any]
# Altair's layers and concatenations have no type in common.
Chart: TypeAlias = Any
WIDE, NARROW = 880, 330
MAX_BARS = 440
_TIMES = {"day": re.compile(r"\d{4}-\d{2}-\d{2}"), "hour": re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}")}
_ROW_HEIGHT = 23
# Width of a letter at 12 px, for the widest of the fonts that the page may get.
_LETTER = 7.6


def waterfall(figures: Mapping[str, Row]) -> Markup | None:
    """From revenue to margin: what each deduction takes."""
    known = [(name, sign, figures[name]) for name, sign, _ in _STEPS if name in figures]
    roles = {name: role for name, _, role in _STEPS}
    values = {name: decimal(figure["value"]) for name, _, figure in known}
    if values.get("revenue_usd") is None or values.get("margin_usd") is None:
        return None
    rows, level = [], 0.0
    for name, sign, figure in known:
        usd = values[name]
        if usd is None or (usd == 0 and sign < 0):
            continue
        start = 0.0 if sign > 0 else level
        level = float(usd) if sign > 0 else level - float(usd)
        role = "loss" if level < 0 else roles[name]
        text = money(usd if sign > 0 else -usd)
        rows.append({"name": figure["label"], "from": start, "to": level, "role": role, "text": text})
    label = "From revenue to margin: " + ", ".join(f"{row['name']} {row['text']}" for row in rows)
    return _both(lambda width: _named_bars(rows, width), label)


def margins(rows: Sequence[Row], name_key: str) -> Markup | None:
    """Customers by margin: all of them in rank order, and by name those at both ends."""
    found = ((float(m), row) for row in rows if (m := decimal(row.get("margin_usd"))) is not None)
    known = sorted(found, key=lambda pair: pair[0])
    if len(known) < 2:
        return None
    losing = sum(margin < 0 for margin, _ in known)
    label = (
        f"Margin of {len(known):,} customers, {losing:,} of them below zero; "
        f"from {visible(known[0][1][name_key])} at {human(known[0][1]['margin_usd'], 'usd')} "
        f"to {visible(known[-1][1][name_key])} at {human(known[-1][1]['margin_usd'], 'usd')}"
    )

    def draw(width: int) -> Chart:
        half = 8 if width == WIDE else 6
        ends = known if len(known) <= 2 * half + 4 else known[:half] + known[-half:]
        bars = [
            {"name": _short(row[name_key], 26 if width == WIDE else 13), "from": 0.0, "to": margin,
             "role": "loss" if margin < 0 else "bar", "text": human(row["margin_usd"], "usd")}
            for margin, row in ends
        ]  # fmt: skip
        named = _named_bars(bars, width, gap_after=half if len(ends) < len(known) else None)
        if len(ends) == len(known):
            return named
        return alt.vconcat(_skyline([margin for margin, _ in known], width), named, spacing=28)

    return _both(draw, label)


def _skyline(ordered: Sequence[float], width: int) -> Chart:
    """Every customer as a thin bar, worst first; beyond MAX_BARS every so-many-th."""
    n = min(len(ordered), MAX_BARS if width == WIDE else MAX_BARS // 3)
    ranks = sorted({round(i * (len(ordered) - 1) / (n - 1)) for i in range(n)})
    values = [{"rank": i, "end": i + 0.8, "usd": ordered[rank], "zero": 0.0} for i, rank in enumerate(ranks)]
    x = alt.X("rank:Q", axis=None, scale=alt.Scale(domain=[0, len(ranks)], nice=False, zero=False))
    y = alt.Y("usd:Q", axis=alt.Axis(title=None, format=_format(ordered), tickCount=4, **_AXIS))
    parts = []
    for role, losing in (("loss", True), ("bar", False)):
        data = _data(values=[v for v in values if (v["usd"] < 0) == losing])
        bars = alt.Chart(data, width=width - 60, height=110).mark_rect(color=INKS[role])
        parts.append(bars.encode(x=x, x2="end:Q", y=y, y2="zero:Q"))
    return alt.layer(*parts)


def _named_bars(rows: Sequence[Row], width: int, gap_after: int | None = None) -> Chart:
    """Horizontal bars with a name on the left and an amount at the end; rows: name, from, to, role, text."""
    placed: list[dict[str, Any]] = []
    for i, row in enumerate(rows):
        at = i + (0.6 if gap_after is not None and i >= gap_after else 0)
        end = row["to"] if row["from"] == 0 or row["to"] < 0 else max(row["from"], row["to"])
        placed.append({**row, "top": at + 0.2, "mid": at + 0.5, "low": at + 0.8, "end": end})
    height = placed[-1]["low"] + 0.2
    names = min(max(len(str(row["name"])) for row in rows) * _LETTER + 10, width * 0.42)
    inner = width - names
    scale = alt.Scale(domain=_with_room_for_amounts(placed, inner), nice=False)
    down = alt.Scale(domain=[height, 0], nice=False)
    y, middle = alt.Y("top:Q", axis=None, scale=down), alt.Y("mid:Q", axis=None, scale=down)
    parts: list[alt.Chart] = []
    for role in dict.fromkeys(row["role"] for row in placed):
        data = _data(values=[row for row in placed if row["role"] == role])
        x = alt.X("from:Q", axis=None, scale=scale)
        parts.append(alt.Chart(data).mark_rect(color=INKS[role]).encode(x=x, x2="to:Q", y=y, y2="low:Q"))
    for left in (True, False):
        data = _data(values=[row for row in placed if (row["end"] < 0) == left])
        side: Literal["left", "right"] = "right" if left else "left"
        mark = alt.Chart(data).mark_text(align=side, dx=-5 if left else 5, color=INKS["soft"], fontSize=12)
        parts.append(mark.encode(x=alt.X("end:Q", axis=None, scale=scale), y=middle, text="text:N"))
    label = alt.Chart(_data(values=placed)).mark_text(align="left", color=INKS["ink"], fontSize=12)
    parts.append(label.encode(x=alt.value(-names), y=middle, text="name:N"))
    return alt.layer(*parts).properties(width=inner, height=_ROW_HEIGHT * height)


def _with_room_for_amounts(placed: Sequence[Row], inner: float) -> list[float]:
    """The domain of the bars, wide enough that the amounts written at their ends stay inside."""
    ends = [(min(row["from"], row["to"], 0.0), max(row["from"], row["to"], 0.0)) for row in placed]
    bottom, top = min(low for low, _ in ends), max(high for _, high in ends)
    longest = {left: [len(row["text"]) for row in placed if (row["end"] < 0) == left] for left in (True, False)}
    left_px, right_px = (max(found) * _LETTER + 10 if found else 0.0 for found in longest.values())
    usd_per_px = (top - bottom or 1.0) / max(inner - left_px - right_px, inner / 4)
    return [bottom - left_px * usd_per_px, top + right_px * usd_per_px]


def lorenz(tail: Mapping[str, Any]) -> Markup | None:
    """The Lorenz curve with the diagonal on which everybody would cost the same."""
    points = [{"x": float(x), "y": float(y)} for x, y in tail.get("lorenz", [])]
    if len(points) < 3:
        return None
    what = "tokens" if tail.get("of") == "usage" else "compute"
    half = next((p for p in points if p["x"] >= 0.5), points[-1])
    label = f"Lorenz curve of {what} over customers: the cheaper half causes {half['y'] * 100:.1f}% of it"

    def draw(width: int) -> Chart:
        side = 300 if width == WIDE else 250
        axis = {**_AXIS, "format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]}
        x = alt.X("x:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(title="customers, cheapest first", **axis))
        y = alt.Y("y:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(title=f"share of {what}", **axis))
        curve = alt.Chart(_data(values=points), width=side, height=side)
        equal = alt.Chart(_data(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        note = alt.Chart(_data(values=[{"x": 0.36, "y": 0.43, "t": "all alike"}]))
        return alt.layer(
            equal.mark_line(color=INKS["soft"], strokeWidth=1, strokeDash=[3, 3]).encode(x=x, y=y),
            note.mark_text(color=INKS["soft"], fontSize=12, align="right").encode(x=x, y=y, text="t:N"),
            curve.mark_area(color=INKS["pale"], opacity=0.55).encode(x=x, y=y),
            curve.mark_line(color=INKS["ink"], strokeWidth=2).encode(x=x, y=y),
        )

    return _both(draw, label)


def over_time(rows: Sequence[Row], name_key: str, unit: str = "day") -> Markup | None:
    """Compute per day or hour as bars, and revenue as a line where it is known for every one."""
    found = [(str(row[name_key]), decimal(row.get("cost_usd")), decimal(row.get("revenue_usd"))) for row in rows]
    known = [(day, cost, revenue) for day, cost, revenue in found if cost is not None and _TIMES[unit].fullmatch(day)]
    known.sort()
    if len(known) < 3:
        return None
    with_revenue = all(revenue is not None for _, _, revenue in known)
    iso = "Z" if unit == "hour" else ""
    values = [
        {"day": day.replace(" ", "T") + iso, "usd": float(cost), "revenue": float(revenue or 0)}
        for day, cost, revenue in known
    ]
    label = f"Compute per {unit}, {known[0][0]} to {known[-1][0]}"
    label += ", with revenue as a line" if with_revenue else ""

    def draw(width: int) -> Chart:
        peak = [cost for _, cost, _ in known] + [revenue for _, _, revenue in known if revenue is not None]
        ticks = min(len(values), 8 if width == WIDE else 3)
        words = "%-d %b" if unit == "day" else "%H:%M"
        look = {**_AXIS, "grid": False, "labelOverlap": "greedy", "labelSeparation": 24}
        axis = alt.Axis(title=None, format=words, tickCount=ticks, **look)
        step: Literal["utcyearmonthdate", "utcyearmonthdatehours"]
        step = "utcyearmonthdate" if unit == "day" else "utcyearmonthdatehours"
        x = alt.X("day:T", timeUnit=step, axis=axis)
        y_axis = alt.Axis(title=None, format=_format([float(usd) for usd in peak]), tickCount=4, **_AXIS)
        chart = alt.Chart(_data(values), width=width - 60, height=190)
        bars = chart.mark_bar(color=INKS["loss" if with_revenue else "bar"])
        parts = [bars.encode(x=x, y=alt.Y("usd:Q", axis=y_axis))]
        if with_revenue:
            line = chart.mark_line(color=INKS["ink"], strokeWidth=2, interpolate="step")
            parts.append(line.encode(x=x, y=alt.Y("revenue:Q", axis=y_axis)))
        return alt.layer(*parts)

    return _both(draw, label)


_AXIS: dict[str, Any] = {
    "domain": False, "ticks": False, "gridColor": INKS["rule"], "labelColor": INKS["soft"], "titleColor": INKS["soft"],
    "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 10, "labelPadding": 6,
}  # fmt: skip


def _both(draw: Callable[[int], Any], label: str) -> Markup:
    """The chart for a desk and for a phone; the page's CSS shows one of them."""
    drawn = []
    for width, name in ((WIDE, "wide"), (NARROW, "narrow")):
        chart = draw(width).configure_view(stroke=None).properties(background="transparent", padding=2)
        svg = vl_convert.vegalite_to_svg(chart.to_dict(), allowed_base_urls=[])
        drawn.append(inline_svg(svg, label, name))
    return join(drawn)


def _data(values: Sequence[Row]) -> alt.Data:
    return alt.Data(values=list(values))  # type: ignore[no-untyped-call]


def _format(values: Sequence[float]) -> str:
    peak = max((abs(v) for v in values), default=0.0)
    return "$,.0f" if peak >= 8 else "$,.2f" if peak >= 0.08 else "$~r"


def _short(text: object, limit: int) -> str:
    shown = visible(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"

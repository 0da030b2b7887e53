"""The verdict's gauge: where the policy's figure stands against the policy's limit, drawn by hand as small SVG.

Enter at `gauge`.
"""

from __future__ import annotations

from solvent.report.html_parts import Page
from solvent.report.markup import Markup, h
from solvent.report.numerals import decimal, human, interval

_WIDTH = 1000


def gauge(view: Page) -> Markup | None:
    """A bar from zero to the figure, its interval as a line, the limit as a mark; None where either is unknown."""
    policy = view.statement["verdict"]["policy"]
    figure = view.figure(policy.get("figure"))
    limit = decimal(policy.get("limit"))
    value = decimal(figure["value"]) if figure else None
    if figure is None or value is None or limit is None or limit <= 0 or value < 0:
        return None
    low, high = decimal(figure.get("low")), decimal(figure.get("high"))
    end = max(value, limit, high or value) * 5 / 4

    def x(position: object) -> str:
        at = decimal(str(position))
        return f"{float(max(at or 0, 0) / end) * _WIDTH:.1f}" if at is not None else "0"

    over = value > limit
    parts = [
        h("rect", {"class": "f-rule", "y": "14", "width": _WIDTH, "height": "14"}),
        h("rect", {"class": "f-loss" if over else "f-bar", "y": "14", "width": x(value), "height": "14"}),
    ]
    if low is not None and high is not None:
        parts.append(h("path", {"class": "s-ink", "d": f"M{x(low)} 21H{x(high)}", "fill": "none", "stroke-width": "2"}))
    parts.append(h("rect", {"class": "f-ink", "x": x(limit), "y": "6", "width": "3", "height": "30"}))
    unit = figure["unit"]
    said = f"{figure['label']}: {human(value, unit)}" + (f" ({interval(figure)})" if interval(figure) else "")
    label = f"{said}; the policy's limit is {human(limit, unit)}"
    box = {"role": "img", "aria-label": label, "viewBox": f"0 0 {_WIDTH} 44", "preserveAspectRatio": "none"}
    ends = h(
        "div", {"class": "ends"}, h("span", None, said), h("span", {"class": "limit"}, f"limit {human(limit, unit)}")
    )
    return h("div", {"class": "gauge"}, h("svg", box, *parts), ends)
